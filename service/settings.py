"""What an operator can set, each by an environment variable LUNGCT_<NAME> or an option --<name>."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.settings import PREFIX, is_service_link

PublicPart = Literal["page", "docs", "metrics", "model-info"]
LedgerPolicy = Literal["closed", "open"]

_MIB = 1024 * 1024


class ServiceSettings(BaseSettings):
    """Settings of the service, checked once at start and passed as arguments."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    model_repository: Path = Field(default=Path("models"), description="Folder that holds the model folders.")
    model_name: str = Field(default="lung-ct", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Model to serve.")
    trusted_key: Path | None = Field(
        default=None,
        description="PEM file of a public key, or a folder of some: only versions signed with one of them serve.",
    )
    engine: Literal["openvino", "tensorflow"] = Field(default="openvino", description="What runs the SavedModel.")
    precision: Literal["auto", "f32"] = Field(
        default="auto",
        description="auto: the processor's fastest with which the golden replay still agrees; f32: as Keras.",
    )
    engine_threads: int = Field(default=0, ge=0, le=256, description="Inference threads; 0 means one for each core.")
    poll_interval_s: float = Field(default=2.0, gt=0, le=3600, description="Time between looks at the repository.")
    load_timeout_s: float = Field(default=120.0, gt=0, description="A trial load that takes longer is given up.")

    max_batch_size: int = Field(default=4, ge=1, le=256, description="Most slices in one batch.")
    max_queue: int = Field(default=128, ge=1, description="Most slices accepted and not yet answered.")
    max_explain_queue: int = Field(default=8, ge=1, description="Most explanations accepted and not yet answered.")
    request_timeout_s: float = Field(default=30.0, gt=0, description="A request that takes longer is answered 504.")

    max_upload_bytes: int = Field(default=20 * _MIB, ge=1024, description="Most bytes of one image.")
    max_inflight_bytes: int = Field(default=256 * _MIB, ge=1024, description="Most upload bytes held at a time.")
    max_pixels: int = Field(default=16 * _MIB, ge=1024, description="Most pixels of one image, by its header.")
    max_files: int = Field(default=256, ge=1, description="Most files in one POST /predict/batch.")

    ood_policy: Literal["reject", "flag"] = Field(
        default="reject", description="What does not look like a chest CT slice: answer 422, or answer with a warning."
    )
    unfamiliar_policy: Literal["uncertain", "flag", "reject"] = Field(
        default="uncertain",
        description="A chest slice unlike the training slices: the verdict uncertain, or kept with a warning, or 422.",
    )
    self_check_interval_s: float = Field(
        default=10.0, gt=0, description="Time between questions with known answers that the service asks its model."
    )
    drain_delay_s: float = Field(default=3.0, ge=0, description="After SIGTERM, new requests are answered this long.")
    grace_period_s: float = Field(default=30.0, gt=0, description="After draining, accepted requests get this long.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    root_path: str = Field(
        default="", pattern=r"^(/[^/?#\s]+)*$", description="Path prefix under which a proxy shows the service: /name."
    )
    api_keys_file: Path | None = Field(
        default=None, description="File of key lines, as `make-key` prints them; re-read when it changes."
    )
    api_keys: str = Field(
        default="", repr=False, description="Key lines instead of a file, or beside it, separated by semicolons."
    )
    public: Annotated[frozenset[PublicPart], NoDecode] = Field(
        default=frozenset({"page", "docs"}),
        description="What asks for no key where keys are set: any of page, docs, metrics, model-info, or nothing.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins whose pages may call, separated by commas: https://viewer.example."
    )
    ledger_dir: Path | None = Field(
        default=None, description="Folder in which every answer gets a line; none is kept where this is not set."
    )
    ledger_policy: LedgerPolicy = Field(
        default="closed",
        description="closed: no answer leaves before its line is written; open: answers leave, lost ones are counted.",
    )
    ledger_key_file: Path | None = Field(
        default=None, description="Key of the input digests, 32 bytes or more; without it one is drawn at each start."
    )
    ledger_max_file_bytes: int = Field(default=64 * _MIB, ge=4096, description="A ledger file ends when it is larger.")
    ledger_sync_interval_s: float = Field(
        default=1.0,
        ge=0,
        le=60,
        description="Between flushes to the disk, which a loss of power can undo; 0: each write.",
    )
    ledger_timeout_s: float = Field(
        default=5.0, gt=0, description="A line that takes longer is as good as not written."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["auto", "json", "plain"] = Field(
        default="auto", description="auto: plain lines where standard error is a terminal, JSON objects elsewhere."
    )

    @field_validator("port", mode="before")
    @classmethod
    def _is_no_link(cls, value: object) -> object:
        return cls.model_fields["port"].default if is_service_link(value) else value

    @field_validator("public", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/?#\s*]+", origin):
                raise ValueError("expected origins such as https://viewer.example, without path or wildcard")
        return value

    @model_validator(mode="after")
    def _limits_fit_together(self) -> Self:
        if self.max_inflight_bytes < self.max_upload_bytes:
            raise ValueError(
                f"LUNGCT_MAX_INFLIGHT_BYTES ({self.max_inflight_bytes}) must hold at least one upload "
                f"(LUNGCT_MAX_UPLOAD_BYTES, {self.max_upload_bytes})"
            )
        return self

    @property
    def model_dir(self) -> Path:
        """Folder of the served model: its versions and its policy."""
        return self.model_repository / self.model_name
