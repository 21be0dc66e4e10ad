"""The text encoder: any text of any length, the same alone and in a batch."""

import pytest
import torch

from sora_core.layers import matmul_attention, rope_table, rotate
from sora_core.text import TextConfig, TextEncoder, Tokenizer
from sora_core.text.model import WINDOW


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["a red ball rolls", "a red star", "red balls roll over the sea"] * 3, 40)
    model = TextEncoder(TextConfig(tokenizer.merges, width=32, depth=2, heads=2))
    return model.eval().requires_grad_(False)


def spelled(tokenizer, text):
    """The bytes that a text's ids stand for."""
    ids = tokenizer.encode(text)
    while any(i >= 258 for i in ids):
        ids = [part for i in ids for part in (tokenizer.merges[i - 258] if i >= 258 else [i])]
    return bytes(i - 2 for i in ids).decode()


TEXTS = ["a red ball", "RED  Ball!", "빨간 공이 움직인다", "красный шар 🎈", "ﬁve", "x" * 100, ""]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_spelled_out(encoder, text):
    import unicodedata

    folded = unicodedata.normalize("NFKC", text).casefold()
    assert spelled(encoder.tokenizer, text).replace(" ", "") == "".join(folded.split())


def test_frequent_words_are_one_token(encoder):
    assert len(encoder.tokenizer.encode("red")) == 1
    assert len(encoder.tokenizer.encode("zebra")) > 3


def test_alone_equals_in_a_batch(encoder):
    texts = ["a red ball", "", "the sea " * 100, "star"]
    together, mask = encoder.encode_texts(texts)
    for text, row, seen in zip(texts, together, mask, strict=True):
        alone = encoder.encode_windows(encoder.windows(text))[0]
        assert seen.sum() == len(alone) == 1 + len(encoder.tokenizer.encode(text))
        torch.testing.assert_close(row[: len(alone)], alone, rtol=0, atol=1e-5)


def test_padding_to_a_multiple(encoder):
    text, mask = encoder.encode_texts(["a red ball"], multiple=32)
    assert text.shape[1] == mask.shape[1] == 32 and mask.sum() == 1 + len(encoder.tokenizer.encode("a red ball"))


def test_both_kinds_of_attention_read_alike(encoder):
    other = TextEncoder(encoder.config, attention=matmul_attention)
    other.load_state_dict(encoder.state_dict())
    texts = ["a red ball", "", "the sea " * 40]
    torch.testing.assert_close(other.encode_texts(texts)[0], encoder.encode_texts(texts)[0], rtol=0, atol=1e-5)


def test_order_matters(encoder):
    a, _ = encoder.encode_texts(["red ball star"])
    b, _ = encoder.encode_texts(["star ball red"])
    assert (a[:, 0] - b[:, 0]).abs().max() > 1e-4


def test_a_megabyte_is_read_whole(encoder):
    windows = encoder.windows("ball " * 200_000)
    assert sum(len(w) - 1 for w in windows) == len(encoder.tokenizer.encode("ball")) * 200_000
    assert max(map(len, windows)) == WINDOW


def test_places_are_relative():
    """Products of rotated queries and keys depend on how far they are apart, and on nothing else."""
    torch.manual_seed(0)
    table = rope_table(torch.arange(12)[:, None], (16,))
    q, k = (rotate(torch.randn(16).expand(1, 12, 1, 16), *table)[0, :, 0] for _ in range(2))
    products = q @ k.T
    for apart in range(-11, 12):
        same = products.diagonal(apart)
        torch.testing.assert_close(same, same[:1].expand(len(same)))
    assert products[0].std() > 0.1
