"""The prompts of the evaluation: scenes whose combinations, and wording that, no training clip had."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..worlds.caption import caption
from ..worlds.scene import Scene, sample_scene


@dataclass(frozen=True)
class Case:
    """A prompt, what it should show, and the seed to generate it with."""

    prompt: str
    scene: Scene
    seed: int


def cases(count: int, seed: int, *, aspect: float = 1.0, seconds: float = 17 / 8, image: bool = False) -> list[Case]:
    """Held-out prompts, each a function of (seed, its number) alone: fewer cases are the first of many.

    Args:
        seed: of the evaluation; training draws its scenes from other generators and never has these combinations.
        aspect, seconds, image: what the scenes are made for, see `sample_scene`.
    """
    made = []
    for number in range(count):
        rng = random.Random(f"evaluation {seed} {number}")
        scene = sample_scene(rng, aspect=aspect, seconds=seconds, image=image, held_out=True)
        made.append(Case(caption(scene, rng, "held_out", image=image), scene, seed + number))
    return made
