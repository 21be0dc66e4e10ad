"""Commands that make no video: looking at checkpoints and worlds, training, scoring."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from .make import bar
from .options import NOTHING, Commands, device, device_name, folder, integer, model, number, positive, result, whole


def register(commands: Commands) -> None:
    reconstruct = commands.add(
        "reconstruct", run_reconstruct, "a video or image through the codec and back; prints PSNR and SSIM"
    )
    reconstruct.add_argument("file", type=Path)
    reconstruct.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    model(reconstruct)

    info = commands.add("info", run_info, "what a checkpoint, or a size of the transformer by name, consists of")
    info.add_argument("checkpoint", nargs="?", default="bundled", help="name or path; or a size such as tiny, base, 2b")

    train = commands.add("train", run_train, "train a network as a TOML file says")
    train.add_argument("network", choices=("vae", "dit"))
    train.add_argument("--config", type=Path, required=True, metavar="FILE")
    train.add_argument(
        "--out", type=folder, metavar="DIR", help="folder of the run (default: runs/ and the config's name)"
    )
    train.add_argument("--resume", action="store_true", help="go on where the run in the folder stopped")
    train.add_argument("--minutes", type=positive, metavar="M", help="stop after so long, to be resumed later")
    device(train)

    evaluate = commands.add(
        "evaluate", run_evaluate, "score a checkpoint on the worlds: report.md, report.json, figures"
    )
    evaluate.add_argument("--out", type=folder, required=True, metavar="DIR")
    evaluate.add_argument("--count", type=whole, metavar="N", help="held-out prompts (default 200)")
    evaluate.add_argument("--steps", type=whole, metavar="N")
    evaluate.add_argument("--cfg", type=number, metavar="G")
    evaluate.add_argument("--precision", choices=("fp32", "bf16"), help="of matrix products (default fp32)")
    evaluate.add_argument("--only", nargs="+", metavar="SECTION", help="clips, photographs, text, image, animate, ...")
    model(evaluate)

    world = commands.group("world", "the procedural worlds that the bundled model learns from")
    samples = world.add("sample", run_world_sample, "write clips, captions and scenes to look at")
    samples.add_argument("--count", type=whole, default=16, metavar="N")
    samples.add_argument("--out", type=folder, required=True, metavar="DIR")
    samples.add_argument("--seed", type=integer, default=0, metavar="N")
    samples.add_argument("--size", default="96x96", metavar="WxH", help="pixels, or a preset (default 96x96)")
    samples.add_argument("--frames", type=whole, default=17, metavar="N")
    samples.add_argument("--fps", type=number, default=8.0, metavar="F")


def run_reconstruct(asked) -> dict:
    import torch
    from tqdm import tqdm

    from ..audio import Sound, has_sound, unheard
    from ..clip import Clip
    from ..codec import Codec
    from ..files import check_apart
    from ..grid import Grid
    from ..quality import psnr, ssim
    from ..video import VideoWriter, check_output, chunks

    start = time.monotonic()
    clip = Clip(asked.file)
    info = clip.info
    check_output(asked.output, info.frames)
    check_apart([asked.file], asked.output)
    sounds = [Sound(asked.file, 0.0, 0.0, info.seconds)] if has_sound(asked.file) else []
    notes = clip.changes + unheard(asked.output, sounds)
    codec = Codec.load(asked.checkpoint, asked.device)
    Grid(1, info.height, info.width, 1.0, codec.geometry)  # refuses a size beyond the limits; the length streams
    scores = []
    print(*notes, sep="\n", end="\n" * bool(notes), file=sys.stderr)
    bar = tqdm(total=info.frames, desc="codec", unit="frame", file=sys.stderr)
    with bar, VideoWriter(asked.output, info.width, info.height, info.fps, sounds=sounds) as writer:
        for original, copy in codec.reconstruct(chunks(clip.frames())):
            writer.write(copy)
            scores.append(torch.stack([psnr(original, copy)[0], ssim(original, copy)[0]]))
            bar.update(copy.shape[2])
        frames = writer.frames
    quality = torch.cat(scores, dim=1).clamp(max=100).mean(dim=1).tolist()
    over = f" over {frames} frames" if frames > 1 else ""
    print(f"{asked.output}  PSNR {quality[0]:.2f} dB, SSIM {quality[1]:.4f}{over}")
    return result(asked.output, info.width, info.height, frames, info.fps, None, start) | {
        "psnr": quality[0],
        "ssim": quality[1],
        "notes": notes,
    }


def run_info(asked) -> dict:
    from ..info import describe_checkpoint, describe_size, sizes

    table = describe_size(asked.checkpoint) if asked.checkpoint in sizes() else describe_checkpoint(asked.checkpoint)
    for name, value in table.items():
        print(f"{name:>16}  {value if isinstance(value, str) else json.dumps(value)}")
    return NOTHING | table


def run_train(asked) -> dict:
    from ..training import run

    start = time.monotonic()
    device = device_name(asked.device)
    out = asked.out or Path("runs") / asked.config.stem
    folder = run.main(asked.network, asked.config, out=out, resume=asked.resume, minutes=asked.minutes, device=device)
    print(folder)
    return result(folder, None, None, None, None, None, start)


def run_evaluate(asked) -> dict:
    from .. import evaluation

    start = time.monotonic()
    options = {
        name: getattr(asked, name)
        for name in ("count", "steps", "cfg", "precision", "only")
        if getattr(asked, name) is not None
    }
    report = evaluation.run(asked.out, asked.checkpoint, device=device_name(asked.device), **options)
    print(asked.out / "report.md")
    return result(asked.out, None, None, None, None, None, start) | {"report": report}


def run_world_sample(asked) -> dict:
    from ..grid import Grid, parse_size
    from ..worlds.gallery import write_samples

    start = time.monotonic()
    width, height = parse_size(asked.size)
    grid = Grid(asked.frames, height, width, asked.fps)
    with bar("writing", "clip", asked.count) as clips:
        for _ in write_samples(asked.out, asked.count, grid, asked.seed):
            clips.update()
    print(f"{asked.count} clips in {asked.out}")
    return result(asked.out, width, height, asked.frames, asked.fps, asked.seed, start) | {"clips": asked.count}
