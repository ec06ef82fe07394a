"""A page on which people try a model: a recording and a question in, answers out."""
