"""Weight files: read without PyTorch, and without doing what a pickle asks for."""

import collections
import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.networks.pickled_weights import (
    ChangedWeights,
    ForeignPickle,
    WeightsError,
    parse_pickled_weights,
    read_pickled_weights,
)

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)
RAW = MATRIX.tobytes()


class Global:
    """Pickles as a reference to a name, as PyTorch's classes do."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.described = ("storage", Global("torch", kind), key, "cpu", count, None)


class Tensor:
    def __init__(self, *description: object) -> None:
        self.description = description


PurePickler: Any = pickle._Pickler  # lets a test write names of modules that are not here


class TorchPickler(PurePickler):  # type: ignore[misc]
    def persistent_id(self, item: object) -> tuple[object, ...] | None:
        return item.described if isinstance(item, Storage) else None

    def save(self, item: object, save_persistent_id: bool = True) -> None:
        if isinstance(item, Global):
            self.write(pickle.GLOBAL + f"{item.module}\n{item.name}\n".encode())
        elif isinstance(item, Tensor):
            self.save_reduce_of(Global("torch._utils", "_rebuild_tensor_v2"), item.description)
        else:
            super().save(item, save_persistent_id)

    def save_reduce_of(self, function: object, arguments: object) -> None:
        self.save(function)
        self.save(arguments)
        self.write(pickle.REDUCE)


def pickled(item: object) -> bytes:
    file = io.BytesIO()
    TorchPickler(file, 2).dump(item)
    return file.getvalue()


def tensor(
    kind: str = "FloatStorage", offset: int = 0, shape: tuple[int, ...] = (2, 3), strides: tuple[int, ...] = (3, 1)
) -> Tensor:
    return Tensor(Storage(kind, "0", 6), offset, shape, strides, False, collections.OrderedDict())


def old_file(state: object, raw: bytes = RAW, magic: int = 0x1950A86A20F9469CFC6C) -> bytes:
    head = b"".join(map(pickled, (magic, 1001, {"little_endian": True}, state, ["0"])))
    return head + (6).to_bytes(8, "little") + raw


def zip_file(state: object, raw: bytes = RAW) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/data.pkl", pickled(state))
        archive.writestr("weights/data/0", raw)
    return file.getvalue()


@pytest.mark.parametrize("file", [old_file, zip_file])
def test_both_formats_give_the_tensors(file: Callable[..., bytes]) -> None:
    """Old and new files give the same arrays, nested under state_dict or not."""
    for state in ({"a": tensor()}, {"state_dict": collections.OrderedDict(a=tensor()), "epoch": 3}):
        weights = parse_pickled_weights(file(state))
        assert list(weights) == ["a"]
        np.testing.assert_array_equal(weights["a"], MATRIX)


def test_strides_are_followed() -> None:
    """A transposed tensor, stored column by column, comes as it is meant."""
    weights = parse_pickled_weights(old_file({"a": tensor(shape=(3, 2), strides=(1, 3))}))
    np.testing.assert_array_equal(weights["a"], MATRIX.T)


def test_bfloat16_comes_as_float32() -> None:
    """The two upper bytes of each number are all that is stored."""
    raw = np.ascontiguousarray(MATRIX).view(np.uint16)[:, 1::2].tobytes()
    weights = parse_pickled_weights(zip_file({"a": tensor("BFloat16Storage")}, raw))
    np.testing.assert_array_equal(weights["a"], MATRIX)
    assert weights["a"].dtype == np.float32


def test_only_wanted_tensors_are_read() -> None:
    """What is not wanted is left out, and its numbers are not touched."""
    assert parse_pickled_weights(zip_file({"a": tensor()}, raw=b""), lambda name: name == "b") == {}


class Malicious:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize("file", [old_file, zip_file])
def test_a_malicious_pickle_is_refused(file: Callable[..., bytes], tmp_path: Path) -> None:
    """A pickle that would open a file when loaded names what it wants in the error, and nothing happens."""
    content = file({"a": Malicious(str(tmp_path / "trace"))})
    with pytest.raises(ForeignPickle, match=r"asks for io\.open; only plain tensors"):
        parse_pickled_weights(content)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["eval", "exec", "getattr", "__import__"])
def test_builtins_are_refused(name: str) -> None:
    """No builtin function can be named."""
    with pytest.raises(ForeignPickle, match=name):
        parse_pickled_weights(old_file({"a": Global("builtins", name)}))


@pytest.mark.parametrize(
    "description",
    [{"offset": 1}, {"offset": -1}, {"shape": (2, 4), "strides": (4, 1)}, {"strides": (300, 1)}, {"strides": (-3, 1)}],
)
def test_a_tensor_outside_its_numbers_is_refused(description: dict[str, Any]) -> None:
    """Offsets, shapes and strides that reach beyond the stored numbers are an error, never other memory."""
    with pytest.raises(WeightsError, match="outside its numbers"):
        parse_pickled_weights(old_file({"a": tensor(**description)}))


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 no archive", b"text", old_file({"a": tensor()})[:40], old_file({}, magic=7), old_file([1])],
)
def test_what_is_no_weight_file_is_refused(content: bytes) -> None:
    """Empty, cut, foreign and misshapen files raise one kind of error."""
    with pytest.raises(WeightsError):
        parse_pickled_weights(content)


def test_parts_are_joined_and_checked(tmp_path: Path) -> None:
    """Two halves of a file are read as one; another byte, or a missing half, is an error that names the file."""
    content = zip_file({"a": tensor()})
    halves = [tmp_path / "first", tmp_path / "second"]
    halves[0].write_bytes(content[:100])
    halves[1].write_bytes(content[100:])
    digest = hashlib.sha256(content).hexdigest()
    np.testing.assert_array_equal(read_pickled_weights(halves, digest)["a"], MATRIX)
    halves[1].write_bytes(content[101:])
    with pytest.raises(ChangedWeights, match="first"):
        read_pickled_weights(halves, digest)
    halves[1].unlink()
    with pytest.raises(WeightsError, match="second"):
        read_pickled_weights(halves, digest)
