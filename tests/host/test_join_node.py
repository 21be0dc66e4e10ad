"""Sora Join Videos: no frame is doubled or lost, the originals stay, and every part keeps its sound."""

from itertools import pairwise

import av
import numpy as np
import pytest
import torch

from sora_core.audio import Sound, Waveform
from sora_core.batch.client import WorkflowError
from sora_core.video import VideoWriter, read_frames
from tests.host.conftest import TINY
from tests.host.graph import Clip, Graph

RATE, FPS = 48000, 8


def tone(hertz: int, seconds: float) -> Waveform:
    return Waveform(np.sin(np.arange(int(seconds * RATE)) * 2 * np.pi * hertz / RATE, dtype=np.float32)[None] / 2, RATE)


@pytest.fixture
def video_in(server, tmp_path):
    """(name, greys of the frames, more) -> the name under which LoadVideo finds it."""

    def put(name: str, greys, width=64, height=48, fps=FPS, hertz=0) -> str:
        path, seconds = tmp_path / f"{name}.mp4", len(greys) / fps
        sounds = [Sound(tone(hertz, seconds), 0.0, 0.0, seconds)] if hertz else []
        with VideoWriter(path, width, height, fps, sounds=sounds) as writer:
            for grey in greys:
                writer.write(torch.full((3, height, width), grey / 127.5 - 1))
        return server.upload(path)

    return put


def join(g: Graph, first, second, overlap=0, keep="first"):
    joined = g("SoraJoinVideos", first=first, second=second, overlap=overlap, keep=keep)[0]
    return g("SaveVideo", video=joined, filename_prefix="joined", format="auto", codec="auto")


def greys_of(path) -> list[int]:
    return [round(float((frame.mean() + 1) * 127.5)) for frame in read_frames(path)]


A = list(range(20, 100, 8))  # ten frames, each of a grey of its own
B = list(range(120, 240, 12))


@pytest.mark.parametrize(
    ("first", "second", "overlap", "keep", "expected"),
    [
        (A, B, 0, "first", A + B),
        (A, A[-3:] + B, 3, "first", A + B),
        (A, [grey + 3 for grey in A] + B, -1, "first", A + B),  # the second is the first, extended
        (B + [grey + 3 for grey in A], A, -1, "second", B + A),  # the first leads to the second
        (A[:1], B[:1], 0, "first", A[:1] + B[:1]),
        (A, A[-1:], 1, "first", A),
    ],
)
def test_no_frame_is_doubled_or_lost(server, video_in, tmp_path, first, second, overlap, keep, expected):
    g = Graph()
    files = [g("LoadVideo", file=video_in(name, greys))[0] for name, greys in (("a", first), ("b", second))]
    join(g, *files, overlap, keep)
    path = server.save(server.run(g.api).files("mp4")[0], tmp_path / "joined.mp4")
    found = greys_of(path)
    assert len(found) == len(expected) and max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 1


def test_every_part_keeps_its_sound_at_its_time(server, video_in, tmp_path):
    g = Graph()
    loud, silent = video_in("loud", A[:8], hertz=440), video_in("silent", B[:8])
    frames = g("LoadVideo", file=silent)[0]
    third = g("LoadVideo", file=video_in("third", A[:8], hertz=880))[0]
    middle = g("SoraJoinVideos", first=g("LoadVideo", file=loud)[0], second=frames, overlap=0, keep="first")[0]
    join(g, middle, third)
    result = server.run(g.api, extra={"workflow": {"nodes": []}})
    path = server.save(result.files("mp4")[0], tmp_path / "joined.mp4")
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        sound = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)])
        rate = stream.codec_context.sample_rate
        assert "workflow" in file.metadata and "prompt" in file.metadata
    assert abs(len(sound) / rate - 3) < 0.1

    def heard(second: float) -> float:
        part = sound[int((second + 0.25) * rate) : int((second + 0.75) * rate)]
        return 0.0 if np.abs(part).max() < 0.01 else float(np.argmax(np.abs(np.fft.rfft(part)))) / 0.5

    assert [round(heard(second) / 20) * 20 for second in range(3)] == [440, 0, 880]


def test_an_extended_video_gets_its_own_frames_back(server, video_in, tmp_path):
    """Load, encode, extend, sample, decode, join: the original's frames are those of its file."""
    g = Clip(TINY)
    original = g("LoadVideo", file=video_in("original", A[:9], hertz=440))[0]
    whole = {"start_frame": 0, "frames": 0, "fps": 0.0, "width": 0, "height": 0, "fit": "cover"}
    latent = g("SoraEncodeVideo", video=original, vae=g.vae, **whole)[0]
    longer = g("SoraExtendVideo", latent=latent, direction="forward", length=6, unit="frames")[0]
    files = {"filename_prefix": "x", "format": "mp4 H.264", "crf": -1, "pixel_format": "auto", "fps": 0.0}
    made = g("SoraDecodeToVideo", latent=g.sample(latent=longer), vae=g.vae, save_to="temp", **files)[0]
    join(g, original, made, -1)
    saved = [item for item in server.run(g.api).files("mp4") if item["type"] == "output"]
    found = greys_of(server.save(saved[0], tmp_path / "joined.mp4"))
    assert len(found) == 15 and max(abs(a - b) for a, b in zip(found[:9], A[:9], strict=True)) <= 1


@pytest.mark.parametrize("keep", ["first", "second"])
def test_new_frames_go_over_from_their_neighbour_where_nothing_moves(server, video_in, tmp_path, keep):
    """The extended version is six greys darker than the original; beside it its new frames are not."""
    original, made = [100] * 10, [94] * 30
    g = Graph()
    pair = [original, made] if keep == "first" else [made, original]
    files = [g("LoadVideo", file=video_in(name, greys))[0] for name, greys in zip("ab", pair, strict=True)]
    join(g, *files, -1, keep)
    found = greys_of(server.save(server.run(g.api).files("mp4")[0], tmp_path / "joined.mp4"))
    if keep == "second":
        found.reverse()
    assert len(found) == 30 and set(found[:10]) <= {99, 100, 101}
    assert found[10] >= 98 and set(found[27:]) <= {93, 94, 95}
    assert all(later <= sooner for sooner, later in pairwise(found[9:]))


def test_frames_in_memory_are_joined_with_a_file(server, video_in, tmp_path, picture_in):
    g = Graph()
    image = g("LoadImage", image=picture_in(np.full((48, 64, 3), 200, np.uint8), "grey.png"))[0]
    still = g("CreateVideo", images=g("RepeatImageBatch", image=image, amount=3)[0], fps=FPS)[0]
    join(g, g("LoadVideo", file=video_in("a", A))[0], still)
    found = greys_of(server.save(server.run(g.api).files("mp4")[0], tmp_path / "joined.mp4"))
    assert max(abs(a - b) for a, b in zip(found, [*A, 200, 200, 200], strict=True)) <= 1


@pytest.mark.parametrize(
    ("second", "overlap", "expected"),
    [
        ({"width": 96}, 0, "differ in size, 64x48 and 96x48: make them alike first, with Sora Encode Video"),
        ({"fps": 24}, 0, "differ in frame rate, 8 fps and 24 fps"),
        ({}, 11, "An overlap of 11 frames does not fit videos of 10 and 10 frames"),
    ],
)
def test_videos_that_do_not_fit_together(server, video_in, second, overlap, expected):
    g = Graph()
    files = [g("LoadVideo", file=video_in(name, B, **size))[0] for name, size in (("a", {}), ("b", second))]
    join(g, *files, overlap)
    with pytest.raises(WorkflowError) as told:
        server.run(g.api)
    assert expected in str(told.value)
