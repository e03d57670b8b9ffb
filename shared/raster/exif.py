"""EXIF orientation: how a camera or viewer says which side of the stored pixels is up."""

import struct

import numpy as np
from numpy.typing import NDArray

_ORIENTATION_TAG = 0x0112
_MAX_ENTRIES = 1024  # of the zeroth IFD; cameras write some 20
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def orientation_of(tiff: bytes) -> int:
    """Orientation by the zeroth IFD of EXIF's TIFF structure, 1 to 8; 1 (upright) where there is none to be read."""
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    try:
        (ifd,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, ifd)
        for entry in range(ifd + 2, ifd + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == _ORIENTATION_TAG:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def upright(grey: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an orientation (Exif 2.3, 4.6.4 A: where row 0 and column 0 of the stored pixels are when upright)."""
    if orientation in (5, 6, 7, 8):
        grey = grey.T
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return np.ascontiguousarray(grey)
