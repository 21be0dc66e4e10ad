"""Optimisers: AdamW, and Muon for the matrices and kernels of a network with AdamW for the rest."""

import math

import torch
from torch import Tensor, nn

from .parallel import full, shared_like

TOGETHER = 16  # matrices of one shape that are orthogonalized at once: on a CPU 2.7 times as fast as one by one


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """About the nearest semi-orthogonal matrix to each of (n, rows, columns): quintic Newton-Schulz in bfloat16
    (Jordan et al. 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024), with kernels seen as matrices (out, the rest), and AdamW for groups with `muon=False`.

    A Muon update is scaled to the size of an AdamW update (0.2 sqrt(max(rows, columns)), Liu et al. 2025), so one
    learning rate serves both. torch.optim.Muon refuses convolution kernels, which is why this exists.
    """

    def __init__(self, groups, lr: float, betas=(0.9, 0.99), weight_decay=0.0, momentum=0.95):
        super().__init__(
            groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum, "muon": False}
        )

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if group["weight_decay"]:
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            (self._muon if group["muon"] else self._adamw)(group, params)

    def _muon(self, group, params):
        alike: dict[tuple[int, int], list] = {}
        for p in params:
            alike.setdefault((p.shape[0], p.shape[1:].numel()), []).append(p)
        for shape, same in alike.items():
            scale = 0.2 * math.sqrt(max(shape))
            for few in (same[start : start + TOGETHER] for start in range(0, len(same), TOGETHER)):
                updates = orthogonalize(torch.stack([self._update(group, p) for p in few]))
                for p, update in zip(few, updates, strict=True):
                    p.sub_(shared_like(update.view(p.shape), p), alpha=group["lr"] * scale)

    def _update(self, group, p) -> Tensor:
        """What momentum makes of a gradient (rows, columns). A share of a matrix cannot be orthogonalized: under FSDP2
        every process does the whole of it."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - group["momentum"])
        return full(p.grad.lerp(state["momentum"], group["momentum"])).flatten(1)

    def _adamw(self, group, params):
        beta1, beta2 = group["betas"]
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float64)
                state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            n = state["step"].item()
            state["mean"].lerp_(p.grad, 1 - beta1)
            state["square"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            denominator = (state["square"] / (1 - beta2**n)).sqrt_().add_(1e-8)
            p.addcdiv_(state["mean"], denominator, value=-group["lr"] / (1 - beta1**n))


def build_optimizer(model: nn.Module, kind: str, lr: float, weight_decay: float) -> MuonAdamW:
    """`kind` "muon" gives every hidden matrix and kernel to Muon; "adamw" none. Decay is for matrices only.

    A model may name, by prefix, parameters that stay with AdamW (`adamw_only`: embeddings, first and last layers) and
    ones that learn at a tenth of the rate (`gentle`: layers fed by raw pixels, whose inputs are nearly all alike, so
    that a small change of the weights is a large one of the output).
    """
    groups: dict[tuple[bool, bool, bool], list] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            matrix = p.ndim >= 2
            muon = matrix and kind == "muon" and not name.startswith(tuple(getattr(model, "adamw_only", ())))
            gentle = name.startswith(tuple(getattr(model, "gentle", ())))
            groups.setdefault((muon, matrix, gentle), []).append(p)
    return MuonAdamW(
        [
            {
                "params": params,
                "muon": muon,
                "weight_decay": weight_decay if matrix else 0.0,
                "rate": 0.1 if gentle else 1.0,
            }
            for (muon, matrix, gentle), params in sorted(groups.items())
        ],
        lr=lr,
    )
