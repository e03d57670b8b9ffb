"""All targets by name, and what fuzzing found: inputs that are tried again for ever."""

from pathlib import Path

from tests.fuzz import connections, dicoms, forms, ledgers, lines, pictures, versions
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (pictures, dicoms, connections, forms, versions, ledgers, lines)
    for target in module.TARGETS
}

_FOUND = Path(__file__).parent / "found"


def inputs_of(target: Target) -> list[bytes]:
    """Seeds, and what fuzzing found: found/<target>-<what is wrong with it>."""
    found = [path.read_bytes() for path in sorted(_FOUND.glob(f"{target.name}-*")) if _owner(path) == target.name]
    return [*target.seeds(), *found]


def _owner(path: Path) -> str:
    """The target with the longest name that a file's begins with: png-chunks-… is none of png's."""
    return max((name for name in TARGETS if path.name.startswith(f"{name}-")), key=len)
