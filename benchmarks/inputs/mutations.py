"""python -m benchmarks.inputs.mutations: damaged DICOM, PNG and JPEG files to a running service, to see it stay well.

Every file is a good one of a drawn slice, changed by a seeded random generator. None may break the service (5xx, a lost
connection), make it grow, or take long; good files in between must be answered as ever.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.load.machine import describe_machine
from shared.imaging import PreprocessingSpec
from tests.support.inputs.dicom_files import LOSSLESS, LOSSY, ct_file, hounsfield, jpeg_ct_file
from tests.support.inputs.image_files import jpeg, png
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving
from trainer.phantoms.phantom import draw_phantom

GAVE_UP = "its decoder crashed, or needed more time or memory"
_HEADER_BYTES = 1024
_GOOD_EVERY = 25
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF)


@dataclass(frozen=True)
class Figures:
    """What mutated files did to a service; milliseconds are of whole requests, one at a time."""

    count: int
    seed: int
    statuses: dict[str, int]
    problems: dict[str, int]
    ended_decoders: int
    """Files whose decoder crashed or reached its limit of time or memory."""
    broken: int
    """5xx and lost connections; must be 0."""
    good_refused: int
    """Good files in between that were not answered with 200; must be 0."""
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    max_ms: dict[str, float]
    rss_mib: tuple[float, ...]
    """Of the service, after each tenth of the files."""
    rss_of_parent_mib: tuple[float, ...]
    """Of the parent of the processes that decode DICOM."""

    @property
    def is_well(self) -> bool:
        """Nothing broke, and nothing grew by more than 5 % and 5 MiB once the first tenth was through."""
        grew = [last - 1.05 * first for first, *_, last in (self.rss_mib, self.rss_of_parent_mib)]
        return not self.broken and not self.good_refused and max(grew) < 5


def good_files(side: int = 192) -> dict[str, bytes]:
    """One slice in every form that is accepted."""
    grey = draw_phantom(2, 5, 4, side)
    units = hounsfield(grey)
    files = {f"dicom {name}": ct_file(units, syntax) for name, syntax in {**LOSSLESS, **LOSSY}.items()}
    files["dicom jpeg"] = jpeg_ct_file(grey, jpeg(grey, quality=90))
    files["dicom two frames"] = ct_file(np.stack([units, units]), LOSSLESS["rle"])
    files["png"], files["png 16 bit"] = png(grey), png(grey.astype(np.uint16) * 257)
    files["jpeg"], files["jpeg progressive"] = jpeg(grey, quality=90), jpeg(grey, quality=90, progressive=True)
    return files


def mutants(files: dict[str, bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(kind of file, its damaged bytes): each form in turn, each changed in one to three ways."""
    random = np.random.default_rng(seed)
    names = list(files)
    for number in range(count):
        name = names[number % len(names)]
        body = bytearray(files[name])
        for _ in range(int(random.integers(1, 4))):
            _change(body, random)
        yield name.split()[0], bytes(body) or b"\0"


def _change(body: bytearray, random: np.random.Generator) -> None:
    """One change; every second one in the header, where it does most."""
    if len(body) < 16:
        return
    reach = min(len(body), _HEADER_BYTES) if random.random() < 0.5 else len(body)
    at, length = int(random.integers(reach)), int(2 ** random.uniform(0, 8))
    match int(random.integers(7)):
        case 0:  # flipped bits
            for one in random.integers(at, min(at + 64, len(body)), 4).tolist():
                body[one] ^= 1 << int(random.integers(8))
        case 1:  # other bytes
            body[at : at + length] = random.bytes(length)
        case 2:  # a field of extreme value
            body[at : at + 4] = bytes([int(random.choice(_NUMBERS))] * int(random.choice([1, 2, 4])))
        case 3:  # cut out
            del body[at : at + length]
        case 4:  # doubled
            body[at:at] = body[at : at + length]
        case 5:  # a part of the file over another one
            source = int(random.integers(len(body)))
            body[at : at + length] = body[source : source + length]
        case _:  # cut off
            del body[max(16, int(random.integers(len(body)))) :]


def measure(service: RunningService, count: int, seed: int, path: str = "/predict") -> Figures:
    """Send that many, one at a time, with good files in between."""
    files = good_files()
    good = list(files.values())
    statuses: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    times: dict[str, list[float]] = {}
    ended = broken = good_refused = 0
    memory: list[tuple[float, float]] = []
    for body in good * 3:
        good_refused += service.client.post(path, content=body).status_code != 200
    for number, (kind, body) in enumerate(mutants(files, count, seed), 1):
        try:
            answer = service.client.post(path, content=body)
        except httpx.HTTPError as error:
            broken += 1
            problems[type(error).__name__] += 1
            continue
        times.setdefault(kind, []).append(answer.elapsed.total_seconds() * 1e3)
        statuses[str(answer.status_code)] += 1
        broken += answer.status_code >= 500
        if answer.status_code != 200:
            problem = answer.json()
            problems[problem["type"].rpartition(":")[2]] += 1
            ended += GAVE_UP in problem["detail"]
        if number % _GOOD_EVERY == 0:
            good_refused += (
                service.client.post(path, content=good[number // _GOOD_EVERY % len(good)]).status_code != 200
            )
        if number % (count // 10) == 0:
            memory.append((service.rss_mib, _rss_of_parent(service)))
    return Figures(
        count=count, seed=seed, statuses=dict(statuses), problems=dict(problems.most_common()), ended_decoders=ended,
        broken=broken, good_refused=good_refused,
        p50_ms=_percentiles(times, 50), p99_ms=_percentiles(times, 99), max_ms=_percentiles(times, 100),
        rss_mib=tuple(round(one, 1) for one, _ in memory), rss_of_parent_mib=tuple(round(one, 1) for _, one in memory),
    )  # fmt: skip


def _percentiles(times: dict[str, list[float]], percent: float) -> dict[str, float]:
    return {kind: round(float(np.percentile(values, percent)), 1) for kind, values in times.items()}


def _rss_of_parent(service: RunningService) -> float:
    sizes = [child.memory_info().rss for child in psutil.Process(service.process.pid).children()]
    return max(sizes, default=0) / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inputs.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="damaged files to send; default 10,000")
    parser.add_argument("--seed", type=int, default=0, help="of the damage; default 0")
    parser.add_argument("--path", choices=("/predict", "/render"), default="/predict", help="where to send them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish_untrained(Path(folder), 1, preprocessing=PreprocessingSpec(height=64, width=64))
        with serving(Path(folder)) as service:
            figures = measure(service, arguments.count, arguments.seed, arguments.path)
            complaints = sum(line["level"] != "INFO" for line in service.log_lines())
    print(json.dumps({"machine": describe_machine(), **asdict(figures), "warnings_in_log": complaints}, indent=2))
    return 0 if figures.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
