"""The command line: `sora ...`, the same as `python -m sora_core ...`.

Exit codes: 0 done, 2 something the user can put right (one sentence on standard error), 130 interrupted. With --json
the last line of standard output is one JSON object. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import json
import signal
import sys

from ..errors import UserError
from . import batch, make, other
from .options import Commands, Parser

LIBRARIES = ("PIL", "av", "einops", "huggingface_hub", "kornia", "numpy", "safetensors", "tomli", "torch", "tqdm")


def parser() -> Parser:
    top = Parser(prog="sora", description="A sentence becomes a video. Each command has its own --help.")
    commands = Commands(top, "command")
    for part in (make, other, batch):
        part.register(commands)
    return top


def read(arguments: list[str] | None):
    """What is asked for; words may stand before, between and after the options."""
    top = parser()
    asked, rest = top.parse_known_args(arguments)
    if rest and hasattr(asked, "words") and all(word == "-" or not word.startswith("-") for word in rest):
        asked.words, rest = [*asked.words, *rest], []
    if rest:
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    return asked


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        asked = read(arguments)
        result = asked.run(asked)
        if asked.json:
            print(json.dumps(result))
        return 0
    except UserError as error:
        print(f"sora: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in LIBRARIES:  # a mistake of the program's own
            raise
        print(f"sora: {lacking(error.name)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"sora: {str(stop) or 'interrupted; nothing half done was left.'}", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        said = ("out of memory", "not enough memory", "allocate memory")  # torch says it in a RuntimeError
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in said):
            raise
        print("sora: This is more than the memory holds: ask for a smaller size or fewer frames.", file=sys.stderr)
        return 2


def lacking(library: str) -> str:
    """What to do where one of `LIBRARIES` is not installed."""
    if library == "torch":
        return "Sora needs PyTorch: install the build for this machine as https://pytorch.org/get-started/locally says."
    if library == "tomli":
        return "Python 3.10 reads the configs with tomli: python -m pip install tomli."
    return (
        f"Sora needs {library}: python -m pip install -r requirements.txt numpy pillow tqdm (and PyTorch, where it is "
        "missing)."
    )


def entry() -> None:
    """The console script: like `main`, and a termination is an interrupt, so that it too leaves no half file."""

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(main())
