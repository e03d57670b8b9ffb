"""The service that safeguards.py compares with: no keys, no ledger, and instruments that count nothing."""

import sys
from typing import Any, Self

from prometheus_client import Counter, Gauge, Histogram

from service.early_signals import EarlySignals
from service.metrics import Metrics
from service.startup import serve


class _Silent:
    """Any instrument, without a pointer."""

    def labels(self, *_: Any) -> Self:
        return self

    def inc(self, *_: Any) -> None:
        pass

    observe = set = set_function = inc


class SilentMetrics(Metrics):
    """Takes everything and counts nothing."""

    def __init__(self) -> None:
        super().__init__()
        for name, instrument in vars(self).items():
            if isinstance(instrument, Counter | Gauge | Histogram):
                setattr(self, name, _Silent())


if __name__ == "__main__":
    sys.exit(serve(None, EarlySignals(), SilentMetrics))
