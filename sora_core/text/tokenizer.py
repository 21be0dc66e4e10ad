"""Byte-level byte-pair encoding (Sennrich et al. 2016) of case-folded words. The merges travel in the checkpoint.

Any Unicode text can be encoded: what no merge covers is spelled in bytes.
"""

import re
import unicodedata
from collections import Counter
from itertools import pairwise

from ..errors import UserError

PAD, SUMMARY, FIRST_BYTE = 0, 1, 2  # ids; bytes follow, then one id per merge
FIRST_MERGE = FIRST_BYTE + 256
LONGEST = 2**21  # characters: what a text takes in the encoder grows with its length, a few KB a character
WORD = re.compile(r"\w{1,32}|[^\w\s]")  # a longer run of letters is cut, so that no word is slow to encode


def _words(text: str) -> list[bytes]:
    return [
        f" {word}".encode("utf-8", "replace") for word in WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    ]


class Tokenizer:
    """`merges`: pairs of ids in the order in which they were learnt."""

    def __init__(self, merges: tuple[tuple[int, int], ...]):
        self.merges = tuple((int(a), int(b)) for a, b in merges)
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._cache: dict[bytes, list[int]] = {}

    @property
    def size(self) -> int:
        return FIRST_MERGE + len(self.merges)

    def encode(self, text: str) -> list[int]:
        """Ids of any text; the empty text has none.

        Raises:
            UserError: it is longer than `LONGEST`.
        """
        if len(text) > LONGEST:
            raise UserError(f"A prompt of {len(text)} characters is too long: use at most {LONGEST}.")
        return [token for word in _words(text) for token in self._word(word)]

    def _word(self, word: bytes) -> list[int]:
        known = self._cache.get(word)
        if known is not None:
            return known
        ids = [FIRST_BYTE + byte for byte in word]
        while len(ids) > 1:
            rank, at = min((self._rank.get(pair, len(self.merges)), i) for i, pair in enumerate(pairwise(ids)))
            if rank == len(self.merges):
                break
            ids[at : at + 2] = [FIRST_MERGE + rank]
        if len(self._cache) < 100_000:
            self._cache[word] = ids
        return ids

    @classmethod
    def train(cls, texts, merges: int) -> "Tokenizer":
        """Learn the most frequent pairs, one at a time, from an iterable of texts."""
        counts = Counter(word for text in texts for word in _words(text))
        split = {word: [FIRST_BYTE + byte for byte in word] for word in counts}
        learnt = []
        for _ in range(merges):
            pairs = Counter()
            for word, ids in split.items():
                for pair in pairwise(ids):
                    pairs[pair] += counts[word]
            if not pairs:
                break
            best, seen = max(pairs.items(), key=lambda item: (item[1], item[0]))
            if seen < 2:
                break
            token = FIRST_MERGE + len(learnt)
            learnt.append(best)
            for ids in split.values():
                at = 0
                while at < len(ids) - 1:
                    if (ids[at], ids[at + 1]) == best:
                        ids[at : at + 2] = [token]
                    at += 1
        return cls(tuple(learnt))
