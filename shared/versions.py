"""Which versions a model repository holds, and which of them is wanted.

decide() is pure: versions in, decision out. It is what both the service's poll and the tests' tables call.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

POLICY_FILE = "policy.json"


class PolicyError(ValueError):
    """policy.json is there but cannot be understood."""


class Policy(BaseModel):
    """The operator's word on what serves: a pinned version, or the newest valid one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pin: int | None = Field(default=None, ge=1, strict=True)


def published_versions(model_dir: Path) -> tuple[int, ...]:
    """Version numbers in ascending order: the folders with integer names. Empty where the folder is not there yet."""
    try:
        with os.scandir(model_dir) as entries:  # tells folders and links without asking for each
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit() and name == str(int(name))))


def read_policy(model_dir: Path) -> Policy:
    """The policy in force; no file means no pin. Raises PolicyError on a malformed one."""
    path = model_dir / POLICY_FILE
    try:
        return Policy.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Policy()
    except ValidationError as error:
        raise PolicyError(f'{POLICY_FILE}: expected {{"pin": N}} with N >= 1, got something else') from error


@dataclass(frozen=True)
class Decision:
    """What the service should do now: load a version, or nothing; and why it serves other than was asked."""

    load: int | None = None
    complaint: str | None = None
    about: int | None = None
    """The version that the complaint is about."""


def decide(published: Collection[int], policy: Policy, serving: int | None, failed: Collection[int]) -> Decision:
    """Which version to load, given what is there.

    published: versions in the repository. serving: the one that answers now. failed: versions whose present files were
    tried and found bad. The newest good version is wanted, or the pinned one. A pinned version that is bad or missing
    is never replaced by another one: what serves goes on, and an empty service stays empty. What serves is never
    unloaded for nothing: it stays while no good version is there.
    """
    if policy.pin is not None:
        return _decide_pinned(published, policy.pin, serving, failed)
    good = [version for version in published if version not in failed or version == serving]
    newest = max(published, default=None)
    wanted = max(good, default=serving)
    load = wanted if wanted != serving else None
    if newest is not None and newest != wanted:
        return Decision(load, f"version {newest} is bad", newest)
    if serving is not None and serving not in published:
        return Decision(load, *_gone(serving))
    return Decision(load)


def _decide_pinned(published: Collection[int], pin: int, serving: int | None, failed: Collection[int]) -> Decision:
    if pin == serving:
        return Decision() if pin in published else Decision(None, *_gone(pin))
    if pin not in published:
        return Decision(None, f"the pinned version {pin} is not in the repository", pin)
    if pin in failed:
        return Decision(None, f"the pinned version {pin} is bad", pin)
    return Decision(pin)


def _gone(serving: int) -> tuple[str, int]:
    """Complaint about a version that answers now but could not be loaded again."""
    return f"the serving version {serving} is no longer in the repository", serving
