"""Films come at a constant rate: evenly spaced frames as they are, others held until the next one's time."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from sora_core.clip import Clip
from sora_core.errors import UserError
from sora_core.video import probe, read_frames
from sora_core.video.formats import EXACT

MS = Fraction(1, 1000)
SLOWING = [round(i * 1000 / 30) for i in range(30)] + [1000 + 100 * i for i in range(30)]  # 30 fps, then 10 fps
ENCODERS = {".webm": ("libvpx-vp9", "yuv420p"), ".gif": ("gif", "gray")}
KINDS = [".mkv", ".mp4", ".mov", ".ts", ".webm", ".avi", ".gif"]


def write_at(path, times, unit=MS, rate=30):
    """A film whose frame i is grey 4 i and shown at times[i] of a unit; H.264 has B-frames."""
    encoder, pixels = ENCODERS.get(path.suffix, ("libx264", "yuv420p"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixels
        stream.codec_context.time_base = unit
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 4 * i, np.uint8), format="rgb24")
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = time, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers(frames) -> list[int]:
    """Which frame of `write_at` each is."""
    return [round(float((frame.mean() + 1) * 127.5) / 4) for frame in frames]


@pytest.mark.parametrize("ending", [".mkv", ".mp4", ".ts", ".webm"])
def test_frames_of_a_varying_rate_are_held_until_the_next_ones_time(tmp_path, ending):
    path = write_at(tmp_path / f"a{ending}", SLOWING)
    info = probe(path)
    assert (info.fps, info.even) == (pytest.approx(30), False)
    assert info.seconds == pytest.approx(4, abs=0.1), "the last frame's length is not in every container"
    shown = numbers(read_frames(path))
    assert len(shown) == info.frames
    expected = [max(i for i, at in enumerate(SLOWING) if at <= 1000 * n / 30 + 17) for n in range(info.frames)]
    assert shown == expected
    assert numbers(read_frames(path, 1.5, 0.5)) == expected[45:60], "frames that began before are shown from there on"


def test_the_last_frame_of_a_gif_stays_as_long_as_it_says(tmp_path):
    path = write_at(tmp_path / "a.gif", [0, 10, 20, 70, 80], Fraction(1, 100), 10)
    assert numbers(read_frames(path)) == [0, 1, 2, 2, 2, 2, 2, 3, 4]
    path = write_at(tmp_path / "b.gif", [0, 10, 20, 30, 40], Fraction(1, 100), 10)
    whole = bytearray(path.read_bytes())
    delay = whole.rindex(b"\x21\xf9\x04") + 4  # in the graphic control extension of the last frame
    whole[delay : delay + 2] = (40).to_bytes(2, "little")
    path.write_bytes(whole)
    assert numbers(read_frames(path)) == [0, 1, 2, 3, 4, 4, 4, 4]
    assert probe(path).frames == 8 and not probe(path).even


def test_frames_faster_than_the_rate_are_left_out(tmp_path):
    times = sorted([100 * i for i in range(40)] + [1013, 2020])
    path = write_at(tmp_path / "a.mkv", times)
    assert probe(path).fps == pytest.approx(10) and probe(path).frames == 40
    shown = numbers(read_frames(path))
    assert len(shown) == len(set(shown)) == 40 and shown[11] == 12


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("rate, offset", [(Fraction(24), 0), (Fraction(24), 48), (Fraction(30000, 1001), 0)])
def test_evenly_spaced_frames_come_one_by_one_as_they_are(tmp_path, ending, rate, offset):
    path = write_at(tmp_path / f"a{ending}", range(offset, offset + 60), 1 / rate, rate)
    info, tolerance = probe(path), 0.12 if ending == ".gif" else 1e-3  # a GIF counts hundredths of a second
    assert (info.frames, info.fps, info.even) == (60, pytest.approx(float(rate), rel=tolerance), True)
    with av.open(str(path)) as container:
        plain = [f.to_ndarray(format="rgb24", interpolation=EXACT) for f in container.decode(video=0)]
    shown = list(read_frames(path))
    assert len(shown) == len(plain) == 60
    for frame, pixels in zip(shown, plain, strict=True):
        assert torch.equal(frame, torch.from_numpy(pixels).permute(2, 0, 1).float().div(127.5).sub(1))
    assert numbers(read_frames(path, 20 / info.fps, 7 / info.fps)) == list(range(20, 27)), "from key frames before"


def test_a_film_without_timestamps_is_counted(tmp_path):
    path = write_at(tmp_path / "a.h264", range(20), Fraction(1, 24), 24)
    assert (probe(path).frames, probe(path).fps) == (20, 24)
    assert numbers(read_frames(path, 0.5)) == list(range(12, 20))


def test_timestamps_that_make_no_sense_make_no_endless_film(tmp_path):
    times = [*range(0, 500, 50), 10**9]
    path = write_at(tmp_path / "a.mkv", times)
    assert probe(path).frames <= 10 * len(times)
    assert len(list(read_frames(path))) == probe(path).frames
    with pytest.raises(UserError, match="no video frame after"):
        list(read_frames(path, 2e6))


def test_a_clip_says_that_its_rate_was_made_constant(tmp_path):
    clip = Clip(write_at(tmp_path / "a.mkv", SLOWING))
    assert clip.changes == ["a.mkv has no constant frame rate: its frames are held as long as they last, at 30 fps."]
    assert clip.length() == clip.expected == clip.info.frames
    assert Clip(write_at(tmp_path / "b.mkv", range(0, 1000, 50), rate=20)).changes == []
