"""The whole OpenAPI document, tried by Schemathesis on a real service with and without keys."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS as EVERY_CHECK

from service.auth.api_keys import key_line, make_key
from service.ledger.verify import check_ledger
from tests.support.inputs.slices import gif, jpeg_slice, png_bomb, tiny_png
from tests.support.serving import RunningService, serving

KEY = make_key()
NOT_CHECKED = {"positive_data_acceptance", "negative_data_rejection"}
"""To a schema every byte string is an image."""
CHECKS: list[Any] = EVERY_CHECK.get_by_names([name for name in EVERY_CHECK.get_all_names() if name not in NOT_CHECKED])

WHOLE = [jpeg_slice(1, side=64), jpeg_slice(2, side=300)]
IMAGES = st.one_of(
    st.sampled_from([*WHOLE, WHOLE[0][:-40], gif(), tiny_png(), png_bomb(), b""]),
    st.builds(
        lambda image, at, byte: image[: at % len(image)] + bytes([byte]) + image[at % len(image) + 1 :],
        st.sampled_from(WHOLE), st.integers(0, 10**6), st.integers(0, 255),
    ),
    st.binary(max_size=200),
)  # fmt: skip
for name in ("image/jpeg", "image/png"):
    schemathesis.openapi.media_type(name, IMAGES)
schemathesis.openapi.format("binary", IMAGES)


@pytest.fixture(scope="module", params=["with keys", pytest.param("without keys", marks=pytest.mark.slow)])
def documented(
    request: pytest.FixtureRequest, tiny_network_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service with a ledger, which is whole afterwards; with keys it has every safeguard."""
    folder = tmp_path_factory.mktemp("ledger")
    keys: dict[str, Any] = {"api_keys": key_line("schemathesis", KEY)} if request.param == "with keys" else {}
    with serving(tiny_network_repository, ledger_dir=folder, **keys) as service:
        yield service
        assert service.health()["status"] == "ok"
        told = service.log_text()
        assert "Traceback" not in told
        assert KEY not in told
    assert check_ledger(folder).problems == []


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def keep_promises(
    operation: schemathesis.APIOperation[Any, Any, Any, Any], generation: GenerationMode, data: st.DataObject
) -> None:
    case = data.draw(operation.as_strategy(generation_mode=generation))
    case.call_and_validate(headers={"X-API-Key": KEY}, checks=CHECKS)


@pytest.mark.slow
def test_the_document_keeps_its_promises(documented: RunningService, subtests: pytest.Subtests) -> None:
    """Right and wrong requests are answered as documented: status, type, schema, headers, methods."""
    document = schemathesis.openapi.from_url(f"{documented.url}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/predict", "/predict/batch", "/health", "/metrics"}
    for operation in operations:
        with subtests.test(operation.label):
            keep_promises(operation, GenerationMode.POSITIVE)
        if operation.body or operation.query:
            with subtests.test(f"{operation.label}, wrong"):
                keep_promises(operation, GenerationMode.NEGATIVE)


@pytest.mark.slow
def test_every_phase_of_the_command_line(documented: RunningService, tmp_path: Path) -> None:
    """What Schemathesis tries by itself: the examples, the limits of every schema, and requests at random."""
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        str(program), "run", f"{documented.url}/openapi.json", "--header", f"X-API-Key: {KEY}", "--seed=1",
        "--phases=examples,coverage,fuzzing", f"--exclude-checks={','.join(sorted(NOT_CHECKED))}",
        "--max-examples=10", "--generation-database=none",
    ]  # fmt: skip
    tried = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stdout
    assert re.search(r"(\d+) generated, \1 passed", tried.stdout)
