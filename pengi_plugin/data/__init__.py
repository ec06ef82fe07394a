"""The clip's road: manifests and recordings in, batches out."""
