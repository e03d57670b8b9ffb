"""The nginx example before a real service: TLS with a certificate of its own, the prefix, limits and timeouts."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.compose_stack import free_port
from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import RunningService, serving, wait_until

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx" / "lungct.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = [pytest.mark.tools, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]


@dataclass
class Proxy:
    """nginx before a service; client trusts its certificate."""

    service: RunningService
    port: int
    plain_port: int
    client: httpx.Client
    certificate: Path


def replace(config: str, pattern: str, by: str) -> str:
    """The example with one of its marked places filled in; fails where the place is gone."""
    assert re.search(pattern + r".*# TEST", config), pattern
    return re.sub(pattern, by, config, count=1)


@pytest.fixture(scope="module")
def proxy(tiny_network_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder, port, plain_port = tmp_path_factory.mktemp("nginx"), free_port(), free_port()
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key),
         "-out", str(certificate)),
        check=True, capture_output=True,
    )  # fmt: skip
    with serving(tiny_network_repository, root_path="/lungct") as service:
        config = CONFIG.read_text("utf-8")
        config = replace(config, r"server 127\.0\.0\.1:8000", f"server 127.0.0.1:{service.port}")
        config = replace(config, r"listen 80;", f"listen 127.0.0.1:{plain_port};")
        config = replace(config, r"listen 443", f"listen 127.0.0.1:{port}")
        config = replace(config, r"/etc/ssl/lungct/tls\.crt", str(certificate))
        config = replace(config, r"/etc/ssl/lungct/tls\.key", str(key))
        (folder / "lungct.conf").write_text(config, "utf-8")
        scratch = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
            f"http {{ access_log off; {scratch} include {folder}/lungct.conf; }}\n",
            "utf-8",
        )
        process = subprocess.Popen((str(NGINX), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"))
        try:
            trusting = ssl.create_default_context(cafile=str(certificate))
            with httpx.Client(base_url=f"https://localhost:{port}", verify=trusting, timeout=60) as client:

                def answers() -> bool:
                    assert process.poll() is None, (folder / "error.log").read_text("utf-8")
                    try:
                        return client.get("/lungct/health").status_code == 200
                    except httpx.TransportError:
                        return False

                wait_until(answers, "nginx answers")
                yield Proxy(service, port, plain_port, client, certificate)
        finally:
            process.terminate()
            process.wait(30)


def test_a_slice_is_answered_over_tls_under_the_prefix(proxy: Proxy) -> None:
    """The answer is the service's own, with the caller's request id, over TLS that a stranger would not trust."""
    answer = proxy.client.post("/lungct/predict", content=jpeg_slice(), headers={"X-Request-ID": "seen-by-nginx"})
    assert answer.status_code == 200
    assert answer.json()["request_id"] == "seen-by-nginx"
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "nginx/" not in answer.headers.get("Server", "")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://localhost:{proxy.port}/lungct/health")


def test_old_tls_is_refused(proxy: Proxy) -> None:
    """A client that knows nothing newer than TLS 1.1 gets no connection."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(proxy.certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("localhost", proxy.port)) as raw, old.wrap_socket(raw, server_hostname="localhost"):
        pass  # the same context gets through with TLS 1.2
    s_client = ("openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", f"localhost:{proxy.port}")
    refused = subprocess.run(s_client, input="", capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode != 0
    assert "alert" in refused.stderr


def test_pages_find_their_parts_under_the_prefix(proxy: Proxy) -> None:
    """The page, Swagger UI and what they load are all there, and no address in them leaves the prefix."""
    for page in ("/lungct/", "/lungct/docs"):
        text = proxy.client.get(page).raise_for_status().text
        for part in re.findall(r'(?:src|href)="([^"#]+)"', text):
            if not part.startswith(("http", "mailto:", "data:")):
                found = proxy.client.get(str(httpx.URL(page).join(part)))
                assert found.status_code == 200, part
                assert found.url.path.startswith("/lungct/")
    assert proxy.client.get("/lungct/openapi.json").json()["servers"] == [{"url": "/lungct"}]


def test_http_leads_to_https(proxy: Proxy) -> None:
    """Whoever asks without TLS is sent on, with the method kept; so is who leaves the last slash out."""
    plain = httpx.post(f"http://127.0.0.1:{proxy.plain_port}/lungct/predict")
    assert plain.status_code == 308
    assert plain.headers["Location"].startswith("https://")
    assert proxy.client.get("/lungct").headers["Location"].endswith("/lungct/")


@pytest.mark.parametrize("address", ["/", "/health/", "/docs/", "/static", "/predict/", "//evil.example/", "/nothing/"])
def test_no_redirect_leads_out_of_https(proxy: Proxy, address: str) -> None:
    """Over TLS nothing is redirected by the service, with a foreign Host neither."""
    for headers in ({}, {"Host": "evil.example"}):
        answer = proxy.client.get(f"/lungct{address}", headers=headers)
        assert not answer.is_redirect
        assert "location" not in answer.headers


def test_metrics_stay_inside(proxy: Proxy) -> None:
    """What Prometheus reads of the service is nothing for the outside."""
    assert proxy.client.get("/lungct/metrics").status_code == 404
    assert proxy.service.client.get("/lungct/metrics").status_code == 200


def test_a_body_beyond_the_limits_is_refused_early(proxy: Proxy) -> None:
    """A single image beyond the service's limit gets the service's 413; a body beyond nginx's gets nginx's, unread."""
    large = proxy.client.post("/lungct/predict", content=b"\xff\xd8" + bytes(21 * 2**20))
    assert large.status_code == 413
    assert large.headers["Content-Type"] == "application/problem+json"
    trusting = ssl.create_default_context(cafile=str(proxy.certificate))
    with (
        socket.create_connection(("localhost", proxy.port), timeout=30) as raw,
        trusting.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        tls.sendall(
            b"POST /lungct/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 300000000\r\n\r\n"
        )
        assert tls.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_slow_client_holds_nothing_of_the_service(proxy: Proxy) -> None:
    """Half a body, and then silence: nginx waits for the rest, the service has not heard of it and answers others."""
    trusting = ssl.create_default_context(cafile=str(proxy.certificate))
    body = jpeg_slice()
    with (
        socket.create_connection(("localhost", proxy.port), timeout=60) as raw,
        trusting.wrap_socket(raw, server_hostname="localhost") as slow,
    ):
        head = f"POST /lungct/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        slow.sendall(head + body[: len(body) // 2])
        assert proxy.client.post("/lungct/predict", content=body).status_code == 200
        assert "lungct_inflight_bytes 0.0" in proxy.service.client.get("/lungct/metrics").text
        slow.sendall(body[len(body) // 2 :])
        assert slow.recv(100).startswith(b"HTTP/1.1 200 ")
