"""Other versions of a scene: edits that leave all else in its place, which training shows as pairs and the evaluation
asks for, and loops."""

import math
from dataclasses import replace

from .contrast import colours_on, unit_rgb
from .scene import BACKGROUNDS, NEON_COLOURS, SHAPES, STYLES, Scene, is_held_out
from .vocabulary import CORNERS


def restyled(scene: Scene, style: str) -> Scene:
    """The scene in another style, which has a paper of its own for a background."""
    return replace(_before(scene, "plain"), style=style)


def recoloured(scene: Scene, colour: str, which: int = 0) -> Scene:
    """The scene with one of its things in another colour."""
    return _with_thing(scene, which, colour=colour, rgb=unit_rgb(colour))


def _before(scene: Scene, background: str) -> Scene:
    """The scene before a background that has no colours of its own to name."""
    return replace(scene, background=background, background_colours=(), background_rgb=(), direction="")


def _with_thing(scene: Scene, which: int, **changes) -> Scene:
    """The scene with one of its things changed."""
    things = list(scene.things)
    things[which] = replace(things[which], **changes)
    return replace(scene, things=tuple(things))


def styles_for(scene: Scene) -> tuple[str, ...]:
    """The drawn styles that suit a scene's colours: neon has fewer."""
    known = {thing.colour for thing in scene.things} <= set(NEON_COLOURS)
    return STYLES[1:] if known else tuple(style for style in STYLES[1:] if style != "neon")


def colours_for(scene: Scene) -> list[str]:
    """Other colours, which no thing has, that one of the things may have on the scene's background."""
    taken = {thing.colour for thing in scene.things}
    shown = colours_on(scene.background, scene.background_colours, scene.wall is not None)
    return [name for name in shown if name not in taken]


def edited(scene: Scene, rng) -> Scene | None:
    """A flat scene with one thing about it changed: style, a colour, a shape or the backdrop. None if nothing suits.

    rng: anything with `random()` in [0, 1). The result is never one of the combinations that are held out.
    """

    def pick(options):
        return options[int(rng.random() * len(options))] if options else None

    if scene.style != "flat":
        return None
    which = int(rng.random() * len(scene.things))
    roll, other = rng.random(), None
    if roll < 0.5:
        other = restyled(scene, pick(styles_for(scene)))
    elif roll < 0.8 and (colour := pick(colours_for(scene))):
        other = recoloured(scene, colour, which)
    elif roll < 0.9:
        known = SHAPES[1:4] if scene.things[which].motion == "spin" else SHAPES
        if shape := pick([name for name in known if name not in {one.shape for one in scene.things}]):
            other = _with_thing(scene, which, shape=shape)
    else:
        suits = {thing.colour for thing in scene.things}
        walled = scene.wall is not None
        backdrops = [b for b in BACKGROUNDS[2:] if b != scene.background and suits <= set(colours_on(b, (), walled))]
        if backdrop := pick(backdrops):
            other = _before(scene, backdrop)
    return None if other is None or is_held_out(other) else other


def looped(scene: Scene, moment: float) -> Scene | None:
    """The scene as a loop that begins at `moment` (0..1) of its way; None for the sea, whose waves go on.

    What goes round does so in whole turns, and what spins until it looks as at the start, no faster than otherwise.
    """
    if scene.style == "flat" and scene.background == "sea":
        return None

    def whole(number: float, unit: float, near=round) -> float:
        return math.copysign(max(1, near(abs(number) / unit)) * unit, number)

    things = []
    for thing in scene.things:
        if thing.motion == "spin":
            thing = replace(thing, spin=whole(thing.spin, 360 / CORNERS[thing.shape], math.floor))
        elif thing.motion == "orbit":
            thing = replace(thing, cycles=whole(thing.cycles, 1))
        things.append(thing)
    return replace(scene, things=tuple(things), loop=moment)
