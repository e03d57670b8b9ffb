"""HTTP as clients speak it: refusals that all of them can read, HEAD, slashes, and what is too much of it."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.auth.api_keys import key_line, make_key
from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import RunningService, serving, wait_until

KEY = make_key()
TIMES = 60
TOO_LARGE = 21 * 2**20


@pytest.fixture(scope="module")
def guarded(tiny_network_repository: Path) -> Iterator[RunningService]:
    with serving(tiny_network_repository, api_keys=key_line("test", KEY)) as service:
        yield service


# --- early refusals ---------------------------------------------------------------------------------------------------


def by_http_client(url: str, key: str, body: bytes) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for _ in range(TIMES):
        connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        try:
            connection.request("POST", "/predict", body, {"X-API-Key": key, "Connection": "close"})
            answer = connection.getresponse()
            outcomes[f"{answer.status} {json.loads(answer.read())['status']}"] += 1
        except OSError as error:
            outcomes[type(error).__name__] += 1
        connection.close()
    return outcomes


def by_urllib(url: str, key: str, body: bytes) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for _ in range(TIMES):
        try:
            urllib.request.urlopen(urllib.request.Request(f"{url}/predict", body, {"X-API-Key": key}), timeout=60)
        except urllib.error.HTTPError as error:
            with error:
                outcomes[f"{error.code} {json.loads(error.read())['status']}"] += 1
        except OSError as error:
            outcomes[str(error)] += 1
    return outcomes


def by_curl(url: str, key: str, body: bytes) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    # no `Expect`: curl would ask first, and send nothing
    headers = ("-H", f"X-API-Key: {key}", "-H", "Connection: close", "-H", "Expect:")
    command = ("curl", "-sS", "-m60", *headers, "--data-binary", "@-", "-w", " %{http_code}", f"{url}/predict")
    for _ in range(TIMES):
        done = subprocess.run(command, input=body, capture_output=True, check=False)
        text, _, status = done.stdout.decode().rpartition(" ")
        is_read = done.returncode == 0 and text
        outcomes[f"{status} {json.loads(text)['status']}" if is_read else done.stderr.decode()] += 1
    return outcomes


NODE = """
const [url, key, size, times] = process.argv.slice(1);
const outcomes = {};
for (let turn = 0; turn < times; turn++) {
  let outcome;
  try {
    const headers = { "X-API-Key": key };
    const answer = await fetch(url + "/predict", { method: "POST", headers, body: new Uint8Array(Number(size)) });
    outcome = `${answer.status} ${(await answer.json()).status}`;
  } catch (error) {
    outcome = `${error} ${error.cause}`;
  }
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}
console.log(JSON.stringify(outcomes));
"""


def by_node(url: str, key: str, body: bytes) -> Counter[str]:
    command = ("node", "--input-type=module", "-e", NODE, url, key, str(len(body)), str(TIMES))
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return Counter(json.loads(done.stdout))


CLIENTS = {"http.client": by_http_client, "urllib": by_urllib, "curl": by_curl, "node": by_node}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("status", "size"), [(401, 2**20), (413, TOO_LARGE)])
def test_early_refusals_are_read_by_every_client(guarded: RunningService, client: str, status: int, size: int) -> None:
    """All sixty refusals that come while the body is still sent are read: by Python, by curl, by Node's fetch."""
    if client in ("curl", "node") and shutil.which(client) is None:
        pytest.skip(f"{client} is not installed")
    outcomes = CLIENTS[client](guarded.url, KEY if status == 413 else "wrong", bytes(size))
    assert outcomes == {f"{status} {status}": TIMES}
    guarded.wait_idle()


# --- too much of it ---------------------------------------------------------------------------------------------------


def test_what_is_refused_below_the_routes_is_counted_and_logged(guarded: RunningService) -> None:
    """A head that is too large gets a problem with a request id that the log has, and nothing of it else."""
    answer = guarded.client.get("/health?name=smith", headers={f"x-{n}": "smith" for n in range(200)})
    assert answer.status_code == 431
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = answer.json()
    assert problem["type"] == "urn:lungct:problem:headers-too-large"
    assert problem["request_id"] == answer.headers["x-request-id"]
    (line,) = [one for one in guarded.log_lines() if one.get("request_id") == problem["request_id"]]
    assert (line["status"], line["route"], line["problem"]) == (431, "unmatched", "headers-too-large")
    assert "smith" not in guarded.log_text()
    labels = {"route": "unmatched", "status": "431", "method": "GET"}
    with guarded.client.stream("GET", "/metrics", headers={"X-API-Key": KEY}) as metrics:
        text = metrics.read().decode()
    assert any(
        line.startswith("lungct_requests_total") and all(f'{name}="{value}"' in line for name, value in labels.items())
        for line in text.splitlines()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
def test_endless_heads_and_trailers_cost_no_memory(service: RunningService) -> None:
    """40 MB of fields, of one field, of an address, of trailers, each four times at once: a few MiB, and no stall."""
    begun = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
    chunked = begun + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    attacks = [(begun, b"a: b\r\n"), (begun + b"a: ", b"b"), (b"GET /", b"a"), (chunked, b"a: b\r\n")] * 4
    service.forget_peak()
    before_mib = service.rss_mib

    def attack(start: bytes, more: bytes) -> None:
        piece = more * (1_000_000 // len(more))
        with service.connect() as connection:
            try:
                connection.sendall(start)
                for _ in range(40):
                    connection.sendall(piece)
            except OSError:
                pass  # the service hung up

    threads = [threading.Thread(target=attack, args=one) for one in attacks]
    for thread in threads:
        thread.start()
    slice_, longest_s = jpeg_slice(1), 0.0
    while any(thread.is_alive() for thread in threads):
        started = time.monotonic()
        assert service.client.post("/predict", content=slice_).status_code == 200
        longest_s = max(longest_s, time.monotonic() - started)
    assert service.peak_rss_mib - before_mib < 48
    assert longest_s < 5  # 40 MB of fields alone took longer, and 300 MB of one field 150 s
    wait_until(lambda: service.health()["status"] == "ok", "it is well")


# --- addresses --------------------------------------------------------------------------------------------------------

ADDRESSES = (
    "/", "/docs", "/openapi.json", "/health", "/health/live", "/health/ready", "/model-info", "/model-info/card",
    "/metrics", "/static/css/page.css",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_head_is_answered_like_get(service: RunningService, address: str) -> None:
    """Same status, same header fields, no content; and counted under the same route."""
    found, head = service.client.get(address), service.client.head(address)
    assert head.status_code == found.status_code == 200
    assert head.content == b""
    changing = {"date", "x-request-id", *(["content-length"] if address == "/metrics" else [])}
    assert {n: v for n, v in head.headers.items() if n not in changing} == {
        n: v for n, v in found.headers.items() if n not in changing
    }
    if address != "/openapi.json" and not address.startswith("/static"):  # which are no routes
        labels = {"route": address, "method": "HEAD", "status": "200"}
        wait_until(lambda: service.metric("lungct_requests_total", **labels) > 0, "it is counted")


def test_head_where_only_post_answers(service: RunningService) -> None:
    """HEAD is no way round: what takes POST alone says so, and what does not exist does not."""
    refused = service.client.head("/predict")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert service.client.head("/nothing").status_code == 404


def test_get_addresses_name_head_too(service: RunningService) -> None:
    """`Allow` of an address that GET reads has both methods."""
    assert service.client.delete("/health").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("root", ["", "/lungct"])
def test_no_address_leads_elsewhere(tiny_network_repository: Path, root: str) -> None:
    """Nothing is redirected: not by a slash too many or too few, and not to where the caller's Host points."""
    foreign = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    with serving(tiny_network_repository, root_path=root) as service:
        for address in (*ADDRESSES, "/predict", "/static", "/swagger", "/model-info/figures"):
            for variant in (address.rstrip("/"), f"{address}/", f"/{address}/", f"{address}/?next=//evil.example"):
                answer = service.client.get(root + variant, headers=foreign)
                assert not answer.is_redirect, variant
                assert "evil" not in str(answer.headers), variant
                assert "location" not in answer.headers
