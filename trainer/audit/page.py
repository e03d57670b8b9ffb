"""An audit as files: audit.json, and audit.html, one page that needs no other file and no network."""

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

import numpy as np

from trainer import html_page
from trainer.audit.audit import Audit, Audited, CaseGroup
from trainer.audit.plots import contact_sheet, geometry_figure, intensity_figure, pair_sheet
from trainer.data.duplicates import NEAR
from trainer.data.image_measures import MEASURES
from trainer.html_page import bad, details, image
from trainer.progress import with_progress
from trainer.terminal import counted

JSON_FILE, PAGE_FILE = "audit.json", "audit.html"

_CARE = "Research and education only, never for diagnosis. This page shows slices and file names: treat it as them."
_ON_SHORTCUTS = (
    "A small forest sees these numbers alone and is tested on cases that it was not trained on. What it reaches above "
    "chance is no knowledge of disease; a network may learn the same."
)
_ON_GUESSES = (
    "Each group is a guess at one case, from how alike slices are and from the order of their files. Look whether a "
    "sheet shows two patients, or two sheets one."
)


def write_audit(audited: Audited, folder: Path) -> Path:
    """Write both files into a folder, which is made where it is missing; returns the page's path. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(audited.audit.model_dump_json(indent=2), "utf-8")
    path = folder / PAGE_FILE
    path.write_text(page(audited), "utf-8")
    return path


def page(audited: Audited) -> str:
    """The audit as one HTML page; every name that comes from the folder is escaped."""
    audit = audited.audit
    return html_page.page("Audit", [
        f"<h1>{counted(audit.n, 'slice')}, looked at before training</h1>",
        f'<p class="note">{escape(audit.folder)}. {_CARE}</p>',
        _counts(audit),
        _unreadable(audit),
        *_duplicates(audited),
        *_shortcuts(audited),
        *_cases(audited),
    ])  # fmt: skip


def _counts(audit: Audit) -> str:
    rows = [
        (name, count, audit.case_counts[name], ", ".join(f"{size}: {n}" for size, n in list(sizes.items())[:4]))
        for (name, count), sizes in zip(audit.counts.items(), audit.image_sizes.values(), strict=True)
    ]
    table = _listed(("Class", "Slices", f"Cases ({audit.case_origin})", "Commonest sizes"), rows)
    ignored = ", ".join(map(escape, audit.ignored_folders))
    return f"<h2>What is there</h2>{table}" + (f"<p>Folders that are no class: {ignored}</p>" if ignored else "")


def _unreadable(audit: Audit) -> str:
    if not audit.unreadable:
        return '<h2>Unreadable files</h2><p class="good">None.</p>'
    rows = [(one.file, one.reason) for one in audit.unreadable]
    return f"<h2>Unreadable files: {len(rows)}</h2>{_listed(('File', 'Reason'), rows)}"


def _duplicates(audited: Audited) -> Iterator[str]:
    audit = audited.audit
    yield f"<h2>Duplicates</h2><p>{counted(len(audit.copies), 'set')} of byte-identical files.</p>"
    if audit.conflicts:
        yield bad(
            f"{len(audit.conflicts)} of them lie in different classes: a label is wrong. Training stops at them unless "
            "it is told to leave them out (--on-label-conflict drop)."
        )
        yield _listed(("Files in conflict",), [(" = ".join(same),) for same in audit.conflicts])
    if inside := [(" = ".join(same),) for same in audit.copies if same not in audit.conflicts]:
        yield details("Copies within a class", _listed(("Files",), inside))
    near = counted(audit.near_duplicate_pairs, "pair")
    yield f"<p>{near} within a class correlate above {NEAR}; they count as one case.</p>"
    yield from map(bad, map(escape, audit.pairs_left_out))
    if audit.alike_across_classes:
        pairs = counted(audit.n_alike_across_classes, "pair")
        yield bad(
            f"{pairs} of <em>different</em> classes correlate above {NEAR}: probably one patient with two labels."
        )
        yield image(pair_sheet(audited.slices, audited.alike), "The most alike pairs, one slice above the other")
        rows = [
            (" ~ ".join(pair.files), " / ".join(pair.classes), f"{pair.correlation:.3f}")
            for pair in audit.alike_across_classes
        ]
        yield details("The pairs", _listed(("Files", "Classes", "Correlation"), rows))


def _shortcuts(audited: Audited) -> Iterator[str]:
    audit, names = audited.audit, tuple(audited.audit.counts)
    yield f'<h2>What gives the class away without a look at the lungs</h2><p class="note">{_ON_SHORTCUTS}</p>'
    rows = [
        (
            one.clue + (" (shortcut)" if one.is_telling else ""),
            f"{one.balanced_accuracy:.3f}",
            f"{one.interval[0]:.2f} to {one.interval[1]:.2f}",
            f"{one.chance:.3f}",
            *("-" if recall is None else f"{recall:.2f}" for recall in one.recall.values()),
        )
        for one in audit.shortcuts
    ]
    head = ("Clue", "Balanced accuracy", "95 %, by case", "Chance", *(f"Recall: {name}" for name in names))
    yield _listed(head, rows) if rows else "<p>Not tested: a class has fewer than two cases.</p>"
    yield image(geometry_figure(audited.slices), "Geometry against class")
    of_greys = "Grey values and noise against class: median, quartiles, 5 to 95 %"
    yield image(intensity_figure(audited.slices), of_greys)
    medians = [(measure, *(f"{audit.medians[name][measure]:g}" for name in names)) for measure in MEASURES]
    yield details("Medians", _listed(("Measure", *names), medians))


def _cases(audited: Audited) -> Iterator[str]:
    audit = audited.audit
    note = "Each group is what the table of cases says." if audit.case_origin == "known" else _ON_GUESSES
    yield f'<h2>Cases: {len(audit.cases)}</h2><p class="note">{note}</p>'
    for group in with_progress(audit.cases, len(audit.cases), "Drawing cases"):
        rows = np.flatnonzero(audited.cases.groups == group.number)
        yield f"<h3>{_group_title(group)}</h3>{image(contact_sheet(audited.slices, rows))}"


def _group_title(group: CaseGroup) -> str:
    name = f"Case {group.name}" if group.name else f"Group {group.number + 1}"
    return escape(f"{name}: {group.class_name}, {counted(len(group.files), 'slice')}")


def _listed(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    return html_page.table(head, rows, f"; {JSON_FILE} has all")
