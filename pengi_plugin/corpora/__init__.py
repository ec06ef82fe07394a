"""Corpora, one file per data set: a folder of audio in, manifests out."""
