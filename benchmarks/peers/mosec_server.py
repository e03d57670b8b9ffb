"""mosec: two stages, decoding in one process for each core, inference with dynamic batching in one."""

import os
from pathlib import Path

from mosec import Server, Worker

from benchmarks.peers.model import load_model, max_batch_size
from shared.artifact import read_manifest
from shared.imaging import SliceTensor, to_tensor
from shared.raster.decode import decode_grey


class Decode(Worker):
    """JPEG bytes → uint8 [H, W, 1], passed on pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = read_manifest(Path(os.environ["BENCH_MODEL"])).preprocessing

    def deserialize(self, data: bytes) -> bytes:
        """The one file of the form: mosec hands the body over as it came. Cutting is less work than parsing."""
        return data[data.index(b"\r\n\r\n") + 4 : data.rindex(b"\r\n--")]

    def forward(self, data: bytes) -> SliceTensor:
        return to_tensor(decode_grey(data), self.spec)


class Inference(Worker):
    """A batch of slices → their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.model = load_model()

    def forward(self, data: list[SliceTensor]) -> list[dict[str, object]]:
        return self.model.predict(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=int(os.environ.get("BENCH_WORKERS", str(os.cpu_count() or 1))))
    server.append_worker(Inference, num=1, max_batch_size=max_batch_size(), max_wait_time=10)
    server.run()
