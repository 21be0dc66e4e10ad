"""What all commands share: the parser, the options, and what `--json` says of a result."""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

from ..errors import UserError

SOLVERS = ("euler", "heun", "dpmpp_2m", "ab2")  # the names in `sampler.SOLVERS`, which --help must not import torch for
NOTHING = dict.fromkeys(("output", "width", "height", "frames", "fps", "seed", "seconds"))


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage around it."""

    def error(self, message):
        raise UserError(f"{message[:1].upper()}{message[1:].rstrip('.')} (see {self.prog} --help).")


class Commands:
    """A group of commands, to which each file of this package adds its own."""

    def __init__(self, parent: Parser, dest: str):
        self.parsers = parent.add_subparsers(dest=dest, required=True, parser_class=Parser, metavar="COMMAND")

    def add(self, name: str, run, help: str) -> Parser:
        """A command; `run` takes what was asked and returns what --json prints."""
        command = self.parsers.add_parser(name, help=help, description=help)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="end standard output with one JSON object")
        return command

    def group(self, name: str, help: str) -> Commands:
        """A command that consists of commands."""
        return Commands(self.parsers.add_parser(name, help=help, description=help), f"{name}_command")


def making(command: Parser, length: bool = True) -> None:
    """What every command takes that fills a canvas; `length` where it chooses how long that is."""
    usual = "What is not said is as the videos given have it, or as the checkpoint does (sora info bundled)."
    command.epilog = f"{command.epilog or ''} {usual}".lstrip()
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="mp4, webm, mov, gif; png, jpg, webp"
    )
    command.add_argument("--size", metavar="WxH", help="pixels, or a preset such as '480p 16:9'")
    if length:
        either = command.add_mutually_exclusive_group()
        either.add_argument("--frames", type=whole, metavar="N")
        either.add_argument("--seconds", type=number, metavar="S", help="with --timeline its end is the default")
    else:
        command.set_defaults(frames=None, seconds=None)
    command.add_argument("--fps", type=number, metavar="F")
    command.add_argument(
        "--timeline", metavar="TEXT", help="prompts over time in place of PROMPT: '0-2s: a red ball; 2-4s: a blue ball'"
    )
    command.add_argument(
        "--seed", type=integer, metavar="N", help="the same seed gives the same video (default: random)"
    )
    command.add_argument("--steps", type=whole, metavar="N", help="of the solver: more is slower and finer")
    command.add_argument(
        "--cfg", type=number, metavar="G", help="how strictly to follow the prompt; 1 is without guidance"
    )
    command.add_argument("--negative", metavar="TEXT", help="what not to show")
    command.add_argument("--solver", choices=SOLVERS)
    model(command)


def model(command: Parser) -> None:
    command.add_argument(
        "--checkpoint",
        default="bundled",
        metavar="NAME|PATH",
        help="bundled (default), a .safetensors file, or hf:org/name@revision, which downloads",
    )
    device(command)


def device(command: Parser) -> None:
    command.add_argument(
        "--device", default="auto", metavar="auto|cpu|cuda|mps", help="auto takes a CUDA GPU where there is one"
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


def folder(text: str) -> Path:
    """A folder that is there or can be made."""
    path = Path(os.path.expanduser(text))
    if os.path.exists(path) and not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{text} is a file, not a folder")
    return path


def device_name(name: str) -> str:
    from ..codec import pick_device

    return str(pick_device(name))


def result(output, width, height, frames, fps, seed, start) -> dict:
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
