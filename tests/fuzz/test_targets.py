"""What `make fuzz` does for ten minutes a target, done for seconds: no atheris, and the same inputs every time."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.target import Target, TooMuchMemory

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_readers_of_bytes_from_outside_keep_to_their_word() -> None:
    """Each target with its seeds, what fuzzing found, and mutations: no undeclared error, no second, no flood."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", "replay", "--mutations=300"]
    replayed = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr[-5000:]


def test_a_call_that_takes_too_much_memory_is_a_finding() -> None:
    """Also where all of it is given back before the call ends."""
    hungry = Target("hungry", lambda body: bytearray(len(body) * 2**20).clear(), list, ())
    hungry(b"x")
    with pytest.raises(TooMuchMemory, match=r"hungry: \d{3} MiB for 400 bytes"):
        hungry(bytes(400))
