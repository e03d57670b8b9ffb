"""What a report says, piece by piece and in order, whether a terminal, Markdown or a page shows it."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.evaluation.case_figures import Figure
from trainer.evaluation.comparison import ServedComparison
from trainer.evaluation.served_figures import ServedFigures
from trainer.terminal import counted
from trainer.validation.validation import ComparedVersions, Validation

Row = tuple[str, ...]

HOW_IT_COUNTS = "How it counts"
"""Title of the last section but for warnings."""

_UNCERTAIN = "An uncertain verdict counts as not negative: for the sensitivity, and against the specificity."
_REFUSED = "Refused slices have no answer: they count for the share refused alone. A slice may fail several checks."
_UNFAMILIAR = "An unfamiliar slice is uncertain, and its prediction set has every class."
_INTERVALS = (
    "By case, each case weighs alike. Intervals are 95 %: 2,000 draws of cases, never narrower than Wilson's on the "
    "number of cases (for the AUC, on the smaller number). Draws see a larger calibration error than the slices do, "
    "and are moved back by that excess in the mean."
)
_DIFFERENCES = (
    "A difference is the first version's figure minus the second's on the slices that both answer; that of the share "
    "refused is on all slices. Draws take both versions' answers to a case. An interval that holds 0 may be chance. "
    "The columns of the two versions are of what each answers itself, by slice."
)


@dataclass(frozen=True)
class Section:
    """A title with what stands below it; every field may be empty. The first column is a label, others are aligned."""

    title: str
    sentences: tuple[str, ...] = ()
    head: Row = ()
    rows: tuple[Row, ...] = ()
    is_warning: bool = False
    """Whether the sentences are what nobody must miss."""


def sections_of(one: Validation) -> Iterator[Section]:
    """A validation: first whether it is one, then how it was made, then its figures."""
    yield from _start(one)
    yield from _figures("Figures", one.figures)
    yield from _classes(one.figures)
    yield _outcomes(one.figures)
    yield _confusion(one.figures)
    for kind, figures in one.by_kind.items():
        yield from _figures(f"Figures of {kind} alone", figures)
    yield Section(HOW_IT_COUNTS, (_REFUSED, _UNCERTAIN, _UNFAMILIAR, _INTERVALS))
    if one.warnings:
        yield Section("The version's own warnings", one.warnings)


def sections_of_comparison(compared: ComparedVersions) -> Iterator[Section]:
    """Two versions, and their difference."""
    both = (compared.first, compared.second)
    for one in both:
        yield Section(f"Version {one.version}", (one.trained_on.sentence,), is_warning=bool(one.trained_on.n))
        yield Section("", (f"Network {one.architecture}.", *one.missing))
    yield Section("Slices", _data(compared.first))
    named = zip(*(_named(one) for one in (compared.first.figures, compared.second.figures,
                                                  compared.difference)), strict=True)  # fmt: skip
    rows = tuple(
        (label, _value(first), _value(second), *_levels(difference, "+"), _counted(difference))
        for (label, first), (_, second), (_, difference) in named
        if difference is not None
    )
    head = ("", *(f"version {one.version}" for one in both), "difference by slice", "difference by case", "of")
    yield Section(f"Version {both[0].version} minus version {both[1].version}", (), head, rows)
    yield Section(HOW_IT_COUNTS, (_DIFFERENCES, _UNCERTAIN))


def _start(one: Validation) -> Iterator[Section]:
    yield Section("", (one.trained_on.sentence,), is_warning=bool(one.trained_on.n))
    yield Section("", _data(one))
    if one.missing:
        yield Section("What the version has not", one.missing)


def _data(one: Validation) -> Row:
    data = one.data
    kinds = ", ".join(f"{count} {kind}" for kind, count in data.formats.items())
    sentences = [f"{counted(data.n, 'slice')} of {counted(data.n_cases, 'case')}, {data.origin_in_words}. {kinds}."]
    point = f", decided at the operating point {one.operating_point}" if one.operating_point else ""
    sentences.append(f"The target is {one.target}{point}.")
    skipped = sum(data.skipped.values())
    if skipped:
        sentences.append(f"{counted(skipped, 'file')} skipped, being no whole slice: {next(iter(data.skipped))}")
    return tuple(sentences)


def _named(figures: ServedFigures | ServedComparison) -> list[tuple[str, Figure | None]]:
    """What one version has and a comparison too, as both call it."""
    return [
        ("sensitivity", figures.sensitivity),
        ("specificity", figures.specificity),
        ("accuracy", figures.accuracy),
        ("balanced accuracy", figures.balanced_accuracy),
        ("share uncertain", figures.uncertain),
        ("share refused", figures.refused),
    ]


def _figures(title: str, figures: ServedFigures) -> Iterator[Section]:
    rows = [
        *_named(figures),
        *((f"  by {check}", of_check) for check, of_check in figures.refused_by.items()),
        ("share unfamiliar", figures.unfamiliar),
        ("called positive, target", figures.positive_of_target),
        ("called positive, others", figures.positive_of_others),
        ("AUC of the target", figures.auc),
        ("calibration error", figures.ece),
        ("size of the prediction set", figures.set_size),
    ]
    yield Section(
        title,
        () if figures.accuracy else ("The chest gate refuses every slice.",),
        ("", "by slice", "by case", "of"),
        tuple((label, *_levels(figure), _counted(figure)) for label, figure in rows if figure is not None),
    )


def _classes(figures: ServedFigures) -> Iterator[Section]:
    rows = [
        (f"{name}, {label}", *_levels(of_class[name]), _counted(of_class[name]))
        for name in figures.recall
        for label, of_class in (
            ("recall", figures.recall), ("set holds it", figures.coverage), ("set size", figures.set_sizes)
        )
        if of_class[name] is not None
    ]  # fmt: skip
    if rows:
        yield Section("Each class", (), ("", "by slice", "by case", "of"), tuple(rows))


def _outcomes(figures: ServedFigures) -> Section:
    outcomes = list(next(iter(figures.outcomes.values())))
    rows = tuple((name, *(str(count) for count in of_class.values())) for name, of_class in figures.outcomes.items())
    return Section("Verdicts, in slices", (), ("labelled", *outcomes), rows)


def _confusion(figures: ServedFigures) -> Section:
    names = tuple(figures.recall)
    rows = tuple((name, *map(str, row)) for name, row in zip(names, figures.confusion, strict=True))
    return Section("Top classes, in slices", (), ("labelled", *names), rows)


def _levels(figure: Figure | None, sign: str = "") -> Row:
    if figure is None:
        return ("-", "-")
    return tuple(
        f"{one.value:{sign}.3f} ({one.interval[0]:{sign}.3f} to {one.interval[1]:{sign}.3f})"
        for one in (figure.by_slice, figure.by_case)
    )


def _value(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.by_slice.value:.3f}"


def _counted(figure: Figure | None) -> str:
    return "" if figure is None else f"{counted(figure.n, 'slice')}, {counted(figure.n_cases, 'case')}"
