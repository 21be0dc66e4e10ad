"""What the words of a caption must tell, and that it is learnt."""

import pytest
import torch
import torch.nn.functional as F

from sora_core.text import TextConfig, TextEncoder, Tokenizer
from sora_core.training.facts import FactsHead, shares_right
from sora_core.training.optim import build_optimizer
from sora_core.worlds.attributes import ATTRIBUTES, SLICES


def test_every_fact_has_a_logit_and_padding_says_nothing():
    torch.manual_seed(0)
    head, text = FactsHead(32), torch.randn(3, 9, 32)
    mask = torch.arange(9) < torch.tensor([[9], [5], [2]])
    logits = head(text, mask)
    assert logits.shape == (3, len(ATTRIBUTES)) and logits.dtype == torch.float32
    torch.testing.assert_close(head(text[1:2, :5], mask[1:2, :5]), logits[1:2])


def test_pairs_and_colours_of_the_background_are_read_from_the_words_and_the_rest_from_the_summary():
    torch.manual_seed(0)
    head, text, mask = FactsHead(32), torch.randn(1, 9, 32), torch.ones(1, 9, dtype=torch.bool)
    before, text[:, 1:] = head(text, mask), torch.randn(1, 8, 32)
    changed = (head(text, mask) != before)[0]
    for group, facts in SLICES.items():
        assert bool(changed[facts].all()) == bool(changed[facts].any()) == (" " in group), group


def test_which_of_two_things_moves_how_is_learnt_from_sentences():
    """A language of a few words; any sentence with the two motions swapped is as likely."""
    torch.manual_seed(0)
    shapes, verbs = ("ball", "square", "star"), {"left": "drifts left", "up": "rises", "grow": "gets bigger"}
    joints = (" and a ", " while a ", ", next to it a ")
    pair = SLICES["shape motion"]
    names = ATTRIBUTES[pair]

    def told(count):
        texts, values = [], torch.zeros(count, len(names))
        for row in range(count):
            a, b = torch.randperm(3)[:2].tolist()
            m, n = (list(verbs)[i] for i in torch.randperm(3)[:2])
            texts.append(f"a {shapes[a]} {verbs[m]}{joints[int(torch.randint(3, ()))]}{shapes[b]} {verbs[n]}")
            for shape, motion in ((shapes[a], m), (shapes[b], n)):
                values[row, names.index(f"shape motion: {shape} {motion}")] = 1
        return texts, values

    encoder = TextEncoder(TextConfig(Tokenizer.train(told(50)[0], 100).merges, width=48, depth=2)).initialize()
    both = torch.nn.ModuleList([encoder, FactsHead(48)])
    optimizer = build_optimizer(both, "adamw", 5e-3, 0.0)
    for _ in range(150):
        texts, values = told(32)
        loss = F.binary_cross_entropy_with_logits(both[1](*encoder.encode_texts(texts))[:, pair], values)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    texts, values = told(200)
    right = ((both[1](*encoder.encode_texts(texts))[:, pair] > 0) == (values > 0)).all(1)
    assert right.float().mean() > 0.95


def test_a_group_that_is_not_learnt_shows():
    """Nine sentences of ten state no gradient, and all else is right."""
    facts, stated = torch.zeros(10, len(ATTRIBUTES)), torch.ones(10, len(ATTRIBUTES))
    gradient = SLICES["gradient from"]
    facts[:, SLICES["shape"].start] = 1
    facts[0, gradient.start], stated[1:, gradient] = 1, 0
    logits = facts * 2 - 1
    assert shares_right(logits, facts, stated) == (1.0, 1.0)
    logits[0, gradient] = logits[0, gradient].flip(0)
    assert shares_right(logits, facts, stated) == (pytest.approx(0.9), 0.0)
    assert shares_right(logits, facts, stated * 0) == (1.0, 1.0)
