"""What the words of a caption must tell: the facts of the scene that it states (see `worlds.attributes`).

Facts about the scene as a whole are read from the summary. What belongs to a thing (the red one is a ball, the ball
rises) is read from the words, by a query for each colour and each shape: as a patch in which something red begins to
show asks the words what that is, and where it goes. Read from the summary, which of two things moves how stayed near
chance (60 %) after 20,000 steps; so read, it is right in 97 % after 250 steps on sentences alone.
"""

import torch
from torch import Tensor, nn

from ..dit import matmul_attention
from ..worlds.attributes import ATTRIBUTES, SLICES
from ..worlds.vocabulary import COLOURS, MOTIONS, SHAPES

_TOLD = len(COLOURS) + len(SHAPES)  # things that a query may name, and of which it is told the others
HEADS = 4


class FactsHead(nn.Module):
    """Tokens of texts to a logit for every fact. It stays behind when training ends."""

    def __init__(self, width: int):
        super().__init__()
        self.summary = nn.Linear(width, len(ATTRIBUTES))
        self.queries = nn.Parameter(torch.randn(HEADS, _TOLD, width // HEADS) / 2)
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
        of_pairs = {
            "colour shape": colours[..., : len(SHAPES)],
            "colour motion": colours[..., len(SHAPES) :],
            "shape motion": shapes[..., len(SHAPES) :],
        }
        logits = self.summary(text[:, 0]).float()
        for group, told in of_pairs.items():
            logits[:, SLICES[group]] = told.flatten(1).float()
        return logits
