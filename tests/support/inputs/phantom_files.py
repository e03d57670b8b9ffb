"""Draws the phantoms that the page offers with the demo model: `python -m tests.support.inputs.phantom_files`."""

import tempfile
from pathlib import Path

import cv2
import simplejpeg

from trainer.phantoms.phantom_folder import synthesize

SEED = 2026
_FOLDER = Path(__file__).parents[3] / "service" / "static" / "phantoms"


def main() -> None:
    """What `python -m trainer synthesize --cases 2 --slices-per-case 1 --seed 2026` draws, as JPEG of quality 80."""
    with tempfile.TemporaryDirectory() as drawn:
        synthesize(Path(drawn), cases_per_class=2, slices_per_case=1, seed=SEED)
        for path in sorted(Path(drawn).glob("*/*.png")):
            name = f"{path.parent.name.split()[0].lower()}-{path.name.split('-')[1]}.jpg"
            slice_ = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            content = simplejpeg.encode_jpeg(slice_[:, :, None], quality=80, colorspace="GRAY")
            (_FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
