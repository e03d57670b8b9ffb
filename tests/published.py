"""Publish untrained, seeded networks: real versions in the real layout, within a second and without training."""

from pathlib import Path
from typing import Any

from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from trainer.facts import Facts


def publish_untrained(repository: Path, seed: int, **overrides: Any) -> int:
    """Publish one more version into <repository>/<model_name> and return its number.

    Different seeds give different weights. Overrides: model_name (default "lung-ct"), network (default "tiny"),
    figures (PNG bytes by name), and any field of trainer.facts.Facts, such as classes, preprocessing or warnings.
    """
    # here, so that only those tests that publish import TensorFlow
    import keras  # noqa: PLC0415

    from trainer.networks import build_network  # noqa: PLC0415
    from trainer.publishing import publish  # noqa: PLC0415

    model_name = overrides.pop("model_name", "lung-ct")
    network = overrides.pop("network", "tiny")
    figures = overrides.pop("figures", None)
    facts = Facts(
        **{
            "architecture": network,
            "classes": LUNG_CT_CLASSES,
            "preprocessing": PreprocessingSpec(),
            "dataset": {"kind": "phantoms", "n": 0, "counts": {}, "digest": "0" * 64},
            "split": {"protocol": "none"},
            "metrics": {},
            "warnings": ("Untrained network of the tests.",),
            "seed": seed,
            "duration_s": 0.0,
            **overrides,
        }
    )
    keras.utils.set_random_seed(seed)
    model = build_network(network, facts.preprocessing, len(facts.classes.names))
    return publish(model, facts, repository / model_name, figures)
