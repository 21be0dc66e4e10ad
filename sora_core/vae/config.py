"""Shape of the compression network. The numbers live in every checkpoint's header; nothing is assumed elsewhere."""

import math
from dataclasses import dataclass

from ..config import bounded

T_STRIDE = 4  # frames per latent frame; two merges of two, fixed by the structure of the network
S_STRIDE = 8  # pixels per latent pixel along x and y; a stem of 4 and one merge of 2, fixed likewise


@dataclass(frozen=True)
class VAEConfig:
    channels: int = 16  # of the latent
    fine_width: int = 64  # features at every frame and 1/4 of the size
    middle_width: int = 128  # features at half the frames and 1/8 of the size
    coarse_width: int = 192  # features on the latent grid itself
    encoder_blocks: tuple[int, int, int] = (2, 2, 3)  # fine, middle, coarse
    decoder_blocks: tuple[int, int, int] = (3, 2, 3)  # fine, middle, coarse

    def __post_init__(self):
        for name in ("encoder_blocks", "decoder_blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
            if len(getattr(self, name)) != 3 or min(getattr(self, name)) < 0:
                raise ValueError(f"{name} must be three counts (fine, middle, coarse), not {getattr(self, name)}")
        bounded(self, 1, math.inf, "channels", "fine_width", "middle_width", "coarse_width")

    @property
    def encoder_halo(self) -> int:
        """Latent pixels around a tile that the encoder looks at: one per spatial convolution, half on the fine grid."""
        fine, middle, coarse = self.encoder_blocks
        return (fine + 2) // 2 + middle + coarse + 1

    @property
    def decoder_halo(self) -> int:
        """Latent pixels around a tile that the decoder looks at."""
        fine, middle, coarse = self.decoder_blocks
        return (fine + 2) // 2 + middle + coarse + 1

    @property
    def decoder_memory(self) -> int:
        """Latent frames before its own that a frame depends on: two frames a temporal convolution, at the rate of its
        stage, and one for the start of a clip, whose first latent frame stands for one frame."""
        fine, middle, coarse = self.decoder_blocks
        return 2 * coarse + middle + (fine + 1) // 2 + 1
