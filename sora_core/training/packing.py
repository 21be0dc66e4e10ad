"""Clips of any sizes, whole, in sequences of one length: the packs of NaViT (Dehghani et al. 2023).

Sora report, on native sizes: nothing is resized, cropped or trimmed to a standard size. A pack is filled with clips up
to a budget of tokens, and clips of equal size share a `Segment`; attention stays within a clip (`DiT.forward_pack`),
so no token is padding and none sees another clip. What is lost is only what is left of the budget.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

import numpy as np

from ..errors import UserError

BUFFER = 2048  # clips that are packed together, drawn in random order
FULL = 0.97  # share of the budget below which a pack is filled up with clips that come a second time


def pack(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Lay things of these sizes into packs of `budget`: the largest first, each where it leaves the least room
    (best-fit decreasing: at most 11/9 of the least possible number of packs, plus one). Returns indices."""
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (what is left, pack), sorted
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if sizes[index] > budget:
            raise ValueError(f"size {sizes[index]} exceeds the budget of {budget}")
        at = bisect_left(room, (sizes[index], -1))
        if at == len(room):
            packs.append([])
            left, number = budget, len(packs) - 1
        else:
            left, number = room.pop(at)
        packs[number].append(index)
        insort(room, (left - sizes[index], number))
    return packs


class Packs:
    """An endless row of packs over clips of the given sizes, as a function of seed and position alone.

    Every epoch takes each clip once, in new company; `packs[n]` lists the clips of the n-th pack. So a run that is
    resumed finds the packs that it would have had.
    """

    def __init__(self, sizes: Sequence[int], budget: int, seed: int):
        if not len(sizes):
            raise UserError(f"No clip fits into {budget} tokens: raise tokens in [data].")
        self.sizes, self.budget, self.seed = np.asarray(sizes), budget, seed
        self.by_size = np.argsort(self.sizes, kind="stable")
        self.sorted_sizes = self.sizes[self.by_size].tolist()
        self._starts, self._epochs = [0], {}

    def __getitem__(self, index: int) -> list[int]:
        while self._starts[-1] <= index:
            self._starts.append(self._starts[-1] + len(self.epoch(len(self._starts) - 1)))
        number = bisect_right(self._starts, index) - 1
        return self.epoch(number)[index - self._starts[number]]

    def epoch(self, number: int) -> list[list[int]]:
        """The packs of one epoch."""
        if number not in self._epochs:
            rng = np.random.default_rng([self.seed, number, 23])
            order = rng.permutation(len(self.sizes))
            packs = []
            for start in range(0, len(order), BUFFER):
                part = order[start : start + BUFFER]
                done = [[int(part[i]) for i in one] for one in pack(self.sizes[part].tolist(), self.budget)]
                packs += [done[i] for i in rng.permutation(len(done))]
            for one in packs:
                self._fill(one, rng)
            self._epochs = {n: e for n, e in self._epochs.items() if n == number - 1} | {number: packs}
        return self._epochs[number]

    def _fill(self, one: list[int], rng: np.random.Generator) -> None:
        """Fill up with the largest clips that fit, a random one among equals."""
        room = self.budget - int(self.sizes[one].sum())
        while room > (1 - FULL) * self.budget and room >= self.sorted_sizes[0]:
            end = bisect_right(self.sorted_sizes, room)
            start = bisect_left(self.sorted_sizes, self.sorted_sizes[end - 1])
            one.append(int(self.by_size[rng.integers(start, end)]))
            room -= self.sorted_sizes[end - 1]


def useful(packs: Sequence[Sequence[int]], sizes: Sequence[int], budget: int) -> float:
    """Useful tokens / budget, over packs."""
    return sum(sizes[i] for one in packs for i in one) / (budget * len(packs))


def groups(keys: Sequence) -> list[list[int]]:
    """Positions of equal keys together, in the order of their first appearance: the segments of a pack."""
    together: dict = {}
    for position, key in enumerate(keys):
        together.setdefault(key, []).append(position)
    return list(together.values())
