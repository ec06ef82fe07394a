"""Pengi, an audio language model, as SpeechBrain lobes, recipes and inference."""

__version__ = "0.1.0"
