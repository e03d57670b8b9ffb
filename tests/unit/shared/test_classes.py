import pytest
from pydantic import ValidationError

from shared.classes import LUNG_CT_CLASSES, ClassSet

NORMAL, BENIGN, MALIGNANT = range(3)


def test_index_order_is_part_of_the_contract() -> None:
    """Models, golden files and dashboards count on normal, benign, malignant, and on malignant being the target."""
    assert LUNG_CT_CLASSES.names == ("Normal cases", "Benign cases", "Malignant cases")
    assert LUNG_CT_CLASSES.target == "Malignant cases"


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        ("Normal cases", NORMAL),
        ("normal", NORMAL),
        ("NORMAL_CASES", NORMAL),
        ("healthy", NORMAL),
        ("Bengin cases", BENIGN),
        ("bengin", BENIGN),
        ("Benign", BENIGN),
        ("benign-case", BENIGN),
        ("Benign  slices", BENIGN),
        ("Malignant cases", MALIGNANT),
        ("malignant_images", MALIGNANT),
        (" Malignant ", MALIGNANT),
    ],
)
def test_what_people_write_on_folders_names_a_class(folder: str, index: int) -> None:
    """Case, separators, filler words and the public set's misspelling do not matter."""
    assert LUNG_CT_CLASSES.index_of_folder(folder) == index


@pytest.mark.parametrize(
    "folder", ["", "cases", "figures", "normal benign", "not normal", "abnormal", ".tmp-normal", "1"]
)
def test_other_folders_name_no_class(folder: str) -> None:
    """Nothing is guessed from a part of a name."""
    assert LUNG_CT_CLASSES.index_of_folder(folder) is None


def test_other_class_sets_work_with_their_own_names() -> None:
    """Aliases belong to the canonical names; another set's folders go by the names of that set."""
    classes = ClassSet(names=("emphysema", "fibrosis"), target="fibrosis")
    assert [classes.index_of_folder(name) for name in ("Fibrosis cases", "EMPHYSEMA", "normal")] == [1, 0, None]


def test_a_classs_own_name_wins_over_an_alias_of_another() -> None:
    """Where 'Healthy' is a class of its own, its folder is not taken for the normal cases."""
    classes = ClassSet(names=("Normal cases", "Healthy"), target="Healthy")
    assert [classes.index_of_folder(name) for name in ("healthy", "normal")] == [1, 0]


@pytest.mark.parametrize(
    ("names", "target", "reason"),
    [
        (("Normal cases",), "Normal cases", "at least 2"),
        (("Normal cases", "normal"), "normal", "differ"),
        (("Normal cases", "Malignant cases"), "Malignant", "not one of"),
    ],
)
def test_inconsistent_sets_are_refused(names: tuple[str, ...], target: str, reason: str) -> None:
    """One class, two names for one folder, and a target that is no class fail validation."""
    with pytest.raises(ValidationError, match=reason):
        ClassSet(names=names, target=target)


def test_a_set_survives_json() -> None:
    """What the manifest carries reads back equal."""
    assert ClassSet.model_validate_json(LUNG_CT_CLASSES.model_dump_json()) == LUNG_CT_CLASSES
