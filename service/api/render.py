"""Any accepted file → an 8-bit PNG for display, in threads of its own with low priority."""

import threading
from contextlib import nullcontext

from service.explain.png import encode_png
from service.inference.thread_pools import BoundedPool
from shared.raster.decode import ImageBytes
from shared.slices import SliceDecoder
from shared.window import Window

_PLACES, _THREADS = 32, 4  # of low priority; one that waits for a costly file leaves the others
_LARGE_PIXELS = 1024 * 1024  # a slice has a quarter of that


class Renderer:
    """Shows slices. Needs no model."""

    def __init__(self, decoder: SliceDecoder) -> None:
        self._decoder = decoder
        self._one_large = threading.Lock()  # reading and writing it takes several times its pixels
        self._pool = BoundedPool("render", threads=_THREADS, places=_PLACES, low_priority=True)

    async def render(
        self, body: ImageBytes, window: Window, frame: int | None, level: float | None, width: float | None
    ) -> tuple[bytes, int, Window | None]:
        """A PNG of one frame, counted from 1, in the window or with another level or width.

        And how many frames the file has, and the window that is shown: None where its samples have 8 bits. Raises
        SliceError or DecoderUnavailable, and QueueFull where too many wait.
        """
        gone = threading.Event()

        def render() -> tuple[bytes, int, Window | None]:
            header = self._decoder.read_header(body, frame)
            is_large = header is not None and header.pixels > _LARGE_PIXELS
            with self._one_large if is_large else nullcontext():
                if gone.is_set():  # while it waited for its turn
                    return b"", 0, None
                decoded = self._decoder.decode(body, window, header=header, frame=frame, level=level, width=width)
                # DICOM says only now how large it is; the process that reads it has one large file at a time itself
                with self._one_large if not is_large and decoded.grey.size > _LARGE_PIXELS else nullcontext():
                    # a picture takes longer to write than to read, and its caller may have left meanwhile
                    return b"" if gone.is_set() else encode_png(decoded.grey), decoded.frames, decoded.window

        try:
            return await self._pool.run(render)
        finally:
            gone.set()
