"""How many items are accepted at a time, and who waits for room."""

import asyncio
from collections import deque

from service.errors import ProblemError, ProblemKind


class QueueFull(ProblemError):
    """No room, or no hope of an answer before the deadline; retry_after_s says when there may be."""

    kind = ProblemKind("queue-full", 503, "Overloaded", lambda: QueueFull(1.3))

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"The queue is full; try again in {retry_after_s:.1f} s.", retry_after_s=retry_after_s)


class Places:
    """So many places, each held by one item from when it is accepted until it is answered."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self.seconds_per_item = 0.0
        """Measured by whoever answers items; 0 before the first."""
        self._room: deque[asyncio.Future[None]] = deque()

    @property
    def expected_wait_s(self) -> float:
        """How long what is accepted now will take, by the measured rate; 0 before the first item."""
        return self.held * self.seconds_per_item

    def reserve(self, patience_s: float) -> None:
        """Take a place for one item, to be given back by release().

        Raises QueueFull where every place is taken, or where by the measured rate the answer would come later than
        patience_s from now: computing it would only delay those who can still be served.
        """
        if self.held >= self.most or self.held * self.seconds_per_item > patience_s:
            raise QueueFull(self.retry_after_s())
        self.held += 1

    async def reserve_when_free(self) -> None:
        """Like reserve(), but wait for a place, first come first served."""
        if self.held < self.most:
            self.held += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the place was handed over in the moment of cancellation
            if turn in self._room:
                self._room.remove(turn)
            raise

    def release(self) -> None:
        """Give a reserved place back; the first in line takes it over, so that nobody can slip in before."""
        while self._room:
            turn = self._room.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.held -= 1

    def retry_after_s(self) -> float:
        """When half of what is held now will be done, by the measured rate."""
        return max(0.05, self.expected_wait_s / 2)
