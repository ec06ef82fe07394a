"""Search for an answer that continues a prefix."""
