"""How the paper scores a model: a model and rows in, lines of a table out."""
