"""Progress, interruption and a live preview that shows the whole clip."""

import comfy.utils
import latent_preview
from PIL import Image

SHOWN = 8  # frames on the film strip at most
WIDEST = 512  # pixels of the strip's longer side, as the host's own previews


def film_strip_callback(model, steps: int):
    """A sampling callback (step, x0, x, steps) for the host.

    The host's previewer shows the first frame of a clip only, and a kept first frame never changes. So every step sends
    several frames side by side, made by the previewer that the user has chosen and sent as the host's own message.
    Where previews are switched off only the progress goes out. The progress bar is also where the host interrupts.
    """
    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
    bar = comfy.utils.ProgressBar(steps)

    def callback(step, x0, x, total):
        picture = None if previewer is None else ("JPEG", film_strip(previewer, x0), WIDEST)
        bar.update_absolute(step + 1, total, picture)

    return callback


def film_strip(previewer, x0) -> Image.Image:
    """(B, C, t, h, w) -> evenly chosen frames of the first clip in reading order, in one row or two."""
    count = min(SHOWN, x0.shape[2])
    chosen = [round(i * (x0.shape[2] - 1) / max(1, count - 1)) for i in range(count)]
    frames = [previewer.decode_latent_to_preview(x0[:1, :, i : i + 1]) for i in chosen]
    columns = count if count <= 5 else -(-count // 2)
    rows = -(-count // columns)
    width, height = frames[0].size
    scale = max(1, WIDEST // max(columns * width, rows * height))
    strip = Image.new("RGB", (columns * width * scale, rows * height * scale))
    for place, frame in enumerate(frames):
        frame = frame.convert("RGB").resize((width * scale, height * scale), Image.Resampling.BICUBIC)
        strip.paste(frame, (place % columns * width * scale, place // columns * height * scale))
    return strip
