"""The optimiser Muon: orthogonal updates, of kernels too, the same however many matrices are alike."""

import math

import pytest
import torch
from torch import nn

from sora_core.training.optim import TOGETHER, build_optimizer, orthogonalize


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 16, 64), (2, 64, 16)])
def test_updates_are_nearly_orthogonal_and_point_where_the_gradient_does(shape):
    gradients = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    made = orthogonalize(gradients)
    assert made.shape == gradients.shape and made.dtype == gradients.dtype
    assert torch.linalg.matrix_norm(made, ord=2).max() < 1.3  # of which the iteration's last step is not sure
    left, values, right = torch.linalg.svd(gradients, full_matrices=False)
    nearest = left @ right
    alike = (made * nearest).sum((1, 2)) / made.flatten(1).norm(dim=1) / nearest.flatten(1).norm(dim=1)
    assert alike.min() > 0.93
    assert torch.linalg.svdvals(made)[:, : shape[1] // 4].min() > 0.6 and values.max() > 2


def test_one_matrix_does_not_change_another_s_update():
    gradients = torch.randn(5, 24, 48, generator=torch.Generator().manual_seed(1))
    alone = torch.cat(
        [orthogonalize(one[None]) for one in gradients * torch.tensor([1e-4, 1, 10, 1e3, 1])[:, None, None]]
    )
    torch.testing.assert_close(orthogonalize(gradients), alone, rtol=0, atol=0.03)


def test_every_matrix_and_kernel_moves_by_as_much_as_it_should():
    torch.manual_seed(2)
    model = nn.ModuleList([nn.Linear(12, 12, bias=False) for _ in range(TOGETHER + 3)])
    model += [nn.Conv2d(4, 8, 3, bias=False), nn.LayerNorm(5)]
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = build_optimizer(model, "muon", 0.01, 0.0)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        moved = (p.detach() - old).flatten(1 if p.ndim > 1 else 0)
        if p.ndim == 1:
            torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.01))  # AdamW's first step
        else:
            wanted = 0.01 * 0.2 * math.sqrt(max(moved.shape)) * math.sqrt(min(moved.shape))
            assert 0.75 * wanted < moved.norm() < 1.15 * wanted
            assert (moved * p.grad.flatten(1)).sum() < 0
