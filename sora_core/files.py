"""Files that appear whole or not at all: written beside their name, then moved into place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from .errors import UserError

_FULL = {ENOSPC, EDQUOT, EFBIG}


def explain(error: OSError, path: str | os.PathLike) -> UserError:
    """The sentence for a file that could not be written."""
    if error.errno in _FULL:
        return UserError(f"{os.fspath(path)} could not be written: the disk is full. Free some space and try again.")
    reason = error.strerror or str(error) or type(error).__name__
    return UserError(f"{os.fspath(path)} could not be written: {reason[:1].lower()}{reason[1:]}. Choose another place.")


def check_writable(path: str | os.PathLike) -> Path:
    """Make sure, before long work, that a file can be created at `path`; folders above it are made.

    Raises:
        UserError: the folder cannot be made or written to, or `path` is a folder.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):  # has no name, so that an interrupt here leaves nothing
            pass
    except OSError as error:
        raise explain(error, path) from error
    return path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give the name of a temporary file beside `path`, of the same ending; move it to `path` when the block succeeds.

    An error or an interrupt removes the temporary file and leaves what stood under `path` as it was.

    Raises:
        UserError: the file cannot be written (folder, rights, full disk).
    """
    path = check_writable(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
