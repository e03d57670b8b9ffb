"""What stands in several files and must be the same: the version of the software, the Pythons that it runs on."""

import re
import tomllib
from pathlib import Path

import yaml

from shared import VERSION

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_version_is_the_same_everywhere() -> None:
    """shared owns it; the package and the tags of the images in Kubernetes repeat it."""
    images = yaml.safe_load((ROOT / "deploy/k8s/kustomization.yaml").read_text("utf-8"))["images"]
    assert {PROJECT["version"], *(image["newTag"] for image in images)} == {VERSION}


def test_the_pythons_are_the_same_everywhere() -> None:
    """The package, the README and make speak of the same ones."""
    named = [one.rsplit(" ", 1)[1] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert PROJECT["requires-python"] == f">={named[0]},<3.{int(named[-1].split('.')[1]) + 1}"
    first, second, third = named
    assert f"Python {first}, {second} or {third}" in (ROOT / "README.md").read_text("utf-8")
    assert f"no Python {first}, {second} or {third} found" in (ROOT / "Makefile").read_text("utf-8")
