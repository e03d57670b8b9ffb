"""What holds in the service's process holds in those it starts: nothing is told to anybody, one OpenBLAS thread."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.engines.openvino_conversion import convert
from service.engines.openvino_explain_worker import ExplainWorker
from service.model.serving_model import LoadOptions
from service.model.trial_process import TrialProcess
from service.model.trial_worker import trial_load
from shared.artifact import OUTPUT_NAME
from shared.dicom.process import DicomProcess
from shared.raster.decode import DEFAULT_LIMITS
from shared.window import LUNG_WINDOW
from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.inputs.slices import grey_slice
from tests.support.serving import wait_until

ROOT = Path(__file__).parents[3]
# asked when a child ends, and so has imported and done all that it ever does; that for DICOM when it forks
DEED = """
import os, sys
def say_and(go_on):
    def going_on(*arguments):
        import json, threadpoolctl
        is_blocked = sys.modules.get("openvino_telemetry", "not asked for") is None
        pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["internal_api"] == "openblas"]
        with open({said!r} + ".part", "w") as file:
            json.dump({{"openvino": "openvino" in sys.modules, "is_blocked": is_blocked, "openblas": pools}}, file)
        os.rename({said!r} + ".part", {said!r})
        return go_on(*arguments)
    return going_on
if "shared.dicom.child" in sys.orig_argv:
    os.fork = say_and(os.fork)
else:
    os._exit = say_and(os._exit)
"""


def serve(_: Path, __: Path) -> None:
    """Import what the service has imported when it serves."""
    code = "import os, service.__main__, service.startup, service.engines.openvino_engine; os._exit(0)"
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True
    )


def try_version(version_dir: Path, folder: Path) -> None:
    """Have a version tried."""
    options = LoadOptions(engine="openvino", precision="f32", threads=1, max_batch_size=2)
    trial_load(TrialProcess(options.engine), version_dir, options, folder, timeout_s=300)


def explain(version_dir: Path, folder: Path) -> None:
    """Have a slice explained."""
    convert(version_dir, folder, 2, (224, 224), "f32")
    worker = ExplainWorker(folder, (OUTPUT_NAME,), {"INFERENCE_NUM_THREADS": 1}, idle_s=0.1)
    worker.infer(np.zeros((1, 224, 224, 1), np.uint8))
    wait_until(lambda: worker.pid is None, "the process ends by itself")


def decode_dicom(_: Path, __: Path) -> None:
    """Have a DICOM file decoded."""
    decoder = DicomProcess(DEFAULT_LIMITS)
    decoder.decode(ct_file(hounsfield(grey_slice(1, 64))), LUNG_WINDOW, 1)
    decoder.close()


@pytest.mark.parametrize("work", [serve, try_version, explain, decode_dicom])
def test_every_process_says_that_it_tells_nobody_and_multiplies_alone(
    work: Callable[[Path, Path], None],
    children_do: Path,
    tiny_network_repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenVINO's usage statistics are blocked wherever it is imported, and NumPy's OpenBLAS has one thread, also where
    the environment of whoever started it says nothing.
    """
    said, folder = tmp_path / "said.json", tmp_path / "converted"
    folder.mkdir()
    children_do.write_text(DEED.format(said=str(said)))
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    work(tiny_network_repository / "lung-ct" / "1", folder)
    found = json.loads(wait_until(lambda: said.exists() and said.read_text(), "the child said it", 30))
    assert set(found["openblas"]) == {1}
    assert found["is_blocked"] or not found["openvino"]
    assert found["openvino"] == (work is not decode_dicom)
