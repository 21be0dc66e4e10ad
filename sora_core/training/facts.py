"""What the words of a caption must tell: the facts of the scene that it states (see `worlds.attributes`).

Facts about the scene as a whole are read from the summary. What belongs to a thing (the red one is a ball, the ball
rises) is read from the words, by a query for each colour and each shape: as a patch in which something red begins to
show asks the words what that is, and where it goes. Read from the summary, which of two things moves how stayed near
chance (60 %) after 20,000 steps; so read, it is right in 97 % after 250 steps on sentences alone.
"""

import torch
from torch import Tensor, nn

from ..layers import matmul_attention
from ..worlds.attributes import GROUPS
from ..worlds.vocabulary import COLOURS, MOTIONS, SHAPES

NAMED = len(COLOURS) + len(SHAPES)  # what a query may name, to be told the rest of that thing
PAIRS = ("colour shape", "colour motion", "shape motion")
OF_SCENE = {group: len(facts) for group, facts in GROUPS.items() if group not in PAIRS}
HEADS = 4


class FactsHead(nn.Module):
    """Tokens of texts to a logit for every fact. It stays behind when training ends."""

    def __init__(self, width: int):
        super().__init__()
        self.summary = nn.Linear(width, sum(OF_SCENE.values()))
        self.queries = nn.Parameter(torch.randn(HEADS, NAMED, width // HEADS) / 2)
        self.words = nn.Linear(width, 2 * width, bias=False)
        self.thing = nn.Linear(width, len(SHAPES) + len(MOTIONS))
        for head in (self.summary, self.thing):
            nn.init.constant_(head.bias, -3.0)  # few of the facts hold

    def forward(self, text: Tensor, mask: Tensor) -> Tensor:
        """Text (B, L, width), its summary first, and its mask (B, L) to logits (B, ATTRIBUTES)."""
        keys, values = self.words(text).unflatten(-1, (2, HEADS, -1)).permute(2, 0, 3, 1, 4)
        queries = self.queries.to(keys).expand(len(text), -1, -1, -1)
        read = matmul_attention(queries, keys, values, mask[:, None, None]).transpose(1, 2).flatten(2)
        colours, shapes = self.thing(read).split([len(COLOURS), len(SHAPES)], dim=1)
        of_pairs = (colours[..., : len(SHAPES)], colours[..., len(SHAPES) :], shapes[..., len(SHAPES) :])
        logits = dict(zip(OF_SCENE, self.summary(text[:, 0]).split(list(OF_SCENE.values()), dim=1), strict=True))
        logits |= {group: told.flatten(1) for group, told in zip(PAIRS, of_pairs, strict=True)}
        return torch.cat([logits[group] for group in GROUPS], dim=1).float()
