"""What decoding takes of memory, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
_PROGRAM = """
import sys, threading, zlib
from pathlib import Path
from service.memory import set_heap
from shared.raster.colour import is_coloured
from shared.raster.decode import decode_grey, read_header
from shared.slices import SliceDecoder
from tests.support.inputs.image_files import png_header, png_of

def mebibytes(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024

set_heap(arenas=2)  # as the service does
rows = zlib.compress(bytes(2048 * (1 + 2048 * 8)), 9)
body = png_of([png_header(2048, 2048, 16, 6), (b"IDAT", rows), (b"IEND", b"")])
header = read_header(body)
ways = [lambda: decode_grey(body), lambda: SliceDecoder().decode(body), lambda: is_coloured(body, header)]
threads = [threading.Thread(target=ways[index % len(ways)]) for index in range(int(sys.argv[1]))]
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here: compressing is none of it
before = mebibytes("VmRSS")
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(mebibytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("callers", [1, 6])
def test_large_images_take_their_pixels_thrice_however_many_come(callers: int) -> None:
    """2048 x 2048 of 16-bit RGBA are 32 MiB: their rows, and twice in OpenCV; one such image is decoded at a time."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(callers)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 64 < float(done.stdout) < 3 * 32 + 20
