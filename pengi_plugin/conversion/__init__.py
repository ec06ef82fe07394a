"""Released checkpoints and CLAP weights in, our parts and folders out."""
