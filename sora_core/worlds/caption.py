"""A scene in words: natural, varied English from a small grammar over the words of `wording.py`.

A caption never says anything false (of a loop it tells the way out, not the way back); short and partial ones leave
things out, and `caption_with_targets` tells which.
The sentence shapes of HELD_OUT, and the reserved phrases of `wording.py`, appear only with kind="held_out": that is the
unseen wording on which a model is evaluated. Those captions always state colour, shape, motion and background.
"""

import random
import re

from .attributes import target
from .sentences import ALIKE, CAMERA, HELD_OUT, OF_IMAGE, OF_STYLE, OF_VIDEO, STYLE, TRAINED
from .wording import (
    BACKGROUND_PHRASES,
    CANONICAL,
    COLOUR_WORDS,
    COUNTER_CLOCKWISE,
    MOTION_PHRASES,
    SHAPE_WORDS,
    reserved,
)

KINDS = ("any", "plain", "short", "long", "partial", "held_out")

_SMALL, _LARGE = 0.27, 0.4  # diameters, in shorter sides, that a caption may call small or large
_DIRECTION = {"vertical": "from top to bottom", "horizontal": "from left to right", "diagonal": "from corner to corner"}
_COLOURLESS = {  # a background's kind without its colours: {bg}, {bgn}, {bgi}
    "plain": (
        ("on a plain background", "plain background", "plain"),
        ("in front of a plain backdrop", "plain backdrop", "plain"),
    ),
    "gradient": (
        ("on a gradient", "gradient", "a gradient"),
        ("in front of a gradient background", "gradient background", "a colour gradient"),
    ),
}
_ARTICLE = re.compile(r"\b([Aa]) (?=(?!uni|one)[aeiou])")
_SENTENCE = re.compile(r"^\w|(?<=[.] )\w")
_SIZE = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}


class _Text:
    """One caption in the making: the dice, the scene, and what has been stated so far."""

    def __init__(self, scene, dice, kind, image, begins):
        self.scene, self.dice, self.kind, self.image = scene, dice, kind, image
        self.begins = begins and scene.loop is None
        self.unseen = kind == "held_out"
        partial = kind == "partial"
        drop = dice.choice(("colour", "shape", "motion", "background", "background")) if partial else ""
        self.colour = scene.shows_colour and drop != "colour"
        self.shape = drop != "shape"
        self.motion = not image and drop != "motion"
        self.background = scene.shows_background and drop != "background"
        if partial and dice.random() < 0.3:
            self.background = False
        if kind == "short" and dice.random() < 0.5:
            self.background = False
        # "a gradient", "a plain background": the kind without its colours.
        self.background_colours = self.background and not (partial and dice.random() < 0.3)

    def pick(self, options):
        return options[int(self.dice.random() * len(options))]

    def word(self, table, name):
        words = table[name]
        return words[0] if self.dice.random() < CANONICAL else self.pick(words)

    def phrase(self, pair):
        """One of (training phrases, reserved phrases); training never sees the latter."""
        known, kept = pair
        if self.unseen and kept and self.dice.random() < 0.7:
            return self.pick(kept)
        group = self.pick(known)
        return self.pick(group) if isinstance(group, list) else group

    # ---------------------------------------------------------------------------------------------- phrases

    def noun(self, thing):
        """ "small red ball", without article."""
        shape = self.word(SHAPE_WORDS, thing.shape) if self.shape else self.pick(("object", "thing", "shape"))
        size = self.size(thing)
        if not self.colour:
            return size + shape
        colour = self.word(COLOUR_WORDS, thing.colour)
        for _ in range(4):  # pairs of words, too, are either for training or for the evaluation
            if colour == thing.colour or shape == thing.shape or reserved(f"{colour} {shape}") == self.unseen:
                break
            colour, shape = self.word(COLOUR_WORDS, thing.colour), self.word(SHAPE_WORDS, thing.shape)
            shape = shape if self.shape else "object"
        else:
            colour, shape = thing.colour, thing.shape if self.shape else "object"
        roll = self.dice.random()
        if roll < 0.88:
            return f"{size}{colour} {shape}"
        if roll < 0.94:
            return f"{size}{colour}-{self.pick(('coloured', 'colored'))} {shape}"
        return f"{size}{shape} in {colour}"

    def moves(self, thing):
        """The forms of a phrase for a motion. That a thing spins or orbits counter-clockwise is always said, that it
        does so clockwise at times: so the words settle where what turns goes, and how it lies, at each moment."""
        forms = self.phrase(MOTION_PHRASES[thing.motion])
        if not thing.way or (thing.way > 0 and self.dice.random() > 0.3):
            return forms
        way = "clockwise" if thing.way > 0 else self.pick(COUNTER_CLOCKWISE)
        return tuple(f"{form} {way}" for form in forms)

    def size(self, thing):
        chance = 0.5 if self.kind == "long" else 0.15
        if thing.motion in ("grow", "shrink") or self.scene.camera.startswith("zoom") or self.dice.random() > chance:
            return ""
        if thing.size <= _SMALL:
            return self.pick(_SIZE["small"]) + " "
        return self.pick(_SIZE["large"]) + " " if thing.size >= _LARGE else ""

    def named(self, noun):
        roll = self.dice.random()
        return ("the " if roll < 0.07 else "one " if roll < 0.1 else "a single " if roll < 0.12 else "a ") + noun

    def fill(self, text):
        """Put the background's colours into a phrase."""
        slots = ("{c}",) if self.scene.background == "plain" else ("{a}", "{b}")
        for slot, name in zip(slots, self.scene.background_colours, strict=False):
            text = text.replace(slot, self.word(COLOUR_WORDS, name))
        return text

    def slots(self):
        """Everything that a sentence shape may ask for."""
        scene, slots = self.scene, {}
        things = list(scene.things)
        if len(things) == 2 and self.dice.random() < 0.5:
            things.reverse()
        for suffix, thing in zip(("", "2"), things, strict=False):
            noun = self.noun(thing)
            verbs = zip(("vb", "vs", "vi", "vp", "vip"), self.moves(thing), strict=True)
            slots |= {
                "np" + suffix: self.named(noun),
                "nb" + suffix: noun,
                **{name + suffix: phrase for name, phrase in verbs},
            }
            differ = len(things) == 2 and things[0].shape != things[1].shape and self.shape
            slots["the" + suffix] = f"the {thing.shape if differ else thing.colour + ' one'}"
        if self.background:
            phrases = BACKGROUND_PHRASES[scene.background]
            if self.background_colours or not scene.background_colours:
                slots["bg"] = self.fill(self.phrase(phrases["where"]))
                slots["bgn"] = self.fill(self.phrase(phrases["noun"]))
                slots["bgi"] = self.fill(self.phrase(phrases["is"]))
            else:
                slots["bg"], slots["bgn"], slots["bgi"] = self.pick(_COLOURLESS[scene.background])
        slots["of"] = self.pick(
            OF_IMAGE if self.image and scene.style == "flat" else OF_STYLE.get(scene.style, OF_VIDEO)
        )
        return slots

    # --------------------------------------------------------------------------------------------- sentences

    def sentence(self):
        """The main sentence, without style and camera."""
        slots = self.slots()
        two = len(self.scene.things) == 2
        if self.unseen:
            shape = self.pick(HELD_OUT["two" if two else "one", self.motion, self.background])
        else:
            ways = {(thing.motion, thing.way) for thing in self.scene.things}
            alike = two and self.motion and self.background and len(ways) == 1
            shapes = TRAINED["two" if two else "one", self.motion, self.background]
            shape = self.pick(ALIKE if alike and self.dice.random() < 0.6 else shapes)
            while "{the}" in shape and not (self.colour and self.shape):
                shape = self.pick(shapes)
        styled = "{of}" in shape
        return shape.format_map(slots), styled

    def wrapped(self, text, table, chance_in_front=0.3):
        front, behind = table
        return f"{self.pick(front)} {text}" if self.dice.random() < chance_in_front else text + self.pick(behind)

    def details(self):
        """Further sentences for long captions: where things are, how a gradient runs, that there is nothing else."""
        scene, lines = self.scene, []
        for thing in scene.things:
            stays = thing.motion in ("still", "spin", "grow", "shrink") and scene.camera == "still"
            place = _place(thing) if stays or self.begins else ""
            if place and self.dice.random() < (0.7 if len(scene.things) == 1 else 0.4):
                the = "it" if len(scene.things) == 1 else f"the {thing.shape}"
                if len(scene.things) == 2 and scene.things[0].shape == scene.things[1].shape:
                    the = f"the {thing.colour} {thing.shape}" if scene.shows_colour else ""
                verb = self.pick(("is", "can be found", "sits") if stays else ("starts", "begins"))
                lines += [f"{the} {verb} {place}"] if the else []
        if scene.direction and self.background and self.dice.random() < 0.5:
            lines.append(f"the gradient runs {_DIRECTION[scene.direction]}")
        if len(scene.things) == 1 and self.dice.random() < 0.2:
            lines.append(self.pick(("there is nothing else", "nothing else is there", "only one thing is there")))
        if len(scene.things) == 2 and self.dice.random() < 0.2:
            lines.append(self.pick(("there are two things in all", "there is nothing else")))
        self.dice.shuffle(lines)
        return lines

    def text(self):
        scene = self.scene
        text, styled = self.sentence()
        if not self.image and (scene.camera != "still" or self.dice.random() < (0.15 if self.kind == "long" else 0.04)):
            text = self.wrapped(text, CAMERA[scene.camera], 0.25)
        if (scene.style != "flat" and not styled) or (scene.style == "flat" and self.dice.random() < 0.03):
            text = self.wrapped(text, STYLE[scene.style])
        if self.kind == "long":
            text = ". ".join([text, *self.details()])
        return self.written(text)

    def written(self, text):
        """Articles, capitals and the full stop."""
        text = _ARTICLE.sub(r"\1n ", text)
        roll = self.dice.random()
        if roll < (0.75 if self.kind == "short" else 0.3):
            return text if roll < 0.25 or ". " in text else text.capitalize()
        text = _SENTENCE.sub(lambda match: match.group(0).upper(), text)
        return text + "." if self.kind == "long" or self.dice.random() < 0.75 else text

    def stated(self):
        """The groups of attributes that this caption settles."""
        said = {"count", "camera", "style"} - ({"camera"} if self.image else set())
        single = [name for name in ("colour", "shape", "motion") if getattr(self, name)]
        said.update(single)
        said.update(
            f"{a} {b}"
            for a, b in (("colour", "shape"), ("shape", "motion"), ("colour", "motion"))
            if {a, b} <= {*single}
        )
        if self.background:
            said.add("background")
        if self.background_colours:
            said |= {"plain colour", "gradient from", "gradient to"}
        return said


def _place(thing):
    """Where a thing starts, in words; empty for the middle of the frame."""
    across = "left" if thing.x < 0.36 else "right" if thing.x > 0.64 else ""
    along = "top" if thing.y < 0.36 else "bottom" if thing.y > 0.64 else ""
    if across and along:
        return f"in the {along} {across} corner" if thing.size < 0.3 else f"at the {along} {across}"
    return f"on the {across}" if across else f"at the {along}" if along else ""


def caption_with_targets(scene, rng, kind="any", *, image=False, begins=True):
    """A caption and what it teaches: (text, values, mask), two lists of 0.0/1.0 over `attributes.ATTRIBUTES`.

    rng: numpy Generator or random.Random. kind: see KINDS. image: the scene is shown as a single picture, so that no
    motion is said. begins: the clip begins where the scene does; if not, it is not said where things start.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    dice = rng if isinstance(rng, random.Random) else random.Random(int(rng.integers(2**63)))
    if kind == "any":
        roll = dice.random()
        kind = "plain" if roll < 0.45 else "short" if roll < 0.65 else "long" if roll < 0.85 else "partial"
    text = _Text(scene, dice, kind, image, begins)
    return text.text(), *target(scene, text.stated())


def caption(scene, rng, kind="any", *, image=False):
    """A scene in a sentence or a few; see `caption_with_targets` for the arguments."""
    return caption_with_targets(scene, rng, kind, image=image)[0]


def then(first: str, second: str) -> str:
    """What leads from one scene to another, in one sentence made of theirs."""
    return f"{first.rstrip('.')}, then {second[:1].lower()}{second[1:]}"
