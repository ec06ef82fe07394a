"""A server of LitServe: HTTP requests with a recording in, answers as JSON out."""
