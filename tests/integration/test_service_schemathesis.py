"""The whole OpenAPI document, tried by Schemathesis on a real service with keys and a ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from service.api_keys import key_line, make_key
from service.ledger_check import check_ledger
from tests.serving import RunningService, serving
from tests.slices import gif, jpeg_slice, png_bomb, tiny_png

KEY = make_key()
CHECKS = [
    not_a_server_error,  # 503 is documented, and must not come: one caller at a time, and a model serves
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.allow_header_conformance,
    checks.unsupported_method,
    checks.ignored_auth,
    checks.missing_required_header,
]
"""Not positive_data_acceptance nor negative_data_rejection: to a schema every byte string is an image."""

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


@pytest.fixture(scope="module")
def guarded(tiny_network_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with every safeguard; afterwards its ledger is whole."""
    folder = tmp_path_factory.mktemp("ledger")
    with serving(tiny_network_repository, api_keys=key_line("schemathesis", KEY), ledger_dir=folder) as service:
        yield service
        assert service.health()["status"] == "ok"
        told = service.log_text()
        assert "Traceback" not in told
        assert KEY not in told
    assert check_ledger(folder).problems == []


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def keep_promises(operation: schemathesis.APIOperation, generation: GenerationMode, data: st.DataObject) -> None:
    case = data.draw(operation.as_strategy(generation_mode=generation))
    case.call_and_validate(headers={"X-API-Key": KEY}, checks=CHECKS)


def test_the_document_keeps_its_promises(guarded: RunningService, subtests: pytest.Subtests) -> None:
    """Each operation, with right and wrong requests, answers as documented: status, type, schema, headers, methods."""
    document = schemathesis.openapi.from_url(f"{guarded.url}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/predict", "/predict/batch", "/health", "/metrics"}
    for operation in operations:
        with subtests.test(operation.label):
            keep_promises(operation, GenerationMode.POSITIVE)
        if operation.body or operation.query:
            with subtests.test(f"{operation.label}, wrong"):
                keep_promises(operation, GenerationMode.NEGATIVE)
