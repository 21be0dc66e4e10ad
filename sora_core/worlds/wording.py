"""The words of the worlds: synonyms, verbs and phrases that `caption.py` builds its sentences from.

Every word stands for exactly one name of the vocabulary (`violet` is always purple, never blue). Phrases are pairs of
known words; a fixed share of the *pairs* (`reserved`) is kept out of training captions and used by held-out captions
only. Held-out wording therefore recombines words that training has seen: a model trained from scratch has no way to
know a synonym that it never read, but it can be asked to understand a new phrase.
"""

import zlib

COLOUR_WORDS = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden", "lemon-yellow"),
    "green": ("green", "emerald"),
    "cyan": ("cyan", "turquoise", "aqua", "teal"),
    "blue": ("blue", "azure", "cobalt blue", "sapphire"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose", "rosy"),
    "brown": ("brown", "chocolate", "tan"),
    "white": ("white", "ivory", "snowy"),
    "gray": ("gray", "grey", "silver"),
    "black": ("black", "jet-black", "ebony"),
}
SHAPE_WORDS = {
    "ball": ("ball", "circle", "disc", "disk", "sphere", "orb"),
    "square": ("square", "box", "block", "cube"),
    "triangle": ("triangle", "wedge", "pyramid"),
    "star": ("star", "five-pointed star"),
    "ring": ("ring", "hoop", "donut", "doughnut"),
}
CANONICAL = 0.5  # share of the plain name among its synonyms


def _verbs(text):
    """ "drift drifts drifting, ..." -> [(base, third person, participle), ...]."""
    return [tuple(entry.split()) for entry in text.split(",")]


_TRAVEL = "move moves moving,go goes going,drift drifts drifting,travel travels travelling"
_GO = _verbs(_TRAVEL + ",slide slides sliding,glide glides gliding,float floats floating")
_RISE = _verbs(_TRAVEL + ",float floats floating")
_FALL = _verbs(_TRAVEL + ",sink sinks sinking")
_HIDE = _verbs(_TRAVEL + ",pass passes passing,slide slides sliding")

# Each motion: a list of (verbs, complements); a phrase is one verb and one complement.
_MOTION_WORDS = {
    "left": [
        (_GO, "to the left,left,leftwards,leftward,from right to left,towards the left,toward the left side,"
              "from the right to the left,across from right to left"),
    ],
    "right": [
        (_GO, "to the right,right,rightwards,rightward,from left to right,towards the right,toward the right side,"
              "from the left to the right,across from left to right"),
    ],
    "up": [
        (_verbs("rise rises rising,climb climbs climbing,ascend ascends ascending"),
         ",upwards,towards the top,from the bottom to the top"),
        (_RISE, "up,upwards,upward,towards the top,from bottom to top"),
    ],
    "down": [
        (_verbs("fall falls falling,descend descends descending,sink sinks sinking,drop drops dropping"),
         ",down,downwards,towards the bottom,from the top to the bottom"),
        (_FALL, "down,downwards,downward,towards the bottom,from top to bottom"),
    ],
    "bounce": [
        (_verbs("bounce bounces bouncing,hop hops hopping"), ",up and down,again and again,on the spot,like rubber"),
        (_verbs("jump jumps jumping"), "up and down,again and again,up and down on the spot"),
    ],
    "orbit": [
        (_verbs("go goes going,move moves moving,travel travels travelling,fly flies flying"),
         "in a circle,in circles,round in circles,around in a circle,along a circular path"),
        (_verbs("circle circles circling,orbit orbits orbiting"), ",around,around a point"),
        (_verbs("revolve revolves revolving"), "around a point,in circles"),
    ],
    "grow": [
        (_verbs("grow grows growing"), ",bigger,larger,in size"),
        (_verbs("get gets getting,become becomes becoming"), "bigger,larger,bigger and bigger,larger and larger"),
        (_verbs("expand expands expanding,swell swells swelling,inflate inflates inflating"),
         ",steadily,more and more"),
    ],
    "shrink": [
        (_verbs("shrink shrinks shrinking"), ",steadily,more and more,in size"),
        (_verbs("get gets getting,become becomes becoming"), "smaller,smaller and smaller,tinier"),
        (_verbs("contract contracts contracting,dwindle dwindles dwindling"), ",steadily,in size"),
    ],
    "spin": [
        (_verbs("spin spins spinning,rotate rotates rotating,twirl twirls twirling"),
         ",around,in place,on the spot,around its centre"),
        (_verbs("turn turns turning"), "around its centre,around itself,round and round,in place"),
    ],
    "still": [
        (_verbs("stand stands standing,stay stays staying,remain remains remaining"),
         "still,in place,motionless,where it is,completely still"),
        (_verbs("rest rests resting,sit sits sitting"), "motionless,still,in place,quietly"),
    ],
    "behind_wall": [
        (_HIDE, "behind a wall,behind the wall,behind a wall and comes out again,behind a wall and reappears,"
                "behind a wall and comes out on the other side,past behind a wall"),
        (_verbs("disappear disappears disappearing,vanish vanishes vanishing"),
         "behind a wall and comes back,behind a wall and comes out again,behind a wall and reappears"),
        (_verbs("hide hides hiding"), "behind a wall and comes out again,behind a wall and reappears"),
    ],
}  # fmt: skip

COUNTER_CLOCKWISE = ("counter-clockwise", "counterclockwise", "anticlockwise")

# Second verbs inside a complement follow the first one's form.
_AGREE = {
    "and comes out": ("and come out", "and comes out", "and coming out"),
    "and comes back": ("and come back", "and comes back", "and coming back"),
    "and reappears": ("and reappear", "and reappears", "and reappearing"),
}
_PLURAL = {"where it is": "where they are", "its centre": "their centres", "around itself": "around themselves"}


def reserved(phrase):
    """True for about an eighth of all phrases: those that only held-out captions use."""
    return zlib.crc32(phrase.encode()) % 8 == 0


def _agree(phrase, form):
    for key, forms in _AGREE.items():
        phrase = phrase.replace(key, forms[form])
    return phrase


def _forms(verb, complement):
    """(base, third person, participle; base and participle of several things) of a verb with its complement."""
    base, third, participle = (_agree(f"{word} {complement}".strip(), i) for i, word in enumerate(verb))
    return base, third, participle, _of_several(base), _of_several(participle)


def _of_several(phrase):
    for key, value in _PLURAL.items():
        phrase = phrase.replace(key, value)
    return phrase


def _motion_phrases():
    """{motion: (training phrases, reserved phrases)}; groups of verbs weigh the same whatever their size."""
    table = {}
    for motion, groups in _MOTION_WORDS.items():
        known, kept = [], []
        for verbs, complements in groups:
            pairs = [(verb, c.strip()) for verb in verbs for c in complements.split(",")]
            # A bare verb or its plainest form is always trained: it carries the meaning of the word.
            secret = [p for p in pairs if p[1] and p[1] != complements.split(",")[0] and reserved(f"{motion} {p}")]
            known.append([_forms(*p) for p in pairs if p not in secret])
            kept += [_forms(*p) for p in secret]
        table[motion] = (known, kept)
    return table


MOTION_PHRASES = _motion_phrases()

# Places of a background: prepositional phrase, noun phrase, what "the background is". {c} one colour, {a} and {b} two.
_PLAIN_PREP = ("in front of", "against", "on", "over", "before")
_PLAIN_NOUN = ("{c} background", "plain {c} background", "{c} backdrop", "plain {c} backdrop", "solid {c} background",
               "uniform {c} background")  # fmt: skip
_GRADIENT_NOUN = (
    "gradient from {a} to {b}",
    "{a}-to-{b} gradient",
    "gradient background from {a} to {b}",
    "background fading from {a} to {b}",
    "backdrop shading from {a} into {b}",
    "background that goes from {a} to {b}",
    "{a} and {b} gradient",
)
_SCENERY = {
    "sky": (
        ("in the sky", "in a blue sky", "in the cloudy sky", "against the sky", "in front of a sky with clouds",
         "under a cloudy sky", "among the clouds", "up in the clouds", "in the daytime sky"),
        ("blue sky", "sky with clouds", "cloudy sky", "sky background", "clouds in the sky"),
        ("the sky", "a blue sky", "a sky with clouds", "a cloudy sky"),
    ),
    "sea": (
        ("at sea", "over the sea", "above the sea", "over the ocean", "in front of the sea", "above the waves",
         "by the sea", "in front of the ocean", "over the waves"),
        ("the sea", "ocean background", "sea background", "sea and waves", "the ocean"),
        ("the sea", "the ocean", "the sea with waves"),
    ),
    "grass": (
        ("on the grass", "over a meadow", "on a lawn", "on grass", "in a grassy field", "in a meadow", "over the grass",
         "on a green lawn", "in front of a meadow"),
        ("grassy field", "grass background", "green meadow", "lawn background", "the grass"),
        ("grass", "a meadow", "a lawn", "a grassy field"),
    ),
    "night": (
        ("at night", "in the night", "in the night sky", "in the dark of the night", "against the night sky",
         "under the night sky", "during the night", "in a dark night sky"),
        ("night", "night sky", "night background", "dark night sky", "night scene"),
        ("the night sky", "night", "a dark night sky"),
    ),
}  # fmt: skip


def _split(phrases):
    known = [p for i, p in enumerate(phrases) if i == 0 or not reserved(p)]
    return known, [p for p in phrases if p not in known]


def _background_phrases():
    """{background: {"where" | "noun" | "is": (training phrases, reserved phrases)}}, with {c}, {a}, {b} left open."""
    table = {}
    for kind, nouns in (("plain", _PLAIN_NOUN), ("gradient", _GRADIENT_NOUN)):
        where = [f"{prep} a {noun}" for noun in nouns for prep in _PLAIN_PREP] + [f"with a {noun}" for noun in nouns]
        table[kind] = {"where": _split(where), "noun": _split(nouns)}
    table["plain"]["is"] = _split(("{c}", "plain {c}", "all {c}", "solid {c}"))
    table["gradient"]["is"] = _split(("a gradient from {a} to {b}", "fading from {a} to {b}", "{a} and {b}, blending"))
    for kind, (where, noun, predicate) in _SCENERY.items():
        table[kind] = {"where": _split(where), "noun": _split(noun), "is": _split(predicate)}
    return table


BACKGROUND_PHRASES = _background_phrases()
