"""A load is tried in a child process first: whatever happens to it happens there."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from service.model.serving_model import LoadOptions, load_model
from service.model.trial_process import TrialFailed, TrialProcess
from service.model.trial_worker import trial_load
from shared.artifact import ArtifactError
from tests.support.serving import wait_until

OPTIONS = LoadOptions(engine="openvino", precision="f32", threads=1, max_batch_size=2)
ROOT = Path(__file__).parents[4]


def _process() -> TrialProcess:
    return TrialProcess(OPTIONS.engine)


def test_a_good_version_passes(tiny_network_repository: Path, tmp_path: Path) -> None:
    """A version that can be served comes back with the options it was proven with and its pace, ready to be loaded."""
    version_dir = tiny_network_repository / "lung-ct" / "1"
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    proven = trial_load(_process(), version_dir, OPTIONS, prepared, timeout_s=300)
    assert replace(proven, pace=OPTIONS.pace) == OPTIONS
    assert proven.pace != OPTIONS.pace
    model = load_model(version_dir, proven, prepared)
    assert (model.version, model.engine.precision, model.pace) == (1, "f32", proven.pace)


def test_bad_content_is_told_apart(tmp_path: Path) -> None:
    """What is wrong with the content comes back as it was said in the child."""
    (tmp_path / "1").mkdir()
    with pytest.raises(ArtifactError, match=r"^manifest\.json is missing$"):
        trial_load(_process(), tmp_path / "1", OPTIONS, tmp_path, timeout_s=300)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "a trial load was ended by signal 11"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "a trial load was ended by signal 9"),
        ("import os; os._exit(77)", "a trial load ended with exit code 77"),
        ("import time; time.sleep(3600)", "a trial load took longer than 0.5 s"),
        ("while True: pass", "a trial load took longer than 0.5 s"),
    ],
    ids=["crashes", "is killed", "exits", "hangs", "spins"],
)
def test_a_child_that_breaks_down_gives_no_verdict(children_do: Path, tmp_path: Path, deed: str, reason: str) -> None:
    """A crash, an exit or a hang is TrialFailed, within the time limit, and leaves no process behind."""
    children_do.write_text(deed)
    started = time.monotonic()
    with pytest.raises(TrialFailed) as failed:
        trial_load(_process(), tmp_path, OPTIONS, tmp_path, timeout_s=0.5 if "longer" in reason else 300)
    assert str(failed.value) == reason
    assert time.monotonic() - started < 30
    assert not [child for child in psutil.Process().children() if "trial_load" in " ".join(child.cmdline())]


def test_trouble_of_the_disk_is_no_verdict_and_has_its_name(children_do: Path, tmp_path: Path) -> None:
    """A read error in the child is TrialFailed and says what the system said, without a path."""
    children_do.write_text(
        "import errno, pathlib\n"
        "def opened(self, *arguments, **named):\n"
        "    if self.name == 'manifest.json':\n"
        "        raise OSError(errno.EIO, 'Input/output error', str(self))\n"
        "    return as_ever(self, *arguments, **named)\n"
        "as_ever, pathlib.Path.open = pathlib.Path.open, opened\n"
    )
    with pytest.raises(TrialFailed) as failed:
        trial_load(_process(), tmp_path, OPTIONS, tmp_path, timeout_s=300)
    assert str(failed.value) == "a trial load failed: Input/output error"


def test_what_breaks_in_a_library_is_no_verdict(children_do: Path, tmp_path: Path) -> None:
    """An exception that nobody foresaw is TrialFailed; its traceback stays out of what callers may read."""
    children_do.write_text("import json\njson.loads = None\n")
    with pytest.raises(TrialFailed, match=r"^a trial load ended with exit code 1$"):
        trial_load(_process(), tmp_path, OPTIONS, tmp_path, timeout_s=300)


def test_the_child_is_of_lower_priority_and_ends_with_its_parent(children_do: Path, tmp_path: Path) -> None:
    """While it loads it lets others go first; when its parent is killed, it goes too, whatever it is doing."""
    (tmp_path / "1").mkdir()
    os.mkfifo(tmp_path / "1" / "manifest.json")  # never read to its end
    children_do.write_text("")
    code = (
        "from pathlib import Path\n"
        "from service.model.serving_model import LoadOptions\n"
        "from service.model.trial_worker import trial_load\n"
        "from service.model.trial_process import TrialProcess\n"
        f"process, folder = TrialProcess('openvino'), Path({str(tmp_path)!r})\n"
        f"trial_load(process, folder / '1', {OPTIONS!r}, folder, timeout_s=3600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        (child,) = wait_until(lambda: psutil.Process(parent.pid).children(), "the child is there")
        wait_until(lambda: child.nice() > psutil.Process().nice(), "the child is nice")
        wait_until(lambda: Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n", "and the first to go")
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child is gone")
