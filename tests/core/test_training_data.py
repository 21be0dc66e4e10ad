"""Folders and shards of clips: native sizes, captions, damaged files named and left out."""

import io
import tarfile
from dataclasses import replace

import pytest
import torch

from sora_core.errors import UserError
from sora_core.grid import Geometry
from sora_core.training.data import Clips, Reader, area, cut, padded
from sora_core.training.parallel import Ranks, noise_like
from sora_core.video import VideoWriter

GEOMETRY = Geometry(t_stride=4, s_stride=8, channels=4, patch=(1, 2, 2))
SIZES = {
    "a.mp4": (5, 24, 32),
    "b.png": (1, 40, 17),
    "sub/c.gif": (3, 16, 16),
    "d.webp": (1, 8, 64),
    "e.mp4": (9, 32, 24),
}


def write(path, frames, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width, height, 8.0) as writer:
        writer.write(torch.rand(3, frames, height, width) * 2 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for name, size in SIZES.items():
        write(root / name, *size)
    (root / "a.txt").write_text("a red ball\n\nsomething red\n", encoding="utf-8")
    (root / "b.txt").write_bytes(b"caf\xe9")  # not UTF-8
    (root / "broken.mp4").write_bytes(b"not a video")
    (root / "empty.png").touch()
    (root / "notes.md").write_text("no clip")
    return root


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    for number, names in enumerate((("a.mp4", "a.txt", "broken.mp4"), ("b.png", "b.txt", "d.webp", "e.mp4"))):
        with tarfile.open(root / f"{number}.tar", "w") as tar:
            for name in names:
                tar.add(folder / name, name)
    return root


def test_folder_is_read_at_native_size(folder):
    clips = Clips(f"folder:{folder}")
    assert {c.file.name: (c.frames, c.height, c.width) for c in clips.clips} == SIZES
    assert clips.clips[0].captions == ("a red ball", "something red")
    assert clips.clips[1].captions == ("caf\ufffd",)
    for clip in clips.clips:
        assert clips.read(clip).shape == (3, clip.frames, clip.height, clip.width)


def test_damaged_files_are_counted_and_named(folder):
    clips = Clips(f"folder:{folder}")
    assert set(clips.skipped) == {"broken.mp4", "empty.png"}
    assert "empty" in clips.skipped["empty.png"]
    reader = Reader(clips, 20, GEOMETRY, seed=0)
    assert "5 clips, 2 of them with captions; 2 skipped, such as broken.mp4 (" in str(reader)


@pytest.mark.parametrize("ending", [".txt", ".TXT"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_captions_are_read_as_editors_write_them(folder, tmp_path, ending, encoding):
    (tmp_path / "a.png").write_bytes((folder / "b.png").read_bytes())
    (tmp_path / f"a{ending}").write_text("ein Kätzchen\na cat", encoding=encoding)
    (clip,) = Clips(f"folder:{tmp_path}").clips
    assert clip.captions == ("ein Kätzchen", "a cat")


def test_shards_hold_what_the_folder_holds(folder, shards):
    loose, packed = Clips(f"folder:{folder}"), Clips(f"shards:{shards}/*.tar")
    assert set(packed.skipped) == {"0.tar/broken.mp4"}
    named = {clip.file.name: clip for clip in loose.clips}
    for clip in packed.clips:
        twin = named[clip.file.name.split("/", 1)[1]]
        assert replace(clip, file=twin.file) == twin
        assert torch.equal(packed.read(clip), loose.read(twin))
    assert len(packed.clips) == 4


def test_damaged_shards_never_crash(shards, tmp_path):
    whole = (shards / "1.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "junk.tar").write_bytes(b"junk" * 500)
    with tarfile.open(tmp_path / "zip.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("x.png"), io.BytesIO())
    (tmp_path / "fine.tar").write_bytes(whole)
    clips = Clips(f"shards:{tmp_path}/*.tar")
    assert {"junk.tar", "zip.tar"} <= set(clips.skipped)
    assert any(name.startswith("cut.tar") for name in clips.skipped)
    assert sum(clip.file.name.startswith("fine.tar/") for clip in clips.clips) == 3


@pytest.mark.parametrize(
    "source", ["folder:", "elsewhere:x", "folder:/not/there", "shards:/not/there/*.tar", "worlds:"]
)
def test_a_wrong_source_is_one_sentence(source):
    with pytest.raises(UserError, match=r"\[data\] source"):
        Clips(source)


def test_a_folder_without_clips_is_refused(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no")
    with pytest.raises(UserError, match="1 could not be read"):
        Clips(f"folder:{tmp_path}")


def test_reader_packs_whole_clips_and_names_what_is_too_large(folder):
    source = Clips(f"folder:{folder}")
    reader = Reader(source, 11, GEOMETRY, seed=0)
    assert source.skipped["e.mp4"].startswith("it needs 12 tokens")
    assert "a.mp4" not in source.skipped  # 2 x 2 x 2
    seen = set()
    for index in range(6):
        read = reader.pack(index, index + 1)
        assert sum(clip.tokens(GEOMETRY) for clip, _ in read) <= 11
        seen |= {clip.file.name for clip, _ in read}
    assert seen == set(SIZES) - {"e.mp4"}


def test_what_no_grid_can_have_is_skipped(tmp_path):
    write(tmp_path / "a.png", 1, 4, 20)
    write(tmp_path / "b.png", 1, 16, 16)
    source = Clips(f"folder:{tmp_path}")
    assert [clip.file.name for clip in Reader(source, 8, GEOMETRY, seed=0).clips] == ["b.png"]
    assert "height" in source.skipped["a.png"]


def test_reader_gives_the_same_after_a_break(folder):
    straight, resumed = (Reader(Clips(f"folder:{folder}"), 20, GEOMETRY, seed=1) for _ in range(2))
    for index in range(4):
        expected = straight.pack(index, index + 1)
    read = resumed.pack(3, 4)
    assert [clip for clip, _ in read] == [clip for clip, _ in expected]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(read, expected, strict=True))


def test_a_file_that_breaks_later_is_skipped(folder, tmp_path, caplog):
    for name in ("b.png", "d.webp"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    reader = Reader(Clips(f"folder:{tmp_path}"), 10, GEOMETRY, seed=0)
    (tmp_path / "b.png").write_bytes(b"broken")
    for index in range(3):
        assert {clip.file.name for clip, _ in reader.pack(index, index + 1)} <= {"d.webp"}
    assert caplog.text.count("b.png is skipped") == 1
    (tmp_path / "d.webp").unlink()
    with pytest.raises(UserError, match="hardly a file"):
        for index in range(3, 6):
            reader.pack(index, index + 1)


def test_mixed_sizes_fill_the_packs(folder, tmp_path):
    for number in range(24):
        write(tmp_path / f"{number}.png", 1, 8 * (1 + number % 7), 8 * (1 + number % 5))
    for name in ("a.mp4", "e.mp4"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert Reader(Clips(f"folder:{tmp_path}"), 64, GEOMETRY, seed=0).fill >= 0.95


@pytest.mark.parametrize("size", [(1, 8, 8), (5, 17, 40), (6, 16, 24), (2, 33, 9)])
def test_padding_repeats_the_border_and_keeps_its_area_apart(size):
    video = torch.rand(1, 3, *size)
    whole = padded(video, GEOMETRY)
    assert whole.shape[2] % 4 == 1 and whole.shape[3] % 16 == 0 and whole.shape[4] % 16 == 0
    assert torch.equal(cut(whole, video), video)
    assert torch.equal(whole[:, :, -1, -1, -1], video[:, :, -1, -1, -1])
    mask = area(video, GEOMETRY)
    assert mask.shape == ((whole.shape[2] + 3) // 4, whole.shape[3] // 8, whole.shape[4] // 8)
    cells = -(-size[1] // 8), -(-size[2] // 8)
    assert mask[:, : cells[0], : cells[1]].all() and mask.sum() == mask.shape[0] * cells[0] * cells[1]


@pytest.mark.parametrize("world", [2, 3, 5])
def test_shares_of_noise_make_the_whole(world):
    for shape in ((5, 3, 4, 4, 4), (5, 2, 1, 1, 1)):
        whole = torch.empty(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
        torch.manual_seed(0)
        expected = torch.randn_like(whole)  # memory as the networks return it
        for rank in range(world):
            ours = Ranks(rank, world).share(5)
            torch.manual_seed(0)
            assert torch.equal(noise_like(torch.empty(shape)[ours], 5, ours.start), expected[ours])


def test_a_process_may_go_without_a_part_but_not_without_a_batch():
    shares = [Ranks(rank, 3).share(2) for rank in range(3)]
    assert [share.stop - share.start for share in shares] == [0, 1, 1] and shares[2].stop == 2
    Ranks(0, 3).check(["", "ab"])
    with pytest.raises(UserError, match="too few clips for 3 processes"):
        Ranks(0, 3).check(["", ""])
