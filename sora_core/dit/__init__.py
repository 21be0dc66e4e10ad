"""The diffusion transformer: noisy spacetime patches in, clean patches out."""

from .config import CONFIGS, DiTConfig
from .model import DiT, Segment, deepened

__all__ = ["CONFIGS", "DiT", "DiTConfig", "Segment", "deepened"]
