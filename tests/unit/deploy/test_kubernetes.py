"""What kustomize would apply: every resource is listed, valid by its schema, hardened, and fits the others."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import ServiceSettings
from trainer.settings import TrainerSettings

FOLDER = Path(__file__).parents[3] / "deploy" / "k8s"
UID = 10001


def listed() -> list[str]:
    return list(yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))["resources"])


def resources() -> list[dict[str, Any]]:
    return [one for name in listed() for one in yaml.safe_load_all((FOLDER / name).read_text("utf-8"))]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in resources() if one["kind"] == kind]


def pods() -> list[dict[str, Any]]:
    """The Pod templates: of the Deployment, the Job and the CronJob."""
    jobs = [*of_kind("Job"), *(one["spec"]["jobTemplate"] for one in of_kind("CronJob"))]
    return [one["spec"]["template"] for one in (*of_kind("Deployment"), *jobs)]


def test_every_file_is_listed_and_there() -> None:
    """No resource is forgotten, none is missing, none is there twice."""
    assert sorted(listed()) == sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    names = [(one["kind"], one["metadata"]["name"]) for one in resources()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", listed())
def test_every_resource_is_valid(name: str) -> None:
    """The schemas of Kubernetes know every field and miss none, those of 1.28 and of the newest version at hand."""
    for resource in yaml.safe_load_all((FOLDER / name).read_text("utf-8")):
        for version in ("1.28", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_it() -> None:
    """What kustomize makes of the folder is valid, too, lies in one namespace, and names images of a registry."""
    built = subprocess.run(("kubectl", "kustomize", str(FOLDER)), capture_output=True, text=True, check=True)
    documents = list(yaml.safe_load_all(built.stdout))
    assert len(documents) == len(resources())
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "lungct"
    assert built.stdout.count("image: registry.example/lungct-") == len(pods())


def test_every_pod_is_as_the_restricted_standard_wants_it() -> None:
    """No root, no capability, no way to more rights, no writable root, no token or links, limits of memory."""
    assert len(pods()) == 3
    for pod in pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == UID
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
        assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if "emptyDir" in volume)


def test_only_the_trainer_can_write_to_the_repository() -> None:
    """The API's mount is read-only; every volume that a container mounts is there, and its claim, too."""
    claims = {one["metadata"]["name"] for one in of_kind("PersistentVolumeClaim")}
    for pod in pods():
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        mounts = {mount["name"]: mount for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert set(mounts) == set(volumes)
        assert {
            v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v
        } <= claims
        is_api = pod["metadata"]["labels"]["app.kubernetes.io/name"] == "lungct-api"
        assert mounts["model-repository"].get("readOnly", False) is is_api


def test_selectors_find_the_api_and_nothing_else() -> None:
    """Service, budget, policy and spread all mean the Pods of the Deployment; the autoscaler means the Deployment."""
    (deployment,) = of_kind("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels.items() >= deployment["spec"]["selector"]["matchLabels"].items()
    (service,) = of_kind("Service")
    assert service["spec"]["selector"] == labels
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    (budget,) = of_kind("PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == labels
    (autoscaler,) = of_kind("HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    assert autoscaler["spec"]["minReplicas"] > 1
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind("NetworkPolicy")}
    assert policies["api"]["podSelector"]["matchLabels"] == labels
    assert policies["nothing-else"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_settings_exist_and_fit_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable is a setting that the program reads, and a Pod gets the time that its settings say it needs."""
    (settings,) = of_kind("ConfigMap")
    known = {f"LUNGCT_{name.upper()}" for name in ServiceSettings.model_fields} | {"FORWARDED_ALLOW_IPS"}
    assert known >= set(settings["data"])
    for name, value in settings["data"].items():
        monkeypatch.setenv(name, value)
    said = ServiceSettings()
    (deployment,) = of_kind("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > said.drain_delay_s + said.grace_period_s
    assert said.engine_threads == int(pod["containers"][0]["resources"]["limits"]["cpu"])
    for job in pods()[1:]:
        for variable in job["spec"]["containers"][0]["env"]:
            assert variable["name"].removeprefix("LUNGCT_").lower() in TrainerSettings.model_fields


def test_probes_ask_what_they_mean() -> None:
    """Traffic depends on a model, life does not: a Pod without a version is not restarted over it."""
    (deployment,) = of_kind("Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["startupProbe"]["httpGet"]["path"] == "/health/live"
