"""The report of `trainer evaluate`: made once, said in four ways."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from shared.artifact import Manifest
from trainer.validation.plots import plots_of
from trainer.validation.rendering import as_markdown, as_page, as_text
from trainer.validation.sections import Section, sections_of, sections_of_comparison
from trainer.validation.validation import compare, validate


@dataclass(frozen=True)
class Report:
    """What was found, with the title and pieces that people read. plots: caption and PNG bytes."""

    title: str
    document: BaseModel
    sections: tuple[Section, ...]
    plots: tuple[tuple[str, bytes], ...] = ()

    def text(self) -> str:
        """For a terminal."""
        return as_text(self.title, self.sections)

    def json(self) -> str:
        """For programs."""
        return self.document.model_dump_json(indent=2)

    def markdown(self) -> str:
        """A document of its own."""
        return as_markdown(self.title, self.sections)

    def html(self) -> str:
        """One page, with plots, that needs no other file."""
        return as_page(self.title, self.sections, self.plots)


def report_on(
    data: Path,
    model_dir: Path,
    manifests: tuple[Manifest, ...],
    table: Path | None = None,
    threads: int | None = None,
    *,
    has_plots: bool = True,
) -> Report:
    """Validate one version, or compare the first of two with the second. table: of cases.

    Raises TrainerError, as trainer.validation.validation does.
    """
    if len(manifests) > 1:
        first, second = manifests
        compared = compare(data, model_dir, (first, second), table, threads)
        title = f"Versions {first.model_version} and {second.model_version} of {first.model_name} as they are served"
        return Report(title, compared, tuple(sections_of_comparison(compared)))
    (manifest,) = manifests
    found, answers = validate(data, model_dir, manifest, table, threads)
    title = f"Version {manifest.model_version} of {manifest.model_name} ({manifest.architecture}) as it is served"
    plots = tuple(plots_of(found.figures, answers)) if has_plots else ()
    return Report(title, found, tuple(sections_of(found)), plots)
