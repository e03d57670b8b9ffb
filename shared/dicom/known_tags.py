"""What a version saw of how DICOM files say that their slices were acquired, and what is new to it."""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from shared.dicom.scan_tags import OTHER, ScanTags

_WORDS = {"kernel": "reconstruction kernel", "maker": "scanner's maker"}
_ROOM = 1.1  # of a thickness, in which another one is no news


class KnownTags(BaseModel):
    """What DICOM files among the training slices say of how they were acquired; empty where there were none."""

    model_config = ConfigDict(frozen=True)

    kernel: tuple[str, ...] = ()
    maker: tuple[str, ...] = ()
    thickness_mm: tuple[float, ...] = ()
    """The least and the most."""
    has_contrast: tuple[bool, ...] = ()
    decisive: tuple[str, ...] = ()
    """Names of those that make a slice unfamiliar by an unknown value; of the others new slices often have one."""

    @classmethod
    def of(cls, files: Iterable[ScanTags | None]) -> Self:
        """Every value that these files have; None is no DICOM file."""
        values: dict[str, set[Any]] = {name: set() for name in ScanTags.model_fields}
        for tags in files:
            for name, value in tags or ():
                values[name] |= set() if value is None else {value}
        thickness = values.pop("thickness_mm")
        ends = (min(thickness), max(thickness)) if thickness else ()
        return cls(thickness_mm=ends, **{name: tuple(sorted(known)) for name, known in values.items()})

    def unknown(self, tags: ScanTags | None) -> dict[str, str]:
        """A sentence for each tag with a value that no training slice had; none of what no training slice said."""
        reasons = {}
        for name, value in tags or ():
            known = getattr(self, name)
            if value is None or not known or value in known:
                continue
            if name == "has_contrast":
                reasons[name] = (
                    f"It was acquired {'with' if value else 'without'} contrast agent, as no training slice was."
                )
            elif name != "thickness_mm":
                which = "" if value == OTHER else f" ({value})"
                reasons[name] = f"Its {_WORDS[name]}{which} occurs in no training slice."
            elif not known[0] / _ROOM <= value <= known[-1] * _ROOM:
                reasons[name] = (
                    f"Its slices are {value:g} mm thick, those of training {known[0]:g} to {known[-1]:g} mm."
                )
        return reasons
