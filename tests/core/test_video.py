"""What is written comes back: size, frames, rate, colours, tags. What cannot be read or written is said."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sora_core.errors import UserError
from sora_core.video import (
    VideoInfo,
    VideoWriter,
    check_output,
    chunks,
    contact_sheet,
    fit,
    probe,
    read_frames,
    read_grey,
    read_image,
)

ROOT = Path(__file__).parents[2]


def write(path, video, fps=8.0, metadata=None):
    with VideoWriter(path, video.shape[3], video.shape[2], fps, metadata) as writer:
        for part in video.split(5, dim=1):
            writer.write(part)


def read(path):
    return torch.stack(list(read_frames(path)), dim=1)


def psnr(a, b):
    return float(-10 * torch.log10(((a - b) / 2).square().mean()))


@pytest.mark.parametrize(
    "ending, least", [(".mp4", 40), (".webm", 40), (".gif", 32), (".png", 55), (".jpg", 40), (".webp", 55)]
)
@pytest.mark.parametrize("height, width", [(64, 64), (37, 51), (48, 64), (50, 33)])
def test_round_trip(tmp_path, smooth_clip, ending, least, height, width):
    frames = 1 if ending in (".png", ".jpg", ".webp") else 9
    video = smooth_clip(frames, height, width)
    path = tmp_path / f"a{ending}"
    write(path, video)
    info = probe(path)
    assert (info.width, info.height, info.frames) == (width, height, frames)
    assert frames == 1 or info.fps == pytest.approx(8)
    back = read(path)
    assert back.shape == video.shape
    assert psnr(back, video) > least
    assert (back - video).mean(dim=(1, 2, 3)).abs().max() < 0.01, "the colours are shifted"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif"])
@pytest.mark.parametrize("height, width, frames", [(1, 1, 1), (1, 2, 3), (8, 8, 1), (16, 9, 2)])
def test_the_smallest_videos(tmp_path, ending, height, width, frames):
    path = tmp_path / f"a{ending}"
    write(path, torch.full((3, frames, height, width), 0.5))
    assert read(path).shape == (3, frames, height, width)


@pytest.mark.parametrize("fps", [1, 8, 12.5, 23.976, 24, 30, 60])
def test_the_frame_rate_comes_back(tmp_path, smooth_clip, fps):
    write(tmp_path / "a.mp4", smooth_clip(12, 16, 16), fps)
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(fps, rel=1e-3)


def test_frame_order(tmp_path):
    levels = torch.linspace(-1, 1, 20)
    write(tmp_path / "a.mp4", levels[None, :, None, None].expand(3, 20, 16, 16))
    assert torch.allclose(read(tmp_path / "a.mp4").mean(dim=(0, 2, 3)), levels, atol=0.02)


def test_plain_colours_survive(tmp_path):
    for rgb in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0.75, 0.8), (0, 0, 0), (1, 1, 1)]:
        video = (torch.tensor(rgb) * 2 - 1)[:, None, None, None].expand(3, 2, 32, 32)
        write(tmp_path / "a.mp4", video)
        assert (read(tmp_path / "a.mp4") - video).abs().max() < 0.04, rgb


METADATA = {"prompt": "ein roter Ball \N{HOT BEVERAGE} 'quoted'", "seed": 7, "settings": {"steps": 20, "cfg": 3.5}}


def test_an_mp4_says_what_made_it(tmp_path, smooth_clip):
    write(tmp_path / "a.mp4", smooth_clip(3, 16, 16), metadata=METADATA)
    with av.open(str(tmp_path / "a.mp4")) as container:
        tags = dict(container.metadata)
        assert container.streams.video[0].codec_context.name == "h264"
    assert tags["prompt"] == METADATA["prompt"]
    assert (tags["seed"], json.loads(tags["settings"])) == ("7", METADATA["settings"])


def test_images_say_what_made_them(tmp_path, smooth_clip):
    write(tmp_path / "a.png", smooth_clip(1, 16, 16), metadata=METADATA)
    assert Image.open(tmp_path / "a.png").text["prompt"] == METADATA["prompt"]
    for name in ("a.jpg", "a.webp"):
        write(tmp_path / name, smooth_clip(1, 16, 16), metadata=METADATA)
        assert json.loads(Image.open(tmp_path / name).getexif()[0x010E])["seed"] == "7"


def test_a_text_of_many_pages_fits_every_kind(tmp_path, smooth_clip):
    for ending in ("mp4", "webm", "gif", "png", "jpg", "webp"):
        write(tmp_path / f"a.{ending}", smooth_clip(1, 16, 16), metadata={"prompt": "\N{HOT BEVERAGE} " * 500_000})
        assert probe(tmp_path / f"a.{ending}").frames == 1


def test_even_sizes_play_everywhere(tmp_path, smooth_clip):
    write(tmp_path / "a.mp4", smooth_clip(2, 16, 18))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


# ------------------------------------------------------------------------------------------------- images of all kinds


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return path


def test_grey_16_bit_keeps_its_precision(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 33, dtype=np.uint16).reshape(33, 64)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 33, 64)
    assert torch.allclose((image[0] + 1) / 2, torch.from_numpy(ramp.astype(np.float32) / 65535), atol=1e-5)


def test_grey_becomes_rgb(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = read_image(save(tmp_path / "a.png", grey))
    assert torch.equal(image[0], image[2]) and image.min() == -1 and image.max() == 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(tmp_path, mode):
    image = Image.new("RGBA", (6, 5), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 3, 5))
    image.convert(mode).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert (pixels[:, :, 3:] == 1).all() and (pixels[:, :, :3] == -1).all()


def test_a_palette_with_transparency(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "a.png", transparency=1)
    assert (read_image(tmp_path / "a.png") == 1).all()


def film(path, encoder, pixels, frame, pixel=None):
    """Three times the same frame; `pixel` is how wide a pixel is for its height."""
    with av.open(path, "w") as container:
        options = {"auto-alt-ref": "0", "crf": "10"} if "libvpx" in encoder else {}  # transparency needs the first
        stream = container.add_stream(encoder, rate=8, options=options)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pixels
        if pixel is not None:
            stream.codec_context.sample_aspect_ratio = pixel
        for number in range(3):
            shown = frame.reformat(format=pixels)
            shown.pts = number
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    "pixel, size", [(Fraction(16, 11), (93, 48)), (Fraction(3, 4), (64, 64)), (Fraction(1), (64, 48))]
)
def test_pixels_that_are_not_square(tmp_path, pixel, size):
    """A disc, filmed by an anamorphic camera, is a disc again."""
    width, height = 64, 48
    across = np.arange(width)[None] * float(pixel) - (width - 1) / 2 * float(pixel)
    along = np.arange(height)[:, None] - (height - 1) / 2
    disc = np.where(np.hypot(across, along) < 15, 255, 0).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(np.repeat(disc[..., None], 3, axis=2), format="rgb24")
    path = film(tmp_path / "wide.mp4", "libx264", "yuv420p", frame, pixel)
    info = probe(path)
    assert (info.width, info.height, info.frames) == (*size, 3)
    frames = list(read_frames(path))
    assert {tuple(frame.shape) for frame in frames} == {(3, size[1], size[0])} and len(frames) == 3
    inside = frames[1].mean(0) > 0
    wide, high = inside.any(0).sum(), inside.any(1).sum()
    assert abs(int(wide) - int(high)) <= 2


@pytest.mark.parametrize(
    "encoder, ending, pixels",
    [
        ("ffv1", "mkv", "gray"),
        ("png", "mov", "gray"),
        ("magicyuv", "avi", "gray"),
        ("ffv1", "mkv", "gray16le"),
        ("png", "mov", "gray16be"),
        ("ffvhuff", "avi", "gray16le"),
        ("jpeg2000", "mov", "gray16le"),
    ],
)
def test_grey_videos(tmp_path, encoder, ending, pixels):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(48, axis=0)
    video = read(film(tmp_path / f"a.{ending}", encoder, pixels, av.VideoFrame.from_ndarray(ramp, format="gray16le")))
    assert video.shape == (3, 3, 48, 64) and torch.equal(video[0], video[2])
    error = video - torch.linspace(-1, 1, 64)
    assert error.abs().max() < 0.02 and error.mean().abs() < 0.01


@pytest.mark.parametrize(
    "encoder, ending, pixels",
    [
        ("prores_ks", "mov", "yuva444p10le"),
        ("png", "mov", "rgba"),
        ("png", "mov", "rgba64be"),
        ("png", "mov", "ya8"),
        ("png", "mov", "ya16be"),
        ("qtrle", "mov", "argb"),
        ("cfhd", "mov", "gbrap12le"),
        ("rawvideo", "mov", "argb"),
        ("ffv1", "mkv", "bgra"),
        ("ffv1", "mkv", "gbrap16le"),
        ("ffv1", "mkv", "yuva420p"),
        ("utvideo", "avi", "gbrap"),
        ("apng", "apng", "rgba"),
        ("libvpx", "webm", "yuva420p"),
        ("libvpx-vp9", "webm", "yuva420p"),
    ],
)
def test_transparent_videos_lie_over_white(tmp_path, encoder, ending, pixels):
    black = np.zeros((48, 96, 4), np.uint16)
    black[:, 32:64, 3], black[:, 64:, 3] = 32768, 65535
    frame = av.VideoFrame.from_ndarray(black, format="rgba64le")
    video = read(film(tmp_path / f"a.{ending}", encoder, pixels, frame))
    for place, seen in ((16, 1), (48, 0), (80, -1)):
        assert (video[..., place] - seen).abs().max() < 0.03


def test_a_palette_of_a_video_with_transparency(tmp_path):
    index, palette = np.zeros((48, 64), np.uint8), np.zeros((256, 4), np.uint8)
    index[:, 32:], palette[0], palette[1] = 1, (0, 0, 0, 0), (255, 0, 0, 0)  # alpha comes first
    frame = av.VideoFrame.from_ndarray((index, palette), format="pal8")
    video = read(film(tmp_path / "a.mov", "png", "pal8", frame))
    assert (video[..., :32] == 1).all() and (video[..., 32:] == -1).all()


@pytest.mark.parametrize("pixel, size", [(Fraction(16, 11), (93, 48)), (Fraction(3, 4), (64, 64))])
def test_hidden_colours_do_not_show_where_pixels_are_not_square(tmp_path, pixel, size):
    red = np.full((48, 64, 4), 65535, np.uint16)
    red[:, :31, 1:] = 0  # and transparent
    path = film(tmp_path / "a.mov", "png", "rgba", av.VideoFrame.from_ndarray(red, format="rgba64le"), pixel)
    video = read(path)
    assert video.shape == (3, 3, *size[::-1]) and (video == 1).all()


@pytest.mark.parametrize("name, kind", [("a.webp", "WEBP"), ("a.png", "PNG"), ("a.png", "GIF")])
def test_an_animation_is_not_read_as_its_first_frame(tmp_path, name, kind):
    frames = [Image.new("RGB", (16, 16), (80 * i, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:], duration=125)
    for look in (read_image, read_grey, probe, read):
        with pytest.raises(UserError, match=f"{name} is an animation, not an image of one frame: give it as an mp4"):
            look(tmp_path / name)


def test_a_photo_with_more_behind_it_is_an_image(tmp_path):
    frames = [Image.new("RGB", (16, 16), (0, 0, 255 * i)) for i in range(2)]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert Image.open(tmp_path / "a.jpg").n_frames == 2
    assert (read_image(tmp_path / "a.jpg") == -1).all() and probe(tmp_path / "a.jpg").frames == 1


def test_images_are_turned_upright(tmp_path):
    array = np.zeros((8, 16, 3), np.uint8)
    array[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    Image.fromarray(array).save(tmp_path / "a.jpg", exif=exif, quality=100)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (3, 16, 8)
    assert image[:, 0].min() > 0.9 and image[:, -1].max() < -0.9


@pytest.mark.parametrize("kind", ["corrupt", "empty", "truncated", "missing", "folder", "text"])
def test_images_that_cannot_be_read(tmp_path, kind):
    path = tmp_path / "a.png"
    save(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    whole = path.read_bytes()
    if kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "missing":
        path.unlink()
    else:
        garbled = whole[:60] + bytes(b ^ 255 for b in whole[60:])
        path.write_bytes({"corrupt": garbled, "empty": b"", "truncated": whole[:2000], "text": b"hello"}[kind])
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert "a.png" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["corrupt", "empty", "truncated", "missing", "text"])
def test_videos_that_cannot_be_read(tmp_path, smooth_clip, kind):
    path = tmp_path / "a.mp4"
    write(path, smooth_clip(9, 32, 32))
    whole = path.read_bytes()
    if kind == "missing":
        path.unlink()
    else:
        garbled = whole[:200] + bytes(b ^ 255 for b in whole[200:])
        path.write_bytes({"corrupt": garbled, "empty": b"", "truncated": whole[:300], "text": b"hello" * 99}[kind])
    for action in (lambda: probe(path), lambda: list(read_frames(path))):
        with pytest.raises(UserError) as caught:
            action()
        assert "a.mp4" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_video_that_is_cut_off_is_damaged(tmp_path, smooth_clip, share):
    path = tmp_path / "a.mp4"
    write(path, smooth_clip(40, 64, 64))
    whole = path.read_bytes()
    path.write_bytes(whole[: round(len(whole) * share)])
    with pytest.raises(UserError, match=r"a\.mp4 is damaged"):
        list(read_frames(path))


def test_a_sound_file_has_no_picture(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame) + stream.encode(None))
    with pytest.raises(UserError, match="holds no picture"):
        probe(tmp_path / "a.mp4")


# --------------------------------------------------------------------------------------------------- nothing half done


def test_an_interrupt_leaves_no_file(tmp_path, smooth_clip):
    for ending in (".mp4", ".webm", ".gif", ".png"):
        with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / f"a{ending}", 32, 32) as writer:
            writer.write(smooth_clip(1, 32, 32))
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_values_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(UserError, match="not finite"), VideoWriter(tmp_path / "a.mp4", 16, 16) as writer:
        writer.write(torch.full((3, 2, 16, 16), float("nan")))
    assert os.listdir(tmp_path) == []


def test_an_image_holds_one_frame(tmp_path, smooth_clip):
    with pytest.raises(UserError, match="holds one frame"):
        write(tmp_path / "a.png", smooth_clip(2, 16, 16))
    assert os.listdir(tmp_path) == []
    with pytest.raises(UserError, match="holds one frame, not 5"):
        check_output(tmp_path / "a.png", frames=5)


def test_unknown_endings(tmp_path):
    for name in ("a", "a.avi", "a.mp4.txt"):
        with pytest.raises(UserError, match="must end in one of mp4, webm, gif"):
            check_output(tmp_path / name)


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", "png", "jpg", "webp"])
def test_a_full_disk(tmp_path, ending, files_of_at_most):
    script = (
        "import sys, torch; from sora_core.video import VideoWriter; from sora_core.errors import UserError\n"
        "torch.manual_seed(0)\n"
        "try:\n"
        "    with VideoWriter(sys.argv[1], 128, 128) as writer:\n"
        "        for i in range(int(sys.argv[2])): writer.write(torch.randn(3, 128, 128))\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            str(tmp_path / f"a.{ending}"),
            "12" if ending in ("mp4", "webm", "gif") else "1",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=files_of_at_most(20_000),
    )
    assert "the disk is full" in done.stdout, done.stdout + done.stderr
    assert os.listdir(tmp_path) == []


# -------------------------------------------------------------------------------------------------------- small things


def test_chunks(smooth_clip):
    video = smooth_clip(7, 4, 4)
    parts = list(chunks(video.unbind(1), 3))
    assert [p.shape for p in parts] == [(1, 3, 3, 4, 4), (1, 3, 3, 4, 4), (1, 3, 1, 4, 4)]
    assert torch.equal(torch.cat(parts, dim=2)[0], video)


@pytest.mark.parametrize("size", [(64, 64), (100, 30), (30, 100), (17, 19), (640, 480)])
def test_an_image_is_fitted_evenly(size):
    width, height = size
    ramp = torch.linspace(-1, 1, width).expand(1, 3, height, width)
    fitted = fit(ramp, 32, 32)
    assert fitted.shape == (1, 3, 32, 32)
    assert abs(float(fitted.mean())) < 1 / 32, "the middle stays the middle, within half a pixel"
    assert fit(ramp, width, height) is ramp


def test_contact_sheet(tmp_path, smooth_clip):
    video = smooth_clip(17, 64, 48)
    contact_sheet(video, tmp_path / "sheet.png", count=8, columns=4)
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (3, 2 * 192 + 4, 4 * 144 + 12)
    enlarged = torch.nn.functional.interpolate(video[None, :, -1], scale_factor=3)[0]
    assert torch.allclose(sheet[:, -192:, -144:], enlarged, atol=0.01), "the last frame stands last"


def test_info_tells_the_duration():
    assert VideoInfo(64, 64, 16, 8.0).seconds == 2
