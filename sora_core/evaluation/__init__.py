"""Evaluation of a checkpoint: does a video show what its sentence says, and what does the codec lose?

Everything is scored from pixels (`worlds.score`) on prompts whose wording and combinations training never had. A new
ability is a function `(Setting) -> Result` in a file of its own and an entry in `SECTIONS`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..checkpoint import read_header, resolve
from ..errors import UserError
from ..files import check_writable
from . import codec, drift, prompting, report, text_to_video
from .setting import Setting

SECTIONS = {
    "clips": codec.clips,
    "photographs": codec.photographs,
    "text": text_to_video.text_to_video,
    "image": text_to_video.text_to_image,
    "animate": text_to_video.animate,
    "sizes": text_to_video.unseen_sizes,
    "extend": prompting.extend,
    "loop": prompting.loop,
    "connect": prompting.connect,
    "edit": prompting.edit,
    "reframe": prompting.reframe,
    "preview": prompting.sizes_agree,
    "permanence": prompting.permanence,
    "long": drift.long_videos,
    "extended": drift.extended,
}
PRECISIONS = ("fp32", "bf16")
CODEC_ONLY = {"clips", "photographs"}  # the sections that a checkpoint without a transformer is enough for
STILL = CODEC_ONLY | {"image"}  # and those for one that makes images


def run(
    out: str | Path,
    checkpoint: str = "bundled",
    *,
    device: str = "cpu",
    count: int = 200,
    seed: int = 1_000_000,
    batch: int = 16,
    precision: str = "fp32",
    only: Sequence[str] | None = None,
    **changes,
) -> dict:
    """Evaluate a checkpoint; the report is written anew after every section, so that an interrupt keeps what is done.

    Args:
        out: folder for report.md, report.json and pictures.
        checkpoint: see `checkpoint.load`.
        count: held-out cases of the main section; the others take a quarter, sizes and previews an eighth,
            long videos and repeated extensions a tenth.
        seed: of the cases and of the noise; fewer cases are the first of many.
        batch: clips that are generated at a time.
        precision: "fp32", or "bf16": matrix products in bfloat16 (autocast), twice as fast where the hardware has it.
        only: names in `SECTIONS`; None runs all that the checkpoint is enough for.
        changes: fields of `pipeline.Settings` (steps, cfg, ...) that differ from the checkpoint's defaults.

    Returns:
        what report.json holds.

    Raises:
        UserError: no such section or precision, or one that the checkpoint is not enough for; a checkpoint or a folder
            that cannot be used.
    """
    start = time.monotonic()
    asked = list(SECTIONS) if only is None else [str(name) for name in only]
    if unknown := [name for name in asked if name not in SECTIONS]:
        raise UserError(f"There is no section {unknown[0][:40]!r} to evaluate: choose from {', '.join(SECTIONS)}.")
    can, why = _enough(checkpoint)
    names = [name for name in asked if name in can]
    if only is not None and names != asked:
        lacking = next(name for name in asked if name not in can)
        raise UserError(f"{why}, too little for the section {lacking}: choose from {', '.join(sorted(can))}.")
    if count < 1 or batch < 1:
        raise UserError(f"An evaluation needs at least 1 case and batches of at least 1, not {count} and {batch}.")
    if precision not in PRECISIONS:
        raise UserError(f"precision must be {' or '.join(PRECISIONS)}, not {precision!r:.40}.")
    out = check_writable(Path(out) / "report.md").parent
    setting = Setting(
        out, str(checkpoint), device, count, seed, batch, changes, codec_only=CODEC_ONLY.issuperset(names)
    )
    about = {"checkpoint": Path(checkpoint).name, "count": count, "seed": seed, "changes": changes}
    about |= {"torch": torch.__version__, "device": device, "precision": precision}
    if not setting.codec_only:
        about["settings"] = vars(setting.pipeline.settings) | changes
        about["settings, given a video"] = vars(setting.pipeline.continuing) | changes
    results, written = {}, {}
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
        for name in names:
            results[name] = SECTIONS[name](setting)
            about["seconds"] = round(time.monotonic() - start)
            written = report.write(out, about, results)
    return written


def _enough(checkpoint: str | Path) -> tuple[set[str], str]:
    """The sections that a checkpoint is enough for, and what it is."""
    headers = [read_header(path) for path in resolve(checkpoint)]
    if not any("dit" in header.networks for header in headers):
        return CODEC_ONLY, f"{checkpoint} holds a codec only"
    if any(header.card.get("size", {}).get("frames") == 1 for header in headers):
        return STILL, f"{checkpoint} makes images"
    return set(SECTIONS), ""
