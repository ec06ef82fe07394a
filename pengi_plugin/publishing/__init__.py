"""A model's folder in, a repository of a hub out, with a card that says what it is."""
