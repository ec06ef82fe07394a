"""Scores of answers: functions of texts and numbers, without models or files."""
