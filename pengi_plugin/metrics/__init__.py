"""Scores of answers: plain functions of words and numbers, no model, no files."""
