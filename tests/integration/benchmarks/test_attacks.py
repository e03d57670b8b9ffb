"""The attackers of benchmarks.serving.attacks send what they say, and the caller beside them is measured."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.serving import hostile_files
from shared.raster.decode import SliceError
from shared.slices import SliceDecoder
from tests.support.inputs.slices import grey_slice, jpeg_slice

_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def decoder() -> Iterator[SliceDecoder]:
    with closing(SliceDecoder()) as decoder:
        yield decoder


def test_what_hang_up_attackers_send_is_sound(decoder: SliceDecoder) -> None:
    """Where they stayed they would be answered: a picture and a DICOM slice that are decoded whole."""
    assert decoder.decode(hostile_files.noise(256)).grey.shape == (256, 256)
    grey = grey_slice(1, side=128)
    decoded = decoder.decode(hostile_files.dicom(grey))
    assert decoded.kind == "dicom"
    assert (decoded.grey == grey).all()


@pytest.mark.parametrize(
    "body",
    [
        hostile_files.inflation_bomb(200_000), hostile_files.filled_jpeg(jpeg_slice(), 200_000),
        hostile_files.many_scans(), hostile_files.dicom_of_items(20_000), hostile_files.dicom_of_fragments(20_000),
    ],
    ids=["inflation", "fill", "scans", "items", "fragments"],
)  # fmt: skip
def test_hostile_files_are_refused(decoder: SliceDecoder, body: bytes) -> None:
    """Each as something that is wrong with the file, and small ones of their kind already."""
    with pytest.raises(SliceError):
        decoder.decode(body)


@pytest.mark.alone
@pytest.mark.slow
def test_a_quick_run_tells_what_the_caller_noticed(tiny_network_repository: Path, tmp_path: Path) -> None:
    """A row for each attack, with latencies alone and beside, statuses, health, memory and verdict."""
    results = tmp_path / "attacks.json"
    command = [
        sys.executable, "-m", "benchmarks.serving.attacks", "--attacks=header-lines", "--seconds=2",
        f"--json={results}", f"--version={tiny_network_repository / 'lung-ct' / '1'}",
    ]  # fmt: skip
    finished = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode in (0, 1), finished.stderr  # 1: a machine with much else to do misses a bar
    (attacked,) = json.loads(results.read_text("utf-8"))["attacks"]
    assert attacked["name"] == "header-lines"
    assert {"200"} == set(attacked["alone"]["statuses"]) == set(attacked["beside"]["statuses"])
    assert attacked["beside"]["health"] == {"ok": attacked["beside"]["health"]["ok"]}
    assert 50 < attacked["idle_mib"] <= attacked["most_mib"]
    assert sum(one["sent_mib"] for one in attacked["attackers"]) > 0
    assert "| header-lines |" in finished.stdout
