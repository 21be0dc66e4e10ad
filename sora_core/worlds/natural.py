"""Imagery with the statistics of photographs, without a photograph: what the codec trains on beside the worlds.

Dead leaves (Lee, Mumford, Huang 2001; Baradad et al. 2021, "Learning to see by looking at noise"), textures with a
power-law spectrum, smooth gradients and light, text; blurred by chance, and for video panned, zoomed and turned, with a
layer in front that moves on its own. Everything is drawn for the whole batch at once.
"""

import math
import string
from functools import cache

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

_LUMINANCE_SPREAD, _CHROMA_SPREAD = 0.20, 0.08  # standard deviations of the leaves' colours about their picture's mean
_OVERSIZE = 1.9  # source picture / frame, so that the camera has somewhere to go
_DENSITY = 1.3  # source pixels per frame pixel at zoom 1: resampling then keeps the detail


def natural_batch(rng: torch.Generator | int, batch: int, frames: int, height: int, width: int, device="cpu"):
    """Draw a batch of clips, (batch, 3, frames, height, width) float32 in [-1, 1].

    rng: a seed, or a generator from which one is drawn. One frame gives pictures that were not resampled.
    """
    seed = int(torch.randint(2**62, (), generator=rng, device=rng.device)) if isinstance(rng, torch.Generator) else rng
    draw = _Draw(seed, device)
    if frames == 1:
        picture = _pictures(draw, batch, height, width)
        cut = torch.nonzero(draw.chance(batch, 0.3)).flatten()
        if len(cut):
            front = picture.roll(1, 0)[cut]
            picture[cut] = torch.lerp(picture[cut], front, _cutouts(draw, len(cut), height, width))
        return picture.clamp_(0, 1).mul_(2).sub_(1).unsqueeze(2)

    tall, long = math.ceil(height * _OVERSIZE), math.ceil(width * _OVERSIZE)
    source = _pictures(draw, batch, tall, long)
    video = _filmed(source, _journey(draw, batch, frames, 0.22), frames, height, width, "reflection")
    moving = torch.nonzero(draw.chance(batch, 0.55)).flatten()
    if len(moving):
        mask = _cutouts(draw, len(moving), tall, long)
        layer = torch.cat([source.roll(1, 0)[moving], mask], 1)
        layer = _filmed(layer, _journey(draw, len(moving), frames, 0.5), frames, height, width, "zeros")
        video[moving] = torch.lerp(video[moving], layer[:, :3], layer[:, 3:])
    light = draw.uniform(-0.15, 0.15, batch, 1, 1, 1, 1) * draw.chance(batch, 0.3).reshape(-1, 1, 1, 1, 1)
    video *= 1 + light * torch.linspace(-1, 1, frames, device=device).reshape(1, 1, -1, 1, 1)
    return video.clamp_(0, 1).mul_(2).sub_(1)


class _Draw:
    """Random tensors on the device, and single numbers on the host, from one seed."""

    def __init__(self, seed: int, device):
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.host = torch.Generator().manual_seed(seed ^ 0x5EED)

    def normal(self, *shape) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, low: float, high: float, *shape) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def chance(self, count: int, probability: float) -> torch.Tensor:
        return self.uniform(0, 1, count) < probability

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.host))

    def integer(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.host))


# --------------------------------------------------------------------------------------------------------------------
# Still pictures, (N, 3, H, W) around 0..1


def _pictures(draw: _Draw, count: int, height: int, width: int) -> torch.Tensor:
    """A mixture of all kinds: leaves 45 %, textures 25 %, gradients 30 %; a quarter with text, a third blurred."""
    kind = draw.uniform(0, 1, count)
    leaves, noisy = torch.nonzero(kind < 0.45).flatten(), torch.nonzero((kind >= 0.45) & (kind < 0.7)).flatten()
    smooth = torch.nonzero(kind >= 0.7).flatten()
    picture = torch.empty(count, 3, height, width, device=draw.device)
    if len(leaves):
        picture[leaves] = _dead_leaves(draw, len(leaves), height, width)
    if len(noisy):
        picture[noisy] = _textures(draw, len(noisy), height, width)
    if len(smooth):
        picture[smooth] = _gradients(draw, len(smooth), height, width)
    lettered = torch.nonzero(draw.chance(count, 0.25)).flatten()
    if len(lettered):
        picture[lettered] = _lettered(draw, picture[lettered])
    blurred = torch.nonzero(draw.chance(count, 0.33)).flatten()
    if len(blurred):
        picture[blurred] = _blurred(draw, picture[blurred])
    return picture


def _colours(draw: _Draw, mean: torch.Tensor, vivid: torch.Tensor) -> torch.Tensor:
    """Colours (N, 3, 1, 1) about a mean: they differ in lightness more than in hue, as in photographs."""
    count = len(mean)
    chroma = draw.normal(count, 3, 1, 1)
    chroma = (chroma - chroma.mean(1, keepdim=True)) * _CHROMA_SPREAD * vivid
    return mean + _LUMINANCE_SPREAD * draw.normal(count, 1, 1, 1) + chroma


def _moods(draw: _Draw, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture's mean colour (N, 3, 1, 1) and how vivid its colours are (N, 1, 1, 1): 1 mostly, up to 5."""
    mean = draw.uniform(0.25, 0.65, count, 1, 1, 1) + 0.07 * draw.normal(count, 3, 1, 1)
    return mean, 1 + 4 * draw.uniform(0, 1, count, 1, 1, 1) ** 4


def _power_law(draw: _Draw, count: int, channels: int, height: int, width: int, exponent: torch.Tensor) -> torch.Tensor:
    """Gaussian noise of amplitude 1 / frequency^exponent, zero mean and unit variance per channel.

    exponent: (N, 1, 1, 1).
    """
    spectrum = torch.fft.rfft2(draw.normal(count, channels, height, width))
    frequency = torch.hypot(
        torch.fft.fftfreq(height, device=draw.device)[:, None], torch.fft.rfftfreq(width, device=draw.device)
    )
    gain = torch.exp(-exponent * torch.log(frequency.clamp(min=0.5 / max(height, width))))
    gain[..., 0, 0] = 0
    noise = torch.fft.irfft2(spectrum * gain, s=(height, width))
    return noise / noise.std((2, 3), keepdim=True).clamp(min=1e-6)


def _textures(draw: _Draw, count: int, height: int, width: int) -> torch.Tensor:
    """Power-law noise in correlated colours, some of it bent into ridges or thresholded into patches."""
    exponent = draw.uniform(0.85, 1.4, count, 1, 1, 1)
    noise = _power_law(draw, count, 3, height, width, exponent)
    form = draw.uniform(0, 1, count, 1, 1, 1)
    noise = torch.where(form < 0.2, 1 - 1.6 * noise.abs(), noise)
    noise = torch.where(form > 0.85, torch.tanh(5 * noise), noise)
    mean, vivid = _moods(draw, count)
    mix = 0.05 * vivid.reshape(-1, 1, 1) * draw.normal(count, 3, 3)
    mix = mix + draw.uniform(0.06, 0.22, count, 1, 1) / math.sqrt(3)
    return mean + torch.einsum("nij,njhw->nihw", mix, noise)


def _gradients(draw: _Draw, count: int, height: int, width: int) -> torch.Tensor:
    """Smooth fields of a few control colours, some with fine grain."""
    mean, vivid = _moods(draw, count)
    cells = 2 + draw.integer(3)
    chroma = 0.1 * draw.normal(count, 3, cells, cells) * vivid
    control = mean + 0.25 * draw.normal(count, 1, cells, cells) + chroma
    field = F.interpolate(control, (height, width), mode="bicubic", align_corners=True)
    grain = _power_law(draw, count, 1, height, width, draw.uniform(0.5, 1.2, count, 1, 1, 1))
    return field + grain * 0.04 * draw.uniform(0, 1, count, 1, 1, 1) ** 2


def _dead_leaves(draw: _Draw, count: int, height: int, width: int) -> torch.Tensor:
    """Opaque leaves over one another, radii by a power law with exponent -3, each shaded and textured.

    The n-th leaf of every picture has about the same radius and kind: so it is painted into the whole batch at once,
    within a window of its own size.
    """
    exponent = draw.uniform(0.8, 1.3, count, 1, 1, 1)
    texture = _power_law(draw, count, 1, height, width, exponent) * draw.uniform(0.0, 0.09, count, 1, 1, 1)
    mean, vivid = _moods(draw, count)
    picture = (_colours(draw, mean, vivid) + texture).contiguous()
    pixels, patterns = picture.view(-1), texture.view(-1)
    area, short = height * width, min(height, width)
    smallest, largest = max(1.5, draw.number(0.02, 0.06) * short), draw.number(0.3, 0.5) * short
    first = torch.arange(count, device=draw.device).reshape(-1, 1, 1) * area
    channel = torch.arange(3, device=draw.device).reshape(1, 3, 1, 1) * area
    covered, leaves = 0.0, 0
    while covered < 3.0 * area and leaves < 400:
        u = draw.number()  # inverse of the distribution function of r^-3 between the limits
        radius = 1 / math.sqrt((1 - u) / smallest**2 + u / largest**2)
        covered, leaves = covered + math.pi * radius**2, leaves + 1
        own = radius * draw.uniform(0.8, 1.25, count, 1, 1)
        window = 2 * math.ceil(1.25 * radius) + 2
        high, wide = min(window, height), min(window, width)
        y, x = draw.uniform(0, height, count, 1, 1), draw.uniform(0, width, count, 1, 1)
        rows = (y - high / 2).round().clamp(0, height - high) + torch.arange(high, device=draw.device)[:, None]
        columns = (x - wide / 2).round().clamp(0, width - wide) + torch.arange(wide, device=draw.device)
        turn = draw.uniform(0, 2 * math.pi, count, 1, 1)
        dx, dy = columns + 0.5 - x, rows + 0.5 - y
        across, along = turn.cos() * dx + turn.sin() * dy, turn.cos() * dy - turn.sin() * dx
        distance = _leaf(draw.integer(4), across, along, own, draw.uniform(0.35, 1.0, count, 1, 1))

        index = rows.long() * width + columns.long()
        pattern = patterns[first + (index + int(draw.number() * area)) % area]
        shade = draw.uniform(-0.12, 0.12, count, 1, 1) * across / own
        colour = _colours(draw, mean, vivid) + (pattern + shade).unsqueeze(1)
        index = (3 * first + index).unsqueeze(1) + channel
        pixels[index] = torch.lerp(pixels[index], colour, (0.5 - distance).clamp(0, 1).unsqueeze(1))
    return picture


def _leaf(kind: int, x, y, radius, narrow) -> torch.Tensor:
    """The distance to a leaf's outline, roughly, negative inside; it reaches at most `radius` from the centre."""
    if kind == 0:  # disc
        return torch.hypot(x, y) - radius
    if kind == 1:  # ellipse
        return (torch.hypot(x, y / narrow) - radius) * narrow
    if kind == 2:  # rectangle, its corners on the circle
        half = radius / torch.sqrt(1 + narrow**2)
        return torch.maximum(x.abs() - half, y.abs() - half * narrow)
    sides = torch.maximum(x * 0.866 + y * 0.5, -x * 0.866 + y * 0.5)  # triangle, one side drawn in
    return torch.maximum(sides, -y) - radius * 0.5 * narrow


# --------------------------------------------------------------------------------------------------------------------
# What happens to pictures


@cache
def _pages() -> torch.Tensor:
    """Pages of random words in several sizes of type, (6, 384, 384) in 0..1."""
    dice = torch.Generator().manual_seed(7)
    letters = string.ascii_letters + string.digits + ".,:;!?&()-+/"
    pages = []
    for size in (8, 10, 13, 18, 26, 40):
        page = Image.new("L", (384, 384))
        pen = ImageDraw.Draw(page)
        for y in range(0, 384, round(size * 1.25)):
            numbers = torch.randint(len(letters) + 12, (384 // size * 2,), generator=dice).tolist()
            line = "".join(letters[k] if k < len(letters) else " " for k in numbers)
            pen.text((0, y), line, fill=255, font=ImageFont.load_default(size))
        pages.append(torch.frombuffer(bytearray(page.tobytes()), dtype=torch.uint8).reshape(384, 384) / 255)
    return torch.stack(pages)


def _lettered(draw: _Draw, picture: torch.Tensor) -> torch.Tensor:
    """Set type over part of each picture, darker or lighter than what is there."""
    count, _, height, width = picture.shape
    masks = []
    for _ in range(count):
        page = _pages()[draw.integer(6)]
        high, wide = min(height, 384), min(width, 384)
        top, left = draw.integer(385 - high), draw.integer(385 - wide)
        mask = torch.zeros(height, width)
        mask[:high, :wide] = page[top : top + high, left : left + wide]
        begin, end = sorted((draw.integer(height + 1), draw.integer(height + 1)))
        mask[:begin] = 0
        mask[max(end, min(height, begin + height // 3)) :] = 0
        masks.append(mask)
    mask = torch.stack(masks).unsqueeze(1).to(draw.device)
    dark = picture.mean((1, 2, 3), keepdim=True) > draw.uniform(0.35, 0.65, count, 1, 1, 1)
    ink = torch.where(dark, 0.08, 0.92) + 0.12 * draw.normal(count, 3, 1, 1)
    return torch.lerp(picture, ink, mask)


def _blurred(draw: _Draw, picture: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of 0.4 to 2 pixels, another for each picture."""
    count, channels, height, width = picture.shape
    sigma = draw.uniform(0.4, 2.0, count, 1)
    taps = torch.exp(-0.5 * (torch.arange(-4, 5, device=draw.device) / sigma) ** 2)
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = F.pad(picture.reshape(1, count * channels, height, width), (4, 4, 4, 4), mode="replicate")
    flat = F.conv2d(flat, taps[:, None, :, None], groups=count * channels)
    return F.conv2d(flat, taps[:, None, None, :], groups=count * channels).reshape(picture.shape)


def _cutouts(draw: _Draw, count: int, height: int, width: int) -> torch.Tensor:
    """Masks (N, 1, H, W) of one rounded thing near the middle, as if cut out of another picture."""
    short = min(height, width)
    x = torch.arange(width, device=draw.device) + 0.5 - draw.uniform(0.35, 0.65, count, 1, 1, 1) * width
    y = (torch.arange(height, device=draw.device) + 0.5)[:, None] - draw.uniform(0.35, 0.65, count, 1, 1, 1) * height
    around = torch.atan2(y, x)
    lobes = draw.uniform(2, 7, count, 1, 1, 1).floor()
    waves = torch.sin(lobes * around + draw.uniform(0, 2 * math.pi, count, 1, 1, 1))
    edge = 1 + draw.uniform(0, 0.3, count, 1, 1, 1) * waves
    radius = draw.uniform(0.1, 0.28, count, 1, 1, 1) * short
    return (0.5 + radius * edge - torch.hypot(x, y)).clamp(0, 1)


# --------------------------------------------------------------------------------------------------------------------
# Films


def _journey(draw: _Draw, count: int, frames: int, reach: float) -> torch.Tensor:
    """Where the camera is: (N, T, 4) of x, y (fractions of the frame), logarithm of the zoom, angle.

    An eased straight path, a sixth of them standing still.
    """
    ends = torch.cat(
        [
            draw.uniform(-reach, reach, count, 2, 2),
            draw.uniform(-0.16, 0.16, count, 2, 1),
            draw.uniform(-0.15, 0.15, count, 2, 1),
        ],
        -1,
    )
    still = draw.uniform(0, 1, count, 3)[:, [0, 0, 1, 2]] < 0.17  # shift, zoom and turn each
    still = still | (draw.uniform(0, 1, count, 1) < 0.17)
    ends[:, 1] = torch.where(still, ends[:, 0], ends[:, 1])
    t = torch.linspace(0, 1, frames, device=draw.device).reshape(1, -1, 1)
    eased = torch.where(draw.chance(count, 0.5).reshape(-1, 1, 1), t * t * (3 - 2 * t), t)
    return torch.lerp(ends[:, :1], ends[:, 1:], eased)


def _filmed(source, journey, frames: int, height: int, width: int, beyond: str) -> torch.Tensor:
    """What a camera on its journey sees of the source, (N, C, T, H, W)."""
    count, channels, tall, long = source.shape
    x, y, zoom, angle = (part.reshape(count, frames, 1, 1) for part in journey.unbind(-1))
    across = torch.arange(width, device=source.device) + 0.5 - width / 2
    along = (torch.arange(height, device=source.device) + 0.5 - height / 2)[:, None]
    scale = _DENSITY * torch.exp(-zoom)
    right = (angle.cos() * across - angle.sin() * along) * scale + x * width
    down = (angle.sin() * across + angle.cos() * along) * scale + y * height
    # One tall picture per clip: the source is then read in place, not copied once per frame.
    grid = torch.stack([right * (2 / long), down * (2 / tall)], -1).reshape(count, frames * height, width, 2)
    seen = F.grid_sample(source, grid, mode="bilinear", padding_mode=beyond, align_corners=False)
    return seen.reshape(count, channels, frames, height, width)
