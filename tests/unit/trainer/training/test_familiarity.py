"""What a version learns of its training slices: new ones like them are familiar, others are not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from shared.familiarity import FamiliarityRules
from tests.support.acquisitions import acquisition
from tests.support.inputs.members import acquisitions_like, features_like, fitted_members
from trainer.networks.feature_distance import FeatureDistance
from trainer.training.familiarity import LIMIT, fit_familiarity

Fitted = tuple[tuple[FeatureDistance, ...], FamiliarityRules]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_familiarity(*fitted_members())


def test_unseen_slices_are_hardly_ever_unfamiliar(fitted: Fitted) -> None:
    """About the limit of the slices that were held out, and few of entirely new cases of the same kind."""
    distances, rules = fitted
    assert rules.limit == LIMIT
    assert rules.figures["unseen_slices"] == 240
    assert rules.figures["cases"] == 60
    assert float(str(rules.figures["unfamiliar_unseen"])) <= 0.02
    groups = np.repeat(np.arange(100), 4)
    textures = np.mean([one.of(features_like(groups, 7)) for one in distances], axis=0)
    judged = [rules.judge(*one) for one in zip(acquisitions_like(groups, 8), textures.tolist(), strict=True)]
    assert np.mean([one.is_familiar for one in judged]) > 0.93
    scores = [one.score for one in judged]
    assert np.median(scores) == pytest.approx(0.5, abs=0.2)


def test_a_slice_that_was_acquired_otherwise_is_unfamiliar(fitted: Fitted) -> None:
    """Half the contrast of every training case, three times its grain: for either, in words."""
    _, rules = fitted
    like = acquisition(130.0, air=43.0, grain=15.0)
    assert rules.judge(like, 1.0).is_familiar
    flat, noisy = replace(like, contrast=65.0), replace(like, grain=150.0, lung_grain=150.0)
    assert "less distinct" in rules.judge(flat, 1.0).reasons[0]
    assert "noisier" in rules.judge(noisy, 1.0).reasons[0]


def test_a_slice_with_other_features_is_unfamiliar(fitted: Fitted) -> None:
    """Far from training slices in features, though acquired like them."""
    distances, rules = fitted
    like = acquisition(130.0, air=43.0, grain=15.0)
    other = np.random.default_rng(0).normal(3, 3, (1, 40)).astype(np.float32)
    judged = rules.judge(like, float(np.mean([one.of(other)[0] for one in distances])))
    assert not judged.is_familiar
    assert "own features" in judged.reasons[0]


def test_some_slices_stand_for_the_others_of_their_case() -> None:
    """Equal slices add nothing that is compared with; a slice that differs from its case's does."""
    dataset, groups, members, splits = fitted_members()
    first = dataset.acquisitions[0]
    alike = tuple(replace(first) if case == 0 else one for one, case in zip(dataset.acquisitions, groups, strict=True))
    of_first = {}
    for name, acquisitions in (("alike", alike), ("one differs", (replace(first, contrast=200.0), *alike[1:]))):
        cases = fit_familiarity(replace(dataset, acquisitions=acquisitions), groups, members, splits)[1].cases
        of_first[name] = cases.case_of.count(0)
        assert cases.count() == 60
    assert of_first == {"alike": 1, "one differs": 2}


def test_what_no_training_slice_has_is_compared_with_nothing() -> None:
    """Slices too small for their lungs' grain give rules that can be written down, and that judge by the rest."""
    dataset, groups, members, splits = fitted_members()
    lungless = tuple(replace(one, lung_grain=math.nan, coarse_lung_grain=math.nan) for one in dataset.acquisitions)
    _, rules = fit_familiarity(replace(dataset, acquisitions=lungless), groups, members, splits)
    again = FamiliarityRules.model_validate_json(rules.model_dump_json())
    assert again == rules
    like = acquisition(130.0, air=43.0, grain=15.0)
    assert again.judge(like, 1.0).is_familiar
    assert not again.judge(replace(like, contrast=65.0), 1.0).is_familiar


def test_slices_that_are_all_acquired_alike_give_rules() -> None:
    """Their distance is nothing: new ones like them are familiar, others are not."""
    dataset, groups, members, splits = fitted_members()
    same = dataset.acquisitions[0]
    _, rules = fit_familiarity(replace(dataset, acquisitions=(same,) * len(dataset)), groups, members, splits)
    assert rules.judge(same, 1.0).is_familiar
    assert not rules.judge(replace(same, contrast=same.contrast / 2), 1.0).is_familiar
