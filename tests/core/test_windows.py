"""Long canvases and loops: which windows fill them, what each sees, and that what is there stays as it is."""

import math

import pytest
import torch

from sora_core import canvas as canvases
from sora_core.canvas import Canvas, empty, place
from sora_core.errors import UserError
from sora_core.grid import Geometry, Grid
from sora_core.sampler import sample
from sora_core.windows import Windowing, circle, fill, plan

GEOMETRY = Geometry(channels=4)


def grid(latent_frames, **more):
    return Grid(GEOMETRY.frames(latent_frames), 16, 16, 8.0, GEOMETRY, **more)


def clip(latent_frames, seed=0):
    return torch.randn(1, 4, latent_frames, 2, 2, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------ the plan


def opened(pattern):
    return [letter == "." for letter in pattern]


@pytest.mark.parametrize(
    "window, context, anchors", [(5, 2, 1), (5, 1, 0), (3, 1, 0), (4, 1, 1), (9, 4, 1), (50, 2, 1)]
)
@pytest.mark.parametrize(
    "pattern",
    [
        "." * 31,
        "x" + "." * 30,
        "xxxx" + "." * 30,
        "." * 30 + "xxx",
        "xxx" + "." * 30 + "xxx",
        "x....x",
        "x......x",
        "..x...........x.xx.",
        "xxxxx",
        ".",
    ],
)
def test_windows_fill_everything_once_and_go_on_from_what_is_there(pattern, window, context, anchors):
    todo = opened(pattern)
    finished = [not one for one in todo]
    for w in plan(todo, window, context, anchors):
        assert 0 <= w.start <= w.new < w.end <= w.stop <= len(todo)
        assert w.stop - w.start <= window
        assert not any(finished[w.new : w.end]), "nothing is filled twice"
        outside = [*range(w.start, w.new), *range(w.end, w.stop)]
        assert all(finished[t] for t in outside), "the rest of a window is finished"
        if any(finished):
            assert outside, "a window has something to go on from"
        touched = [w.new > 0 and finished[w.new - 1], w.end < len(todo) and finished[w.end]]
        if all(touched):
            assert w.start < w.new and w.stop > w.end, "what closes a gap sees both sides"
        far = w.start > 0 if w.forward else w.stop < len(todo) and finished[w.stop]
        if w.forward is not None and far:
            assert w.stop - w.start + anchors <= window, "there is room for the start"
        finished[w.new : w.end] = [True] * (w.end - w.new)
    assert all(finished)


def test_a_gap_is_filled_from_both_sides_in_turns():
    ways = [w.forward for w in plan(opened("xx..........xx"), 5, 2, 0)]
    assert ways == [True, False, True, None]
    assert [w.forward for w in plan(opened("xx......"), 5, 2, 0)] == [True, True]
    assert [w.forward for w in plan(opened("......xx"), 5, 2, 0)] == [False, False]


def test_later_windows_see_two_finished_frames_and_leave_room_for_the_start():
    first, second, *_, last = plan(opened("." * 12), 5, 2, 1)
    assert (first.start, first.stop, first.new) == (0, 5, 0)
    assert (second.start, second.new, second.stop) == (3, 5, 7)
    assert (last.start, last.new, last.stop) == (8, 11, 12), "the last one, with less to fill, sees more"


NAN = math.nan
ALL = {"anchor": True, "history": 0.02}  # what a card may ask for besides


@pytest.mark.parametrize(
    "name, value",
    [
        ("window", 2),
        ("context", 0),
        ("context", 5),
        ("history", 1.0),
        ("history", NAN),
        ("match", -0.1),
        ("match", NAN),
    ],
)
def test_impossible_windows_are_refused(name, value):
    with pytest.raises(UserError):
        Windowing(**{name: value}).check_windows()


def test_the_start_takes_a_place_in_the_window():
    Windowing(window=5, context=4).check_windows()
    with pytest.raises(UserError, match="a context from 1 to 3"):
        Windowing(window=5, context=4, anchor=True).check_windows()


# ------------------------------------------------------------------ filling


def run(denoise, part, callback):
    return sample(denoise, part, seed=7, steps=3, shift=1.5, callback=callback)


def remember(log):
    """A network that adds what it sees up; it notes what it was asked."""

    def view(x, level, cells):
        log.append((cells, x.clone(), level.clone()))
        return 0.1 * x + 0.3 * x.mean(2, keepdim=True)

    return view


def filled(canvas, log=None, callback=None, spans=None, **how):
    length = canvas.latent.shape[2]
    spans = spans or [range(length)] * length
    view = remember([] if log is None else log)
    pieces = list(fill(view, run, canvas, Windowing(**(ALL | how)), spans, 7, callback))
    assert all(piece.shape[2] for piece in pieces)
    return torch.cat(pieces, dim=2)


def test_one_window_is_the_plain_fill():
    canvas = place(empty(grid(5)), clip(1))
    log = []
    plain = run(lambda x, level: remember(log)(x, level, list(range(5))), canvas, None)
    assert torch.equal(filled(canvas, window=5, match=0.0), plain)
    assert torch.equal(filled(canvas, window=9, history=0.5), plain), "nothing was made before, so nothing is noisy"


@pytest.mark.parametrize("match", [0.0, 0.5])
def test_what_is_kept_leaves_bit_identical(match):
    canvas = place(place(empty(grid(23)), clip(3, 1), 9), clip(2, 2), -2)
    half = canvas.level.clone()
    half[:, :, 14:16, :1] = 0  # half the picture is kept there
    half[:, :, 12:14] = 0.4
    canvas = Canvas(clip(23, 3) * (half > 0) + canvas.latent * (half == 0), half, canvas.grid)
    result = filled(canvas, match=match)
    same = (result == canvas.latent).all(1, keepdim=True)
    assert torch.equal(same, canvas.level == 0)
    assert torch.equal(
        result.view(torch.int32)[same.expand_as(result)], canvas.latent.view(torch.int32)[same.expand_as(result)]
    )


def test_a_finished_canvas_comes_back():
    canvas = place(empty(grid(9)), clip(9))
    log = []
    assert torch.equal(filled(canvas, log), canvas.latent) and not log


def test_every_frame_starts_from_its_own_noise():
    """Windows draw from the same field as the whole: a network that sees each frame alone gives the same."""
    canvas = Canvas(torch.zeros(1, 4, 17, 2, 2), torch.ones(1, 1, 17, 2, 2), grid(17), origin=(-3, 1, 0))

    def alone(x, level, cells=None):
        return 0.2 * x + level

    spans = [range(17)] * 17
    windows = torch.cat(list(fill(alone, run, canvas, Windowing(**ALL | {"match": 0.0}), spans, 7)), dim=2)
    assert torch.equal(windows, run(alone, canvas, None))


def test_a_window_sees_the_start_at_its_own_place_and_what_was_made_as_history():
    canvas = place(empty(grid(13)), clip(1))
    log = []
    result = filled(canvas, log, match=0.0, history=0.02)
    cells, x, level = log[-1]
    assert cells == [0, 9, 10, 11, 12] and level[0, 0, :, 0, 0].tolist() == pytest.approx(
        [0, 0.02, 0.02, *[level.max().item()] * 2]
    )
    assert torch.equal(x[:, :, 0], canvas.latent[:, :, 0]), "what was given is read as it is"
    seen, clean = x[:, :, 1:3], result[:, :, 9:11]
    noise = (seen - 0.98 * clean) / 0.02
    assert 0.5 < noise.std() < 1.5 and not torch.equal(seen, clean)
    _, _, level = log[0]
    assert (level[:, :, 0] == 0).all()
    log.clear()
    filled(canvas, log, match=0.0, history=0.0, anchor=False)
    cells, x, level = log[-1]
    assert cells == [8, 9, 10, 11, 12] and (level[:, :, :3] == 0).all()


def test_the_start_is_that_of_the_same_prompt():
    log = []
    spans = [range(8)] * 8 + [range(8, 20)] * 12
    filled(empty(grid(20)), log, spans=spans)
    seen = {tuple(cells) for cells, _, _ in log}
    assert (0, 5, 6, 7, 8) in seen and (7, 8, 9, 10) in seen, "another prompt's start is not shown"
    assert (8, 16, 17, 18, 19) in seen
    log.clear()
    filled(place(empty(grid(12)), clip(1), -1), log)
    assert log[-1][0] == [0, 1, 2, 3, 11], "backward, the start is at the end"


def test_match_holds_mean_and_contrast():
    """A network whose videos get brighter and flatter with every window."""

    def drifting(x, level, cells):
        wave = torch.linspace(-1, 1, 2).view(1, 1, 1, 2, 1).expand_as(x)
        return wave * 0.9 ** cells[-1] + 0.05 * cells[-1]

    def ends(match):
        canvas, how = empty(grid(41)), Windowing(match=match, history=0.02)
        film = torch.cat(list(fill(drifting, run, canvas, how, [range(41)] * 41, 7)), dim=2)
        return film[:, :, :5], film[:, :, -5:]

    first, plain = ends(0.0)
    _, held = ends(1.0)
    assert plain.mean() - first.mean() > 1.5 and plain.std() < 0.1
    assert held.mean() == pytest.approx(first.mean().item(), abs=1e-3)
    held, first = held[:, :, -1].std(correction=0), first.std(correction=0)
    assert held == pytest.approx(first.item(), rel=0.02)


@pytest.mark.parametrize("frames", [21, 25, 29, 33])
def test_a_window_may_add_a_single_value(frames):
    smallest = empty(Grid(frames, 8, 8, 8.0))
    assert smallest.latent.shape[-2:] == (1, 1) and filled(smallest, match=0.5).isfinite().all()


def test_pieces_come_in_the_order_of_time_as_soon_as_they_are_finished():
    done = []

    def count(step, steps, x, x0):
        done.append((step, steps))

    canvas = empty(grid(9))
    pieces = fill(remember([]), run, canvas, Windowing(**ALL), [range(9)] * 9, 7, count)
    assert next(pieces).shape[2] == 5 and done[-1] == (3, 9)
    assert next(pieces).shape[2] == 2 and done[-1] == (6, 9)
    assert next(pieces).shape[2] == 2 and done == [(i, 9) for i in range(1, 10)]
    assert next(pieces, None) is None
    backward = place(empty(grid(9)), clip(1), -1)
    assert [p.shape[2] for p in fill(remember([]), run, backward, Windowing(**ALL), [range(9)] * 9, 7)] == [9]


# ------------------------------------------------------------------ loops


def test_a_loop_does_not_know_where_it_begins():
    """Turned by one place, with the noise turned likewise, a loop whose network sees neighbours comes out turned."""
    seen = []

    def neighbours(x, level, cells):
        seen.append(cells)
        assert (torch.tensor(cells).diff() % 6 == 1).all() and x.shape[2] == len(cells)
        before = torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
        return 0.5 * x + 0.3 * before

    x, level = clip(6), torch.full((1, 1, 6, 2, 2), 0.5)
    whole = 0.5 * x + 0.3 * x.roll(1, dims=2)
    for window in (3, 4, 7, 20):
        denoise = circle(neighbours, 6, window)
        for _ in range(9):  # whatever the place where the circle is cut
            torch.testing.assert_close(denoise(x, level), whole, rtol=0, atol=1e-6)
    assert max(map(len, seen)) == 7
    assert {cells[1] for cells in seen if len(cells) == 7} == set(range(6)), "every place is a border at times"


def test_frames_of_a_loop_at_their_own_levels():
    canvas = canvases.place(empty(Grid(24, 16, 16, 8.0, GEOMETRY, cyclic=True)), clip(2), 1)
    result = run(circle(lambda x, level, cells: 0.1 * x, 6, 5), canvas, None)
    assert result.shape[2] == 6 and torch.equal(result[:, :, 1:3], clip(2))
