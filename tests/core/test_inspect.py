"""The picture of a canvas shows each latent frame: what is kept as it looks, what is new in one colour."""

import weakref

import torch

from sora_core.canvas import edit, empty, extend, keep
from sora_core.grid import Geometry, Grid
from sora_core.inspect import BACKGROUND, KEPT, NEW, column, picture

GRID = Grid(9, 32, 48, 8.0, Geometry(channels=4))


def colours(image: torch.Tensor) -> dict[tuple[int, ...], int]:
    """How many pixels have each colour."""
    pixels = ((image + 1) * 127.5).round().int().flatten(1).T
    found, counts = pixels.unique(dim=0, return_counts=True)
    return {tuple(colour.tolist()): int(n) for colour, n in zip(found, counts, strict=True)}


def canvas():
    return extend(keep(torch.randn(1, *GRID.latent_shape), GRID), 3)


def test_new_and_kept_are_told_apart():
    shares = colours(picture(canvas()))
    assert abs(shares[NEW] - shares[KEPT]) < 0.1 * shares[KEPT], "three latent frames of either"
    assert NEW not in {c: n for c, n in colours(picture(keep(canvas().latent, canvas().grid))).items() if n > 300}


def test_what_is_kept_is_seen():
    green = torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1).expand(21, 3, 32, 48)
    shown = colours(picture(canvas(), green.split(5), "a title"))
    assert shown[(0, 255, 0)] > 20_000 and shown[NEW] > 20_000
    half = colours(picture(edit(keep(canvas().latent, canvas().grid), 0.5), green))
    assert (0, 255, 0) not in half, "an edit covers it in part"


def test_of_a_film_the_frames_that_are_shown_are_held_and_small():
    whole, alive, chunks = keep(torch.zeros(1, *GRID.latent_shape), GRID), [], 0

    def decoded():
        """Nine frames, whose last of each latent frame (0, 4, 8) are red, green and blue, others white."""
        nonlocal chunks
        for start in range(0, 9, 3):
            assert sum(one() is not None for one in alive) <= 1, "pieces of full size are held"
            frames = torch.ones(3, 3, 320, 480)
            for number in range(start, start + 3):
                if number % 4 == 0:
                    frames[number - start] = (2 * torch.eye(3)[number // 4] - 1)[:, None, None]
            alive.append(weakref.ref(frames))
            chunks += 1
            yield frames
            del frames

    shown = colours(picture(whole, decoded()))
    assert chunks == 3 and all(shown[colour] > 5000 for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
    assert shown.get((255, 255, 255), 0) < 100


def test_a_long_canvas_is_thinned_out_and_pictures_stack():
    long = picture(empty(Grid(480, 32, 48, 8.0, GRID.geometry)))
    short = picture(empty(GRID))
    assert long.shape[1] < 1000 and long.shape[2] < 1400
    both = column([long, short])
    assert both.shape == (3, long.shape[1] + short.shape[1], max(long.shape[2], short.shape[2]))
    assert torch.equal(both[:, : long.shape[1], : long.shape[2]], long)
    corner = ((both[:, -1, -1] + 1) * 127.5).round().int()
    assert tuple(corner.tolist()) == BACKGROUND
