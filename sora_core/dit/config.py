"""Sizes of the diffusion transformer, as one table from the bundled model to billions of parameters."""

import math
from dataclasses import dataclass

from ..config import bounded


@dataclass(frozen=True)
class DiTConfig:
    width: int  # features per token
    depth: int  # blocks
    heads: int
    text_width: int  # features per text token
    channels: int = 16  # of the latent
    patch: tuple[int, int, int] = (1, 2, 2)  # latent frames x rows x columns that make a token
    mlp_ratio: int = 4
    t_stride: int = 4  # frames per latent frame, to place latent frames in seconds
    local_mix: bool = False  # 3-tap depthwise mix along t, y, x in every block: sample efficiency for small models
    shift: float = 1.0  # factor on `flow.shift_for_tokens`, of the levels that it learns and the schedule it samples by
    channel_std: tuple[float, ...] = ()  # deviation of each channel of the latents it was trained on; () is 1 for all
    exit: int = 0  # blocks after which a first prediction is made, to guide the last one by; 0 is none
    exit_guidance: tuple[float, float, float] = (0.0, 0.0, 1.0)  # its strength, and the levels between which it acts

    def __post_init__(self):
        for name in ("patch", "channel_std", "exit_guidance"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        bounded(self, 1, math.inf, "width", "depth", "heads", "text_width", "channels", "mlp_ratio", "t_stride")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.head_width % 16:
            raise ValueError(f"width / heads = {self.head_width} must be a multiple of 16, so that t, y and x share it")
        if len(self.patch) != 3 or min(self.patch) < 1:
            raise ValueError(f"patch must be three positive sizes, not {self.patch}")
        if not 0 < self.shift < math.inf:
            raise ValueError(f"shift must be a positive number, not {self.shift}")
        if self.channel_std and (len(self.channel_std) != self.channels or not min(self.channel_std) > 0):
            raise ValueError(f"channel_std must be {self.channels} positive numbers, not {self.channel_std}")
        if not 0 <= self.exit < self.depth:
            raise ValueError(f"exit must be a number of blocks below depth {self.depth}, not {self.exit}")
        weight, low, high = self.exit_guidance if len(self.exit_guidance) == 3 else (math.nan, 0, 0)
        if not (0 <= weight < math.inf and 0 <= low <= high <= 1) or (weight and not self.exit):
            raise ValueError(
                f"exit_guidance must be a strength of 0 or more and two levels from 0 to 1, with an exit to guide by, "
                f"not {self.exit_guidance}"
            )

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def rope_split(self) -> tuple[int, int, int]:
        """Features of a head that carry the position in t, y and x: a quarter, and three eighths each."""
        eighth = self.head_width // 8
        return 2 * eighth, 3 * eighth, 3 * eighth


CONFIGS = {
    "tiny": DiTConfig(width=256, depth=12, heads=4, text_width=192, patch=(1, 1, 1), local_mix=True),
    "small": DiTConfig(width=384, depth=12, heads=6, text_width=384),
    "base": DiTConfig(width=768, depth=12, heads=12, text_width=768),
    "large": DiTConfig(width=1024, depth=24, heads=16, text_width=1024),
    "xl": DiTConfig(width=1536, depth=28, heads=12, text_width=2048),
    "2b": DiTConfig(width=2048, depth=28, heads=16, text_width=2048),
    "8b": DiTConfig(width=3072, depth=48, heads=24, text_width=4096),
}
