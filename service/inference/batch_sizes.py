"""How many slices start together, by what was measured: a function of numbers that knows neither time nor a queue."""

from service.engines.base import Pace


def next_sizes(waiting: int, running: int, pace: Pace, prepare_s: float, *, workers: int, in_flight: int) -> list[int]:
    """Sizes of the batches that start now; [1] while nothing runs is a slice that gets all cores.

    waiting: slices of one version, 1 or more. running: batches that are on their way, none of which has all cores.
    prepare_s: what decoding takes a slice, in the thread that computes it: while a slice that gets all cores is
    decoded, the others are idle. in_flight: how many batches may be on their way: full ones follow while all workers
    are busy, so that none waits for its next.

    No worker idles while a slice waits: a smaller batch costs little, an idle core all that it could have done.
    """
    free = max(0, workers - running)
    if waiting > free * pace.batch_size:
        return [pace.batch_size] * min(in_flight - running, waiting // pace.batch_size)
    cores = min(free, waiting)
    each, more = divmod(waiting, cores)
    if not running:
        largest = each + bool(more)
        on_cores_s = (largest * prepare_s + pace.batch_s(largest)) / (largest * cores)
        if waiting == 1 or prepare_s + pace.alone_s < on_cores_s:
            return [1]
    return [each + 1] * more + [each] * (cores - more)
