"""Rules as a trainer would freeze them, for tests."""

from typing import Any

from shared.decisions import DecisionRules

NAMES = ("Normal cases", "Benign cases", "Malignant cases")


def point(threshold: float) -> dict[str, Any]:
    """An operating point."""
    return {
        "threshold": threshold,
        "sensitivity": 0.97,
        "sensitivity_interval": (0.9, 1.0),
        "specificity": 0.9,
        "specificity_interval": (0.8, 0.95),
    }


def rules(**changes: Any) -> DecisionRules:
    """Rules with the points 0.2 and 0.6 and the band between them."""
    document = {
        "class_names": NAMES,
        "target_class": "Malignant cases",
        "operating_point": "high_sensitivity",
        "operating_points": {"high_sensitivity": point(0.2), "specificity_95": point(0.6)},
        "uncertain": {"rule_out": 0.2, "rule_in": 0.6},
        "prediction_sets": {
            "coverage": 0.9,
            "min_probability": {"Normal cases": 0.3, "Benign cases": 0.1, "Malignant cases": 0.5},
            "measured_coverage": dict.fromkeys(NAMES, 0.9),
            "measured_size": 1.5,
        },
    }
    return DecisionRules.model_validate({**document, **changes})
