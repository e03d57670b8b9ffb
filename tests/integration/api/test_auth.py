"""Who may call: keys, limits, what is public, and what browsers are told. A real service."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from service.auth.api_keys import key_line, make_key
from service.auth.rate_limit import Limit
from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import DEADLINE_S, RunningService, serving, wait_until

PACS, RIS, SCARCE = make_key(), make_key(), make_key()
PROTECTED = ("/metrics", "/model-info")
OPEN = ("/", "/docs", "/openapi.json", "/static/js/page.js", "/health", "/health/live", "/health/ready")


def key(value: str) -> dict[str, str]:
    return {"X-API-Key": value}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    lines = [key_line("pacs", PACS), key_line("ris", RIS), key_line("scarce", SCARCE, Limit(3, 3600))]
    file.write_text("\n".join(lines), "utf-8")
    return file


@pytest.fixture(scope="module")
def guarded(tiny_network_repository: Path, key_file: Path) -> Iterator[RunningService]:
    """A service with three keys, that a page of another site may call."""
    settings: dict[str, Any] = {"api_keys_file": key_file, "cors_origins": "https://viewer.example"}
    with serving(tiny_network_repository, is_ready=False, **settings) as running:
        yield running.wait_ready()


def test_a_key_opens_and_nothing_else_does(guarded: RunningService) -> None:
    """With a key 200; without, or with another, 401 as a problem that says how, and no echo of the key."""
    for wrong in ({}, key("lungct_guessed"), key(PACS + "x"), {"Authorization": f"Bearer {PACS}"}):
        answer = guarded.client.post("/predict", content=jpeg_slice(), headers=wrong)
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:lungct:problem:unauthorized"
        assert answer.headers["www-authenticate"].startswith("ApiKey ")
        assert "guessed" not in answer.text
        assert PACS not in answer.text
    for known in (PACS, RIS):
        assert guarded.client.post("/predict", content=jpeg_slice(), headers=key(known)).status_code == 200


def test_the_key_is_asked_before_the_body(guarded: RunningService) -> None:
    """A caller without a key is refused while its body has not come: nothing of it is read."""
    with guarded.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        connection.settimeout(DEADLINE_S)
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
    with guarded.connect() as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")  # and not 100, which would ask for the body


def test_what_is_public_by_default(guarded: RunningService) -> None:
    """Page, documentation and health need no key; metrics and the model's description do."""
    for path in OPEN:
        assert guarded.client.get(path).status_code == 200, path
    for path in PROTECTED:
        assert guarded.client.get(path).status_code == 401, path
        assert guarded.client.get(path, headers=key(PACS)).status_code == 200, path
    assert guarded.client.get("/nowhere").status_code == 401  # who may not come in is not told what is there


@pytest.mark.slow
@pytest.mark.parametrize(
    ("public", "opened", "closed"),
    [("", ("/health",), ("/", "/docs", "/static/js/page.js", "/openapi.json", "/swagger/swagger-ui.css", *PROTECTED)),
     ("metrics,model-info", PROTECTED, ("/", "/docs"))],
)  # fmt: skip
def test_what_is_public_can_be_set(
    tiny_network_repository: Path, key_file: Path, public: str, opened: tuple[str, ...], closed: tuple[str, ...]
) -> None:
    """Each part for itself; behind a root path too."""
    with serving(tiny_network_repository, api_keys_file=key_file, public=public, root_path="/ct") as service:
        for prefix in ("", "/ct"):
            assert {service.client.get(prefix + path).status_code for path in opened} == {200}
            assert {service.client.get(prefix + path).status_code for path in closed} == {401}
            assert service.client.post(prefix + "/predict", content=b"x").status_code == 401


def test_a_limit_is_kept_and_told(guarded: RunningService) -> None:
    """Three slices an hour: then 429 with Retry-After and the RateLimit fields; a batch counts its slices."""
    first = guarded.client.post("/predict", content=jpeg_slice(), headers=key(SCARCE))
    assert (first.status_code, first.headers["ratelimit-policy"]) == (200, '"slices";q=3;w=3600')
    assert first.headers["ratelimit"] == '"slices";r=2;t=1200'
    two = [("files", ("a", jpeg_slice()))] * 2
    assert guarded.client.post("/predict/batch", files=two, headers=key(SCARCE)).status_code == 200
    refused = guarded.client.post("/predict", content=jpeg_slice(), headers=key(SCARCE))
    assert refused.status_code == 429
    assert refused.json()["type"] == "urn:lungct:problem:rate-limited"
    assert 1190 < int(refused.headers["retry-after"]) <= 1200
    assert refused.headers["ratelimit"].startswith('"slices";r=0;t=1')
    assert guarded.client.get("/model-info", headers=key(SCARCE)).status_code == 200  # only slices count
    assert guarded.client.post("/predict", content=jpeg_slice(), headers=key(PACS)).status_code == 200


def test_names_are_recorded_and_keys_never(guarded: RunningService) -> None:
    """Log and metrics call callers by their names; no key, right or wrong, is anywhere."""
    guarded.client.post("/predict", content=jpeg_slice(), headers=key(PACS) | {"X-Request-ID": "by-pacs"})
    guarded.client.post("/predict", content=jpeg_slice(), headers=key("lungct_guessed"))
    (line,) = [line for line in guarded.log_lines() if line.get("request_id") == "by-pacs"]
    assert line["caller"] == "pacs"
    metrics = guarded.client.get("/metrics", headers=key(PACS)).text
    assert 'lungct_caller_requests_total{caller="pacs"}' in metrics
    assert 'lungct_rejected_total{reason="unauthorized"}' in metrics
    assert "lungct_api_keys 3.0" in metrics
    for told in (metrics, guarded.log_text()):
        assert not any(secret in told for secret in (PACS, RIS, SCARCE, "lungct_guessed"))


def test_keys_change_without_a_restart(tiny_network_repository: Path, tmp_path: Path) -> None:
    """A new key opens and a removed one closes in the polling time, the last one too; a lost file closes."""
    file = tmp_path / "keys"
    with serving(tiny_network_repository, api_keys_file=file) as service:

        def status(value: str) -> int:
            return service.client.post("/predict", content=jpeg_slice(), headers=key(value)).status_code

        answer = service.client.post("/predict", content=jpeg_slice(), headers=key(RIS))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:lungct:problem:keys-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        file.write_text(key_line("pacs", PACS), "utf-8-sig")
        wait_until(lambda: (status(PACS), status(RIS)) == (200, 401), "the list is in force")
        (tmp_path / "aside").write_text(key_line("ris", RIS), "utf-8")
        (tmp_path / "aside").rename(file)
        wait_until(lambda: (status(PACS), status(RIS)) == (401, 200), "the new list is in force")
        file.unlink()
        wait_until(lambda: status(RIS) == 503, "nobody is let in")
        assert service.health()["status"] == "degraded"
        assert service.health()["reasons"] == ["the key file cannot be read: No such file or directory"]
        file.write_text("# nobody")
        wait_until(lambda: status(RIS) == 401, "all keys are revoked")
        reasons = ["the key file holds no key: all of its keys are revoked"]
        wait_until(lambda: service.health()["reasons"] == reasons, "and it is told")
        file.write_text(key_line("ris", RIS), "utf-8")
        wait_until(lambda: status(RIS) == 200, "the list is back")
        assert service.health()["status"] == "ok"


def test_the_document_says_where_a_key_is_needed(guarded: RunningService, service: RunningService) -> None:
    """Swagger's Authorize: one scheme, required where a key is; a service without keys asks for none."""
    document: dict[str, Any] = guarded.client.get("/openapi.json").json()
    validate(document)
    assert document["components"]["securitySchemes"]["ApiKey"]["name"] == "X-API-Key"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            is_needed = not path.startswith("/health")
            assert ("security" in operation) == is_needed, path
            assert ("401" in operation["responses"]) == is_needed, path
            assert ("429" in operation["responses"]) == (method == "post"), path
    without = service.client.get("/openapi.json").json()
    assert "securitySchemes" not in without["components"]
    assert not any("security" in one for methods in without["paths"].values() for one in methods.values())


def test_every_answer_has_the_security_headers(guarded: RunningService, service: RunningService) -> None:
    """Pages, answers, files, refusals and errors alike; one policy on frames, and no other answer's is overwritten."""
    for path in ("/", "/docs", "/health", "/static/js/page.js", "/nowhere", "/metrics"):
        for running in (service, guarded):
            headers = running.client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in headers["content-security-policy"], path
            assert len(headers.get_list("content-security-policy")) == 1
            assert "server" not in headers


def test_other_sites_may_call_only_where_it_is_set(guarded: RunningService, service: RunningService) -> None:
    """CORS is off by default; where an origin is set, its preflight needs no key, its call does, others get nothing."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    mine, other = {"Origin": "https://viewer.example"}, {"Origin": "https://evil.example"}
    preflight = guarded.client.options("/predict", headers=mine | asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://viewer.example"
    call = guarded.client.post("/predict", content=jpeg_slice(), headers=mine | key(PACS))
    assert call.headers["access-control-allow-origin"] == "https://viewer.example"
    assert "access-control-allow-credentials" not in call.headers
    assert guarded.client.post("/predict", content=jpeg_slice(), headers=mine).status_code == 401
    for answer in (
        guarded.client.options("/predict", headers=other | asked),
        service.client.options("/predict", headers=mine | asked),
        service.client.get("/health", headers=mine),
    ):
        assert "access-control-allow-origin" not in answer.headers


def test_a_refused_preflight_names_its_setting(guarded: RunningService, service: RunningService) -> None:
    """Who looks why a page of another site may not call reads which setting decides that; no key is asked for."""
    for running, path in ((guarded, "/predict"), (service, "/predict"), (service, "/health")):
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = running.client.options(path, headers=asked)
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:lungct:problem:origin-not-allowed"
        assert "LUNGCT_CORS_ORIGINS" in answer.json()["detail"]
    assert service.client.options("/predict").status_code == 405  # no preflight
    no_page = service.client.options("/predict", headers={"Access-Control-Request-Method": "POST"})
    assert no_page.status_code == 405  # nor this: pages always name their origin


def test_without_origins_no_answer_speaks_of_them(guarded: RunningService, service: RunningService) -> None:
    """Where no other site may call, answers depend on no origin, and none says so; else every answer does."""
    mine = {"Origin": "https://viewer.example"}
    for answer in (
        service.client.get("/health"),
        service.client.get("/health", headers=mine),
        service.client.post("/predict", content=jpeg_slice(), headers=mine),
        service.client.options("/predict"),
    ):
        assert "origin" not in answer.headers.get("vary", "").lower()
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert guarded.client.get("/health").headers["vary"] == "Origin"


def test_pages_may_ask_for_heads(guarded: RunningService) -> None:
    """HEAD is answered where GET is, to pages of a site that may call too."""
    asked = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "HEAD"}
    answer = guarded.client.options("/health", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST"


def test_a_refusal_costs_next_to_nothing(guarded: RunningService) -> None:
    """Hundreds of callers without a key, each with a large body announced, hold neither a place nor a byte."""
    with httpx.Client(base_url=guarded.url, timeout=DEADLINE_S) as client:
        started = time.monotonic()
        for _ in range(200):
            assert client.post("/predict", content=b"").status_code == 401
        assert time.monotonic() - started < 20
    metrics = guarded.client.get("/metrics", headers=key(PACS)).text
    assert "lungct_queue_depth 0.0" in metrics
    assert "lungct_inflight_bytes 0.0" in metrics
    json.dumps(metrics)
