"""Training runs: load a YAML, prepare data, fit, test, export."""
