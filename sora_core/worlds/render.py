"""Scenes to pixels: a batched renderer made of signed distances, anti-aliased by construction, on any device.

A shape is the distance of a pixel's centre to its outline (negative inside), in pixels; how much of the pixel is
covered is clamp(1/2 - distance, 0, 1). Distances: I. Quilez, "2D distance functions". Only a window around each thing
is computed, which is what makes it fast enough to feed a training.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .backdrop import PAPERS, Place, paint
from .scene import Scene
from .vocabulary import CLOSED, COLOURS, EXTENT, NEON_RGB

RING_HOLE = 0.58  # inner radius / outer radius
STAR_WAIST = 0.45  # inner radius / outer radius
_PAD = {"flat": 0.0, "charcoal": 0.05, "neon": 0.17, "blueprint": 0.0}  # what a style paints outside the outline


@dataclass(frozen=True)
class Paths:
    """Where things are on the screen, each (B, 2, T): x / width, y / height, size / shorter side, angle in radians; an
    absent second thing repeats the first. And the camera, each (B, T): zoom, shift to the right / width."""

    x: Tensor
    y: Tensor
    size: Tensor
    angle: Tensor
    zoom: Tensor
    shift: Tensor

    def toward(self, other: "Paths", share: Tensor) -> "Paths":
        """Things on their way to the other's, as far as `share` (B, T) in 0..1 says; the camera stays."""
        names, share = ("x", "y", "size", "angle"), share[:, None]
        return replace(self, **{name: getattr(self, name).lerp(getattr(other, name), share) for name in names})


def render(scenes: list[Scene], frames: int, height: int, width: int, fps: float = 8.0, device="cpu") -> Tensor:
    """Render each scene as a clip, (B, 3, T, H, W) float32 in [-1, 1].

    The scene's time runs 0..1 from the first frame to the last, which in a loop are the same picture; `fps` only sets
    the speed of waves.
    """
    along = paths(scenes, frames, height, width, device)
    video = _backdrops(scenes, along, height, width, fps)
    _populate(video, scenes, along, [_largest(scene) for scene in scenes])
    return video.clamp_(0, 1).mul_(2).sub_(1)


def render_morph(
    scenes: list[Scene], ends: list[Scene], share: Tensor, frames: int, height: int, width: int, fps: float = 8.0
) -> Tensor:
    """Render each scene on its way to another, as far as `share` (B, T) in 0..1 says, on its device: as `render`.

    Backdrops dissolve. Before them a thing goes to the place of the other scene's as it takes on its looks, which it
    does in the middle half of the way. A second thing, where the other scene has but one, goes where that one goes.
    """
    first, last = (paths(of, frames, height, width, share.device) for of in (scenes, ends))
    looks = (2 * share - 0.5).clamp(0, 1)
    looks = (looks * looks * (3 - 2 * looks))[:, None, :, None, None]
    parts = [_backdrops(of, along, height, width, fps) for of, along in ((scenes, first), (ends, last))]
    before = parts[0].lerp(parts[1], share[:, None, :, None, None])
    after = before.clone()
    largest = [list(map(max, *map(_largest, pair))) for pair in zip(scenes, ends, strict=True)]
    _populate(before, scenes, first.toward(last, share), largest)
    _populate(after, ends, last.toward(first, 1 - share), largest)
    return before.lerp(after, looks).clamp_(0, 1).mul_(2).sub_(1)


def _populate(video: Tensor, scenes: list[Scene], along: Paths, largest: list[list[float]]) -> None:
    """Draw the things of each scene, none ever larger than `largest`, and its wall, into its clip."""
    frames, height, width = video.shape[2:]
    short, device = min(height, width), video.device
    groups = defaultdict(list)
    step = max(8, short // 8)
    for row, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.things):
            need = 2 * ((EXTENT[thing.shape] * largest[row][slot] + _PAD[scene.style]) * short + 1.5)
            groups[slot, scene.style, -(-math.ceil(need) // step) * step].append(row)
    scaled = (along.x * width, along.y * height, along.size * short, along.angle)
    for (slot, style, window), rows in sorted(groups.items()):
        things = [scenes[row].things[slot] for row in rows]
        at = torch.tensor(rows, device=device)
        own = (path[at, slot].reshape(len(rows), frames, 1, 1) for path in scaled)
        _draw_things(video, at, things, style, window, *own)
    walled = [row for row, scene in enumerate(scenes) if scene.wall]
    if walled:
        _draw_walls(video, walled, scenes)


def _largest(scene: Scene) -> list[float]:
    """The largest diameter of two things on the screen / shorter side, known without a look at the device."""
    zoom = math.exp(max(0.0, _camera(scene)[0]))
    return [thing.size * max(1.0, thing.scale) * zoom for thing in (scene.things * 2)[:2]]


def coverage(
    scenes: list[Scene], frames: int, height: int, width: int, cell: int, device="cpu", along: Paths | None = None
) -> Tensor:
    """How much of each cell of `cell` pixels a side each thing covers, (B, 2, T, ceil(H/cell), ceil(W/cell)) in 0..1.

    Things count as discs, also where a wall hides them. The second of a scene with one thing covers nothing.
    """
    along = along or paths(scenes, frames, height, width, device)
    rows = (torch.arange(-(-height // cell), device=device) + 0.5)[:, None]
    columns = torch.arange(-(-width // cell), device=device) + 0.5
    dx = columns - (along.x * width / cell)[..., None, None]
    dy = rows - (along.y * height / cell)[..., None, None]
    radius = (along.size * min(height, width) / cell / 2)[..., None, None]
    covered = (0.5 + radius - torch.hypot(dx, dy)).clamp(0, 1)
    present = torch.tensor([[slot < len(scene.things) for slot in range(2)] for scene in scenes], device=device)
    return covered * present[:, :, None, None, None]


# --------------------------------------------------------------------------------------------------------------------
# Paths


def paths(scenes: list[Scene], frames: int, height: int, width: int, device="cpu") -> Paths:
    """Where the scenes say that things are."""
    names = ("x", "y", "dx", "dy", "size", "scale", "angle", "spin", "radius", "phase", "cycles")
    rows = [
        [[getattr(t, name) for name in names] + [float(t.motion == "bounce")] for t in (s.things * 2)[:2]]
        for s in scenes
    ]
    numbers = torch.tensor(rows, dtype=torch.float32, device=device)  # (B, 2, 12)
    x, y, dx, dy, size, scale, angle, spin, radius, phase, cycles, bounce = numbers.unsqueeze(-1).unbind(2)
    t, t_camera = _times(scenes, frames, device)
    short = min(height, width)
    turn = torch.deg2rad(phase) + 2 * math.pi * cycles * t
    x = x + dx * t + radius * (turn.cos() - torch.deg2rad(phase).cos()) * short / width
    y = y + dy * torch.where(bounce > 0, (math.pi * cycles * t).sin().abs(), t)
    y = y + radius * (turn.sin() - torch.deg2rad(phase).sin()) * short / height
    size = size * (1 + (scale - 1) * t)
    angle = torch.deg2rad(angle + spin * t)

    speed = torch.tensor([_camera(scene) for scene in scenes], device=device)  # (B, 2): log zoom, pan
    zoom, shift = torch.exp(speed[:, :1] * t_camera), speed[:, 1:] * t_camera
    x = 0.5 + (x - 0.5) * zoom[:, None] + shift[:, None]
    y = 0.5 + (y - 0.5) * zoom[:, None]
    return Paths(x, y, size * zoom[:, None], angle, zoom, shift)


def _times(scenes, frames: int, device):
    """The time of each of two things (B, 2, T), and of the camera (B, T): see `Scene.loop`."""
    time = torch.linspace(0, 1, frames, device=device) if frames > 1 else torch.zeros(1, device=device)
    begin = torch.tensor([scene.loop or 0.0 for scene in scenes], device=device)
    returns = [[scene.loop is not None] * 3 for scene in scenes]
    for scene, row in zip(scenes, returns, strict=True):
        for slot, thing in enumerate(scene.things):
            row[slot] &= thing.motion not in CLOSED
    time = (time + begin[:, None, None]).expand(-1, 3, -1)
    back = (1 - (2 * math.pi * time).cos()) / 2
    time = torch.where(torch.tensor(returns, device=device)[..., None], back, time)
    return time[:, :2], time[:, 2]


def _camera(scene: Scene) -> tuple[float, float]:
    """The logarithm of the zoom, and how far the picture moves to the right, over the whole clip."""
    if scene.camera in ("zoom_in", "zoom_out"):
        return math.log(scene.camera_amount) * (1 if scene.camera == "zoom_in" else -1), 0.0
    if scene.camera in ("pan_left", "pan_right"):
        return 0.0, scene.camera_amount * (1 if scene.camera == "pan_left" else -1)
    return 0.0, 0.0


# --------------------------------------------------------------------------------------------------------------------
# Backgrounds


def _backdrops(scenes: list[Scene], along: Paths, height: int, width: int, fps: float) -> Tensor:
    """Each scene's background (B, 3, T, H, W) in 0..1, painted once if neither it nor the camera moves."""
    zoom, shift = along.zoom, along.shift
    frames, device, short = zoom.shape[1], zoom.device, min(height, width)
    video = torch.empty(len(scenes), 3, frames, height, width, device=device)
    groups = defaultdict(list)
    for row, scene in enumerate(scenes):
        groups[scene.background if scene.style == "flat" else scene.style, scene.camera != "still"].append(row)
    right = (torch.arange(width, device=device) + 0.5 - width / 2) / short
    down = (torch.arange(height, device=device) + 0.5 - height / 2) / short
    seconds = (torch.arange(frames, device=device) / fps).reshape(1, -1, 1, 1)
    for (kind, moving), rows in sorted(groups.items()):
        count = frames if moving else 1
        scale = zoom[rows, :count, None, None]
        u = (right - shift[rows, :count, None, None] * width / short) / scale
        place = Place(u, down[:, None] / scale, height / short, 1 / (short * scale), seconds)
        for row, picture in zip(rows, paint(kind, [scenes[row] for row in rows], place), strict=True):
            video[row] = picture
    return video


# --------------------------------------------------------------------------------------------------------------------
# Things


def _draw_things(video, at, things, style: str, window: int, x, y, size, angle):
    """Draw one thing into each of the clips `at`, in windows of `window` pixels a side at most.

    x, y, size: in pixels, and angle: in radians, each (N, T, 1, 1).
    """
    frames, height, width = video.shape[2:]
    device = video.device
    high, wide = min(window, height), min(window, width)
    top = (y - high / 2).round().clamp(0, height - high)
    left = (x - wide / 2).round().clamp(0, width - wide)
    rows = top + torch.arange(high, device=device)[:, None]  # (N, T, h, 1)
    columns = left + torch.arange(wide, device=device)  # (N, T, 1, w)
    dx, dy = columns + 0.5 - x, rows + 0.5 - y
    sine, cosine = angle.sin(), angle.cos()
    across, along = cosine * dx + sine * dy, cosine * dy - sine * dx  # in the thing's own axes, (N, T, h, w)
    distance = torch.empty_like(across)
    for shape in EXTENT:
        own = [k for k, thing in enumerate(things) if thing.shape == shape]
        if own:
            distance[own] = _DISTANCES[shape](across[own], along[own], size[own])

    # Flat positions of the windows' pixels in the video, a channel apart from each other.
    area = frames * height * width
    frame = torch.arange(frames, device=device).reshape(1, -1, 1, 1) * (height * width)
    index = at.reshape(-1, 1, 1, 1) * (3 * area) + frame + rows.long() * width + columns.long()
    index = index.unsqueeze(1) + torch.arange(3, device=device).reshape(1, 3, 1, 1, 1) * area  # (N, 3, T, h, w)
    pixels = video.view(-1)
    under = pixels.index_select(0, index.flatten()).view(index.shape)
    drawn = _STYLES[style](under, distance, dx / size, dy / size, size, things, min(height, width))
    pixels.scatter_(0, index.flatten(), drawn.flatten())


def _ball(x, y, size):
    return torch.hypot(x, y) - size / 2


def _ring(x, y, size):
    middle, half = (1 + RING_HOLE) / 4, (1 - RING_HOLE) / 4
    return (torch.hypot(x, y) - size * middle).abs() - size * half


def _square(x, y, size):
    x, y = x.abs() - 0.42 * size, y.abs() - 0.42 * size
    return torch.hypot(x.clamp(min=0), y.clamp(min=0)) + torch.maximum(x, y).clamp(max=0)


def _triangle(x, y, size):
    root = math.sqrt(3)
    half = EXTENT["triangle"] * size * root / 2  # half of a side
    x, y = x.abs() - half, half / root - y
    folded = x + root * y > 0
    x, y = torch.where(folded, (x - root * y) / 2, x), torch.where(folded, (-root * x - y) / 2, y)
    x = x - torch.minimum(x.clamp(max=0), x.new_zeros(())).maximum(-2 * half)
    return -torch.hypot(x, y) * torch.sign(y)


def _star(x, y, size):
    cosine, sine = math.cos(math.pi / 5), math.sin(math.pi / 5)
    outer = EXTENT["star"] * size
    x, y = x.abs(), -y
    for side in (1, -1):  # fold the ten half-points onto one
        over = 2 * (side * cosine * x - sine * y).clamp(min=0)
        x, y = x - over * side * cosine, y + over * sine
    x, y = x.abs(), y - outer
    edge_x, edge_y = STAR_WAIST * sine, STAR_WAIST * cosine - 1
    along = ((x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2)).clamp(min=0).minimum(outer)
    return torch.hypot(x - edge_x * along, y - edge_y * along) * torch.sign(y * edge_x - x * edge_y)


_DISTANCES = {"ball": _ball, "square": _square, "triangle": _triangle, "star": _star, "ring": _ring}


# --------------------------------------------------------------------------------------------------------------------
# Styles: what a pixel becomes, given its distance (N, T, h, w) in pixels and what was there (N, 3, T, h, w)


def _inside(distance):
    return (0.5 - distance).clamp(0, 1).unsqueeze(1)


def _rgb(colours, like):
    return like.new_tensor(colours).reshape(-1, 3, 1, 1, 1)


def _flat(under, distance, dx, dy, size, things, short):
    """Plain colour with a thin darker outline; a ball has light from the upper left."""
    fill = _rgb([thing.rgb for thing in things], under)
    edge = (0.05 * size).clamp(max=0.018 * short)
    rim = (0.5 + distance + edge).clamp(0, 1).unsqueeze(1)
    balls = [k for k, thing in enumerate(things) if thing.shape == "ball"]
    colour = fill * (1 - 0.35 * rim)
    if balls:
        x, y = dx[balls], dy[balls]
        shade = 1 - 0.22 * ((x + y) * 1.1 + 0.1).clamp(0, 1)
        light = 0.38 * torch.exp(-((x + 0.17) ** 2 + (y + 0.17) ** 2) / 0.012)
        colour[balls] = torch.lerp(colour[balls] * shade.unsqueeze(1), under.new_ones(()), light.unsqueeze(1))
    return torch.lerp(under, colour, _inside(distance))


def _charcoal(under, distance, dx, dy, size, things, short):
    """A smudged fill that darkens to the lower right, strokes across it, a soft dark outline."""
    strokes = 0.05 * torch.sin((dx * size - dy * size) * (2 * math.pi / (0.07 * short)))
    tone = (0.50 - 0.22 * (dx + dy) + strokes).clamp(0.25, 0.72).unsqueeze(1)
    soft = _inside(distance / (1 + 0.006 * short))
    line = 0.88 * torch.exp(-((distance / (0.012 * short + 0.25)) ** 2)).unsqueeze(1)
    return torch.lerp(torch.lerp(under, tone, 0.85 * soft), under.new_full((), 0.1), line)


def _neon(under, distance, dx, dy, size, things, short):
    """A glass tube along the outline, whitish at its core, and its glow on the dark."""
    shift = [[c - k / 255 for c, k in zip(thing.rgb, COLOURS[thing.colour], strict=True)] for thing in things]
    glass = _rgb([NEON_RGB[thing.colour] for thing in things], under)
    glass = (glass + _rgb(shift, under)).clamp(0, 1)
    half = (0.06 * size).clamp(max=0.02 * short)
    away = (distance + half).abs()
    reach = (1 - away / (_PAD["neon"] * short)).clamp(min=0)
    glow = (0.62 * reach**3).unsqueeze(1)
    core = (0.55 * torch.exp(-((away / (0.6 * half)) ** 2))).unsqueeze(1)
    lit = under + glow * glass * (1 - under)
    return torch.lerp(lit, torch.lerp(glass, under.new_ones(()), core), _inside(away - half))


def _blueprint(under, distance, dx, dy, size, things, short):
    """A white outline, drawn inside the edge, over a faint wash."""
    edge = (0.07 * size).clamp(max=0.024 * short)
    line = (0.5 + distance + edge).clamp(0, 1).unsqueeze(1)
    inside = _inside(distance)
    return torch.lerp(torch.lerp(under, under.new_ones(()), 0.1 * inside), under.new_full((), 0.96), inside * line)


_STYLES = {"flat": _flat, "charcoal": _charcoal, "neon": _neon, "blueprint": _blueprint}


# --------------------------------------------------------------------------------------------------------------------
# The wall


def _draw_walls(video, rows: list[int], scenes):
    """Put each walled scene's wall in front of what has been drawn."""
    height, width = video.shape[-2:]
    short, device = min(height, width), video.device
    column = (torch.arange(width, device=device) + 0.5 - width / 2) / short  # in shorter sides from the middle
    row = (torch.arange(height, device=device) + 0.5 - height) / short  # from the lower edge
    for number in rows:
        wall, style = scenes[number].wall, scenes[number].style
        x = column - (wall.x - 0.5) * width / short
        y = (row - (wall.top - 1) * height / short)[:, None]
        distance = torch.maximum(x.abs() - wall.width / 2, -y) * short  # pixels, negative inside, (H, W)
        course = torch.floor(y / 0.1)
        joint_y = ((torch.remainder(y / 0.1 + 0.5, 1) - 0.5).abs() * 0.1 - 0.006) * short
        joint_x = ((torch.remainder(x / 0.18 + 0.5 * (course % 2) + 0.5, 1) - 0.5).abs() * 0.18 - 0.006) * short
        joint = (0.5 - torch.minimum(joint_x, joint_y)).clamp(0, 1) * min(1.0, 0.012 * short)
        edge = (0.5 + distance + 0.018 * short).clamp(0, 1)
        body, mortar, outline = {
            "flat": (wall.rgb, [0.82 * c + 0.16 for c in wall.rgb], [0.65 * c for c in wall.rgb]),
            "charcoal": ((0.62,) * 3, (0.70,) * 3, (0.15,) * 3),
            "neon": (PAPERS["neon"], (0.10, 0.10, 0.12), (0.45, 0.45, 0.48)),
            "blueprint": (PAPERS["blueprint"], (0.25, 0.42, 0.68), (0.96,) * 3),
        }[style]
        body, mortar, outline = (video.new_tensor(colour).reshape(3, 1, 1) for colour in (body, mortar, outline))
        colour = torch.lerp(torch.lerp(body, mortar, joint), outline, edge).unsqueeze(1)
        video[number] = torch.lerp(video[number], colour, (0.5 - distance).clamp(0, 1))
