"""Publishing with real processes: killed ones, several at once, a reader that never stops looking, no room."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from shared.artifact import STAGING_PREFIX, ArtifactError, read_manifest, verify_files
from shared.imaging import PreprocessingSpec
from shared.versions import published_versions
from tests.support.published import publish_until_killed, publish_untrained, publish_with_little_room
from tests.support.signing_keys import make_key_pair

DEADLINE_S = 300  # machines that run tests are busy; a passing run takes a tenth of it
SMALL = PreprocessingSpec(height=32, width=32)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that begin with TensorFlow imported and nothing of it started: seconds saved for each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["trainer.networks.registry", "trainer.publishing.publish", "tests.support.published"]
    )
    return context


def read_until(stop: Event, model_dir: Path, results: "Queue[tuple[int, list[str]]]") -> None:
    """Look at every version again and again as a service does; report how many looks there were, and what was bad."""
    looks, bad = 0, []
    while not stop.is_set():
        for number in published_versions(model_dir):
            try:
                verify_files(model_dir / str(number), read_manifest(model_dir / str(number)))
            except ArtifactError as error:
                bad.append(f"version {number}: {error}")
            looks += 1
        time.sleep(0.001)  # leave a core to the publishers
    results.put((looks, bad))


@contextmanager
def a_reader(processes: ForkServerContext, model_dir: Path) -> Iterator[None]:
    """Runs beside the block; at its end no look may have found a bad version."""
    stop, results = processes.Event(), processes.Queue()
    reader = processes.Process(target=read_until, args=(stop, model_dir, results))
    reader.start()
    try:
        yield
    finally:
        stop.set()
        looks, bad = results.get(timeout=DEADLINE_S)
        reader.join(DEADLINE_S)
    assert bad == []
    assert looks > 0


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.0005)


def unfinished(model_dir: Path) -> list[Path]:
    return [path for path in model_dir.glob(f"{STAGING_PREFIX}*") if path.is_dir()]


MOMENTS = (
    "variables",  # TensorFlow has begun
    "saved_model.pb",
    "golden.npz",
    "MODEL_CARD.md",
    "manifest.json",
    "model.sig",  # the last file; the rename is next
    "published",
)


def holds(folder: Path, name: str) -> bool:
    """Whether the file is in it; a folder that was renamed while we looked holds nothing any more."""
    try:
        return next(folder.rglob(name), None) is not None
    except FileNotFoundError:
        return False


def wait_for_moment(moment: str, model_dir: Path) -> None:
    before = published_versions(model_dir)
    if moment == "published":
        wait_for(lambda: published_versions(model_dir) != before)
    else:
        wait_for(lambda: any(holds(folder, moment) for folder in unfinished(model_dir)))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_a_killed_run_leaves_the_repository_valid(processes: ForkServerContext, tmp_path: Path) -> None:
    """SIGKILL while each file is written, and right after a version appeared: a reader never sees a bad version, the
    numbers have no gap, and the next publication removes what was left.
    """
    model_dir = tmp_path / "lung-ct"
    publish_untrained(tmp_path, seed=0, preprocessing=SMALL)
    key = make_key_pair(tmp_path / "keys").private
    with a_reader(processes, model_dir):
        for moment in MOMENTS:
            victim = processes.Process(target=publish_until_killed, args=(tmp_path, key))
            victim.start()
            wait_for_moment(moment, model_dir)
            victim.kill()
            victim.join(DEADLINE_S)
            assert victim.exitcode == -signal.SIGKILL
        last = publish_untrained(tmp_path, seed=1, preprocessing=SMALL)
    assert published_versions(model_dir) == tuple(range(1, last + 1))
    assert names_in(model_dir) == sorted(str(number) for number in range(1, last + 1))


@pytest.mark.slow
def test_publishers_at_once_get_different_numbers(processes: ForkServerContext, tmp_path: Path) -> None:
    """Four processes publish two versions each: eight numbers, eight valid versions, nothing left behind."""
    with (
        a_reader(processes, tmp_path / "lung-ct"),
        ProcessPoolExecutor(4, mp_context=processes) as pool,
    ):
        numbers = list(pool.map(publish_small, [tmp_path] * 8, range(8)))
    assert sorted(numbers) == list(range(1, 9))
    assert names_in(tmp_path / "lung-ct") == [str(number) for number in range(1, 9)]


def publish_small(repository: Path, seed: int) -> int:
    return publish_untrained(repository, seed, preprocessing=SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("max_file_bytes", [500, 5_000, 40_000])
def test_no_room_is_a_clear_error_and_nothing_is_lost(
    processes: ForkServerContext, tmp_path: Path, max_file_bytes: int
) -> None:
    """Where the disk takes no more, in TensorFlow's files or in ours: one sentence, the old version valid, no rest."""
    publish_untrained(tmp_path, seed=0, preprocessing=SMALL)
    with ProcessPoolExecutor(1, mp_context=processes) as pool:
        outcome = pool.submit(publish_with_little_room, tmp_path, max_file_bytes).result(DEADLINE_S)
    assert outcome == "PublishingFailed: Publishing failed, and the repository is as it was: File too large."
    assert names_in(tmp_path / "lung-ct") == ["1"]
    verify_files(tmp_path / "lung-ct" / "1", read_manifest(tmp_path / "lung-ct" / "1"))
