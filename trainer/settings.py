"""What a run of the trainer may be told: environment variables LUNGCT_*, overridden by the command line."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.classes import LUNG_CT_CLASSES, ClassSet
from shared.imaging import PreprocessingSpec
from shared.window import LUNG_WINDOW, Window
from trainer.terminal import printable

NetworkName = str
"""cnn, tiny, efficientnet_lite0, chest_resnet, or keras: and the name of a network of keras.applications."""
LearningName = Literal["frozen", "fine-tuning"]
HeadName = Literal["auto", "lda", "steady", "logistic", "neighbours"]
BalanceName = Literal["undersample", "oversample", "class-weight", "batches", "none"]
SplitName = Literal["case", "image"]
OnLabelConflict = Literal["error", "drop"]
AugmentationName = Literal["light", "strong", "none"]
VariantsName = Literal["int8", "none"]
CropName = Literal["body", "body-mask", "none"]

FROM_SCRATCH = ("cnn", "tiny")
"""Networks without pretrained weights."""
PRETRAINED = ("efficientnet_lite0", "chest_resnet")
"""Networks whose weights are installed with the trainer."""


class TrainerSettings(BaseSettings):
    """Everything that a run may be told; frozen, read once at the entry point and passed on as an argument."""

    model_config = SettingsConfigDict(env_prefix="LUNGCT_", frozen=True, extra="ignore", env_ignore_empty=True)

    data: Path | None = Field(default=None, description="Folder with one folder of slices per class.")
    model_repository: Path = Field(default=Path("models"), description="Folder that holds the models.")
    model_name: str = Field(
        default="lung-ct", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Folder of this model's versions."
    )
    signing_key: Path | None = Field(
        default=None, description="PEM file of the private key with which published versions are signed; default none."
    )
    classes: str | None = Field(default=None, description='Class names in index order, "A,B,C"; default the lung set.')
    target: str | None = Field(default=None, description="The class whose sensitivity counts; needed with classes.")
    cases: Path | None = Field(
        default=None, description="CSV file (file,case) with the case of each slice; default cases.csv in the data."
    )
    case_counts: str | None = Field(
        default=None,
        pattern=r"^\s*[1-9]\d*(\s*,\s*[1-9]\d*)*\s*$",
        description='Number of cases of each class in index order, "55,15,40", where cases must be inferred.',
    )
    on_label_conflict: OnLabelConflict = Field(
        default="error", description="Stop at byte-identical files in different classes, or leave all of them out."
    )
    network: NetworkName = Field(
        default="chest_resnet",
        description="cnn, tiny, efficientnet_lite0, chest_resnet, or keras:NAME for one of keras.applications.",
    )
    weights: str = Field(
        default="imagenet", min_length=1, description="Pretrained weights: imagenet, none, or a weights file of Keras."
    )
    learning: LearningName = Field(
        default="frozen", description="Pretrained networks: fit a head on frozen features, or train some layers too."
    )
    head: HeadName = Field(
        default="auto", description="What is fitted on frozen features; auto: what does best on held-out cases."
    )
    variants: VariantsName = Field(
        default="int8",
        description="Beside float32, publish heads on frozen features for a network with 8 bits, too: int8, or none.",
    )
    unfrozen: float = Field(
        default=0.25, gt=0, le=1, description="Share of a network's layers, the last ones, that fine-tuning trains."
    )
    split: SplitName = Field(
        default="case",
        description="Hold out whole cases in turn, or single slices: image, whose figures are optimistic.",
    )
    folds: int = Field(default=5, ge=2, le=20, description="Parts of the cases that are held out in turn.")
    split_seed: int | None = Field(default=None, ge=0, lt=2**32, description="Seed of the split; default: the seed.")
    validation_share: float = Field(
        default=0.2, gt=0, lt=1, description="Share of the slices that --split image holds out."
    )
    balance: BalanceName | None = Field(
        default=None,
        description="How unequal class sizes are evened out; default undersample for cnn and tiny, batches for "
        "fine-tuning. Heads on frozen features have a balance of their own.",
    )
    epochs: int = Field(default=50, ge=1, description="Passes over the training slices at most.")
    patience: int = Field(default=20, ge=1, description="Epochs without a better one after which training stops.")
    batch_size: int = Field(default=8, ge=1, description="Slices per gradient step.")
    learning_rate: float | None = Field(
        default=None, gt=0, description="Step size of Adam; default 0.001, for tiny 0.01."
    )
    log_dir: Path | None = Field(
        default=None,
        description="Folder for the curves of networks that learn in epochs, for TensorBoard; default none.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of weights, dropout and order.")
    image_side: int = Field(default=224, ge=32, le=1024, description="Side of the slice the network sees, in pixels.")
    augmentation: AugmentationName | None = Field(
        default=None, description="Change training slices each epoch; default none for tiny, else light."
    )
    crop: CropName | None = Field(
        default=None, description="What is cut out; default none for cnn, body for tiny, else body-mask."
    )
    window_level: float = Field(
        default=LUNG_WINDOW.level,
        ge=-2000,
        le=4000,
        description="Middle of what is seen of DICOM, in Hounsfield units.",
    )
    window_width: float = Field(
        default=LUNG_WINDOW.width, ge=1, le=8000, description="Extent of what is seen of DICOM, in Hounsfield units."
    )
    decode_threads: int | None = Field(default=None, ge=1, description="Threads that decode; default one a core.")

    @field_validator("network")
    @classmethod
    def _is_a_network(cls, name: str) -> str:
        if name not in (*FROM_SCRATCH, *PRETRAINED) and not name.startswith("keras:"):
            raise ValueError(f"expected one of {', '.join((*FROM_SCRATCH, *PRETRAINED))}, or keras:NAME; got {name!r}")
        return name

    @field_validator("classes", "target")
    @classmethod
    def _is_printable(cls, names: str | None) -> str | None:
        if names is not None and printable(names) != names:  # they stand in answers, cards and pages
            raise ValueError(f"expected characters that can be printed, got {printable(names)}")
        return names

    @field_validator("model_repository", "log_dir")
    @classmethod
    def _is_utf8(cls, folder: Path | None) -> Path | None:
        try:
            str(folder).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"expected a name in UTF-8, as TensorFlow does, got {printable(folder)}") from error
        return folder

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.classes is None) != (self.target is None):
            raise ValueError("classes and target go together: give both or neither")
        if self.expected_cases is not None and len(self.expected_cases) != len(self.class_set.names):
            raise ValueError(f"case_counts needs a number for each of {len(self.class_set.names)} classes")
        try:
            _ = self.class_set  # an impossible class set fails here, at the start, not after reading the slices
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from error
        return self

    @property
    def class_set(self) -> ClassSet:
        """The classes to train, in index order; those of the lung set unless others were named."""
        if self.classes is None or self.target is None:
            return LUNG_CT_CLASSES
        names = tuple(name.strip() for name in self.classes.split(","))
        return ClassSet(names=tuple(name for name in names if name), target=self.target.strip())

    @property
    def expected_cases(self) -> tuple[int, ...] | None:
        """Number of cases of each class, where it is known."""
        return None if self.case_counts is None else tuple(int(count) for count in self.case_counts.split(","))

    @property
    def preprocessing(self) -> PreprocessingSpec:
        """How slices are prepared, for training and then by whoever serves the model."""
        # the reference resizes whole frames, and its network is trained its way: docs/explanation/training.md
        own: dict[NetworkName, CropName] = {"cnn": "none", "tiny": "body"}
        crop = self.crop or own.get(self.network, "body-mask")
        anchored = crop == "body-mask" and self.network == "chest_resnet"  # which was trained on Hounsfield units
        return PreprocessingSpec(
            height=self.image_side,
            width=self.image_side,
            crop=crop,
            intensity="anchored" if anchored else "exported",
            window=Window(level=self.window_level, width=self.window_width),
        )

    @property
    def adam_learning_rate(self) -> float:
        """The step size that was asked for, or the network's own: 0.01 for `tiny`, else 0.001."""
        return self.learning_rate or (0.01 if self.network == "tiny" else 0.001)

    @property
    def is_frozen(self) -> bool:
        """Whether a head is fitted on features that stay as they are; else a network learns by gradient steps."""
        return self.network not in FROM_SCRATCH and self.learning == "frozen"

    @property
    def makes_int8(self) -> bool:
        """Whether a version gets the variant int8: of heads on frozen features, judged on whole cases held out."""
        return self.variants == "int8" and self.is_frozen and self.split == "case"

    @property
    def stops_early(self) -> bool:
        """Whether cases are set apart to tell when training stops; `tiny` gains more by training on them, too."""
        return not self.is_frozen and self.network != "tiny"

    @property
    def balance_of_network(self) -> BalanceName:
        """The balance that was asked for, or what suits the way of learning."""
        if self.balance is not None:
            return self.balance
        return "none" if self.is_frozen else "undersample" if self.network in FROM_SCRATCH else "batches"

    @property
    def augmentation_of_network(self) -> AugmentationName:
        """The augmentation that was asked for, or the network's own."""
        return self.augmentation or ("none" if self.network == "tiny" else "light")

    @property
    def model_dir(self) -> Path:
        """The folder that holds the numbered versions."""
        return self.model_repository / self.model_name
