"""What the pictures of finished videos say, on videos that are known."""

import pytest
import torch

from sora_core import change, review
from sora_core.errors import UserError
from sora_core.inspect import MIDDLE, NEW
from sora_core.review import MOMENTS, WIDTH


@pytest.fixture
def written(monkeypatch):
    """What a picture says, line by line, as it is drawn."""
    lines = []
    draw = review.ImageDraw.ImageDraw.text

    def text(self, place, said, *arguments, **settings):
        lines.append(said)
        return draw(self, place, said, *arguments, **settings)

    monkeypatch.setattr(review.ImageDraw.ImageDraw, "text", text)
    return lines


def moving(frames: int, width: int = 48, height: int = 32) -> torch.Tensor:
    """A bright bar that goes round once: (3, T, H, W)."""
    clip = -torch.ones(3, frames, height, width)
    for t in range(frames):
        columns = torch.arange(8) + round(t * width / frames)
        clip[:, t, :, columns % width] = 1
    return clip


def count(picture: torch.Tensor, colour: tuple[int, int, int]) -> int:
    pixels = ((picture + 1) * 127.5).round().int()
    return int((pixels == torch.tensor(colour).view(3, 1, 1)).all(dim=0).sum())


def is_picture(picture: torch.Tensor) -> bool:
    return picture.shape[0] == 3 and picture.shape[2] == WIDTH and float(picture.abs().max()) <= 1


def test_a_good_loop_and_a_jump_are_told_apart(written):
    whole = moving(16)
    assert is_picture(review.loop_seam(iter(whole.unbind(1))))
    assert written[0] == "The seam: 1.00 times the median step, no more than between other frames"
    assert [f"frame {n}" for n in (14, 15, 16, 1, 2, 3)] == [said for said in written if said.startswith("frame ")][:6]
    written.clear()
    picture = review.loop_seam(iter(whole[:, :9].unbind(1)))
    ratio = change.against_median(change.steps_of(whole[:, :9], closed=True), [-1])
    assert ratio > 2 and written[0] == f"The seam: {ratio:.2f} times the median step, it jumps"
    assert count(picture, NEW) > 100 and count(picture, MIDDLE) > 20  # the seam is marked, the median named


def test_a_seam_like_other_large_steps_is_no_jump(written):
    """As of a codec that steps at every latent frame."""
    for last, said in (((0.12, 0.105, 0.09), "and other steps are as large"), ((0.12, 0.135, 0.15), "it jumps")):
        written.clear()
        greys = torch.tensor([0.0, 0.01, 0.02, *last])
        review.loop_seam(greys.view(-1, 1, 1, 1).expand(-1, 3, 16, 16))
        assert written[0].endswith(f"times the median step, {said}")


def test_a_still_and_the_shortest_loop(written):
    still = torch.zeros(3, 3, 16, 16)
    assert is_picture(review.loop_seam(still.unbind(1)))
    assert written[0].startswith("The seam: 1.00 times")
    for frames in range(3):
        with pytest.raises(UserError, match=rf"three frames or more, and this video has {frames}"):
            review.loop_seam(still[:, :frames].unbind(1))


def test_drift_names_what_moved(written):
    frames = moving(4).repeat(1, 12, 1, 1)  # half a second a lap, as long as what is looked at together
    fading = frames * (1 - torch.linspace(0, 0.5, 48)).view(1, -1, 1, 1)
    assert is_picture(review.drift(iter(fading.unbind(1)), 8.0))
    colour, contrast, sharpness = figures(written[0])
    assert contrast < -20 and abs(sharpness) < 15 and colour > 5
    written.clear()
    smooth = torch.nn.functional.avg_pool2d(frames.transpose(0, 1), 5, 1, 2).transpose(0, 1)
    blurred = torch.cat([frames[:, :24], smooth[:, 24:]], dim=1)
    review.drift(iter(blurred.unbind(1)), 8.0)
    assert figures(written[0])[2] < -30
    written.clear()
    review.drift(iter(frames.unbind(1)), 8.0)
    assert figures(written[0]) == pytest.approx([0, 0, 0], abs=0.11)


def figures(line: str) -> list[float]:
    """Colour, contrast and sharpness at the end."""
    return [float(part.split()[-2]) for part in line.split(": ")[1].split(", ")]


def test_a_long_film_is_thinned_out_and_a_single_frame_is_refused(written):
    long = moving(16, 16, 16).repeat(1, 25, 1, 1)
    review.drift((frame for frame in long.unbind(1)), 2.0)
    moments = [said for said in written if said.endswith(" s") and "," not in said][:MOMENTS]
    assert moments[0] == "0.00 s" and moments[-1] == "199.50 s"
    gaps = torch.tensor([float(said.split()[0]) for said in moments]).diff()
    assert gaps.max() < 1.5 * gaps.min(), "evenly chosen, though nobody knew how long it would be"
    for frames in range(2):
        with pytest.raises(UserError, match="two frames or more"):
            review.drift(long[:, :frames].unbind(1), 8.0)


def test_equal_videos_and_different_ones(written):
    one = moving(16)
    review.compare(one.unbind(1), one.unbind(1), 8.0, 8.0)
    assert written[0] == "The two are the same" and written[1] == "A"
    written.clear()
    other = one.clone()
    other[:, 10] = -other[:, 10]
    picture = review.compare(one.unbind(1), other.unbind(1), 8.0, 8.0)
    assert is_picture(picture)
    assert written[0] == "They differ by 6.25 % of full scale on average, most at 1.25 s (100.00 %)"
    assert {"A", "A | B", "B", "difference x 4"} <= set(written)


def test_what_is_unlike_is_said_and_made_alike(written):
    a = moving(17, 64, 64)
    b = torch.nn.functional.interpolate(a[:, ::2].transpose(0, 1), (96, 128)).transpose(0, 1)
    review.compare(iter(a.unbind(1)), iter(b[:, :5].unbind(1)), 8.0, 4.0)
    said = " ".join(written[1:4])
    assert "A is 64x64 and B 128x96, shown at A's size" in said
    assert "A has 8 fps and B 4, shown at A's" in said
    assert "A lasts 2.12 s and B 1.25 s, compared over 1.25 s" in said
    with pytest.raises(UserError, match="has no frames"):
        review.compare(a.unbind(1), [], 8.0, 8.0)


def test_of_one_frame_each_there_is_no_curve(written):
    one = moving(2)
    assert is_picture(review.compare([one[:, 0]], [one[:, 1]], 1.0, 1.0))
    assert "difference" not in written
