"""A scene as a fixed list of yes/no facts: the auxiliary target that teaches the text encoder what a sentence says.

Facts about single things are pairs ("red ball", "ball left", "red left"), because with two things in a scene it is the
binding that has to be learned. A caption does not state everything, so a mask says which facts it settles.
"""

from .vocabulary import BACKGROUNDS, CAMERAS, COLOURS, MOTIONS, SHAPES, STYLES

NAMES = tuple(COLOURS)
ANTICLOCKWISE = "counter-clockwise"  # beside the motion of what turns that way; clockwise goes without saying
MOVES = (*MOTIONS, ANTICLOCKWISE)

# Group -> facts; the order of groups and facts is part of every text encoder that was trained with them.
GROUPS = {
    "colour": NAMES,
    "shape": SHAPES,
    "motion": MOVES,
    "colour shape": tuple(f"{c} {s}" for c in NAMES for s in SHAPES),
    "shape motion": tuple(f"{s} {m}" for s in SHAPES for m in MOVES),
    "colour motion": tuple(f"{c} {m}" for c in NAMES for m in MOVES),
    "count": ("one thing", "two things"),
    "background": BACKGROUNDS,
    "plain colour": NAMES,
    "gradient from": NAMES,
    "gradient to": NAMES,
    "camera": CAMERAS,
    "style": STYLES,
}
ATTRIBUTES = tuple(f"{group}: {fact}" for group, facts in GROUPS.items() for fact in facts)
_INDEX = {name: i for i, name in enumerate(ATTRIBUTES)}
SLICES = {}  # of the facts of each group
for _group, _facts in GROUPS.items():
    _start = _INDEX[f"{_group}: {_facts[0]}"]
    SLICES[_group] = slice(_start, _start + len(_facts))


def facts(scene):
    """{group: [facts that hold in the scene]}."""
    moves = [(thing, move) for thing in scene.things for move in (thing.motion, ANTICLOCKWISE)[: 1 + (thing.way < 0)]]
    held = {
        "colour": [t.colour for t in scene.things],
        "shape": [t.shape for t in scene.things],
        "motion": [move for _, move in moves],
        "colour shape": [f"{t.colour} {t.shape}" for t in scene.things],
        "shape motion": [f"{thing.shape} {move}" for thing, move in moves],
        "colour motion": [f"{thing.colour} {move}" for thing, move in moves],
        "count": ["one thing" if len(scene.things) == 1 else "two things"],
        "background": [scene.background],
        "camera": [scene.camera],
        "style": [scene.style],
    }
    if scene.background == "plain":
        held["plain colour"] = scene.background_colours
    if scene.background == "gradient":
        held["gradient from"], held["gradient to"] = scene.background_colours[:1], scene.background_colours[1:]
    return held


def target(scene, stated):
    """(values, mask): two lists of 0.0/1.0 over ATTRIBUTES; `stated` names the groups that the text settles."""
    values, mask = [0.0] * len(ATTRIBUTES), [0.0] * len(ATTRIBUTES)
    for group, held in facts(scene).items():
        if group not in stated:
            continue
        where = SLICES[group]
        mask[where] = [1.0] * (where.stop - where.start)
        for fact in held:
            values[_INDEX[f"{group}: {fact}"]] = 1.0
    return values, mask


def attributes(scene):
    """{attribute: 0.0 or 1.0} in the order of ATTRIBUTES, with everything that is true of the scene."""
    return dict(zip(ATTRIBUTES, target(scene, GROUPS)[0], strict=True))
