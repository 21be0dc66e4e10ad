"""Sentence shapes: what `caption.py` fills with the words of `wording.py`.

One shape a line; a line said twice weighs twice.

Slots: {np} a noun phrase and {nb} the same without its article; {vs} "drifts to the left", {vi} "drifting to the left",
{vb} "drift to the left", {vp} and {vip} like {vb} and {vi} but of several; {the} "the ball"; the second thing's slots
end in 2.
{bg} "on a blue background", {bgn} "blue background", {bgi} "plain blue" (as in "the background is"); {of} "a video of".
"""


def _lines(text):
    return tuple(text.strip("\n").split("\n"))


# --------------------------------------------------------------------------------------------------------------------
# Training: (things, is the motion said?, is the background said?)

TRAINED = {
    ("one", True, True): _lines("""
{np} {vs} {bg}
{np} {vs} {bg}
{np} {vi} {bg}
{np} {vi} {bg}
{np} {vi} {bg}
{bg}, {np} {vs}
{bg} {np} {vs}
{bg}, {np} is {vi}
{np} is {vi} {bg}
{np} is {vi} {bg}
there is {np} {vi} {bg}
there is {np} that {vs} {bg}
there's {np} {vi} {bg}
we see {np} {vi} {bg}
we see {np} {vb} {bg}
you can see {np} {vi} {bg}
{bg} there is {np} {vi}
{of} {np} {vi} {bg}
{of} {np} {vi} {bg}
{of} {np} that {vs} {bg}
{of} {np} {bg}, {vi}
{np} that {vs} {bg}
{np} which {vs} {bg}
{np}, {vi} {bg}
{np} {bg}, {vi}
{np} {bg} {vs}
{np} {bg} that {vs}
{bgn}, {np} {vi}
{bgn}: {np} {vi}
{bgn} with {np} {vi}
{bgn}. {np} {vs}
{np} {vs}, {bgn}
{np} {vi}, {bgn}
{np} {vs}. the background is {bgi}
{np} is {vi}. the background is {bgi}
{np} {vs}. {bgn}
watch {np} {vb} {bg}
look, {np} {vs} {bg}
in this video {np} {vs} {bg}
in this clip, {np} is {vi} {bg}
{vi} {bg}, {np}
{vi} {bg}: {np}
{np} can be seen {vi} {bg}
{np}. it {vs} {bg}
{np} {bg}. it {vs}
{np} {bg}. it is {vi}
show {np} {vi} {bg}
{nb} {vi} {bg}
{nb}, {vi}, {bgn}
{nb} {vi}, {bgn}
{bgn}, {nb} {vi}
{nb}, {bgn}, {vi}
{nb} {bg}, {vi}
the background is {bgi} and {np} {vs}
the background is {bgi}. {np} {vs}
what we see is {np} {vi} {bg}
"""),
    ("one", True, False): _lines("""
{np} {vs}
{np} {vi}
{np} is {vi}
there is {np} {vi}
we see {np} {vi}
{of} {np} {vi}
{of} {np} that {vs}
{nb} {vi}
{nb} {vi}
{nb}, {vi}
{vi}, {np}
{np} that {vs}
watch {np} {vb}
{np}, {vi}
show {np} {vi}
"""),
    ("one", False, True): _lines("""
{np} {bg}
{np} {bg}
{np} {bg}
{of} {np} {bg}
{of} {np} {bg}
there is {np} {bg}
{bg} there is {np}
{bg}, {np}
{np}, {bgn}
{bgn} with {np}
{bgn}: {np}
{nb} {bg}
{nb}, {bgn}
{bgn}, {nb}
we see {np} {bg}
{np}. the background is {bgi}
{np}. {bgn}
the background is {bgi}, and there is {np}
you can see {np} {bg}
show {np} {bg}
{bg} we see {np}
{np} can be seen {bg}
"""),
    ("one", False, False): _lines("""
{np}
{nb}
{of} {np}
there is {np}
we see {np}
{np}, nothing else
just {np}
show {np}
"""),
    ("two", True, True): _lines("""
{np} {vs} and {np2} {vs2} {bg}
{np} {vs} while {np2} {vs2} {bg}
{bg}, {np} {vs} and {np2} {vs2}
{bg}, {np} {vs} while {np2} {vs2}
{np} {vi} and {np2} {vi2} {bg}
{np} {vi} and {np2} {vi2}, {bgn}
{np} {vs} {bg}. {np2} {vs2}
{np} {bg} {vs} and {np2} {vs2}
{np} and {np2} {bg}: the first {vs}, the second {vs2}
{np} and {np2} {bg}. {the} {vs}, {the2} {vs2}
{np} and {np2} {bg}: {the} {vs} and {the2} {vs2}
there are two things {bg}: {np} {vi} and {np2} {vi2}
two objects {bg}: {np} {vi}, {np2} {vi2}
while {np} {vs}, {np2} {vs2} {bg}
{np} {vs}; {np2} {vs2}. {bgn}
{np} {vs}. {np2} {vs2}. the background is {bgi}
{of} {np} {vi} and {np2} {vi2} {bg}
{of} {np} {vi} {bg} while {np2} {vs2}
{bgn}: {np} {vi}, {np2} {vi2}
{bgn} with {np} {vi} and {np2} {vi2}
we see {np} {vi} and {np2} {vi2} {bg}
{np} is {vi} and {np2} is {vi2} {bg}
{np} is {vi} {bg}, and {np2} is {vi2}
{nb} {vi}, {nb2} {vi2}, {bgn}
{nb} {vi} and {nb2} {vi2}, {bgn}
{nb} {vi}. {nb2} {vi2}. {bgn}
the background is {bgi}. {np} {vs} and {np2} {vs2}
there is {np} {vi} {bg}, and there is {np2} {vi2}
{bgn}, {nb} {vi}, {nb2} {vi2}
{bg} there are {np} that {vs} and {np2} that {vs2}
in this video {np} {vs} and {np2} {vs2} {bg}
"""),
    ("two", True, False): _lines("""
{np} {vs} and {np2} {vs2}
{np} {vs} while {np2} {vs2}
{np} {vi} and {np2} {vi2}
{nb} {vi}, {nb2} {vi2}
{of} {np} {vi} and {np2} {vi2}
while {np} {vs}, {np2} {vs2}
{np} {vs}. {np2} {vs2}
{np} is {vi}, {np2} is {vi2}
{nb} {vi} and {nb2} {vi2}
"""),
    ("two", False, True): _lines("""
{np} and {np2} {bg}
{np} and {np2} {bg}
{bg}, {np} and {np2}
{of} {np} and {np2} {bg}
there are {np} and {np2} {bg}
{np} with {np2} {bg}
{bgn} with {np} and {np2}
{bgn}: {np} and {np2}
{nb} and {nb2}, {bgn}
{nb}, {nb2}, {bgn}
two things {bg}: {np} and {np2}
{np} {bg}, and also {np2}
{np} and {np2}. the background is {bgi}
{bg} there are {np} and {np2}
we see {np} and {np2} {bg}
"""),
    ("two", False, False): _lines("""
{np} and {np2}
{nb}, {nb2}
{of} {np} and {np2}
there are {np} and {np2}
{nb} and {nb2}
{np} with {np2}
"""),
}
# Both things do the same.
ALIKE = _lines("""
{np} and {np2} {vp} {bg}
{np} and {np2} both {vp} {bg}
{np} and {np2} are {vip} {bg}
{np} and {np2}, both {vip} {bg}
{bg} {np} and {np2} {vp}
{of} {np} and {np2} {vip} {bg}
{np} and {np2} {vip} {bg}
{nb} and {nb2} {vip}, {bgn}
{bgn}: {np} and {np2}, both {vip}
""")

# --------------------------------------------------------------------------------------------------------------------
# Held-out captions only

HELD_OUT = {
    ("one", True, True): _lines("""
{bgn}, and there {np} {vs}
what {vs} {bg} is {np}
here is {np}, and it is {vi} {bg}
{bg} we watch {np} {vb}
the thing that {vs} {bg} is {np}
with the background {bgi}, {np} {vs}
{np} is seen {bg}: it {vs}
it is {np} that {vs} {bg}
{vi} is {np}, {bg}
{bg} you can see how {np} {vs}
a short clip, {bgn}: {np} that {vs}
"""),
    ("one", True, False): _lines("""
here is {np}, and it is {vi}
what {vs} is {np}
it is {np} that {vs}
the thing that {vs} is {np}
{vi} is {np}
"""),
    ("one", False, True): _lines("""
here is {np} {bg}
what we see {bg} is {np}
{bgn}, and there is {np}
with the background {bgi}, {np}
it is {np} {bg}
{np} is seen {bg}
"""),
    ("one", False, False): _lines("""
here is {np}
what we see is {np}
it is {np}
"""),
    ("two", True, True): _lines("""
here is {np}, it {vs}, and there is {np2}, it {vs2}, {bg}
{bg} we watch {np} {vb} and {np2} {vb2}
{np} that {vs} and {np2} that {vs2}, both {bg}
with the background {bgi}, {np} {vs} and {np2} {vs2}
{bgn}. two things: {np} that {vs}, {np2} that {vs2}
what we see {bg}: {np} {vs}, and {np2} {vs2} too
{np} is {vi}. {np2} is {vi2}. we are {bg}
"""),
    ("two", True, False): _lines("""
here is {np}, it {vs}, and there is {np2}, it {vs2}
what we see: {np} {vs}, and {np2} {vs2} too
two things: {np} that {vs}, {np2} that {vs2}
"""),
    ("two", False, True): _lines("""
here are {np} and {np2} {bg}
what we see {bg} is {np} and {np2}
{np}, then {np2}, both {bg}
with the background {bgi}, {np} and {np2}
"""),
    ("two", False, False): _lines("""
here are {np} and {np2}
what we see is {np} and {np2}
{np}, then {np2}
"""),
}

# --------------------------------------------------------------------------------------------------------------------
# Style and camera: (put in front, put behind); and what takes the place of "a video of"

STYLE = {
    "charcoal": (
        _lines("""
charcoal drawing:
in charcoal,
a charcoal sketch:
black and white charcoal drawing.
charcoal style,
"""),
        _lines("""
, drawn in charcoal
, charcoal drawing
 in charcoal style
. charcoal sketch, black and white
, as a charcoal drawing
 in black and white charcoal
"""),
    ),
    "neon": (
        _lines("""
neon style,
in neon lights,
glowing neon:
neon sign:
as a neon sign,
"""),
        _lines("""
, glowing neon
 in neon style
, as a glowing neon sign
. neon lights in the dark
, neon drawing
. it is a neon sign
"""),
    ),
    "blueprint": (
        _lines("""
blueprint:
technical drawing:
blueprint style,
as a blueprint,
in blueprint style,
"""),
        _lines("""
, drawn as a blueprint
 in blueprint style
, blueprint
. technical drawing
, as a technical drawing
. it is a blueprint
"""),
    ),
    "flat": (
        _lines("""
flat style,
flat drawing:
"""),
        _lines("""
, flat colours
 in flat style
, flat drawing
. simple flat shapes
"""),
    ),
}
CAMERA = {
    "still": (
        _lines("""
static camera:
fixed camera,
"""),
        _lines("""
, static camera
. the camera stays still
. the camera does not move
, fixed camera
"""),
    ),
    "pan_left": (
        _lines("""
the camera pans left:
as the camera pans to the left,
camera panning left,
"""),
        _lines("""
, the camera pans left
 while the camera pans to the left
. the camera slowly pans left
, slow pan to the left
, camera panning left
. the camera turns to the left
"""),
    ),
    "pan_right": (
        _lines("""
the camera pans right:
as the camera pans to the right,
camera panning right,
"""),
        _lines("""
, the camera pans right
 while the camera pans to the right
. the camera slowly pans right
, slow pan to the right
, camera panning right
. the camera turns to the right
"""),
    ),
    "zoom_in": (
        _lines("""
the camera zooms in:
as the camera zooms in,
zooming in,
"""),
        _lines("""
, the camera zooms in
 while the camera zooms in
. the camera slowly zooms in
, slow zoom in
, camera zooming in
. the camera comes closer
"""),
    ),
    "zoom_out": (
        _lines("""
the camera zooms out:
as the camera zooms out,
zooming out,
"""),
        _lines("""
, the camera zooms out
 while the camera zooms out
. the camera slowly zooms out
, slow zoom out
, camera zooming out
. the camera backs away
"""),
    ),
}
OF_VIDEO = (
    "a video of",
    "a clip of",
    "a short clip of",
    "video of",
    "an animation of",
    "a short video showing",
    "footage of",
)
OF_IMAGE = ("a picture of", "an image of", "picture of", "image of", "a simple picture showing", "an illustration of")
OF_STYLE = {
    "charcoal": (
        "a charcoal drawing of",
        "a charcoal sketch of",
        "a black and white charcoal drawing of",
        "charcoal drawing of",
    ),
    "neon": ("a neon sign of", "a glowing neon sign of", "neon lights showing", "a neon drawing of", "glowing neon:"),
    "blueprint": ("a blueprint of", "a technical drawing of", "a blueprint drawing of", "blueprint of"),
}
