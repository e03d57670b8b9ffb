"""Proxies in other containers are believed when they say that they were asked over https; strangers are not."""

import asyncio
from pathlib import Path

import pytest
import yaml
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

ROOT = Path(__file__).parents[3]


def compose() -> str:
    return str(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["api"]["environment"][NAME])


def kubernetes() -> str:
    return str(yaml.safe_load((ROOT / "deploy" / "k8s" / "settings.yaml").read_text())["data"][NAME])


NAME = "FORWARDED_ALLOW_IPS"
"""Read by uvicorn, from the environment."""


@pytest.mark.parametrize(
    ("trusted", "proxy", "scheme"),
    [
        (compose, "172.18.0.1", "https"),
        (compose, "192.168.32.3", "https"),
        (compose, "203.0.113.7", "http"),
        (kubernetes, "10.42.3.9", "https"),
        (kubernetes, "100.64.7.7", "https"),
        (kubernetes, "203.0.113.7", "http"),
    ],
)  # fmt: skip
def test_a_proxy_in_a_container_is_believed(trusted: object, proxy: str, scheme: str) -> None:
    """A request that came over https is known as such, where the address is one of the engine's or cluster's."""
    assert callable(trusted)
    seen: list[Scope] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    scope = {"type": "http", "scheme": "http", "client": (proxy, 1), "headers": [(b"x-forwarded-proto", b"https")]}
    middleware = ProxyHeadersMiddleware(application, trusted_hosts=trusted())  # type: ignore[arg-type]
    asyncio.run(middleware(scope, None, None))  # type: ignore[arg-type]
    assert seen[0]["scheme"] == scheme
