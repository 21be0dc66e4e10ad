"""The video compression network: pixels to a standardised spacetime latent and back."""

from .config import VAEConfig
from .model import VAE

__all__ = ["VAE", "VAEConfig"]
