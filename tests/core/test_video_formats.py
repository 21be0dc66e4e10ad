"""Every kind of file that can be chosen holds the film that was written, with its quality, pixels and sound."""

import io
import json
import os

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sora_core.audio import Sound, Waveform, has_sound
from sora_core.errors import UserError
from sora_core.video import FORMATS, Format, FrameFolder, VideoWriter, at_rate, probe, rate_ratio, read_frames

FILES = [kind for kind in FORMATS.values() if kind.ending]
TONE = Waveform(0.5 * np.sin(np.arange(44100) * 2 * np.pi * 440 / 44100, dtype=np.float32)[None], 44100)


def write(path, video, kind, fps=8.0, **more):
    with VideoWriter(path, video.shape[3], video.shape[2], fps, kind=kind, **more) as writer:
        writer.write(video)
    return path


def read(path, **window):
    return torch.stack(list(read_frames(path, **window)), dim=1)


def psnr(a, b):
    return float(-10 * torch.log10(((a - b) / 2).square().mean()))


@pytest.mark.parametrize("kind", FILES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("size", [(80, 96), (67, 85)])
def test_a_film_comes_back_in_every_format(tmp_path, smooth_clip, kind, size):
    video = smooth_clip(9, *size)
    path = write(tmp_path / f"a{kind.ending}", video, kind, metadata={"workflow": "{}", "prompt": "a ball"})
    info = probe(path)
    assert (info.width, info.height, info.frames, info.fps) == (size[1], size[0], 9, pytest.approx(8))
    assert psnr(read(path), video) > (32 if kind.ending == ".gif" else 38)
    with av.open(str(path)) as file:
        tags = {name.lower(): value for name, value in file.metadata.items()}
        decoder = file.streams.video[0].codec_context.name
    assert kind.ending == ".gif" or (tags["workflow"], tags["prompt"]) == ("{}", "a ball")
    assert decoder in {
        "mp4 H.264": ("h264",),
        "mp4 H.265": ("hevc",),
        "webm VP9": ("vp9", "libvpx-vp9"),
        "mov ProRes": ("prores",),
        "gif": ("gif",),
    }.get(kind.name, ("av1", "libdav1d", "libaom-av1"))


@pytest.mark.parametrize(
    "kind, pixels", [(kind, pixels) for kind in FILES for pixels in kind.pixels], ids=lambda x: getattr(x, "name", x)
)
def test_every_pixel_format_that_is_offered_works(tmp_path, smooth_clip, kind, pixels):
    path = write(tmp_path / f"a{kind.ending}", smooth_clip(3, 64, 80), kind, pixels=pixels)
    with av.open(str(path)) as file:
        found = file.streams.video[0].codec_context.pix_fmt
    own = {("mov ProRes", "yuv444p10le"): "yuv444p12le", ("gif", "pal8"): "bgra"}  # what these decoders make of it
    assert found == own.get((kind.name, pixels), pixels)


def test_ten_bits_hold_more_levels_than_eight(tmp_path):
    ramp = torch.linspace(-0.1, 0.1, 256).expand(3, 2, 32, 256)
    kept = {}
    for pixels in ("yuv444p", "yuv444p10le"):
        path = write(tmp_path / f"{pixels}.mp4", ramp, FORMATS["mp4 H.264"], crf=0, pixels=pixels)
        with av.open(str(path)) as file:
            frame = next(file.decode(video=0))
            kept[pixels] = len(np.unique(frame.reformat(format="rgb48le").to_ndarray()[16, :, 1]))
    assert kept["yuv444p10le"] > 2 * kept["yuv444p"]


def test_a_lower_crf_is_better_and_larger(tmp_path):
    video = (torch.rand(1, 6, 80, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1).expand(3, -1, -1, -1)
    for kind in (k for k in FILES if k.crf is not None):
        fine, coarse = (write(tmp_path / f"{crf}{kind.ending}", video, kind, crf=crf) for crf in (4, 40))
        assert os.path.getsize(fine) > 1.5 * os.path.getsize(coarse), kind.name
        assert psnr(read(fine), video) > psnr(read(coarse), video) + 3, kind.name


@pytest.mark.parametrize(
    "kind, size, settings, expected",
    [
        ("mp4 H.264", (64, 64), {"crf": 52}, "goes from 0 to 51, not 52"),
        ("mp4 H.264", (64, 64), {"crf": -1}, "goes from 0 to 51, not -1"),
        ("mov ProRes", (64, 64), {"crf": 3}, "mov ProRes has no constant quality: set crf to -1"),
        ("gif", (64, 64), {"crf": 5}, "gif has no constant quality: set crf to -1"),
        ("gif", (64, 64), {"pixels": "yuv444p10le"}, "gif cannot hold yuv444p10le: choose auto\\.$"),
        ("gif", (64, 64), {"fps": 50.5}, "A gif holds at most 50 frames per second, not 50.5 .*choose mp4"),
        ("gif", (64, 64), {"fps": 0.0015}, "shows a frame for at most 655.35 s, and 0.0015 frames per second"),
        ("mp4 H.264", (64, 64), {"fps": 1e-4}, "shows a frame for at most 1001 s, and 0.0001 frames per second"),
        ("mp4 AV1", (64, 64), {"pixels": "yuv444p"}, "cannot hold yuv444p: choose one of auto, yuv420p10le, yuv420p"),
        ("mp4 H.264", (51, 64), {"pixels": "yuv420p"}, "51x64 is odd"),
        ("mp4 H.265", (96, 62), {}, "at least 64x64 pixels, not 96x62"),
    ],
)
def test_what_a_format_does_not_have_is_refused(kind, size, settings, expected):
    with pytest.raises(UserError, match=expected):
        FORMATS[kind].check(*size, **{"fps": 8.0} | settings)


@pytest.mark.parametrize("fps", [50.0, 47.0, 1 / 655])
def test_a_gif_holds_every_rate_that_is_let_through(tmp_path, smooth_clip, fps):
    path = write(tmp_path / "a.gif", smooth_clip(9, 16, 16), FORMATS["gif"], fps=fps)
    assert probe(path).frames == 9
    with Image.open(path) as shown:
        assert shown.n_frames == 9 and abs(shown.info["duration"] - 1000 / fps) < 10


def test_a_gif_too_fast_is_refused_before_the_file_is_begun(tmp_path):
    with pytest.raises(UserError, match="lower the frame rate, or choose mp4"):
        VideoWriter(tmp_path / "a.gif", 16, 16, 106.0)
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_is_missing_is_said():
    with pytest.raises(UserError, match="needs the encoder libnothing, which this machine's PyAV does not have"):
        Format("mp4 Nothing", ".mp4", "libnothing", 1, 2, ("yuv420p",)).check(64, 64, 8.0)


# --------------------------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize("name", ["mp4 H.264", "webm VP9", "webm AV1", "mov ProRes"])
def test_a_waveform_is_heard_for_as_long_as_it_is_asked_for(tmp_path, smooth_clip, name):
    kind = FORMATS[name]
    path = write(tmp_path / f"a{kind.ending}", smooth_clip(4, 32, 32), kind, sounds=[Sound(TONE, 0.0, 0.25, 0.5)])
    with av.open(str(path)) as file:
        blocks = [frame.to_ndarray() for frame in file.decode(audio=0)]
        rate = file.streams.audio[0].codec_context.sample_rate
    heard = np.concatenate([b.reshape(1, -1) if b.ndim == 1 else b for b in blocks], axis=1)[0].astype(float)
    heard /= 2**31 if name == "mov ProRes" else 1
    assert 0.5 <= len(heard) / rate < 0.56
    middle = heard[int(0.1 * rate) : int(0.4 * rate)]
    loudest = np.abs(np.fft.rfft(middle)).argmax() * rate / len(middle)
    assert abs(loudest - 440) < 10 and 0.3 < np.abs(middle).max() < 0.6


def test_the_sound_of_a_file_in_memory_is_kept(tmp_path, smooth_clip):
    first = write(tmp_path / "a.mp4", smooth_clip(8, 32, 32), FORMATS["mp4 H.264"], sounds=[Sound(TONE, 0, 0, 1)])
    data = io.BytesIO(first.read_bytes())
    assert has_sound(data) and not has_sound(io.BytesIO(b"hello"))
    second = write(tmp_path / "b.mp4", read(data), FORMATS["mp4 H.264"], sounds=[Sound(data, 0, 0, 0.5)])
    with av.open(str(second)) as file:
        assert 0.5 <= float(file.streams.audio[0].duration * file.streams.audio[0].time_base) < 0.56


# ------------------------------------------------------------------------------------------------------- PNG sequences


def test_a_folder_of_frames(tmp_path, smooth_clip):
    video = smooth_clip(3, 37, 51)
    with FrameFolder(tmp_path / "film_", 51, 37, {"workflow": {"nodes": []}}) as folder:
        folder.write(video[:, :1])
        (part,) = os.listdir(tmp_path)
        assert part.startswith(".film_.")
        folder.write(video[:, 1:])
    names = sorted(os.listdir(tmp_path / "film_"))
    assert names == ["film_00000.png", "film_00001.png", "film_00002.png"] and os.listdir(tmp_path) == ["film_"]
    back = torch.cat([read(tmp_path / "film_" / name) for name in names], dim=1)
    assert (back - video.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6
    assert json.loads(Image.open(tmp_path / "film_" / names[2]).text["workflow"]) == {"nodes": []}
    with pytest.raises(UserError, match="exists already"):
        FrameFolder(tmp_path / "film_", 51, 37)


def test_an_interrupted_folder_leaves_nothing(tmp_path, smooth_clip):
    with pytest.raises(KeyboardInterrupt), FrameFolder(tmp_path / "film_", 32, 32) as folder:
        folder.write(smooth_clip(1, 32, 32))
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="not finite"), FrameFolder(tmp_path / "film_", 32, 32) as folder:
        folder.write(torch.full((3, 32, 32), float("nan")))
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------------------------------ ranges, rates


def test_a_part_of_a_film_is_read(tmp_path):
    levels = torch.linspace(-1, 1, 400)
    path = tmp_path / "long.mp4"
    write(path, levels[None, :, None, None].expand(3, 400, 16, 16), FORMATS["mp4 H.264"], fps=10)
    part = read(path, start=32.5, seconds=0.4).mean(dim=(0, 2, 3))
    assert torch.allclose(part, levels[325:329], atol=0.02)
    with pytest.raises(UserError, match="no video frame after 50 seconds"):
        read(path, start=50.0)


def test_a_file_in_memory_is_read_like_one_on_disk(tmp_path, smooth_clip):
    path = write(tmp_path / "a.mp4", smooth_clip(5, 32, 32), FORMATS["mp4 H.264"])
    data = io.BytesIO(path.read_bytes())
    assert probe(data) == probe(path) and torch.equal(read(data), read(path))
    with pytest.raises(UserError, match=r"The video is no image and no video that can be read: .*"):
        read(io.BytesIO(b"hello" * 99))


@pytest.mark.parametrize(
    "ratio, expected",
    [
        (1.0, [0, 1, 2, 3, 4, 5]),
        (0.5, [0, 2, 4]),
        (2.0, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (1 / 3, [0, 3]),
        (1.25, [0, 0, 1, 2, 3, 4, 4, 5]),
    ],
)
def test_another_rate_repeats_or_leaves_out(ratio, expected):
    assert list(at_rate(range(6), ratio)) == expected


@pytest.mark.parametrize(
    "one, other, same",
    [(23.98, 24000 / 1001, True), (29.97, 30000 / 1001, True)]
    + [pair for n in (24, 30, 60) for pair in ((n, n * 1000 / 1001, False), (n * 1000 / 1001, n, False))],
)
def test_rates_that_are_written_in_two_ways_are_the_same(one, other, same):
    """Those of film and of NTSC are not: after ten minutes they are apart by 0.6 seconds."""
    assert (rate_ratio(one, other) == 1) is same
