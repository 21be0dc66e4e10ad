"""Shared by all tests: few threads, so that tests beside a training run stay quick and repeatable."""

import pytest
import torch

torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def smooth_clip():
    """A function (frames, height, width, seed=0) -> a smooth coloured clip (3, T, H, W) in [-1, 1]."""

    def make(frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
        corners = torch.rand(1, 3, 2, 3, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        return torch.nn.functional.interpolate(corners, (frames, height, width), mode="trilinear", align_corners=True)[
            0
        ]

    return make
