"""Makes the thumbnails of the workflows from their real results: `python -m tests.host.thumbnails [NAME ...]`.

Runs every file of `workflows/` in the first host found, as it is stored, with the bundled model, and writes NAME.jpg
beside it: frames of the video in reading order. The image to be animated is the result of text to image. Workflows for
models of billions of parameters are not run: their thumbnail is the picture of the canvas that they fill.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import av
import torch
from PIL import Image, ImageOps

from sora_core import canvas as canvases
from sora_core.batch.host import PACK, Server, find_hosts
from sora_core.canvas import Canvas
from sora_core.grid import Geometry, Grid
from sora_core.inspect import picture
from tests.host.hosts import environment

SIDE = 512  # pixels of a thumbnail
FRAMES = 4  # shown of a video, two by two
DRAWN = {
    "wan_extend_video": lambda video: canvases.extend(video, 2),
    "wan_connect_videos": lambda video: canvases.connect(video, video, 1),
    "wan_edit_video": lambda video: canvases.edit(video, 0.7),
}


def main() -> None:
    hosts = find_hosts()
    if not hosts:
        sys.exit("No ComfyUI found: set COMFYUI_PATH.")
    with Server(hosts[0], environment(hosts[0])) as server, tempfile.TemporaryDirectory() as folder:
        names = sorted(path.stem for path in (PACK / "workflows").glob("*.json"))
        names.sort(key=lambda name: name != "text_to_image")  # whose result image to video takes
        for name in [name for name in names if name in (sys.argv[1:] or names)]:
            if name in DRAWN:
                draw(DRAWN[name](wan_video())).save(PACK / "workflows" / f"{name}.jpg", quality=90)
                continue
            api = server.load(PACK / "workflows" / f"{name}.json")
            (saved,) = (item for item in server.run(api, timeout=3600).files() if item["type"] == "output")
            frames = frames_of(server.save(saved, Path(folder) / saved["filename"]))
            if name == "text_to_image":
                frames[0].save(Path(folder) / "example.png")
                server.upload(Path(folder) / "example.png")
            thumbnail(frames).save(PACK / "workflows" / f"{name}.jpg", quality=90)
            print(f"workflows/{name}.jpg")


def wan_video() -> Canvas:
    """A short clip of Wan 2.1, all kept."""
    grid = Grid(9, 480, 832, 16.0, Geometry(4, 8, 16, (1, 2, 2)))
    return canvases.keep(torch.zeros(1, *grid.latent_shape), grid)


def draw(canvas: Canvas) -> Image.Image:
    """The picture of a canvas, on a square."""
    pixels = ((picture(canvas, title="Wan 2.1") + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (SIDE, SIDE), image.getpixel((0, 0)))
    sheet.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return sheet


def frames_of(path: Path) -> list[Image.Image]:
    """An image, or evenly chosen frames of a video, the first and the last among them."""
    if path.suffix == ".png":
        return [Image.open(io.BytesIO(path.read_bytes())).convert("RGB")]
    with av.open(str(path)) as file:
        frames = [frame.to_image() for frame in file.decode(video=0)]
    return [frames[round(i * (len(frames) - 1) / (FRAMES - 1))] for i in range(FRAMES)]


def thumbnail(frames: list[Image.Image]) -> Image.Image:
    """One frame, or four two by two with a gap; what is not square has bars."""
    if len(frames) == 1:
        return ImageOps.pad(frames[0], (SIDE, SIDE), Image.Resampling.BICUBIC)
    gap, side = 4, (SIDE - 4) // 2
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    for i, frame in enumerate(frames):
        place = (i % 2 * (side + gap), i // 2 * (side + gap))
        sheet.paste(ImageOps.pad(frame, (side, side), Image.Resampling.BICUBIC), place)
    return sheet


if __name__ == "__main__":
    main()
