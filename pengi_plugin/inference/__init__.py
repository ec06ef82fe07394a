"""Recordings and prompts in, answers out: trained models as SpeechBrain interfaces."""

from pengi_plugin.inference.audio_text import AudioTextModel
from pengi_plugin.inference.classify import CLASSIFY_PROMPT
from pengi_plugin.inference.files import DESCRIBE_PROMPTS, FileAnswer
from pengi_plugin.inference.interface import AudioLanguageModel
from pengi_plugin.inference.windows import summarize

__all__ = [
    "CLASSIFY_PROMPT",
    "DESCRIBE_PROMPTS",
    "AudioLanguageModel",
    "AudioTextModel",
    "FileAnswer",
    "summarize",
]
