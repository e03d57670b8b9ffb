"""A line for every answer of a real service: what it says, what it never says, and what happens when it cannot be."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.auth.api_keys import key_line, make_key
from service.ledger.verify import check_ledger
from shared.artifact import MANIFEST_FILE, digest_file
from tests.support.inputs.slices import gif, jpeg_slice
from tests.support.serving import serving, wait_until

PACS = make_key()
KEY = {"X-API-Key": PACS}
OWN = ("seq", "time", "request_id", "prev", "hash")
"""Fields in which any two lines differ."""
_ROOT = Path(__file__).parents[3]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", "verify-ledger", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ledger(tiny_network_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a service that answered and refused, all naming a patient, and has ended."""
    folder = tmp_path_factory.mktemp("ledger")
    settings: dict[str, Any] = {"api_keys": key_line("pacs", PACS), "ledger_dir": folder}
    with serving(tiny_network_repository, **settings) as service:
        post = service.client.post
        slice_ = jpeg_slice(1)
        post("/predict?name=smith", files={"file": ("smith.jpg", slice_)}, headers=KEY | {"X-Request-ID": "one"})
        post("/predict", content=slice_, headers=KEY | {"X-Request-ID": "same"})
        post("/predict", files={"file": ("smith.txt", b"smith")}, headers=KEY | {"X-Request-ID": "text"})
        post("/predict", files={"smith": ("smith.txt", slice_)}, headers=KEY | {"X-Request-ID": "field"})
        files = [("files", ("smith", slice_)), ("files", ("smith.gif", gif())), ("files", ("b", jpeg_slice(2)))]
        post("/predict/batch", files=files, headers=KEY | {"X-Request-ID": "batch"})
        post("/explain", content=slice_, headers=KEY | {"X-Request-ID": "explained"})
        post("/predict", content=slice_, headers={"X-Request-ID": "stranger"})
        service.client.get("/health")
        service.signal()
        assert service.wait_end() == 0
    return folder


def test_every_answer_has_its_line(ledger: Path, tiny_network_repository: Path) -> None:
    """Answers, refusals and each item of a batch, with caller, model, preprocessing and outcome."""
    lines = [line for line in lines_of(ledger) if "event" not in line]
    told = [(line["request_id"], line["status"], line["outcome"]) for line in lines]
    normal = lines[0]["outcome"]
    assert told == [
        ("one", 200, normal),
        ("same", 200, normal),
        ("text", 415, "not-an-image-type"),
        ("field", 400, "wrong-field"),
        ("batch", 200, normal),
        ("batch", 200, "not-an-image-type"),
        ("batch", 200, lines[6]["outcome"]),
        ("explained", 200, normal),
    ]
    one, same, explained = lines[0], lines[1], lines[-1]
    assert explained == {**one, **{name: explained[name] for name in OWN}, "route": "/explain"}
    assert {line["caller"] for line in lines} == {"pacs"}
    version_dir = tiny_network_repository / "lung-ct" / "1"
    assert (one["model_version"], one["model"]) == (1, digest_file(version_dir / MANIFEST_FILE).sha256)
    assert len(one["preprocessing"]) == 64
    assert one["input"] == same["input"] == lines[4]["input"]
    assert len({line.get("input") for line in lines}) == 5  # three slices or files, and a request without one
    events = [(line["event"], line.get("count")) for line in lines_of(ledger) if "event" in line]
    assert events == [("opened", None), ("refused", 1)]


def test_nothing_of_a_patient_is_in_it(ledger: Path) -> None:
    """Neither names of files or fields nor queries; and the input's digest is keyed, so that nobody can try files."""
    text = "".join(path.read_text() for path in ledger.glob("*.jsonl"))
    assert "smith" not in text
    assert PACS not in text
    assert hashlib.sha256(jpeg_slice(1)).hexdigest() not in text


@pytest.mark.slow
def test_verify_ledger_finds_what_was_changed(ledger: Path, tmp_path: Path) -> None:
    """0 and an anchor for a whole one; 1 and the place for one that was changed; 2 where there is none."""
    whole = verify(str(ledger))
    assert whole.returncode == 0
    assert "The chain is whole from line 1 to anchor " in whole.stdout
    (path,) = ledger.glob("*.jsonl")
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes().replace(b'"status":415', b'"status":200'))
    changed = verify(str(tmp_path), "--json")
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["problems"] == [
        f"{path.name}, line 4: it was changed: its hash is of something else"
    ]
    anchor = whole.stdout.split()[-1]
    copy.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert verify(str(tmp_path)).returncode == 0
    cut = verify(str(tmp_path), "--anchor", anchor)
    assert (cut.returncode, "the end was cut off" in cut.stdout) == (1, True)
    assert verify(str(tmp_path / "nowhere")).returncode == 2
    (tmp_path / "empty").mkdir()
    empty = verify(str(tmp_path / "empty"))
    assert (empty.returncode, empty.stdout, "nothing to verify" in empty.stderr) == (2, "", True)
    assert verify(str(tmp_path), "--anchor", "x").returncode == 2


def test_the_last_anchor_is_in_the_log(tiny_network_repository: Path, tmp_path: Path) -> None:
    """At its end the service logs the number and hash of the last line."""
    with serving(tiny_network_repository, ledger_dir=tmp_path) as service:
        service.client.post("/predict", content=jpeg_slice())
        service.signal()
        service.wait_end()
        anchors = [line["anchor"] for line in service.log_lines() if line["message"] == "ledger anchor"]
    assert anchors[-1] == str(check_ledger(tmp_path).last)


@pytest.mark.slow
def test_equal_inputs_are_known_across_runs_with_a_key_file(tiny_network_repository: Path, tmp_path: Path) -> None:
    """With LUNGCT_LEDGER_KEY_FILE digests of two runs can be compared, without it they cannot."""
    key_file = tmp_path / "digest.key"
    key_file.write_bytes(b"k" * 32)
    runs: dict[str, dict[str, Any]] = {"with": {"ledger_key_file": key_file}, "without": {}}
    for folder, settings in runs.items():
        for _ in range(2):
            with serving(tiny_network_repository, ledger_dir=tmp_path / folder, **settings) as service:
                service.client.post("/predict", content=jpeg_slice())
    assert len({line["input"] for line in lines_of(tmp_path / "with") if "input" in line}) == 1
    assert len({line["input"] for line in lines_of(tmp_path / "without") if "input" in line}) == 2
    assert len({line["input_key"] for line in lines_of(tmp_path / "without") if "input_key" in line}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["closed", "open"])
def test_a_ledger_that_cannot_be_written_is_never_silent(
    tiny_network_repository: Path, tmp_path: Path, policy: str
) -> None:
    """Closed refuses with 503, open answers and counts; health, metric and log tell; it mends itself."""
    folder = tmp_path / "ledger"
    folder.write_text("a file where the folder should be")
    with serving(tiny_network_repository, is_ready=False, ledger_dir=folder, ledger_policy=policy) as service:
        wait_until(lambda: service.health()["model_version"] == 1, "the model is loaded")
        answer = service.client.post("/predict", content=jpeg_slice())
        why = ["the ledger cannot be written: File exists"]
        wait_until(lambda: service.health()["reasons"] == why, "it was tried, and health tells why it failed")
        health = service.health()
        assert service.metric("lungct_ledger_up") == 0
        assert any(line["message"] == "ledger not written" for line in service.log_lines())
        if policy == "closed":
            assert (answer.status_code, health["status"]) == (503, "unavailable")
            assert answer.json()["type"] == "urn:lungct:problem:ledger-unavailable"
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert (answer.status_code, health["status"]) == (200, "degraded")
            wait_until(lambda: service.metric("lungct_ledger_lost_lines_total") == 1, "the loss is counted")
        folder.unlink()
        wait_until(lambda: service.health()["status"] == "ok", "it mends itself")
        assert service.client.post("/predict", content=jpeg_slice()).status_code == 200
    verdict = check_ledger(folder)
    assert (verdict.problems, verdict.lost_lines) == ([], int(policy == "open"))
    assert sum("outcome" in line for line in lines_of(folder)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["closed", "open"])
def test_a_ledger_that_is_moved_away_is_never_silent(
    tiny_network_repository: Path, tmp_path: Path, policy: str
) -> None:
    """While it runs, too: closed refuses the next slice, open counts it; both go on when the folder is back."""
    folder, elsewhere = tmp_path / "ledger", tmp_path / "elsewhere"
    with serving(tiny_network_repository, ledger_dir=folder, ledger_policy=policy) as service:
        assert service.client.post("/predict", content=jpeg_slice()).status_code == 200
        wait_until(lambda: service.metric("lungct_ledger_lines_total") == 1, "its line is written")
        folder.rename(elsewhere)
        answer = service.client.post("/predict", content=jpeg_slice())
        why = ["the ledger cannot be written: No such file or directory"]
        wait_until(lambda: service.health()["reasons"] == why, "it is missed")
        assert not folder.exists()
        if policy == "closed":
            assert (answer.status_code, service.health()["status"]) == (503, "unavailable")
            assert answer.json()["type"] == "urn:lungct:problem:ledger-unavailable"
        else:
            assert (answer.status_code, service.health()["status"]) == (200, "degraded")
        elsewhere.rename(folder)
        wait_until(lambda: service.health()["status"] == "ok", "it goes on")
        assert service.client.post("/predict", content=jpeg_slice()).status_code == 200
    verdict = check_ledger(folder)
    assert (verdict.problems, verdict.lost_lines) == ([], int(policy == "open"))
    assert sum("outcome" in line for line in lines_of(folder)) == 2


@pytest.mark.slow
def test_what_a_loss_of_power_left_is_told_and_kept(tiny_network_repository: Path, tmp_path: Path) -> None:
    """Zeros behind the last line: the service answers, health is degraded and says why, verify-ledger ends with 1."""
    for _ in range(2):
        with serving(tiny_network_repository, ledger_dir=tmp_path) as service:
            assert service.client.post("/predict", content=jpeg_slice()).status_code == 200
            health = service.health()
            log = service.log_lines()
        (path,) = tmp_path.glob("ledger-000000000001*")
        with path.open("ab") as file:
            file.write(bytes(200_000))
    reason = f"{path.name} holds 200000 bytes behind line 2 of the chain that are no line"
    assert (health["status"], health["reasons"]) == ("degraded", [f"the ledger is damaged: {reason}"])
    assert [line["reason"] for line in log if line["message"] == "ledger damaged"] == [reason]
    verdict = verify(str(tmp_path))
    assert verdict.returncode == 1
    assert f"{path.name}, line 3: " in verdict.stdout


@pytest.mark.slow
def test_a_killed_service_leaves_a_line_for_every_answer(tiny_network_repository: Path, tmp_path: Path) -> None:
    """Closed, kill -9 under load: whoever got an answer finds its line, and the next run goes on in the same chain."""
    with serving(tiny_network_repository, ledger_dir=tmp_path) as service:
        post = service.client.post
        answered = [post("/predict", content=jpeg_slice()).json()["request_id"] for _ in range(30)]
        service.signal(9)
        service.wait_end()
    assert {line.get("request_id") for line in lines_of(tmp_path)} >= set(answered)
    with serving(tiny_network_repository, ledger_dir=tmp_path) as service:
        service.client.post("/predict", content=jpeg_slice())
    assert check_ledger(tmp_path).problems == []


@pytest.mark.slow
def test_settings_that_are_wrong_are_told_at_start(tmp_path: Path) -> None:
    """Exit code 2 and a last line that names the setting, and never repeats what may be a key."""
    for name, value in {
        "API_KEYS": "lungct_secret",
        "LEDGER_KEY_FILE": str(tmp_path / "none"),
        "CORS_ORIGINS": "*",
    }.items():
        ended = subprocess.run(
            [sys.executable, "-m", "service"], cwd=_ROOT, capture_output=True, text=True, check=False,
            env={"LUNGCT_LEDGER_DIR": str(tmp_path / "l"), f"LUNGCT_{name}": value, "PATH": "/usr/bin"},
        )  # fmt: skip
        assert ended.returncode == 2, name
        assert ended.stderr.splitlines()[-1].startswith(f"LUNGCT_{name}: ")
        assert "secret" not in ended.stderr
