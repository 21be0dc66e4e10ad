"""The benchmarks measure what they say: turns, ratios, and every matrix product of a pass once."""

from pathlib import Path

import pytest
import torch

from sora_core.dit import DiTConfig

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_rivals_take_turns():
    from timing import interleaved, ratio

    calls = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3, warmup=1)
    assert "".join(calls) == "abababab"
    assert [len(seconds[name]) for name in "ab"] == [3, 3]
    assert ratio({"a": [1.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]}, "a", "b") == 2.0


def test_every_product_of_a_pass_is_recorded_once():
    """The multiplications of what is timed against what the architecture has, counted by hand."""
    from dit_overhead import TEXT_TOKENS, Recorded

    width, depth, text, features, n, batch = 32, 2, 16, 4 * 4, 3 * 2 * 2, 2
    subject = Recorded(DiTConfig(width, depth, 2, text, channels=4, patch=(1, 2, 2)), (3, 4, 4), batch)
    tokens, words = batch * n, batch * TEXT_TOKENS
    block = tokens * width * (3 * width + width + width + width + 8 * width) + words * text * 2 * width
    rows = batch  # one noise level a clip
    ends = 2 * tokens * features * width + rows * width * (256 + width + text + 6 * width)
    linear = sum(x.shape[:-1].numel() * layer.in_features * layer.out_features for x, layer in subject.linears)
    assert linear == depth * block + ends
    attention = sum(2 * q.shape[0] * q.shape[1] * k.shape[1] * q.shape[2] for q, k, _ in subject.attentions)
    assert attention == depth * 2 * batch * n * width * (n + TEXT_TOKENS)
    assert subject.forward().shape == (batch, 4, 3, 4, 4)
    subject.products()
    subject.products(fused=True)
    assert torch.isfinite(subject.forward()).all()


def test_the_conditions_compared_are_what_they_are_called():
    from conditions_overhead import rivals

    cases = rivals(DiTConfig(width=32, depth=1, heads=2, text_width=16, channels=4), (4, 2, 2))
    results = {name: run() for name, run in cases.items()}
    assert all(result.shape == (1, 4, 4, 2, 2) for result in results.values())
    plain = results.pop("plain")
    assert all((result - plain).abs().max() > 1e-6 for result in results.values()), "each does something of its own"


def test_every_operation_is_measured_on_the_same_grid(tiny_checkpoint):
    from canvas_memory import OPERATIONS, _operations, measure

    from sora_core.pipeline import Pipeline

    made = {name: make() for name, make in _operations(Pipeline.load(tiny_checkpoint, "cpu"), 32, 32).items()}
    assert tuple(made) == OPERATIONS
    assert {name: canvas.latent.shape[2:] for name, canvas in made.items()} == dict.fromkeys(made, (5, 4, 4)) | {
        "cyclic loop": (4, 4, 4)
    }
    peak, after_loading = measure("10 s at 8 fps", str(tiny_checkpoint), (16, 16), 1)
    assert peak > 2**20 and 0 <= after_loading < peak


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.py")))
def test_scripts_say_how_to_run_them(script):
    text = (FOLDER / script).read_text()
    assert text.startswith('"""')
    if "__main__" in text:
        assert f"python benchmarks/{script}" in text.split('"""')[1]
