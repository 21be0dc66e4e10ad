"""New frames between the frames of inputs: exactly as many as asked for, originals as they are, the decoder warm."""

import pytest
import torch

from sora_core import canvas as canvases
from sora_core.canvas import Canvas, edit, empty, keep, place, reframe
from sora_core.clip import Clip, alike
from sora_core.codec import Codec
from sora_core.errors import UserError
from sora_core.grid import Geometry, Grid
from sora_core.join import (
    Film,
    Part,
    Shot,
    after,
    before,
    between,
    cut,
    first_cell,
    head_frames,
    lay,
    led_over,
    morph,
    new_frames,
    tail_frames,
)
from sora_core.video import VideoWriter, read_frames


@pytest.fixture(scope="module")
def codec(tiny_checkpoint):
    return Codec.load(tiny_checkpoint, "cpu")


@pytest.fixture
def clip_of(tmp_path, smooth_clip):
    """A function that writes a clip of so many frames."""

    def make(frames, name="in.mp4", seed=0):
        path = tmp_path / f"{seed}{name}"
        with VideoWriter(path, 32, 24) as writer:
            writer.write(smooth_clip(frames, 24, 32, seed))
        return Clip(path, fps=8.0)

    return make


def show(codec, part: Part) -> torch.Tensor:
    """The new frames of a part whose unknown cells are filled with noise."""
    return torch.cat(list(new_frames(codec.frames(fill(part.canvas), part.canvas.grid), part)), dim=2)


def fill(canvas: Canvas) -> torch.Tensor:
    noise = torch.randn(canvas.latent.shape, generator=torch.Generator().manual_seed(1))
    return torch.where(canvas.kept, canvas.latent, noise)


def kept_frames(part: Part) -> list[bool]:
    return part.canvas.kept.flatten(3).all(3)[0, 0].tolist()


# -------------------------------------------------------------------------------------------------------------- after


@pytest.mark.parametrize("length", [1, 2, 5, 7, 9, 20])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_after(codec, smooth_clip, length, count):
    video = smooth_clip(length, 24, 32)[None]
    part = after(codec, video[:, :, -tail_frames(codec.geometry) :], count, 8.0)
    assert show(codec, part).shape == (1, 3, count, 24, 32)
    known = min(3, 1 + -(-(length - 1) // 4))
    assert kept_frames(part) == [True] * known + [False] * -(-count // 4)
    window = video[:, :, -(1 + 4 * (known - 1)) :]
    if window.shape[2] == 1 + 4 * (known - 1):
        assert torch.equal(part.canvas.latent[:, :, :known], codec.encode(window))


def test_the_seam_is_decoded_warm(codec, smooth_clip):
    """The new frames are those that the decoder gives when it goes on from the context."""
    part = after(codec, smooth_clip(9, 24, 32)[None], 8, 8.0)
    part = Part(part.canvas, part.first, part.count)  # without what makes up for the codec's losses
    latent, state = fill(part.canvas), {}
    codec.vae.decode(latent[:, :, :3], state=state)
    warm = codec.vae.decode(latent[:, :, 3:], state=state).clamp(-1, 1)
    assert torch.allclose(show(codec, part), warm, atol=1e-5)
    cold = codec.vae.decode(latent[:, :, 3:])[:, :, -4:].clamp(-1, 1)
    assert not torch.allclose(show(codec, part)[:, :, -4:], cold, atol=1e-4)


# --------------------------------------------------------------------------------------------------- before and between


@pytest.mark.parametrize("length", [1, 3, 5, 12, 20])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_before(codec, smooth_clip, length, count):
    head = smooth_clip(length, 24, 32)[None][:, :, : head_frames(codec.geometry)]
    part = before(codec, head, count, 8.0)
    assert show(codec, part).shape == (1, 3, count, 24, 32)
    known = min(3, -(-length // 4))
    invented = 1 + -(-(count - 1) // 4)
    assert kept_frames(part) == [False] * invented + [True] * known
    assert part.first + part.count == 1 + 4 * (invented - 1), "the new frames end where the input begins"
    cells = codec.encode(torch.cat([head[:, :, :1], head[:, :, : 4 * known]], dim=2))[:, :, 1:]
    assert torch.equal(part.canvas.latent[:, :, invented:], cells)


@pytest.mark.parametrize("length", [1, 3, 20])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 10])
def test_between(codec, smooth_clip, length, count):
    a, b = smooth_clip(length, 24, 32)[None], smooth_clip(length, 24, 32, seed=1)[None]
    part = between(codec, a, b, count, 8.0)
    assert show(codec, part).shape == (1, 3, count, 24, 32)
    kept = kept_frames(part)
    start, end = kept.index(False), len(kept) - kept[::-1].index(False)
    assert all(kept[:start]) and not any(kept[start:end]) and all(kept[end:]) and end < len(kept)
    assert part.first == 1 + 4 * (start - 1)
    shared = 1 + 4 * (end - 1) - part.first - count  # of the second input, in cells with new frames
    assert 0 <= shared < 4 and (count + shared) % 4 == 0
    if length == 20:
        lead = b[:, :, max(0, shared - 1)][:, :, None]
        cells = codec.encode(torch.cat([lead, b[:, :, shared : shared + 12]], dim=2))[:, :, 1:]
        assert torch.equal(part.canvas.latent[:, :, end:], cells)


def test_morph(codec, clip_of):
    shots = [Shot(clip_of(20), 5, 12), Shot(clip_of(14, seed=1), 0, 12)]
    part, last = morph(codec, *shots)
    assert (part.first, part.count, last) == (1, 8, 3) and show(codec, part).shape[2] == 8
    a, b = (shot.clip.take(shot.first, shot.first + 12) for shot in shots)
    grid = Grid(12, 24, 32, 8.0, codec.geometry)
    assert torch.equal(part.canvas.latent, canvases.morph(*(keep(codec.encode(v), grid) for v in (a, b))).latent)
    assert torch.equal(part.before, a[:, :, 0]) and torch.equal(part.after, b[:, :, 9])
    latent = fill(part.canvas)
    assert torch.equal(latent[:, :, 0], codec.encode(a)[:, :, 0])
    assert torch.equal(latent[:, :, -1], codec.encode(b)[:, :, -1])


# ---------------------------------------------------------------------------------------------------------------- film


def test_no_frame_is_doubled_or_lost(codec, tmp_path, smooth_clip):
    path = tmp_path / "in.mp4"
    with VideoWriter(path, 32, 24) as writer:
        writer.write(smooth_clip(11, 24, 32))
    original = torch.stack(list(read_frames(path)), dim=1)[None]
    clip = Clip(path)
    head, tail, count = clip.ends(head_frames(codec.geometry), tail_frames(codec.geometry))
    assert count == 11 and torch.equal(head, original[:, :, :15]) and torch.equal(tail, original[:, :, -9:])
    first, second = before(codec, head, 5, 8.0), after(codec, tail, 6, 8.0)
    film = Film([first, Shot(clip, 0, count), second], 32, 24, 8.0)
    assert film.frames == 22 and film.parts == [first, second]

    def decode(part):
        return codec.frames(fill(part.canvas), part.canvas.grid)

    shown = torch.cat(list(film.show(decode)), dim=2)
    assert shown.shape[2] == 22
    assert torch.equal(shown[:, :, 5:16], original), "originals never pass through the codec"
    assert torch.equal(shown[:, :, :5], show(codec, first)) and torch.equal(shown[:, :, 16:], show(codec, second))


def test_what_is_kept_is_shown_as_it_is(codec, tmp_path, smooth_clip):
    path = tmp_path / "in.mp4"
    with VideoWriter(path, 64, 64) as writer:
        writer.write(smooth_clip(7, 64, 64))
    clip = Clip(path)
    original = clip.take(0, 7)
    latent, count = clip.encode(codec)
    mask = torch.zeros(64, 64)
    mask[:, :16] = 1
    held = keep(latent, Grid(count, 64, 64, 8.0, codec.geometry))
    for canvas, size, made, kept in (
        (edit(held, 0.0), (64, 64), (..., slice(0, 0)), ...),
        (edit(held, 0.8, mask), (64, 64), (..., slice(0, 16)), (..., slice(24, None))),
        (edit(held, curve=[(0.7, 0), (0.8, 1)]), (64, 64), (slice(None), slice(None), slice(5, 7)), (..., slice(0, 0))),
        (reframe(held, 96, 64, x=1), (64, 96), (..., slice(0, 32)), (..., slice(40, None))),
    ):
        film = Film([Part(canvas, 0, 7, clip)], *size[::-1], 8.0)
        decoded = torch.cat(list(codec.frames(fill(canvas), canvas.grid)), dim=2)
        shown = torch.cat(list(film.show(lambda part, decoded=decoded: decoded.split([1, 4, 2], dim=2))), dim=2)
        there = torch.zeros(1, 3, 7, *size)
        there[..., size[1] - 64 :] = original
        assert shown.shape[2] == 7
        assert torch.equal(shown[made], decoded[made]) and torch.equal(shown[kept], there[kept])
        assert ((shown >= torch.minimum(there, decoded) - 1e-6) & (shown <= torch.maximum(there, decoded) + 1e-6)).all()
        if canvas.level[0, 0, 0].max() == 0:
            assert torch.equal(shown[:, :, :5], original[:, :, :5])


def test_new_frames_go_over_from_the_originals_where_nothing_moves():
    decoded = torch.full((1, 3, 24, 4, 8), 0.3)  # a ground that is a little off the original's 0.25
    decoded[:, :, 5:, :, 6:] = -0.8  # and in the new frames something that was not there
    before = torch.full((1, 3, 4, 8), 0.25)
    shown = torch.cat(list(led_over([decoded[:, :, :9], decoded[:, :, 9:]], 5, 19, before=before)), dim=2)
    ground = shown[0, 0, :, 0, 0]
    assert shown.shape[2] == 19 and torch.equal(shown[..., :5], ground[:, None, None].expand(1, 3, -1, 4, 5))
    assert abs(ground[0] - 0.25) < 0.01 and (ground.diff()[:15] > 0).all() and (ground[16:] == 0.3).all()
    torch.testing.assert_close(shown[..., 5:], decoded[:, :, 5:, :, 5:], rtol=0, atol=1e-6)  # its edge stays, too
    backwards = torch.cat(list(led_over([decoded.flip(2)], 0, 19, after=before)), dim=2)
    torch.testing.assert_close(backwards.flip(2), shown, rtol=0, atol=1e-6)


def test_what_moves_in_an_original_is_not_drawn_into_new_frames_where_the_codec_lags_behind_it():
    decoded, after = torch.full((1, 3, 9, 4, 8), 0.3), torch.full((1, 3, 4, 8), 0.25)
    after[..., 5:] = -0.7  # a thing that is there in the original already, and in its decoded frame not yet
    shown = torch.cat(list(led_over([decoded], 0, 8, after=after)), dim=2)
    torch.testing.assert_close(shown[..., 4:], decoded[:, :, :8, :, 4:], rtol=0, atol=1e-6)  # nor is its edge
    assert (shown[..., :4] < 0.3).all() and abs(float(shown[0, 0, -1, 0, 0]) - 0.25) < 0.01


def test_a_cut_takes_exactly_its_frames():
    stream = torch.arange(13.0).view(1, 1, 13, 1, 1).split([1, 4, 4, 4], dim=2)
    for first in range(13):
        for count in range(1, 14 - first):
            frames = torch.cat(list(cut(iter(stream), first, count)), dim=2).flatten().tolist()
            assert frames == list(range(first, first + count))


# ---------------------------------------------------------------------------------------------------------------- clip


@pytest.mark.parametrize(
    "have, want, frames, shows",
    [
        (8, 8, 5, [0, 1, 2, 3, 4]),
        (24, 8, 7, [0, 3, 6]),
        (8, 12, 4, [0, 0, 1, 2, 2, 3]),
        (8, 24, 2, [0, 0, 0, 1, 1, 1]),
        (30, 8, 9, [0, 3, 7]),
    ],
)
def test_another_frame_rate(tmp_path, have, want, frames, shows):
    path = tmp_path / "in.mp4"
    with VideoWriter(path, 32, 24, have) as writer:
        for i in range(frames):
            writer.write(torch.full((3, 24, 32), i / frames))
    clip = Clip(path, fps=want)
    seen = [round((float(frame.mean())) * frames) for frame in clip.frames()]
    assert seen == shows
    assert clip.ends(2, 2)[2] == len(shows)
    assert bool(clip.changes) == (have != want)


def test_another_size_and_what_is_said_of_it(tmp_path, smooth_clip):
    path = tmp_path / "in.mp4"
    with VideoWriter(path, 51, 37) as writer:
        writer.write(smooth_clip(3, 37, 51))
    assert Clip(path).changes == [] and next(Clip(path).frames()).shape == (3, 37, 51)
    clip = Clip(path, 32, 32)
    assert next(clip.frames()).shape == (3, 32, 32)
    assert clip.changes == ["in.mp4 is scaled, and cut at the edges, from 51x37 to 32x32."]


def test_a_clip_is_encoded_as_a_stream(codec, tmp_path, smooth_clip):
    path = tmp_path / "in.mp4"
    with VideoWriter(path, 33, 25) as writer:
        writer.write(smooth_clip(18, 25, 33))
    latent, count = Clip(path).encode(codec)
    assert count == 18 and torch.allclose(latent, codec.encode(Clip(path).take(0, 18)), atol=1e-5)


@pytest.mark.parametrize("frames, name", [(18, "in.mp4"), (3, "in.mp4"), (1, "in.png"), (80, "in.mp4")])
@pytest.mark.parametrize("frame", [0, 6, -1])
@pytest.mark.parametrize("cyclic", [False, True])
def test_a_clip_is_laid_as_its_frames_are(codec, clip_of, frames, name, frame, cyclic):
    clip, grid = clip_of(frames, name), Grid(32, 24, 32, 8.0, codec.geometry, cyclic)
    streamed, *where = lay(codec, empty(grid), clip, frame, 0.3)
    held, *there = lay(codec, empty(grid), clip.take(0, grid.frames), frame, 0.3)
    assert where == there
    assert torch.equal(streamed.latent, held.latent) and torch.equal(streamed.level, held.level)


def test_inputs_are_made_alike(tmp_path, smooth_clip):
    for name, size, fps in (("a.mp4", (24, 32), 8), ("b.mp4", (30, 40), 12), ("c.png", (16, 16), 8)):
        with VideoWriter(tmp_path / name, size[1], size[0], fps) as writer:
            writer.write(smooth_clip(1 if name == "c.png" else 5, *size))
    a, b, c = alike([tmp_path / n for n in ("a.mp4", "b.mp4", "c.png")], None, None, None)
    assert {(clip.width, clip.height, clip.fps) for clip in (a, b, c)} == {(32, 24, 8.0)}
    c, a = alike([tmp_path / n for n in ("c.png", "a.mp4")], None, None, None)
    assert (c.width, c.fps, c.ends(3, 3)[2]) == (32, 8.0, 1)
    with pytest.raises(UserError, match="no frame rate"):
        alike([tmp_path / "c.png"], None, None, None)


@pytest.mark.parametrize("make", [after, before])
def test_what_is_refused(codec, smooth_clip, clip_of, make):
    video = smooth_clip(5, 24, 32)[None]
    with pytest.raises(UserError, match="At least one new frame"):
        make(codec, video, 0, 8.0)
    with pytest.raises(UserError, match="60 seconds"):
        make(codec, video, 1000, 8.0)
    with pytest.raises(UserError, match="32x24 and 24x24"):
        between(codec, video, smooth_clip(5, 24, 24)[None], 4, 8.0)
    with pytest.raises(UserError, match="same length"):
        morph(codec, Shot(clip_of(9), 0, 5), Shot(clip_of(9, seed=1), 0, 9))


@pytest.mark.parametrize("stride", [1, 4, 8])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("cyclic", [True, False])
def test_a_clip_begins_with_the_cell_that_brings_it_nearest(stride, whole, cyclic):
    shown, frames = stride if whole else 1, 60 * stride
    grid = Grid(frames, 8, 8, 24.0, Geometry(t_stride=stride), cyclic)
    for frame in range(40):
        # the first cell of a clip is one frame, and of a loop as many as the others
        ends = [grid.frames_of(cell).stop for cell in range(60)]
        starts = [0 if cell == 0 and (whole or not cyclic) else end - shown for cell, end in enumerate(ends)]
        cell = first_cell(grid, frame, shown)
        assert abs(starts[cell] - frame) == min(abs(start - frame) for start in starts) or frame == 0
    line = Grid(41, 8, 8, 24.0, Geometry(t_stride=4))
    assert [first_cell(line, frame, 1) for frame in (2, 6, 10)] == [1, 2, 3], "the later of two as near"


def test_frames_of_a_loop_lie_in_whole_cells(codec, smooth_clip):
    grid = Grid(16, 24, 32, 8.0, codec.geometry, cyclic=True)
    assert [grid.cell_of(frame) for frame in (0, 3, 4, 15)] == [0, 0, 1, 3]
    assert [grid.frames_of(cell) for cell in (0, 3)] == [range(0, 4), range(12, 16)]
    still, clip = smooth_clip(1, 24, 32)[None], smooth_clip(8, 24, 32)[None]
    for video, frame, cells in ((still, -1, [3]), (still, 3, [0]), (clip, 8, [2, 3]), (clip, 0, [0, 1])):
        canvas, start, count = lay(codec, empty(grid), video, frame)
        assert [t for t in range(4) if canvas.kept[0, 0, t].all()] == cells
        assert start == frame % 16 and count == video.shape[2]


def test_a_strength_covers_what_a_latent_covers():
    """A latent that is no whole patches is filled up, and its levels with it."""
    grid = Grid(5, 40, 56, 8.0, Geometry(patch=(1, 2, 2)))
    level = torch.rand(1, 1, 2, 5, 7)
    canvas = place(empty(grid), torch.randn(1, 16, 2, 5, 7), strength=level)
    assert canvas.level.shape[-2:] == (6, 8) and canvas.level[..., -1, -1].equal(level[..., -1, -1])
