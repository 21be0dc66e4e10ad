"""Makes the thumbnails of the workflows from their real results: `python -m tests.host.thumbnails`.

Runs every file of `workflows/` in the first host found, as it is stored, with the bundled model, and writes NAME.jpg
beside it: frames of the video in reading order. The image to be animated is the result of text to image.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

from sora_core.batch.host import PACK, Server, find_hosts
from tests.host.hosts import environment

SIDE = 512  # pixels of a thumbnail
FRAMES = 4  # shown of a video, two by two


def main() -> None:
    hosts = find_hosts()
    if not hosts:
        sys.exit("No ComfyUI found: set COMFYUI_PATH.")
    with Server(hosts[0], environment(hosts[0])) as server, tempfile.TemporaryDirectory() as folder:
        for name in ("text_to_image", "text_to_video", "image_to_video"):
            api = server.load(PACK / "workflows" / f"{name}.json")
            (saved,) = (item for item in server.run(api, timeout=3600).files() if item["type"] == "output")
            frames = frames_of(server.save(saved, Path(folder) / saved["filename"]))
            if name == "text_to_image":
                frames[0].save(Path(folder) / "example.png")
                server.upload(Path(folder) / "example.png")
            thumbnail(frames).save(PACK / "workflows" / f"{name}.jpg", quality=90)
            print(f"workflows/{name}.jpg")


def frames_of(path: Path) -> list[Image.Image]:
    """An image, or evenly chosen frames of a video, the first and the last among them."""
    if path.suffix == ".png":
        return [Image.open(io.BytesIO(path.read_bytes())).convert("RGB")]
    with av.open(str(path)) as file:
        frames = [frame.to_image() for frame in file.decode(video=0)]
    return [frames[round(i * (len(frames) - 1) / (FRAMES - 1))] for i in range(FRAMES)]


def thumbnail(frames: list[Image.Image]) -> Image.Image:
    """One frame, or four two by two with a gap."""
    if len(frames) == 1:
        return frames[0].resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    gap, side = 4, (SIDE - 4) // 2
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    for i, frame in enumerate(frames):
        place = (i % 2 * (side + gap), i // 2 * (side + gap))
        sheet.paste(frame.resize((side, side), Image.Resampling.BICUBIC), place)
    return sheet


if __name__ == "__main__":
    main()
