"""Archives of recordings in, tables of answers out, each recording exactly once."""
