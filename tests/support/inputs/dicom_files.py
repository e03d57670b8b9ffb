"""DICOM files of drawn slices, in the transfer syntaxes that scanners and archives write."""

import io
import struct
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

import gdcm
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmread, uid
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from shared.window import LUNG_WINDOW

Samples = NDArray[Any]

LOSSLESS: dict[str, UID] = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big-endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg-lossless": uid.JPEGLossless,
    "jpeg-lossless-sv1": uid.JPEGLosslessSV1,
    "jpeg-ls": uid.JPEGLSLossless,
    "jpeg-2000": uid.JPEG2000Lossless,
    "htj2k": uid.HTJ2KLossless,
    "htj2k-rpcl": uid.HTJ2KLosslessRPCL,
}
LOSSY: dict[str, UID] = {
    "jpeg-ls-near": uid.JPEGLSNearLossless, "jpeg-2000-lossy": uid.JPEG2000, "htj2k-lossy": uid.HTJ2K,
}  # fmt: skip

_BY_GDCM = {uid.JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
            uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1}  # fmt: skip
_BY_OPENJPH = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)


def hounsfield(grey: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Hounsfield units that the lung window makes these grey values of: the middle of each one's step."""
    step = LUNG_WINDOW.width / 256
    return np.round(LUNG_WINDOW.level - LUNG_WINDOW.width / 2 + (grey + 0.5) * step).astype(np.int16)


def ct_dataset(stored: Samples, slope: float = 1, intercept: float = 0, **elements: Any) -> Dataset:
    """A CT image, [rows, columns] or [frames, rows, columns], native; elements replace, and None removes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    bits = stored.dtype.itemsize * 8
    values = {
        "SOPClassUID": uid.CTImageStorage, "SOPInstanceUID": uid.generate_uid(entropy_srcs=["lungct"]),
        "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PatientID": "phantom",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[-2], "Columns": stored.shape[-1],
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleSlope": slope, "RescaleIntercept": intercept,
        **({"NumberOfFrames": len(stored)} if stored.ndim == 3 else {}),
        **elements,
    }  # fmt: skip
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = values["SOPClassUID"] or uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PixelData = np.ascontiguousarray(stored).tobytes()
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    return dataset


def written(dataset: Dataset, syntax: UID = uid.ExplicitVRLittleEndian) -> bytes:
    """The file of a native dataset in a transfer syntax."""
    if syntax in _BY_GDCM:
        return _by_gdcm(written(dataset), _BY_GDCM[syntax])
    if syntax in _BY_OPENJPH:
        frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        is_lossless = syntax != uid.HTJ2K
        coded = [bytes(imagecodecs.htj2k_encode(frame, reversible=is_lossless)) for frame in frames]
        return _encapsulated(dataset, coded, syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if syntax == uid.JPEGLSNearLossless:
            dataset.compress(syntax, jls_error=3)
        elif syntax == uid.JPEG2000:
            dataset.compress(syntax, j2k_cr=[8])
        elif syntax.is_compressed and syntax != uid.DeflatedExplicitVRLittleEndian:
            dataset.compress(syntax)
        elif syntax == uid.ExplicitVRBigEndian:
            words = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}")
            dataset.PixelData = words.byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True, implicit_vr=syntax == uid.ImplicitVRLittleEndian,
                        little_endian=syntax != uid.ExplicitVRBigEndian)  # fmt: skip
    return file.getvalue()


def ct_file(stored: Samples, syntax: UID = uid.ExplicitVRLittleEndian, **keywords: Any) -> bytes:
    """ct_dataset(), written."""
    return written(ct_dataset(stored, **keywords), syntax)


def jpeg_ct_file(grey: NDArray[np.uint8], jpeg: bytes) -> bytes:
    """A CT image of 8 bits whose pixels are a baseline JPEG of the grey values in the lung window."""
    step = LUNG_WINDOW.width / 256
    low = LUNG_WINDOW.level - LUNG_WINDOW.width / 2
    dataset = ct_dataset(grey, slope=step, intercept=low + step / 2)
    return _encapsulated(dataset, [jpeg], uid.JPEGBaseline8Bit)


ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def with_sequence(body: bytes, content: bytes, *, is_open: bool = True, tag: int = 0x0020_9221) -> bytes:
    """A file of explicit VR little endian with such a sequence before its pixels; open: of unknown length."""
    at = body.index(b"\x28\0\x02\0US")  # Samples per Pixel
    length = 0xFFFF_FFFF if is_open else len(content)
    header = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, length)
    return body[:at] + header + content + (SEQUENCE_END if is_open else b"") + body[at:]


def with_items(body: bytes, count: int) -> bytes:
    """So many empty items in a sequence."""
    return with_sequence(body, (ITEM + bytes(4)) * count)


def with_elements(body: bytes, count: int, *, is_open: bool = True, tag: int = 0x0020_9221) -> bytes:
    """So many empty elements in one item of a sequence."""
    elements = struct.pack("<HH2sH", 0x0011, 0x1001, b"SH", 0) * count
    return with_sequence(body, ITEM + struct.pack("<I", len(elements)) + elements, is_open=is_open, tag=tag)


def with_fragments(body: bytes, count: int) -> bytes:
    """So many empty fragments behind those of a file with encapsulated pixels."""
    at = body.rindex(SEQUENCE_END)
    return body[:at] + (ITEM + bytes(4)) * count + body[at:]


def deflated_again(body: bytes, deflated: bytes) -> bytes:
    """What a file of explicit VR holds behind its meta information, deflated behind that of a deflated one."""
    starts = [144 + int.from_bytes(one[140:144], "little") for one in (body, deflated)]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflated[: starts[1]] + packer.compress(body[starts[0] :]) + packer.flush()


def _encapsulated(dataset: Dataset, frames: list[bytes], syntax: UID) -> bytes:
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return file.getvalue()


def _by_gdcm(native: bytes, syntax: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/native.dcm", f"{folder}/coded.dcm"
        Path(source).write_bytes(native)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(source)
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(target)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return Path(target).read_bytes()


def reread(body: bytes) -> Dataset:
    """The dataset of a file."""
    return dcmread(io.BytesIO(body))
