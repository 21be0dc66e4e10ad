"""Clips of one's own: a folder of videos and images, or webdataset shards, each with a caption in a .txt beside it.

Every file is looked at once, at the start; what cannot be read is left out, counted and named. Clips come whole, at
their native size. Which clip is read when is decided by `packing.Packs` from seed and step alone.
"""

import codecs
import glob
import logging
import os
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..grid import Geometry, Grid, round_up
from ..video import READ_ENDINGS, probe, read_frames
from .packing import Packs, useful

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class File:
    """A file on the disk, or a member of an uncompressed tar."""

    name: str
    path: Path
    offset: int | None = None
    size: int = 0

    def read(self) -> bytes:
        if self.offset is None:
            return self.path.read_bytes()
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise UserError(f"{self.name} is truncated.")
        return data

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """The path of a file with this content; a member of a tar gets one for as long as the block lasts."""
        if self.offset is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="sora-") as folder:
            path = Path(folder) / f"clip{Path(self.name).suffix.lower()}"
            path.write_bytes(self.read())
            yield path


@dataclass(frozen=True)
class Clip:
    file: File
    captions: tuple[str, ...]  # one is drawn each time; without any, the clip is learnt without words
    frames: int
    height: int
    width: int
    fps: float

    def tokens(self, geometry: Geometry) -> int:
        size = (geometry.latent_frames(self.frames), self.height, self.width)
        cells = (1, geometry.s_stride, geometry.s_stride)
        number = 1
        for pixels, cell, patch in zip(size, cells, geometry.patch, strict=True):
            number *= -(-pixels // (cell * patch))
        return number


class Clips:
    """The clips behind a `[data] source`.

    Args:
        source: ``folder:PATH`` (searched with all folders in it) or ``shards:GLOB`` of uncompressed tar files.

    Attributes:
        clips: what can be read, in the order of the names.
        skipped: name -> reason.

    Raises:
        UserError: another source, or nothing in it that can be read.
    """

    def __init__(self, source: str):
        kind, _, where = source.partition(":")
        finders = {"folder": _in_folder, "shards": _in_shards}
        if kind not in finders or not where:
            raise UserError(f"[data] source must be worlds, folder:PATH or shards:GLOB, not {source!r}.")
        self.source, self.skipped = source, {}  # what is skipped may grow while clips are read
        found = finders[kind](where, self.skipped)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            looked_at = list(pool.map(_look, *zip(*found, strict=True))) if found else []
        self.clips = [one for one in looked_at if isinstance(one, Clip)]
        for (file, _), one in zip(found, looked_at, strict=True):
            if not isinstance(one, Clip):
                self.skipped[file.name] = str(one)
        if not self.clips:
            reason = f" ({len(self.skipped)} could not be read)" if self.skipped else ""
            raise UserError(f"{source} holds no video and no image that can be learnt from{reason}.")

    def within(self, tokens: int, geometry: Geometry) -> list[Clip]:
        """The clips of at most so many tokens that a grid can have; others are skipped, for nothing is cut."""
        fitting = []
        for clip in self.clips:
            try:
                Grid(clip.frames, clip.height, clip.width, clip.fps, geometry)
            except UserError as error:
                self.skipped[clip.file.name] = str(error)
                continue
            if (needs := clip.tokens(geometry)) <= tokens:
                fitting.append(clip)
            else:
                self.skipped[clip.file.name] = f"it needs {needs} tokens, more than the {tokens} of [data] tokens"
        return fitting

    def read(self, clip: Clip) -> Tensor | None:
        """(3, T, H, W) in [-1, 1]; None, and skipped, where the file turns out to be damaged."""
        try:
            with clip.file.opened() as path:
                return torch.stack(list(read_frames(path)), dim=1)
        except (UserError, OSError, RuntimeError) as error:  # stack: frames that change their size
            if clip.file.name not in self.skipped:
                self.skipped[clip.file.name] = str(error)
                log.warning("%s is skipped: %s", clip.file.name, error)
            return None


def check_outside(source: str, out: Path) -> None:
    """Refuse a folder for results that is searched for clips: the sheets would be learnt from.

    Raises:
        UserError: it is.
    """
    kind, _, where = source.partition(":")
    if kind == "folder" and where and out.resolve().is_relative_to(Path(where).expanduser().resolve()):
        raise UserError(f"{out} lies in {where}, which is learnt from: choose another --out.")


def _look(file: File, captions: File | None) -> Clip | UserError:
    try:
        with file.opened() as path:
            info = probe(path)
        written = captions.read() if captions else b""
    except (UserError, OSError) as error:
        return UserError(str(error))
    marked = written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what Windows calls Unicode
    lines = written.decode("utf-16" if marked else "utf-8-sig", "replace").splitlines()
    words = tuple(line.strip() for line in lines if line.strip())
    return Clip(file, words, info.frames, info.height, info.width, info.fps)


def _in_folder(where: str, skipped: dict[str, str]) -> list[tuple[File, File | None]]:
    root = Path(where).expanduser()
    if not root.is_dir():
        raise UserError(f"[data] source: {where} is not a folder.")
    found = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in READ_ENDINGS and not path.name.startswith(".") and path.is_file():
            texts = (text for text in map(path.with_suffix, (".txt", ".TXT")) if text.is_file())
            text = next(texts, None)
            found.append((_whole(path, root), text and _whole(text, root)))
    return found


def _whole(path: Path, root: Path) -> File:
    return File(str(path.relative_to(root)), path)


def _in_shards(where: str, skipped: dict[str, str]) -> list[tuple[File, File | None]]:
    """Members that share a name up to the first dot of their last part are one sample, as webdataset has it."""
    paths = sorted(glob.glob(os.path.expanduser(where), recursive=True))
    if not paths:
        raise UserError(f"[data] source: no file matches {where}.")
    found = []
    for path in map(Path, paths):
        samples: dict[str, dict[str, File]] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if member.isfile():
                        folder, _, base = member.name.rpartition("/")
                        key, _, ending = base.partition(".")
                        file = File(f"{path.name}/{member.name}", path, member.offset_data, member.size)
                        samples.setdefault(f"{folder}/{key}", {})[ending.lower()] = file
        except (tarfile.TarError, OSError) as error:  # what was found before the damage is kept
            skipped[path.name] = f"damaged, or compressed, which cannot be read at random: {error}"
        for files in samples.values():
            pictures = [file for ending, file in files.items() if "." + ending.rpartition(".")[2] in READ_ENDINGS]
            found += [(file, files.get("txt")) for file in pictures]
    return found


class Reader:
    """The packs of a source, read ahead in the background.

    Attributes:
        clips: those that fit.
        fill: useful tokens / budget, over the first epoch.
    """

    def __init__(self, source: Clips, budget: int, geometry: Geometry, seed: int):
        self.source, self.budget = source, budget
        self.clips = source.within(budget, geometry)
        self.tokens = [clip.tokens(geometry) for clip in self.clips]
        self.packs = Packs(self.tokens, budget, seed)
        self.fill = useful(self.packs.epoch(0), self.tokens, budget)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sora-reader")
        self._ahead: dict[int, Future] = {}

    def __str__(self) -> str:
        told, skipped = sum(bool(clip.captions) for clip in self.clips), self.source.skipped
        text = f"{self.source.source}: {len(self.clips)} clips, {told} of them with captions"
        if skipped:
            text += f"; {len(skipped)} skipped, such as {next(' ('.join(item) for item in skipped.items())})"
        return f"{text}; {self.budget} tokens a pack, {100 * self.fill:.1f} % useful"

    def pack(self, index: int, following: int) -> list[tuple[Clip, Tensor]]:
        """The clips of a pack that could be read; `following` is the pack to begin with meanwhile.

        Raises:
            UserError: none of several packs in a row can be read.
        """
        for attempt in range(8):  # a pack of damaged files only is rare
            waiting = self._ahead.pop(index + attempt, None)
            read = waiting.result() if waiting else self._read(self.packs[index + attempt])
            if read:
                chosen = self.packs[following]
                self._ahead = {following: self._pool.submit(self._read, chosen)}
                return read
        raise UserError(
            f"{self.source.source}: hardly a file can be read any more ({len(self.source.skipped)} skipped)."
        )

    def _read(self, chosen: list[int]) -> list[tuple[Clip, Tensor]]:
        read = ((self.clips[i], self.source.read(self.clips[i])) for i in chosen)
        return [(clip, video) for clip, video in read if video is not None]


def padded(video: Tensor, geometry: Geometry) -> Tensor:
    """(B, 3, T, H, W) with its last frame and border repeated until whole patches cover it."""
    t = geometry.frames(round_up(geometry.latent_frames(video.shape[2]), geometry.patch[0])) - video.shape[2]
    h, w = (-n % (geometry.s_stride * p) for n, p in zip(video.shape[3:], geometry.patch[1:], strict=True))
    return F.pad(video, (0, w, 0, h, 0, t), mode="replicate") if t or h or w else video


def cut(video: Tensor, like: Tensor) -> Tensor:
    """`video` without the padding that `padded(like)` added: a clip is judged where it is."""
    if video.shape == like.shape:
        return video
    frames, height, width = like.shape[2:]
    return video[:, :, :frames, :height, :width]


def area(video: Tensor, geometry: Geometry) -> Tensor:
    """Float (t, h, w) over the latent of `padded(video)`: 1 where a cell holds a pixel of the clip itself."""
    sizes = [geometry.latent_frames(video.shape[2]), *(-(-n // geometry.s_stride) for n in video.shape[3:])]
    mask = torch.ones(sizes, device=video.device)
    before = [(0, -n % p) for n, p in zip(sizes, geometry.patch, strict=True)]
    return F.pad(mask, [n for pair in reversed(before) for n in pair])
