"""Processes of ours find what we find, let others go first, and never outlive whoever started them."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from shared.child_process import Child
from tests.support.serving import wait_until

ROOT = Path(__file__).parents[3]
_BEGIN = "from shared.child_process import become_expendable, end_with_parent\nbecome_expendable(3)\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that only this process's path of modules leads to."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "deed_of_a_child.py"


def test_it_finds_what_its_parent_finds_and_starts_no_threads(module: Path) -> None:
    """Its modules, wherever it was started; NumPy would start a thread for each core."""
    module.write_text("import shared, numpy, os, sys\nprint(sys.argv[1], len(os.listdir('/proc/self/task')))\n")
    with Child(module.stem, "said", output=subprocess.PIPE) as child:
        assert child.communicate() == (b"said 1\n", b"")
        child.kill()


def test_it_lets_others_go_first(module: Path) -> None:
    """With its cores, and where memory runs out; Ctrl-C is for its parent."""
    module.write_text(
        f"{_BEGIN}import os, signal\nfrom pathlib import Path\nos.kill(os.getpid(), signal.SIGINT)\n"
        "print(os.nice(0), Path('/proc/self/oom_score_adj').read_text().strip())\n"
    )
    with Child(module.stem, output=subprocess.PIPE) as child:
        said, _ = child.communicate()
        child.kill()
    assert said.split() == [str(min(19, os.nice(0) + 3)).encode(), b"1000"]


@pytest.mark.parametrize("does", ["while True: pass", "import re; re.match('(a*)*b', 'a' * 60)"])
def test_it_ends_with_its_parent(module: Path, does: str) -> None:
    """When that is killed, whatever it does then: it needs no thread, and no turn of its interpreter."""
    module.write_text(f"{_BEGIN}end_with_parent()\nopen('begun', 'w').close()\n{does}\n")
    code = f"import sys, time\nsys.path.insert(0, {str(ROOT)!r})\nfrom shared.child_process import Child\n"
    code += f"sys.path.insert(0, {str(module.parent)!r})\nchild = Child({module.stem!r})\ntime.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=module.parent)
    try:
        wait_until((module.parent / "begun").exists, "the child has begun")
        (child,) = psutil.Process(parent.pid).children()
        assert child.status() != psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child is gone")


def test_it_ends_where_its_parent_ended_before_it_could_be_told(module: Path, tmp_path: Path) -> None:
    """Between its start and the moment from which the system would end it."""
    module.write_text(
        f"import time\n{_BEGIN}time.sleep(0.2)\nend_with_parent()\nopen({str(tmp_path / 'lived')!r}, 'w')\n"
    )
    child = Child(module.stem)
    lifeline, child.lifeline = child.lifeline, None
    assert lifeline is not None
    os.close(lifeline)
    assert child.wait(60) == 1
    assert not (tmp_path / "lived").exists()
