"""Keeps the wanted version serving: looks, decides, loads beside the old one, swaps one reference.

A thread of its own polls, because a stalled volume blocks whoever reads it; the event loop only reads attributes.
Polling it is, because network volumes have no inotify.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from service.model.serving_model import ServingModel
from service.model.trial_process import MachineTrouble, TrialFailed
from shared.artifact import ArtifactError
from shared.versions import PolicyError, decide, published_versions, read_policy

log = logging.getLogger("lungct.hot_reload")

_MOST_LOOKS = 16
"""Failed versions that one poll looks at, to see whether somebody mended them: each costs a millisecond."""

_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0
_LONGEST_RETRY_OF_MACHINE_S = 3.0
"""Where a full disk, or a lack of files or threads, is found before much is done."""
_LET_GO_S = 5.0
"""So long a load that is ended may take to leave nothing behind."""
_LONGEST_REASON = 500
"""A manifest may hold a name of megabytes, which is then what it is refused for."""

Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class LoadFailure:
    """A version that could not be loaded, and when it is worth another try."""

    version: int
    reason: str
    at: datetime
    fingerprint: Fingerprint
    retry_at: float | None
    """Monotonic seconds; None waits until the files change, because the content is bad."""
    attempts: int = 1


def fingerprint(version_dir: Path) -> Fingerprint:
    """Name, size and modification time of every file: differs when somebody mended the version."""
    files = []
    for path in sorted(version_dir.rglob("*")):
        status = path.lstat()
        files.append((path.relative_to(version_dir).as_posix(), status.st_size, status.st_mtime_ns))
    return tuple(files)


@dataclass(eq=False)
class HotReload:
    """Which version serves, and why not another.

    load(version_dir) gives a proven model or raises ArtifactError (bad content), OSError or MachineTrouble (retried
    soon, and again), MemoryError or TrialFailed (retried with backoff); stop_loading() makes one that is under way end.
    on_load(outcome, version) is told of every attempt.
    """

    model_dir: Path
    load: Callable[[Path], ServingModel]
    _: KW_ONLY
    stop_loading: Callable[[], None]
    poll_interval_s: float
    on_load: Callable[[str, int], None]
    clock: Callable[[], float] = time.monotonic
    serving: ServingModel | None = field(default=None, init=False)
    loading: int | None = field(default=None, init=False)
    versions: tuple[int, ...] = field(default=(), init=False)
    pin: int | None = field(default=None, init=False)
    failures: dict[int, LoadFailure] = field(default_factory=dict, init=False)
    complaint: str | None = field(default=None, init=False)
    """Why another version than the wanted one serves; None where all is as wanted."""
    last_poll: float | None = field(default=None, init=False)
    _turn: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hot-reload", daemon=True)

    def start(self) -> None:
        """Begin polling."""
        self._thread.start()

    def stop(self, patience_s: float = _LET_GO_S) -> bool:
        """End polling, and a load that is under way; False where a stalled poll did not end within patience_s."""
        self._stop.set()
        self.stop_loading()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        repository = self.model_dir.parent
        with suppress(OSError):  # the first look says why it cannot be read
            if not repository.is_dir():
                extra = {"model_repository": str(repository.absolute())}
                log.warning("the model repository does not exist", extra=extra)
        while not self._stop.is_set():
            try:
                self.poll()
            except Exception:
                log.exception("a look at the repository failed")
            self._stop.wait(self.poll_interval_s)

    def poll(self) -> None:
        """Look once, and load until nothing more is wanted: after a bad version the next best is tried at once."""
        is_first_look = True
        while not self._stop.is_set():
            try:
                self.versions = published_versions(self.model_dir)
                policy = read_policy(self.model_dir)
            except OSError as error:
                self.complaint = f"the repository cannot be read: {error.strerror}"
                break
            except PolicyError as error:
                self.complaint = str(error)
                break
            self.pin = policy.pin
            if is_first_look:  # once a poll: for each of a thousand bad versions it would look at all of them
                self._forget_mended()
                is_first_look = False
            decision = decide(self.versions, policy, self.serving.version if self.serving else None, self._failed_now())
            if decision.load is None:
                failure = self.failures.get(decision.about or 0)
                self.complaint = f"{decision.complaint}: {failure.reason}" if failure else decision.complaint
                break
            self._try(decision.load)
        self.last_poll = self.clock()

    def _try(self, version: int) -> None:
        version_dir = self.model_dir / str(version)
        seen: Fingerprint = ()
        self.loading = version
        started = self.clock()
        try:
            seen = fingerprint(version_dir)
            model = self.load(version_dir)
        except ArtifactError as error:
            self._failed(version, str(error), seen)
        except MachineTrouble as error:
            self._failed(version, str(error), seen, _LONGEST_RETRY_OF_MACHINE_S)
        except TrialFailed as error:
            self._failed(version, str(error), seen, _LONGEST_RETRY_S)
        except (OSError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            longest_s = _LONGEST_RETRY_S if isinstance(error, MemoryError) else _LONGEST_RETRY_OF_MACHINE_S
            self._failed(version, f"this machine could not load it: {reason}", seen, longest_s)
        except Exception as error:  # of a library: unrecorded, it would be tried at every poll and nobody told why
            log.exception("loading broke", extra={"model_version": version})
            self._failed(version, f"loading it broke with {type(error).__name__}", seen, _LONGEST_RETRY_S)
        else:
            self.failures.pop(version, None)
            self.complaint = None  # what is still not as wanted is found next; what no longer holds is never told
            self.serving = model  # the one swap; requests that took the old model finish with it
            self.on_load("loaded", version)
            load_s = round(self.clock() - started, 3)
            log.info("model loaded", extra={"model_version": version, "variant": model.variant, "load_s": load_s})
        finally:
            self.loading = None

    def _failed(self, version: int, reason: str, seen: Fingerprint, longest_retry_s: float | None = None) -> None:
        """longest_retry_s: None where the content is bad, which waits until the files change."""
        if self._stop.is_set():
            return  # it was ended, and says nothing of the version
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[: _LONGEST_REASON // 2]} … {reason[-_LONGEST_REASON // 2 :]}"
        before = self.failures.get(version)
        attempts = before.attempts + 1 if before else 1
        backoff_s = _FIRST_RETRY_S * 2 ** min(attempts - 1, 10)
        retry_at = None if longest_retry_s is None else self.clock() + min(longest_retry_s, backoff_s)
        self.failures[version] = LoadFailure(version, reason, datetime.now(UTC), seen, retry_at, attempts)
        self.on_load("bad_content" if retry_at is None else "trouble", version)
        log.error("model not loaded", extra={"model_version": version, "reason": reason, "attempts": attempts})

    def _forget_mended(self) -> None:
        """Drop failures of versions that are gone or whose files changed since.

        Every poll looks at the pinned and the newest ones, which are wanted most, and at as many others in turn.
        """
        present = set(self.versions)
        for version in self.failures.keys() - present:
            del self.failures[version]
        newest_first = sorted(self.failures, reverse=True)
        wanted, others = newest_first[:_MOST_LOOKS], newest_first[_MOST_LOOKS:]
        self._turn = self._turn + _MOST_LOOKS if self._turn + _MOST_LOOKS < len(others) else 0
        pinned = [number for number in others if number == self.pin]
        for version in {*pinned, *wanted, *others[self._turn : self._turn + _MOST_LOOKS]}:
            try:
                is_same = fingerprint(self.model_dir / str(version)) == self.failures[version].fingerprint
            except OSError:
                continue  # cannot be looked at now, so nothing is known to have changed
            if not is_same:
                del self.failures[version]

    def _failed_now(self) -> set[int]:
        now = self.clock()
        return {
            version for version, failure in self.failures.items() if failure.retry_at is None or now < failure.retry_at
        }
