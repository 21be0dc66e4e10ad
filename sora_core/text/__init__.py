"""The bundled text encoder: any Unicode text to a sequence of vectors for cross-attention."""

from .model import TextConfig, TextEncoder
from .tokenizer import Tokenizer

__all__ = ["TextConfig", "TextEncoder", "Tokenizer"]
