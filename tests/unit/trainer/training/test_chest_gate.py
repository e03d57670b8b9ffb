"""What a version refuses is fitted so that hardly any unseen slice is among it, however it is shown."""

from dataclasses import replace

import numpy as np
import pytest

from shared.chest_ct import ANY_FIELD, NARROW, ChestGate, look_at
from tests.support.inputs.members import features_like, fitted_members
from trainer.data.dataset import AS_IS, DatasetKind
from trainer.data.views import SHOWN
from trainer.networks.feature_distance import FeatureDistance
from trainer.training.chest_gate import fit_gate


def _fit(kind: DatasetKind = "slices", **changes: object) -> tuple[tuple[FeatureDistance, ...], ChestGate]:
    dataset, _, members, splits = fitted_members(kind)
    return fit_gate(replace(dataset, **changes), members, splits)  # type: ignore[arg-type]


def test_unseen_slices_are_hardly_ever_refused_and_others_are() -> None:
    """1 in 100 held-out slices at most, as they are and as others show them; other features lie beyond."""
    distances, gate = _fit()
    assert gate.max_distance is not None
    assert gate.figures["unseen_slices"] == 240
    assert float(str(gate.figures["refused_unseen_by_distance"])) <= 0.01
    assert gate.figures["refused_views"] == {SHOWN: pytest.approx(0, abs=0.01)}
    new = np.mean([one.of(features_like(np.repeat(np.arange(50), 4), 5)) for one in distances], axis=0)
    assert np.mean(new > gate.max_distance) <= 0.03
    other = np.random.default_rng(0).normal(3, 5, (30, 40)).astype(np.float32)
    assert np.mean([one.of(other) for one in distances], axis=0).min() > gate.max_distance


def test_the_view_that_lies_furthest_off_sets_the_limit() -> None:
    """Without views the limit is nearer."""
    _, seen = _fit()
    _, unseen = _fit(views={})
    assert seen.max_distance is not None
    assert unseen.max_distance is not None
    assert unseen.figures["refused_views"] == {}
    assert seen.max_distance > unseen.max_distance


def test_phantoms_set_no_limit_to_the_distance() -> None:
    """A model that has never seen a patient has the output, and refuses nothing by it."""
    distances, gate = _fit("phantoms")
    assert (len(distances), gate.max_distance) == (4, None)
    assert gate.image_limits == ANY_FIELD


def test_slices_of_both_kinds_of_windows_have_their_limits() -> None:
    """Fat beside muscle is less even than soft tissue may be in a lung window, and as even as in a narrow one."""
    dataset, *_ = fitted_members()
    columns = np.arange(64)[np.newaxis, :, np.newaxis] // 8 % 2
    uneven = np.where(dataset.images > 80, np.where(columns, 210, 130), dataset.images).astype(np.uint8)
    assert ANY_FIELD.doubts(look_at(uneven[0])) == ("tissue",)
    assert NARROW.doubts(look_at(uneven[0])) == ()
    narrow = tuple(replace(one, is_narrow=True) for one in dataset.acquisitions)
    _, gate = _fit(images=uneven, acquisitions=narrow)
    assert (gate.image_limits, gate.narrow_limits) == (ANY_FIELD, NARROW)
    assert gate.figures["refused_by_image_limits"] == 0


def test_training_slices_that_look_like_nothing_leave_no_limits() -> None:
    """Where more than 1 in 100 would be refused by their looks, looks decide nothing."""
    dataset, *_ = fitted_members()
    images = dataset.images.copy()
    images[:3] = 90
    _, gate = _fit(images=images)
    assert (gate.image_limits, gate.narrow_limits) == (None, None)
    images = dataset.images.copy()
    images[:2] = 90
    assert _fit(images=images)[1].image_limits == ANY_FIELD


def test_members_look_at_their_own_slices_only() -> None:
    """A slice that is held out moves no distance: only the limit and its figures."""
    dataset, _, members, splits = fitted_members()
    first = fit_gate(dataset, members[:1], splits[:1])[0][0]
    given = {name: of_view.copy() for name, of_view in members[0].given.items()}
    for of_view in given.values():
        of_view[splits[0].validation] += 50
    moved = fit_gate(dataset, [replace(members[0], given=given)], splits[:1])[0][0]
    np.testing.assert_array_equal(first.whitening, moved.whitening)
    assert set(given) == {AS_IS, SHOWN}
