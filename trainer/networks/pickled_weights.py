"""PyTorch weight files → NumPy arrays, without PyTorch and without running what a pickle asks to be run.

Both formats are read: the old one (several pickles, then the raw numbers) and the newer ZIP archive. An unpickler that
knows nothing but an ordered dictionary and a tensor's description reads them; anything else in the file is refused.
"""

import hashlib
import io
import pickle  # nothing is unpickled but by the restricted reader below
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from trainer.errors import TrainerError

Weights = dict[str, NDArray[Any]]
"""Arrays by the names that PyTorch knows them by; bfloat16 comes as float32."""

_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_BFLOAT16 = "BFloat16Storage"
_STORED: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
    _BFLOAT16: np.dtype("<u2"),
}


class WeightsError(TrainerError):
    """Pretrained weights are missing, or are not what they should be."""


class ForeignPickle(WeightsError):
    """The file asks for more than tensors: refused, because loading it could run any code."""

    def __init__(self, wanted: str) -> None:
        super().__init__(f"The weight file asks for {wanted}; only plain tensors are accepted.")


class ChangedWeights(WeightsError):
    """The bytes are not those that this code was written for."""

    def __init__(self, source: str, came: str, expected: str) -> None:
        super().__init__(f"{source}: sha256 {came[:12]}… instead of {expected[:12]}…; install the package again.")


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor's numbers lie; offset and shape count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_pickled_weights(parts: Sequence[Path], sha256: str, wanted: Callable[[str], bool] = lambda _: True) -> Weights:
    """Join the parts of one weight file, check them, and give the wanted tensors by name.

    Raises WeightsError where a part is missing or unreadable, ChangedWeights, or ForeignPickle.
    """
    try:
        content = b"".join(part.read_bytes() for part in parts)
    except OSError as error:
        raise WeightsError(f"{error.filename}: the weights cannot be read: {error.strerror}") from error
    came = hashlib.sha256(content).hexdigest()
    if came != sha256:
        raise ChangedWeights(parts[0].name, came, sha256)
    return parse_pickled_weights(content, wanted)


def parse_pickled_weights(content: bytes, wanted: Callable[[str], bool] = lambda _: True) -> Weights:
    """The wanted tensors of a PyTorch file of either format. Raises ForeignPickle or WeightsError."""
    try:
        return _read_zip(content, wanted) if content.startswith(b"PK") else _read_old(content, wanted)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, KeyError, IndexError, ValueError, TypeError) as error:
        raise WeightsError(f"The weight file is damaged or of an unknown format: {error}") from error


class _TensorsOnly(pickle.Unpickler):
    """Knows the two names that a dictionary of tensors needs, and reads storages as descriptions."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe_tensor
        if module == "torch" and name in _STORED:
            return name
        raise ForeignPickle(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, key = pid[1], pid[2]
        if kind not in _STORED:
            raise ForeignPickle(f"a storage of kind {kind}")
        return _Storage(str(key), kind)


def _describe_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _read_zip(content: bytes, wanted: Callable[[str], bool]) -> Weights:
    archive = zipfile.ZipFile(io.BytesIO(content))
    described = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    root = described.split("/", maxsplit=1)[0]
    state = _TensorsOnly(io.BytesIO(archive.read(described))).load()
    return _arrays(state, wanted, lambda storage: archive.read(f"{root}/data/{storage.key}"))


def _read_old(content: bytes, wanted: Callable[[str], bool]) -> Weights:
    """Magic number, version, system facts, state, storage keys; then per key a count and the numbers."""
    file = io.BytesIO(content)
    magic = _TensorsOnly(file).load()
    if magic != _OLD_MAGIC:
        raise WeightsError("The weight file is no PyTorch file: its magic number is wrong.")
    _TensorsOnly(file).load()
    _TensorsOnly(file).load()
    state = _TensorsOnly(file).load()
    keys = [str(key) for key in _TensorsOnly(file).load()]
    width = {tensor.storage.key: _STORED[tensor.storage.kind].itemsize for tensor in _tensors(state).values()}
    raw: dict[str, bytes] = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        raw[key] = file.read(count * width[key])
    return _arrays(state, wanted, lambda storage: raw[storage.key])


def _tensors(state: Any) -> dict[str, _Tensor]:
    """The tensors of a state dictionary, or of one that lies under the key state_dict."""
    if not isinstance(state, dict):
        raise WeightsError("The weight file holds no dictionary of tensors.")
    inner = state.get("state_dict", state)
    return {str(name): value for name, value in inner.items() if isinstance(value, _Tensor)}


def _arrays(state: Any, wanted: Callable[[str], bool], read: Callable[[_Storage], bytes]) -> Weights:
    return {name: _array(tensor, read(tensor.storage)) for name, tensor in _tensors(state).items() if wanted(name)}


def _array(tensor: _Tensor, raw: bytes) -> NDArray[Any]:
    values = np.frombuffer(raw, _STORED[tensor.storage.kind])
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or last >= len(values):
        raise WeightsError("The weight file describes a tensor that lies outside its numbers.")
    strides = [stride * values.itemsize for stride in tensor.strides]
    array = as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)
    if tensor.storage.kind == _BFLOAT16:  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.copy()
