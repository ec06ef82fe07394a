"""Names, paths and files on disk."""
