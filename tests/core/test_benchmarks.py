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


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.py")))
def test_scripts_say_how_to_run_them(script):
    text = (FOLDER / script).read_text()
    assert text.startswith('"""')
    if "__main__" in text:
        assert f"python benchmarks/{script}" in text.split('"""')[1]
