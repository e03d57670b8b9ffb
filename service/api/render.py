"""Any accepted file → an 8-bit PNG for display, in a pool of its own with low priority."""

import asyncio

from fastapi import Request, Response

from service.api import problems
from service.api.disconnect import cancelled_when_gone
from service.api.handlers import Service, only_part
from service.api.params import frame_of, number_of
from service.api.problems import ProblemError
from service.explain.png import encode_png
from service.inference.thread_pools import BoundedPool
from shared.slices import DecodedSlice
from shared.window import LUNG_WINDOW, Window

FRAMES_HEADER, LEVEL_HEADER, WIDTH_HEADER = "X-Image-Frames", "X-Window-Level", "X-Window-Width"

_PLACES, _THREADS = 32, 4  # of low priority; one that waits for a costly file leaves the others
_LEVELS, _WIDTHS = (-1e6, 1e6), (1, 1e6)


class Renderer:
    """Answers POST /render. Needs no model; where one serves, its window is the default."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lane = BoundedPool("render", threads=_THREADS, places=_PLACES, low_priority=True)

    async def render(self, request: Request) -> Response:
        """The slice as image/png. Raises ProblemError, or an exception that service.api.problems knows."""
        service, timeout_s = self._service, self._service.settings.request_timeout_s
        frame = frame_of(request)
        level, width = number_of(request, "level", *_LEVELS), number_of(request, "width", *_WIDTHS)
        is_uploaded = False
        try:
            async with asyncio.timeout(timeout_s) as limit:
                service.check_open()
                with await only_part(service, request) as part:
                    content, is_uploaded = part.content, True
                    async with cancelled_when_gone(request):
                        return await self._lane.run(self._png, content, frame, level, width)
        except TimeoutError:
            if not limit.expired():  # not ours
                raise
            if is_uploaded:
                raise ProblemError(problems.DEADLINE_EXCEEDED, f"No answer within {timeout_s:g} s.") from None
            raise ProblemError(problems.UPLOAD_TOO_SLOW, f"The body did not arrive within {timeout_s:g} s.") from None

    def _png(self, body: bytearray, frame: int | None, level: float | None, width: float | None) -> Response:
        decoded = self._service.predictor.decoder.decode(body, self._window(), frame=frame, level=level, width=width)
        return Response(encode_png(decoded.grey), media_type="image/png", headers=_headers(decoded))

    def _window(self) -> Window:
        serving = self._service.reload.serving
        return serving.manifest.preprocessing.window if serving else LUNG_WINDOW


def _headers(decoded: DecodedSlice) -> dict[str, str]:
    headers = {FRAMES_HEADER: str(decoded.frames), "Cache-Control": "no-store"}
    if decoded.window is not None:
        headers |= {LEVEL_HEADER: f"{decoded.window.level:g}", WIDTH_HEADER: f"{decoded.window.width:g}"}
    return headers
