"""Alert rules, dashboard and runbook, held against Prometheus itself and a running service."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.compose_stack import free_port
from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import RunningService, serving, wait_until

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
OF_OTHERS = {"up", "process_resident_memory_bytes", "process_start_time_seconds", "process_cpu_seconds_total"}
"""Series that Prometheus makes itself, or its client library for every process."""
_IS_THERE = shutil.which("promtool") and shutil.which("prometheus")
pytestmark = [pytest.mark.tools, pytest.mark.skipif(not _IS_THERE, reason="Prometheus is not installed")]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_queries() -> list[str]:
    """Every query of the dashboard, its variable filled in."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in queries]


def metrics_of(query: str) -> set[str]:
    """Names of metrics in a query, as they stand in an exposition's HELP lines."""
    found = set(re.findall(r"\b((?:lungct|process)_[a-z_]+|up)\b", query))
    return {re.sub(r"_(total|bucket|sum|count)$", "", name) if name not in OF_OTHERS else name for name in found}


@pytest.fixture(scope="module")
def service(tiny_network_repository: Path) -> Iterator[RunningService]:
    with serving(tiny_network_repository) as running:
        for _ in range(3):
            running.client.post("/predict", content=jpeg_slice()).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def prometheus(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus with the project's configuration, pointed at the service and looking ten times as often."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{service.port}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    shutil.copy(PROMETHEUS / "alerts.yml", folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"),
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def has_scraped_twice() -> bool:
                assert process.poll() is None, (folder / "log").read_text("utf-8")
                try:
                    if client.get("/-/ready").status_code != 200:
                        return False
                except httpx.TransportError:
                    return False
                counted = ask(client, "count_over_time(lungct_ready[1m])")
                return bool(counted) and int(counted[0]["value"][1]) >= 2

            wait_until(has_scraped_twice, "Prometheus has scraped the service twice")
            yield client
    finally:
        process.terminate()
        process.wait(30)


def ask(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    """The result of an instant query; fails where Prometheus does not understand it."""
    answer = client.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", f"{query}: {answer}"
    return list(answer["data"]["result"])


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        ("promtool", *arguments), cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_raise_what_they_should_and_nothing_else() -> None:
    """promtool understands rules and configuration, and its unit tests of every alert pass."""
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tested_both_ways() -> None:
    """The unit tests hold a case in which each alert is raised and one in which it is not."""
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text("utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for alert in alerts():
        of_it = [bool(case.get("exp_alerts")) for case in cases if case["alertname"] == alert["alert"]]
        assert set(of_it) == {True, False}, alert["alert"]


def test_every_alert_has_a_runbook() -> None:
    """Each alert has a severity and an entry of its own name in the operations manual; no entry is of another one."""
    text = (ROOT / "docs" / "how-to" / "monitor.md").read_text("utf-8")
    entries = re.findall(r"^### (Lungct\w+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(alert["alert"] for alert in alerts())
    for alert in alerts():
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert alert["annotations"]["runbook"] == f"docs/how-to/monitor.md#{alert['alert'].lower()}"


def test_rules_and_dashboard_ask_only_for_what_the_service_tells(service: RunningService) -> None:
    """Every metric in an alert or a panel is one that /metrics exposes: a typo would never raise anything."""
    told = set(re.findall(r"^# HELP (\w+?)(?:_total)? ", service.client.get("/metrics").text, re.MULTILINE))
    asked = {name for query in (*(rule["expr"] for rule in alerts()), *panel_queries()) for name in metrics_of(query)}
    assert asked - OF_OTHERS
    assert asked - OF_OTHERS - told == set()


def test_prometheus_scrapes_the_service_and_evaluates_every_rule(prometheus: httpx.Client) -> None:
    """A real Prometheus finds the service up and ready, evaluates all rules without an error, and raises nothing."""
    assert [one["value"][1] for one in ask(prometheus, 'up{job="lungct"}')] == ["1"]
    assert [one["value"][1] for one in ask(prometheus, "lungct_ready")] == ["1"]

    def evaluated() -> list[dict[str, Any]] | None:
        rules = prometheus.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = wait_until(evaluated, "all rules are evaluated")
    assert len(rules) == len(alerts())
    assert [(rule["name"], rule["health"], rule["state"]) for rule in rules] == [
        (alert["alert"], "ok", "inactive") for alert in alerts()
    ]


def test_every_panel_can_be_drawn(prometheus: httpx.Client) -> None:
    """Prometheus understands each query of the dashboard, and most panels of a service that answers show something."""
    assert len([query for query in panel_queries() if ask(prometheus, query)]) > len(panel_queries()) / 2
