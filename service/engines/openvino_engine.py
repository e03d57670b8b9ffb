"""Runs a SavedModel with OpenVINO on the CPU: the default engine."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import openvino
from numpy.typing import NDArray

from service.engines.base import OUTPUTS, Outputs, Pace
from service.engines.openvino_conversion import ALONE_FILE, BATCH_FILE, not_compiled
from service.engines.openvino_explain_worker import ExplainWorker, ports_of
from service.memory import drop_mapped_pages, trim_heap
from shared.artifact import ATTENTION_NAME, INPUT_NAME

_VERSION = openvino.get_version().split("-")[0]

_TIMED_S, _TIMED_RUNS = 0.3, 10
"""A form is timed until so many seconds have passed, or so many runs: a slow network needs one."""

_WORTH_IT, _TOO_LONG_S = 0.95, 0.5
"""Full batches are computed where a slice of one takes at most this share of the time of a slice by itself; and never
where its slices take so many seconds by themselves, which all callers of the batch would wait for."""

_COMPILED_FOLDER = "compiled"
"""What compiling took long for. Other forms of the same shape, and the service after its trial, begin from there."""


class OpenVINOEngine:
    """A converted model, compiled for a lone slice that all cores share, for a slice on each core, and for full batches
    on each core, where these are faster.

    A lone slice is answered soonest when all cores work on it. Under load that wastes them: at the end of each layer
    the faster thread waits for the slower one, and whatever else the process does slows both. So slices that come
    together get a core each and never wait for each other. Each form has one fixed shape, which is 7 % faster than a
    free one on some processors; docs/decisions/006 has the figures.
    """

    def __init__(
        self,
        folder: Path,
        threads: int,
        image_shape: tuple[int, int],
        precision: str | None,
        pace: Pace,
        *,
        pause: Callable[[], None],
        explained_from: Path | None = None,
    ) -> None:
        """pace: as prove() measured. Calls pause() between steps that take a core for a while.

        explained_from: where folder has a variant, the folder of the SavedModel, which explains, and in float32.
        """
        hints = _hints(threads, "f32" if explained_from else precision)
        explain_hints = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False, **hints}
        self._explain_worker = ExplainWorker(explained_from or folder, (*OUTPUTS, ATTENTION_NAME), explain_hints)
        self._pace, self._threads, self._pause = pace, threads, pause
        forms = _Forms(folder, threads, image_shape, precision)
        self._alone = forms.alone()
        self.infer_single: Callable[[NDArray[np.uint8]], Outputs] = self._alone.infer
        """uint8 [1, H, W, 1] → outputs of one slice, on all cores. One call at a time, no infer() beside it."""
        pause()
        self._one = forms.one()
        self._full: _Form | None = None
        if pace.batch_size > 1:
            pause()
            self._full = forms.full(pace.batch_size)
        pause()
        for form in (self._alone, self._one, self._full):
            if form:
                form.warm()
        drop_mapped_pages(folder)
        trim_heap()  # what compiling left
        self.precision: str = self._alone.precision
        self.name = f"openvino {_VERSION}, {self.precision}"

    def infer(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, on one core. B is at most the batch size; as many calls as cores."""
        if self._full and self._pace.full_s < len(images) * self._pace.one_s:
            return self._full.infer(images)
        return self._one.infer_each(images)

    def replay(self, images: NDArray[np.uint8]) -> Iterator[Outputs]:
        """uint8 [n, H, W, 1] → outputs for all of them, from each form of the model; the latter two on all cores."""
        yield self._alone.infer_each(images)
        for form in (self._one, self._full):
            self._pause()
            if form:
                yield form.infer_all(images)

    def infer_with_attention(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, with attention where the model has it. One call at a time.

        In a process of its own, started when first asked for and ended when nobody asks any more: an explanation takes
        neither time nor memory from predictions.
        """
        return self._explain_worker.infer(images)


def prove(
    folder: Path,
    threads: int,
    batch_size: int,
    image_shape: tuple[int, int],
    precision: str | None,
    *,
    images: NDArray[np.uint8],
    check: Callable[[Outputs], None],
) -> Pace:
    """Compile each form in turn, have it answer images uint8 [n, H, W, 1], which check() is told, and measure it.

    So at no time is more than one of them in memory. Raises what check() raises, and ArtifactError where the model
    cannot be compiled.
    """
    forms = _Forms(folder, threads, image_shape, precision)
    alone_s = forms.alone().proven_s(images, check)
    one_s = forms.one().proven_s(images, check)
    if batch_size > 1 and batch_size * one_s < _TOO_LONG_S:
        full_s = forms.full(batch_size).proven_s(images, check)
        if full_s <= _WORTH_IT * batch_size * one_s:
            return Pace(alone_s, one_s, full_s, batch_size)
    return Pace(alone_s, one_s, one_s)


def prove_one(
    folder: Path,
    threads: int,
    image_shape: tuple[int, int],
    precision: str | None,
    *,
    images: NDArray[np.uint8],
    check: Callable[[Outputs], None],
) -> float:
    """As prove(), of the form for a slice on each core alone: its seconds."""
    return _Forms(folder, threads, image_shape, precision).one().proven_s(images, check)


class _Form:
    """A compiled model of one shape, and what may be computed of it at a time."""

    def __init__(self, compiled: openvino.CompiledModel, shape: tuple[int, ...], workers: int) -> None:
        self._ports, self._shape, self._workers = ports_of(compiled, OUTPUTS), shape, workers
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(2 * workers):  # a batch waits in the engine while another is computed
            self._free.put(compiled.create_infer_request())
        self.precision: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()

    def infer(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, B up to the form's."""
        count = len(images)
        if count < self._shape[0]:
            padded = np.zeros(self._shape, np.uint8)
            padded[:count] = images
            images = padded
        request = self._free.get()
        try:
            request.infer({INPUT_NAME: images}, share_inputs=True)
            return {
                name: np.array(request.get_tensor(port).data[:count], np.float32) for name, port in self._ports.items()
            }
        finally:
            self._free.put(request)

    def infer_each(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [n, H, W, 1] → outputs, one batch after the other."""
        return _joined([self.infer(batch) for batch in self._batches(images)])

    def infer_all(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [n, H, W, 1] → outputs, on all cores."""
        with ThreadPoolExecutor(self._workers, "replay") as pool:
            return _joined(list(pool.map(self.infer, self._batches(images))))

    def proven_s(self, images: NDArray[np.uint8], check: Callable[[Outputs], None]) -> float:
        """Have check() look at the outputs of images uint8 [n, H, W, 1], then measure a round. Raises like check()."""
        check(self.infer_all(images))
        return self.round_s(images)

    def round_s(self, images: NDArray[np.uint8]) -> float:
        """Seconds for as many batches of images uint8 [n, H, W, 1] as are computed at a time; the best of a few.

        Or what each core was busy with it, where that is less: what others took of the cores says nothing of the form.
        """
        batch = np.resize(images, self._shape)
        times: list[float] = []
        began = time.perf_counter()
        with ThreadPoolExecutor(self._workers, "timing") as pool:
            while time.perf_counter() - began < _TIMED_S and len(times) < 2 * _TIMED_RUNS:
                started, busy = time.perf_counter(), time.process_time()
                list(pool.map(self.infer, [batch] * self._workers))
                times += [time.perf_counter() - started, (time.process_time() - busy) / self._workers]
        return min(times)

    def warm(self) -> None:
        """Run it once on each core: a first inference is slower than the next."""
        self.infer_all(np.zeros((self._workers * self._shape[0], *self._shape[1:]), np.uint8))

    def _batches(self, images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        size = self._shape[0]
        return [images[start : start + size] for start in range(0, len(images), size)]


class _Forms:
    """Compiles the model, as convert() left it in a folder."""

    def __init__(self, folder: Path, threads: int, image_shape: tuple[int, int], precision: str | None) -> None:
        self._core, self._folder, self._threads, self._image_shape = openvino.Core(), folder, threads, image_shape
        self._hints = {**_hints(threads, precision), "CACHE_DIR": str(folder / _COMPILED_FOLDER)}

    def alone(self) -> _Form:
        """One slice on all cores."""
        return self._compile(ALONE_FILE, 1, 1, {"PERFORMANCE_HINT": "LATENCY"})

    def one(self) -> _Form:
        """A slice on each core."""
        return self._compile(ALONE_FILE, 1, self._threads, {"NUM_STREAMS": self._threads})

    def full(self, batch_size: int) -> _Form:
        """A batch on each core."""
        return self._compile(BATCH_FILE, batch_size, self._threads, {"NUM_STREAMS": self._threads})

    def _compile(self, file: str, batch_size: int, workers: int, hints: dict[str, object]) -> _Form:
        try:
            compiled = self._core.compile_model(self._folder / file, "CPU", {**hints, **self._hints})
            return _Form(compiled, (batch_size, *self._image_shape, 1), workers)
        except RuntimeError as error:
            raise not_compiled(error) from error


def _joined(answers: list[Outputs]) -> Outputs:
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _hints(threads: int, precision: str | None) -> dict[str, object]:
    hints: dict[str, object] = {"INFERENCE_NUM_THREADS": threads}
    if precision:
        hints["INFERENCE_PRECISION_HINT"] = precision
    return hints
