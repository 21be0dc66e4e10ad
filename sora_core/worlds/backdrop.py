"""What lies behind the things: sky, sea, grass, night, plain colours, gradients and the papers of the styles.

Everything is a function of the place in the world, measured in shorter sides of the frame, never of the pixel: the same
scene looks the same at any size, and a camera that moves sees the world go on beyond the frame's edge.
"""

import torch

from .vocabulary import DIRECTIONS, PALETTES

PAPERS = {"charcoal": (0.84, 0.84, 0.84), "neon": (0.015, 0.015, 0.03), "blueprint": (0.09, 0.27, 0.56)}


class Place:
    """Where pixels lie in the world.

    u, v: distance right of and below the frame's centre in shorter sides, (N, T, 1, W) and (N, T, H, 1)
    y: the height as a fraction of the frame's, 0 = top, (N, T, H, 1)
    pixel: a pixel's width in shorter sides, (N, T, 1, 1)
    seconds: the time of each frame, (1, frames, 1, 1); T is 1 where the camera stands still
    """

    def __init__(self, u, v, high: float, pixel, seconds):
        self.u, self.v, self.y, self.pixel, self.seconds = u, v, v / high + 0.5, pixel, seconds
        self.high = high

    def below(self, v) -> torch.Tensor:
        """How much of a pixel lies below the line at `v`, 0..1."""
        return ((self.v - v) / self.pixel + 0.5).clamp(0, 1)


def paint(kind: str, scenes, place: Place) -> torch.Tensor:
    """The background of scenes that all have this kind (a background or a style), (N, 3, T, H, W) in 0..1.

    T is 1 if neither the camera nor the background itself moves (only the sea does).
    """
    return _PAINTERS[kind](scenes, place)


def luck(scenes, count: int, device) -> list[torch.Tensor]:
    """`count` numbers in [0, 1) per scene, each (N, 1, 1, 1), fixed by its seed."""
    seeds = torch.tensor([scene.seed for scene in scenes], device=device)
    numbers = _hash(seeds[:, None], torch.arange(count, device=device)[None])
    return [numbers[:, k].reshape(-1, 1, 1, 1) for k in range(count)]


def _hash(*keys: torch.Tensor) -> torch.Tensor:
    """Integers to a number in [0, 1), the same on every device."""
    mixed = torch.zeros((), dtype=torch.int64, device=keys[0].device)
    for key in keys:
        mixed = (mixed * 31 + key.to(torch.int64) + 0x9E3779B9) & 0xFFFFFFFF
        mixed = ((mixed ^ (mixed >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
        mixed = ((mixed ^ (mixed >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
        mixed = mixed ^ (mixed >> 16)
    return mixed.to(torch.float32) / 2**32


def _colour(rgb, like: torch.Tensor) -> torch.Tensor:
    return like.new_tensor(rgb).reshape(1, 3, 1, 1, 1)


def _blend(under: torch.Tensor, over: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """`over` on `under` (both (N, 3, T, H, W), broadcast) where `amount` (N, T, H, W) is 1."""
    return torch.lerp(under, over, amount.unsqueeze(1))


def _ramp(low, high, x: torch.Tensor) -> torch.Tensor:
    """The smooth step from 0 at `low` to 1 at `high`."""
    x = ((x - low) / (high - low)).clamp(0, 1)
    return x * x * (3 - 2 * x)


# --------------------------------------------------------------------------------------------------------------------
# Colours and papers


def _plain(scenes, place: Place) -> torch.Tensor:
    rgb = place.u.new_tensor([scene.background_rgb[0] for scene in scenes])
    return rgb.reshape(-1, 3, 1, 1, 1).expand(-1, -1, -1, place.v.shape[2], place.u.shape[3])


def _gradient(scenes, place: Place) -> torch.Tensor:
    ends = place.u.new_tensor([scene.background_rgb for scene in scenes])  # (N, 2, 3)
    wide = place.u[..., -1:] - place.u[..., :1] + place.pixel
    across, along = place.u / wide + 0.5, place.y
    weight = place.u.new_tensor([DIRECTIONS[scene.direction] for scene in scenes]).reshape(-1, 2, 1, 1, 1)
    first, second = ends[:, 0].reshape(-1, 3, 1, 1, 1), ends[:, 1].reshape(-1, 3, 1, 1, 1)
    return _blend(first, second, (weight[:, 0] * across + weight[:, 1] * along).clamp(0, 1))


def _charcoal(scenes, place: Place) -> torch.Tensor:
    one, two = luck(scenes, 2, place.u.device)
    rub = torch.sin(5 * place.u + 3 * place.v + 6.3 * one) * torch.sin(4 * place.v - 2 * place.u + 6.3 * two)
    tone = PAPERS["charcoal"][0] + 0.018 * rub - 0.03 * (place.u**2 + place.v**2)
    return tone.unsqueeze(1).expand(-1, 3, -1, -1, -1)


def _neon(scenes, place: Place) -> torch.Tensor:
    shape = len(scenes), 3, 1, place.v.shape[2], place.u.shape[3]
    return _colour(PAPERS["neon"], place.u).expand(shape)


def _blueprint(scenes, place: Place) -> torch.Tensor:
    lines = torch.zeros((), device=place.u.device)
    for spacing, strength in ((0.25, 0.16), (0.0625, 0.06)):
        for x in (place.u, place.v):
            off = (torch.remainder(x / spacing + 0.5, 1) - 0.5).abs() * spacing
            lines = lines + strength * ((0.005 - off) / place.pixel + 0.5).clamp(0, 1) * (0.01 / place.pixel).clamp(
                max=1
            )
    paper = _colour(PAPERS["blueprint"], place.u)
    return _blend(paper, paper + 0.6, lines).expand(len(scenes), -1, -1, -1, -1)


# --------------------------------------------------------------------------------------------------------------------
# Places


def _sky_above(top, bottom, horizon, place: Place) -> torch.Tensor:
    return _blend(_colour(top, place.u), _colour(bottom, place.u), (place.y / horizon).clamp(0, 1))


def _clouds(scenes, place: Place, picture: torch.Tensor, count: int, lowest: float, width: float) -> torch.Tensor:
    """Soft heaps with flat feet. They come again beyond the frame, for a camera that moves there."""
    period = 2.6
    numbers = luck(scenes, 3 * count, place.u.device)
    cover = torch.zeros((), device=place.u.device)
    for k in range(count):
        shift, height, size = numbers[3 * k : 3 * k + 3]
        size = width * (0.75 + 0.5 * size)
        x = torch.remainder(place.u - (k + 0.7 * shift) / count * period + period / 2, period) - period / 2
        foot = (0.1 + (lowest - 0.1) * (0.3 * height + 0.7 * ((k * 0.618 + shift) % 1)) - 0.5) * place.high
        heap = torch.full((), 1e3, device=place.u.device)
        for dx, rise, radius in ((-0.62, 0.1, 0.36), (-0.16, 0.34, 0.46), (0.34, 0.2, 0.42), (0.78, 0.06, 0.26)):
            away = torch.hypot(x - dx * size, place.v - foot + rise * size) - radius * size
            heap = torch.minimum(heap, away)
        soft = 0.014 + 0.5 * place.pixel
        shown = _ramp(soft, -soft, heap) * _ramp(0.05, -0.03, place.v - foot)
        cover = torch.maximum(cover, shown)
    return _blend(picture, _colour((1.0, 1.0, 1.0), place.u), 0.5 * cover)


def _sky(scenes, place: Place) -> torch.Tensor:
    top, bottom = PALETTES["sky"]
    return _clouds(scenes, place, _sky_above(top, bottom, 1.0, place), 5, 0.85, 0.2)


def _sea(scenes, place: Place) -> torch.Tensor:
    top, bottom, near, deep = PALETTES["sea"]
    level, one, two, three = luck(scenes, 4, place.u.device)
    horizon = 0.30 + 0.14 * level
    sky = _clouds(scenes, place, _sky_above(top, bottom, horizon, place), 3, 0.24, 0.15)
    depth = ((place.y - horizon) / (1 - horizon)).clamp(0, 1.5)
    water = _blend(_colour(near, place.u), _colour(deep, place.u), depth.clamp(max=1))
    swell = 0.35 * torch.sin(2.3 * place.u + 6.3 * one) + 0.3 * torch.sin(5.1 * place.u + 6.3 * two)
    phase = 6.3 * 5.5 * (depth + 0.02) ** 0.7 + 6.3 * three - 1.1 * place.seconds
    crest = torch.sin(phase + swell * (0.5 + depth) * 1.6 + 0.6 * torch.sin(3.7 * place.u + 0.9 * place.seconds))
    water = _blend(water, _colour((0.45, 0.75, 0.88), place.u), 0.20 * crest.clamp(min=0) ** 2 * _ramp(0.0, 0.2, depth))
    return _blend(sky, water, place.below((horizon - 0.5) * place.high))


def _grass(scenes, place: Place) -> torch.Tensor:
    top, bottom, far, near = PALETTES["grass"]
    level, one, two = luck(scenes, 3, place.u.device)
    horizon = 0.20 + 0.12 * level
    sky = _clouds(scenes, place, _sky_above(top, bottom, horizon, place), 3, 0.14, 0.12)
    hill = (horizon - 0.5) * place.high + 0.03 * torch.sin(2.6 * place.u + 6.3 * one)
    depth = ((place.y - horizon) / (1 - horizon)).clamp(0, 1.5)
    field = _blend(_colour(far, place.u), _colour(near, place.u), depth.clamp(max=1))
    roll = torch.sin(3.1 * place.u + 4.0 * place.v + 6.3 * two) * torch.sin(5.0 * place.v - 1.7 * place.u)
    field = _blend(field, _colour((0.72, 0.88, 0.42), place.u), 0.16 * roll.clamp(min=0))
    field = _blend(field, _colour((0.80, 0.93, 0.48), place.u), 0.42 * _blades(scenes, place) * _ramp(0.02, 0.3, depth))
    return _blend(sky, field, place.below(hill))


def _cells(scenes, x: torch.Tensor, y: torch.Tensor, numbers: int):
    """A square grid's cells: the place within the cell, -0.5..0.5, and `numbers` of luck per cell and scene."""
    column, row = torch.floor(x), torch.floor(y)
    seeds = torch.tensor([scene.seed for scene in scenes], device=x.device).reshape(-1, 1, 1, 1)
    own = [_hash(seeds + 77 * k, column, row) for k in range(numbers)]
    return x - column - 0.5, y - row - 0.5, own


def _blades(scenes, place: Place) -> torch.Tensor:
    """Tufts of three bent blades, one in a cell at most."""
    side = 0.16
    x, y, (dx, dy, some) = _cells(scenes, place.u / side, place.v / side, 3)
    x, y = x - 0.4 * (dx - 0.5), y - 0.4 * (dy - 0.5)
    rise = (0.28 - y) / 0.5  # 0 at the root, 1 at the tip
    cover = torch.zeros((), device=x.device)
    for lean in (-0.24, 0.02, 0.26):
        off = (x - lean * rise * rise).abs() - 0.075 * (1 - rise)
        cover = torch.maximum(cover, (0.5 - off * side / place.pixel).clamp(0, 1))
    return cover * ((rise > 0) & (rise < 1) & (some < 0.55))


def _night(scenes, place: Place) -> torch.Tensor:
    top, bottom = PALETTES["night"]
    picture = _blend(_colour(top, place.u), _colour(bottom, place.u), place.y.clamp(0, 1))
    side = 0.17
    x, y, (dx, dy, size, some) = _cells(scenes, place.u / side, place.v / side, 4)
    away = torch.hypot(x - 0.7 * (dx - 0.5), y - 0.7 * (dy - 0.5)) * side
    radius = 0.006 + 0.007 * size
    spread = torch.maximum(radius, 0.55 * place.pixel)  # a star below a pixel's size is a fainter pixel
    glow = torch.exp(-((away / spread) ** 2)) * (radius / spread) ** 2 * (some < 0.6)
    return _blend(picture, _colour((0.95, 0.95, 0.85), place.u), 0.75 * glow)


_PAINTERS = {
    "plain": _plain,
    "gradient": _gradient,
    "sky": _sky,
    "sea": _sea,
    "grass": _grass,
    "night": _night,
    "charcoal": _charcoal,
    "neon": _neon,
    "blueprint": _blueprint,
}
