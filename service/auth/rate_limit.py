"""How many slices a key may ask for, and how a caller is told (a token bucket).

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy: "slices";q=600;w=60` and
`RateLimit: "slices";r=599;t=1`. 429 is RFC 6585, Retry-After RFC 9110; both say the same time.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_LIMIT = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,5})")
_POLICY = '"slices"'


@dataclass(frozen=True)
class Limit:
    """So many slices in so many seconds: all of them at once, or evenly, or anything between."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From COUNT/SECONDS. Raises ValueError."""
        found = _LIMIT.fullmatch(text)
        if found is None:
            raise ValueError("expected a limit as COUNT/SECONDS, such as 600/60")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds}"


class Allowance:
    """What is left of one key's limit; it grows back evenly."""

    def __init__(self, limit: Limit, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._left = float(limit.count)
        self._at = clock()

    @property
    def share_left(self) -> float:
        """1 where all of it is there; below 0 where there is a debt. Changes nothing: another thread may ask."""
        return self._left_at(self._clock()) / self.limit.count

    def go_on_from(self, before: "Allowance") -> None:
        """Leave the share that another limit has left: who had used up that one has used up this one."""
        self._left = before.share_left * self.limit.count

    def take(self) -> bool:
        """Take one slice; False where there is none, and nothing is taken."""
        self._grow()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def take_more(self, count: int) -> None:
        """Take what a batch turned out to hold beyond its first slice. May leave a debt, which has to grow back."""
        self._left -= count

    @property
    def retry_after_s(self) -> float:
        """Seconds until take() succeeds again, where it does not now."""
        self._grow()
        return max(0.0, self._seconds_until(1))

    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """RateLimit-Policy, and RateLimit: slices left now, and whole seconds until there is one more."""
        limit, left = self.limit, max(0, math.floor(self._left))
        one_more_s = max(1, math.ceil(self._seconds_until(left + 1)))
        return (
            (b"ratelimit-policy", f"{_POLICY};q={limit.count};w={limit.seconds}".encode()),
            (b"ratelimit", f"{_POLICY};r={left};t={one_more_s}".encode()),
        )

    def _seconds_until(self, left: int) -> float:
        return (left - self._left) * self.limit.seconds / self.limit.count

    def _left_at(self, now: float) -> float:
        limit = self.limit
        return min(limit.count, self._left + (now - self._at) * limit.count / limit.seconds)

    def _grow(self) -> None:
        now = self._clock()
        self._left, self._at = self._left_at(now), now
