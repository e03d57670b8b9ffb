"""Class names, in index order, and which folder means which class."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# What people write on folders for each canonical class; the public set itself misspells "Bengin".
_ALIASES = {
    "Normal cases": frozenset({"normal", "healthy"}),
    "Benign cases": frozenset({"benign", "bengin"}),
    "Malignant cases": frozenset({"malignant", "malign"}),
}
_FILLER = frozenset({"case", "cases", "class", "slices", "images"})


def _key(name: str) -> str:
    """Fold case, separators and filler words: 'Bengin_Cases' and 'bengin' are one key."""
    words = name.casefold().replace("_", " ").replace("-", " ").split()
    return " ".join(word for word in words if word not in _FILLER) or " ".join(words)


class ClassSet(BaseModel):
    """The classes of one model in index order, and the one whose sensitivity counts."""

    model_config = ConfigDict(frozen=True)

    names: tuple[str, ...] = Field(min_length=2)
    target: str

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len({_key(name) for name in self.names}) != len(self.names):
            raise ValueError(f"class names must differ from each other, got {list(self.names)}")
        if self.target not in self.names:
            raise ValueError(f"target class {self.target!r} is not one of {list(self.names)}")
        return self

    def index_of_folder(self, folder_name: str) -> int | None:
        """Index of the class that a folder of this name holds; None when it names no class."""
        key = _key(folder_name)
        own = {_key(name): index for index, name in enumerate(self.names)}
        aliased = {alias: index for index, name in enumerate(self.names) for alias in _ALIASES.get(name, ())}
        return own.get(key, aliased.get(key))  # its own name wins over being another one's alias


LUNG_CT_CLASSES = ClassSet(names=("Normal cases", "Benign cases", "Malignant cases"), target="Malignant cases")
