"""Deterministic mutations, for the tests: the same seeds and number give the same inputs on every machine."""

from collections.abc import Iterator, Sequence
from random import Random

_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_NUMBERS = (0, 1, 2, 255, 256, 4096, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**63, 2**64 - 1)
_LONGEST_SPAN = 256


def mutations(seeds: Sequence[bytes], words: Sequence[bytes], count: int, seed: int = 0) -> Iterator[bytes]:
    """So many inputs, each a seed with one to six changes."""
    random = Random(seed)
    for _ in range(count):
        body = bytearray(random.choice(seeds))
        for _ in range(random.choice((1, 1, 2, 3, 6))):
            _change(body, random, seeds, words)
        yield bytes(body)


def _change(body: bytearray, random: Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = random.randrange(len(body) + 1)
    span = slice(at, at + random.randint(1, random.choice((1, 4, 16, _LONGEST_SPAN))))
    kind = random.randrange(9)
    if kind == 0 and at < len(body):
        body[at] ^= 1 << random.randrange(8)
    elif kind == 1 and at < len(body):
        body[at] = random.choice(_BYTES)
    elif kind == 2:
        del body[span]
    elif kind == 3:
        body[at:at] = body[span] * random.choice((1, 2, 50))
    elif kind == 4:
        body[at:at] = random.choice(words)
    elif kind == 5:
        word = random.choice(words)
        body[at : at + len(word)] = word
    elif kind == 6:
        length = random.choice((2, 4, 8))
        number = random.choice(_NUMBERS) % 256**length
        body[at : at + length] = number.to_bytes(length, random.choice(("big", "little")))
    elif kind == 7:
        other = random.choice(seeds)
        start = random.randrange(len(other) + 1)
        body[span] = other[start : start + _LONGEST_SPAN]
    else:
        del body[at:]
