"""Does the map lie on what was drawn? Phantoms know where their nodule is; a version is asked as by /explain.

A hit is a map whose strongest place lies within the nodule's bounding box. Chance is that box's share of the body: how
often a place drawn at random from the body would be a hit. Both methods are asked, occlusion also where the version has
class activation. Only for versions that were trained on phantoms does the nodule decide, and nothing else.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.explain.explainer import class_evidence
from service.explain.occlusion import occlusion_grid
from service.explain.overlay import on_slice
from service.model.serving_model import LoadOptions, ServingModel, load_model
from service.model.trial import prepare_model
from shared.artifact import ATTENTION_NAME, OUTPUT_NAME
from shared.box import Box
from shared.imaging import place
from trainer.evaluation.intervals import wilson
from trainer.phantoms.phantom import SLICES_PER_CASE, draw_phantom, nodule_mask

_FIRST_SEED = 900_000  # far from those that `trainer synthesize` draws by default


def measure(model: ServingModel, cases: int) -> dict[str, dict[str, object]]:
    """For each method: hits, n, rate with its 95 % interval, and chance; benign and malignant slices apart."""
    engine, spec = model.engine, model.manifest.preprocessing
    found: dict[str, list[tuple[int, bool, float]]] = {"class-activation": [], "occlusion": []}
    for number in range(cases):
        for label in (1, 2):
            seed, index = _FIRST_SEED + number, (5 * number) % SLICES_PER_CASE
            grey, nodule = draw_phantom(label, seed, index), nodule_mask(label, seed, index)
            tensor, box, _ = place(grey, spec)
            outputs = engine.infer_with_attention(tensor[np.newaxis])
            chance = _share_of_body(nodule, tensor, box)
            occluded = occlusion_grid(
                tensor, outputs[OUTPUT_NAME][0], label, lambda images: engine.infer_with_attention(images)[OUTPUT_NAME]
            )
            found["occlusion"].append((label, _is_hit(occluded, box, nodule), chance))
            if ATTENTION_NAME in outputs:
                activated = class_evidence(outputs[ATTENTION_NAME][0], label)
                found["class-activation"].append((label, _is_hit(activated, box, nodule), chance))
    names = model.manifest.classes.names
    return {
        method: {names[label]: _summary([one[1:] for one in outcomes if one[0] == label]) for label in (1, 2)}
        for method, outcomes in found.items()
        if outcomes
    }


def _is_hit(evidence: NDArray[np.float32], box: Box, nodule: NDArray[np.bool_]) -> bool:
    drawn = on_slice(evidence - evidence.min(), box, nodule.shape)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    top, bottom, left, right = _bounds(nodule)
    return bool(top <= row < bottom and left <= column < right)


def _share_of_body(nodule: NDArray[np.bool_], tensor: NDArray[np.uint8], box: Box) -> float:
    """Of the body as the network sees it: what is not padding."""
    top, bottom, left, right = _bounds(nodule)
    rows, columns = np.flatnonzero(tensor.any(axis=(1, 2))), np.flatnonzero(tensor.any(axis=(0, 2)))
    seen = tensor.shape[0] * tensor.shape[1]
    body = np.ptp(rows) * np.ptp(columns) / seen * box.width * box.height
    return float((bottom - top) * (right - left) / body)


def _bounds(nodule: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(nodule.any(axis=1)), np.flatnonzero(nodule.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _summary(outcomes: list[tuple[bool, float]]) -> dict[str, object]:
    hits, n = sum(hit for hit, _ in outcomes), len(outcomes)
    lower, upper = wilson(hits, n)
    chance = float(np.mean([share for _, share in outcomes]))
    return {
        "hits": hits, "n": n, "rate": round(hits / n, 3), "interval_95": [round(lower, 3), round(upper, 3)],
        "chance": round(chance, 4),
    }  # fmt: skip


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version_dir", type=Path, help="a published version: models/lung-ct/1")
    parser.add_argument("--cases", type=int, default=150, help="phantom cases of each class (default: 150)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = LoadOptions("openvino", "f32", threads=2, max_batch_size=4)
        proven = prepare_model(args.version_dir, options, Path(folder))
        model = load_model(args.version_dir, proven, Path(folder))
        print(json.dumps(measure(model, args.cases), indent=2))


if __name__ == "__main__":
    _main()
