"""The command line: `sora ...`, the same as `python -m sora_core ...`.

Exit codes: 0 done, 2 something the user can put right (one sentence on standard error), 130 interrupted. With --json
the last line of standard output is one JSON object. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import time
from pathlib import Path

from .errors import UserError

NOTHING = dict.fromkeys(("output", "width", "height", "frames", "fps", "seed", "seconds"))


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage around it."""

    def error(self, message):
        raise UserError(f"{message[:1].upper()}{message[1:].rstrip('.')} (see {self.prog} --help).")


def parser() -> Parser:
    top = Parser(prog="sora", description="A sentence becomes a video. Each command has its own --help.")
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")

    def add(name, run, help, parent=commands):
        command = parent.add_parser(name, help=help, description=help)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="end standard output with one JSON object")
        return command

    generate = add("generate", run_generate, "text to video, or to an image when there is one frame")
    generate.add_argument("prompt", help="what to show, in words; - reads it from standard input")
    _making(generate)

    animate = add("animate", run_animate, "an image becomes the first frame of a video")
    animate.add_argument("image", type=Path, help="PNG, JPEG or WebP")
    animate.add_argument("prompt", help="what happens, in words; - reads it from standard input")
    _making(animate)

    reconstruct = add(
        "reconstruct", run_reconstruct, "a video or image through the codec and back; prints PSNR and SSIM"
    )
    reconstruct.add_argument("file", type=Path)
    reconstruct.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    _model(reconstruct)

    info = add("info", run_info, "what a checkpoint, or a size of the transformer by name, consists of")
    info.add_argument("checkpoint", nargs="?", default="bundled", help="name or path; or a size such as tiny, base, 2b")

    train = add("train", run_train, "train a network as a TOML file says")
    train.add_argument("network", choices=("vae", "dit"))
    train.add_argument("--config", type=Path, required=True, metavar="FILE")
    train.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run (default: runs/ and the config's name)"
    )
    train.add_argument("--resume", action="store_true", help="go on where the run in the folder stopped")
    train.add_argument("--minutes", type=positive, metavar="M", help="stop after so long, to be resumed later")
    _device(train)

    evaluate = add("evaluate", run_evaluate, "score a checkpoint: report.md, report.json and figures")
    evaluate.add_argument("--out", type=Path, required=True, metavar="DIR")
    evaluate.add_argument("--count", type=whole, metavar="N", help="held-out prompts (default 200)")
    evaluate.add_argument("--steps", type=whole, metavar="N")
    evaluate.add_argument("--cfg", type=number, metavar="G")
    evaluate.add_argument(
        "--only", nargs="+", metavar="SECTION", help="clips, photographs, text, image, animate, sizes"
    )
    _model(evaluate)

    world = commands.add_parser("world", help="the procedural worlds that the bundled model learns from")
    world_commands = world.add_subparsers(dest="world_command", required=True, parser_class=Parser, metavar="COMMAND")
    samples = add("sample", run_world_sample, "write clips, captions and scenes to look at", world_commands)
    samples.add_argument("--count", type=whole, default=16, metavar="N")
    samples.add_argument("--out", type=Path, required=True, metavar="DIR")
    samples.add_argument("--seed", type=integer, default=0, metavar="N")
    samples.add_argument("--size", default="64x64", metavar="WxH", help="pixels, or a preset (default 64x64)")
    samples.add_argument("--frames", type=whole, default=17, metavar="N")
    samples.add_argument("--fps", type=number, default=8.0, metavar="F")
    return top


def _making(command: Parser) -> None:
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="mp4, webm, gif; png, jpg, webp"
    )
    command.add_argument("--size", metavar="WxH", help="pixels, or a preset such as '480p 16:9'")
    length = command.add_mutually_exclusive_group()
    length.add_argument("--frames", type=whole, metavar="N")
    length.add_argument("--seconds", type=number, metavar="S")
    command.add_argument("--fps", type=number, metavar="F")
    command.add_argument(
        "--seed", type=integer, metavar="N", help="the same seed gives the same video (default: random)"
    )
    command.add_argument("--steps", type=whole, metavar="N", help="of the solver: more is slower and finer")
    command.add_argument(
        "--cfg", type=number, metavar="G", help="how strictly to follow the prompt; 1 is without guidance"
    )
    command.add_argument("--negative", metavar="TEXT", help="what not to show")
    command.add_argument("--solver", metavar="NAME", help="euler, heun, dpmpp_2m or ab2")
    _model(command)


def _model(command: Parser) -> None:
    command.add_argument(
        "--checkpoint",
        default="bundled",
        metavar="NAME|PATH",
        help="bundled (default), a .safetensors file, or hf:org/name@revision, which downloads",
    )
    _device(command)


def _device(command: Parser) -> None:
    command.add_argument(
        "--device", default="auto", metavar="auto|cpu|cuda", help="auto takes a GPU where there is one"
    )


def integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None


def whole(text: str) -> int:
    value = integer(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text[:40]}")
    return value


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be finite, not {text[:40]}")
    return value


def positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text[:40]}")
    return value


# ------------------------------------------------------------------------------------------------------------ commands


def run_generate(asked) -> dict:
    from . import canvas

    return _make(asked, lambda pipeline, grid: canvas.empty(grid, device=pipeline.device))


def run_animate(asked) -> dict:
    from .pipeline import same_area
    from .video import read_image

    image = read_image(asked.image)
    return _make(
        asked,
        lambda pipeline, grid: pipeline.image_canvas(image, grid),
        size_of=lambda pipeline: same_area(image, pipeline.size),
        extra={"image": asked.image.name},
    )


def _make(asked, canvas_of, size_of=None, extra=None) -> dict:
    """Fill the canvas that `canvas_of` (pipeline, grid) prepares, and write it; the size defaults to `size_of`."""
    from dataclasses import replace

    from tqdm import tqdm

    from .grid import parse_size
    from .pipeline import Pipeline, describe
    from .video import VideoWriter, check_output, is_image

    start = time.monotonic()
    size = parse_size(asked.size) if asked.size is not None else None
    frames = 1 if is_image(asked.output) and asked.frames is None and asked.seconds is None else asked.frames
    check_output(asked.output, frames)
    prompt = sys.stdin.read() if asked.prompt == "-" else asked.prompt
    pipeline = Pipeline.load(asked.checkpoint, asked.device)
    if size is None:
        size = size_of(pipeline) if size_of else (None, None)
    grid = pipeline.grid(*size, frames, asked.fps, asked.seconds)
    check_output(asked.output, grid.frames)
    given = {name: getattr(asked, name) for name in ("steps", "cfg", "negative", "solver")}
    given["seed"] = random.getrandbits(32) if asked.seed is None else asked.seed
    settings = replace(pipeline.settings, **{name: value for name, value in given.items() if value is not None})
    tags = describe(settings, prompt, grid, asked.checkpoint) | (extra or {})

    bar = tqdm(total=settings.steps, desc="sampling", unit="step", file=sys.stderr)
    with bar, VideoWriter(asked.output, grid.width, grid.height, grid.fps, tags) as writer:
        latent = pipeline.fill(canvas_of(pipeline, grid), prompt, lambda *_: bar.update(), **vars(settings))
        bar.reset(grid.frames)
        bar.set_description("decoding")
        bar.unit = "frame"
        for chunk in pipeline.frames(latent, grid):
            writer.write(chunk)
            bar.update(chunk.shape[2])
    print(f"{asked.output}  {grid.width}x{grid.height}, {grid.frames} frames at {grid.fps:g} fps, seed {settings.seed}")
    return _result(asked.output, grid.width, grid.height, grid.frames, grid.fps, settings.seed, start) | {
        "prompt": prompt,
        "settings": tags["settings"],
    }


def run_reconstruct(asked) -> dict:
    import torch
    from tqdm import tqdm

    from .codec import Codec
    from .grid import Grid
    from .quality import psnr, ssim
    from .video import VideoWriter, check_output, chunks, probe, read_frames

    start = time.monotonic()
    info = probe(asked.file)
    check_output(asked.output, info.frames)
    codec = Codec.load(asked.checkpoint, asked.device)
    Grid(1, info.height, info.width, 1.0, codec.geometry)  # refuses a size beyond the limits; the length streams
    scores = []
    bar = tqdm(total=info.frames, desc="codec", unit="frame", file=sys.stderr)
    with bar, VideoWriter(asked.output, info.width, info.height, info.fps) as writer:
        for original, copy in codec.reconstruct(chunks(read_frames(asked.file))):
            writer.write(copy)
            scores.append(torch.stack([psnr(original, copy)[0], ssim(original, copy)[0]]))
            bar.update(copy.shape[2])
        frames = writer.frames
    quality = torch.cat(scores, dim=1).clamp(max=100).mean(dim=1).tolist()
    print(f"{asked.output}  PSNR {quality[0]:.2f} dB, SSIM {quality[1]:.4f} over {frames} frames")
    return _result(asked.output, info.width, info.height, frames, info.fps, None, start) | {
        "psnr": quality[0],
        "ssim": quality[1],
    }


def run_info(asked) -> dict:
    from .info import describe_checkpoint, describe_size, sizes

    table = describe_size(asked.checkpoint) if asked.checkpoint in sizes() else describe_checkpoint(asked.checkpoint)
    for name, value in table.items():
        print(f"{name:>16}  {value if isinstance(value, str) else json.dumps(value)}")
    return NOTHING | table


def run_train(asked) -> dict:
    from .training import run

    start = time.monotonic()
    device = _device_name(asked.device)
    out = asked.out or Path("runs") / asked.config.stem
    folder = run.main(asked.network, asked.config, out=out, resume=asked.resume, minutes=asked.minutes, device=device)
    print(folder)
    return _result(folder, None, None, None, None, None, start)


def run_evaluate(asked) -> dict:
    from . import evaluation

    start = time.monotonic()
    options = {
        name: getattr(asked, name) for name in ("count", "steps", "cfg", "only") if getattr(asked, name) is not None
    }
    report = evaluation.run(asked.out, asked.checkpoint, device=_device_name(asked.device), **options)
    print(asked.out / "report.md")
    return _result(asked.out, None, None, None, None, None, start) | {"report": report}


def run_world_sample(asked) -> dict:
    from .grid import Grid, parse_size
    from .worlds.gallery import write_samples

    start = time.monotonic()
    size = parse_size(asked.size)
    Grid(asked.frames, size[1], size[0], asked.fps)  # refuses what is impossible
    clips = write_samples(asked.out, asked.count, size, asked.frames, asked.fps, asked.seed)
    print(f"{len(clips)} clips in {asked.out}")
    return _result(asked.out, *size, asked.frames, asked.fps, asked.seed, start) | {"clips": len(clips)}


def _device_name(name: str) -> str:
    from .codec import pick_device

    return str(pick_device(name))


def _result(output, width, height, frames, fps, seed, start) -> dict:
    return {
        "output": str(output),
        "width": width,
        "height": height,
        "frames": frames,
        "fps": fps,
        "seed": seed,
        "seconds": frames / fps if frames and fps else None,
        "elapsed": round(time.monotonic() - start, 3),
    }


# --------------------------------------------------------------------------------------------------------------- entry


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        asked = parser().parse_args(arguments)
        result = asked.run(asked)
        if asked.json:
            print(json.dumps(result))
        return 0
    except UserError as error:
        print(f"sora: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sora: interrupted; nothing half done was left.", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):  # torch says it in a RuntimeError
            raise
        print("sora: This is more than the memory holds: ask for a smaller size or fewer frames.", file=sys.stderr)
        return 2


def entry() -> None:
    """The console script: like `main`, and a termination is an interrupt, so that it too leaves no half file."""

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(main())
