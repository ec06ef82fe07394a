"""Data: manifests and recordings in, batches of clips and texts out."""
