"""The compression network on held-out clips of the worlds and on photographs that it never saw."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..change import mean_against_median, steps_of
from ..grid import Grid
from ..quality import psnr, ssim
from ..video import read_image
from .measures import Figure, Result, mean, share, shares
from .setting import Setting, held_out, judge, truth
from .sheets import Row, sheet

FRAMES, SIDE, FPS = 17, 64, 8.0  # the size that the bundled codec is trained at
PHOTOGRAPHS = (  # in scikit-image's package itself; others of its pictures would be downloaded
    ("astronaut.png", 301, 223),
    ("brick.png", 189, 127),
    ("camera.png", 257, 389),
    ("chelsea.png", 333, 251),
    ("coffee.png", 411, 275),
    ("coins.png", 243, 199),
    ("grass.png", 159, 213),
    ("gravel.png", 177, 145),
    ("motorcycle_left.png", 405, 313),
    ("rocket.jpg", 229, 411),
)
SMALL = 97  # pixels of the longer side of photographs as small as the bundled model's videos


def clips(setting: Setting) -> Result:
    """Held-out clips: how close the reconstruction is, and whether the scorer still reads them."""
    grid = Grid(FRAMES, SIDE, SIDE, FPS)
    made = held_out(setting, setting.count, grid)
    stride = setting.codec.geometry.t_stride
    entries = range(stride, FRAMES - 1, stride)  # steps into latent frames, but for that from frame 0, alone in its own
    loudness, likeness, entered, originals, copies, rows = [], [], [], [], [], []
    for group in setting.batches(made, "codec, held-out clips"):
        video = truth(group, grid)
        copy = _round_trip(setting, video)
        loudness += psnr(video, copy).clamp(max=100).mean(dim=1).tolist()
        likeness += ssim(video, copy).mean(dim=1).tolist()
        entered += [mean_against_median(steps_of(clip), entries) for clip in copy]
        originals += judge(group, video)
        copies += judge(group, copy)
        for case, a, b in zip(group, video, copy, strict=True):
            if len(rows) < 24:
                rows += [Row(f"original: {case.prompt}", a, {}), Row("reconstruction", b, copies[len(rows) // 2])]
    shape = [share("", (verdict["shape"] for verdict in verdicts)) for verdicts in (originals, copies)]
    kept = 100 * shape[1].value / shape[0].value if shape[0].value else None
    quality = [
        mean("PSNR", loudness, "dB", bar=34),
        mean("SSIM", likeness),
        mean("step into a latent frame / median step", entered),
        Figure("shape accuracy, of that on originals", kept, "%", of=shape[1].of, bar=95),
    ]
    return Result(
        "Codec: held-out clips",
        f"{len(made)} clips of {SIDE}x{SIDE}, {FRAMES} frames, combinations that no training clip has; PSNR is the "
        "mean over frames, then over clips. The scorer reads the originals (how far it can be trusted) and the "
        "reconstructions (the ceiling of everything that is generated).",
        {"quality": quality, "scorer on originals": shares(originals), "scorer on reconstructions": shares(copies)},
        {"Originals and reconstructions": sheet(rows, setting.out / "codec.png", columns=2)},
    )


def photographs(setting: Setting) -> Result:
    """Photographs at odd sizes: what becomes of a user's picture."""
    pictures = list(_photographs())
    if not pictures:
        return Result(
            "Codec: photographs",
            "Not measured: the photographs come with scikit-image (pip install scikit-image).",
            {"quality": [mean("PSNR, mean over photographs", [], "dB", bar=27)]},
        )
    native, small, rows = [], [], []
    with setting.bar("codec, photographs", len(pictures), "photograph") as bar:
        for name, picture in pictures:
            copy = _round_trip(setting, picture[None, :, None])[0, :, 0]
            native.append(Figure(name, _psnr(picture, copy), "dB", of=1))
            shrunk = _shrink(picture)
            small.append(_psnr(shrunk, _round_trip(setting, shrunk[None, :, None])[0, :, 0]))
            rows.append(Row(f"{name}: original, reconstruction", torch.stack([picture, copy], dim=1), {}))
            bar.update()
    return Result(
        "Codec: photographs",
        f"{len(native)} photographs of scikit-image's package, cut out of their middle at odd sizes without scaling, "
        f"each as a clip of one frame; none was trained on. The second figure has them shrunk to {SMALL} pixels, where "
        "everything is finer.",
        {
            "quality": [
                mean("PSNR, mean over photographs", [figure.value for figure in native], "dB", bar=27),
                mean(f"PSNR, shrunk to {SMALL} pixels", small, "dB"),
            ],
            "each": native,
        },
        {"Photographs": sheet(rows, setting.out / "photographs.png", columns=2)},
    )


def _round_trip(setting: Setting, video: Tensor) -> Tensor:
    """(B, 3, T, H, W) through the codec and back."""
    return torch.cat([copy for _, copy in setting.codec.reconstruct([video])], dim=2)


def _psnr(a: Tensor, b: Tensor) -> float:
    return float(psnr(a[None, :, None], b[None, :, None]))


def _photographs():
    """(name, picture (3, H, W) in [-1, 1]) of what the installed scikit-image carries: nothing where there is none."""
    try:
        from skimage import data
    except ImportError:
        return
    folder = Path(data.__file__).parent
    for file, width, height in PHOTOGRAPHS:
        if (folder / file).exists():
            picture = read_image(folder / file)
            top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
            yield f"{Path(file).stem} {width}x{height}", picture[:, top : top + height, left : left + width]


def _shrink(picture: Tensor) -> Tensor:
    scale = SMALL / max(picture.shape[1:])
    size = [max(8, round(side * scale)) for side in picture.shape[1:]]
    return torch.nn.functional.interpolate(picture[None], size, mode="bicubic", antialias=True)[0].clamp(-1, 1)
