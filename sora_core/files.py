"""Files that appear whole or not at all: written beside their place, then moved into it.

What is being written is in a hidden folder whose name is plainly ours and which its process has locked. The system
gives the lock back when the process ends, however it ends. So the next process that writes beside it can tell what a
killed one left behind from what another one is writing, and removes it. A lock says nothing to other machines that
share a folder, so the name says whose it is; where folders cannot be locked (Windows) nobody can tell, and it stays.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, EFBIG, EIO, ENOSPC, EPERM, EROFS
from functools import cache
from pathlib import Path

from .errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_FULL = {ENOSPC, EDQUOT, EFBIG}
_REFUSED = _FULL | {EACCES, EPERM, EROFS, EIO}
MACHINE = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
_PART = re.compile(rf"\..+\.{MACHINE}[0-9a-f]{{8}}\.sora-part")


def explain(error: OSError, path: str | os.PathLike) -> UserError:
    """The sentence for a file that could not be written."""
    if error.errno in _FULL:
        return UserError(f"{os.fspath(path)} could not be written: the disk is full. Free some space and try again.")
    reason = error.strerror or str(error) or type(error).__name__
    return UserError(f"{os.fspath(path)} could not be written: {reason[:1].lower()}{reason[1:]}. Choose another place.")


def check_apart(inputs: Iterable[Path], output: str | os.PathLike) -> None:
    """Make sure that what is made of some files does not take the place of one of them.

    Raises:
        UserError: it does, also through a link.
    """
    output = os.path.expanduser(output)
    for path in inputs:
        if os.path.isfile(path) and os.path.isfile(output) and os.path.samefile(path, output):
            raise UserError(f"{path} would be overwritten by what is made of it: name another file with -o.")


def check_writable(path: str | os.PathLike) -> Path:
    """Make sure, before long work, that a file can be created at `path`; folders above it are made.

    Raises:
        UserError: the folder cannot be made or written to, or `path` is a folder, or below a file.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: name a file in it.")
    above = next((folder for folder in path.parents if os.path.lexists(folder)), None)
    if above and not os.path.isdir(above):
        raise UserError(f"{path} could not be written: {above} is not a folder. Choose another place.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.lstat()  # refuses a name that is too long
        with tempfile.TemporaryFile(dir=path.parent):  # has no name, so that an interrupt here leaves nothing
            pass
    except OSError as error:
        raise explain(error, path) from error
    return path


@contextmanager
def replacing(path: str | os.PathLike, *, folder: bool = False) -> Iterator[Path]:
    """Give a place of the same name, in a hidden folder beside `path`; what the block has written there is moved to
    `path` when it succeeds.

    An error or an interrupt removes what was written and leaves what stood under `path` as it was.

    Args:
        folder: the place is an empty folder, and nothing is under `path` yet.

    Raises:
        UserError: the file cannot be written (folder, rights, full disk). Errors of other files pass.
    """
    path = check_writable(path)
    part = path.with_name(f".{path.stem[:40]}.{MACHINE}{secrets.token_hex(4)}.sora-part")
    try:
        with _held(part):
            if folder:
                (part / path.name).mkdir()
            yield part / path.name
            os.replace(part / path.name, path)
    except OSError as error:
        if not _is_ours(error, part):
            raise
        raise explain(error, path) from error


def _is_ours(error: OSError, part: Path) -> bool:
    """Whether an error is one of writing into `part`. Opening names the file; writing and closing do not."""
    if isinstance(error.filename, str | os.PathLike):
        return part in (Path(error.filename), *Path(error.filename).parents)
    return error.errno in _REFUSED


def allow_as_usual(part: Path) -> None:
    """Give a file the rights of any new one, whatever its writer gave it; `part` is a place from `replacing`.

    The umask can only be asked for by setting it, for all threads: an ordinary file beside `part` shows it instead.
    """
    usual = part.with_name(secrets.token_hex(4))
    usual.touch()
    shutil.copymode(usual, part)
    usual.unlink()


@contextmanager
def _held(part: Path) -> Iterator[None]:
    """A folder that exists, and is locked where that can be, during the block."""
    sweep(part.parent)
    lock = _make(part)
    try:
        yield
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _make(part: Path) -> int | None:
    """Make a folder and lock it; what `_lock` returns."""
    while True:
        part.mkdir()
        lock = _lock(part, wait=True)
        if part.exists():
            return lock
        if lock is not None:  # another process took it for a leftover in the moment before it was locked
            os.close(lock)


def _lock(part: Path, wait: bool) -> int | None:
    """Lock a folder: the descriptor that holds the lock, or None where there is no such folder or lock, or another
    process has it."""
    if fcntl is None:
        return None
    try:
        lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


@cache
def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder. Once in a process: its own leave nothing."""
    with suppress(OSError), os.scandir(folder) as entries:
        for part in [entry.path for entry in entries if _PART.fullmatch(entry.name)]:
            lock = _lock(Path(part), wait=False)
            if lock is not None:
                shutil.rmtree(part, ignore_errors=True)
                os.close(lock)
