"""Publish untrained, seeded networks: real versions in the real layout, within a second and without training."""

import resource
from pathlib import Path
from typing import Any

from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from trainer.publishing.model_record import ModelRecord


def publish_untrained(repository: Path, seed: int, **overrides: Any) -> int:
    """Publish one more version into <repository>/<model_name> and return its number.

    Different seeds give different weights. Overrides: model_name (default "lung-ct"), network (default "tiny"),
    figures (PNG bytes by name), signing_key, has_attention (default False, as versions before there was attention), and
    any field of trainer.publishing.model_record.ModelRecord, such as classes, preprocessing or warnings.
    """
    # here, so that only those tests that publish import TensorFlow
    import keras  # noqa: PLC0415

    from trainer.export.ensemble import assemble  # noqa: PLC0415
    from trainer.networks.registry import build_network  # noqa: PLC0415
    from trainer.publishing.publish import publish  # noqa: PLC0415
    from trainer.training.from_scratch import taken_apart  # noqa: PLC0415

    model_name = overrides.pop("model_name", "lung-ct")
    network = overrides.pop("network", "tiny")
    figures = overrides.pop("figures", None)
    signing_key = overrides.pop("signing_key", None)
    has_attention = overrides.pop("has_attention", False)
    record = ModelRecord(
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
    model = build_network(network, record.preprocessing, len(record.classes.names))
    if has_attention:
        model = assemble([taken_apart(model, {})], 1.0)
    return publish(model, record, repository / model_name, figures, signing_key=signing_key)


def publish_until_killed(repository: Path, signing_key: Path) -> None:
    """Publish one small signed version after the other; the test that started this process ends it."""
    seed = 0
    while True:
        small = PreprocessingSpec(height=32, width=32)
        publish_untrained(repository, seed, preprocessing=small, signing_key=signing_key)
        seed += 1


def publish_with_little_room(repository: Path, max_file_bytes: int) -> str:
    """Try to publish where no file may grow beyond a size; the error's class and text, or "published"."""
    # the kernel then refuses a write as a full disk does, in Python and in TensorFlow's C++ alike
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    try:
        publish_untrained(repository, 1, preprocessing=PreprocessingSpec(height=32, width=32))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "published"
