"""LitServe: dynamic batching by max_batch_size and batch_timeout, messages through its ZeroMQ transport."""

import os

import litserve
from fastapi import Request

from benchmarks.peers.model import PeerModel, load_model, max_batch_size
from shared.imaging import SliceTensor


class SliceAPI(litserve.LitAPI):
    """Decoding, inference and encoding run in the worker process, as the documentation lays them out."""

    model: PeerModel

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        self.model = load_model()

    def decode_request(self, request: Request) -> SliceTensor:  # what comes is the parsed form
        return self.model.read(request["file"].file.read())

    def batch(self, inputs: list[SliceTensor]) -> list[SliceTensor]:
        return inputs

    def predict(self, x: list[SliceTensor]) -> list[dict[str, object]]:
        return self.model.predict(x)

    def unbatch(self, output: list[dict[str, object]]) -> list[dict[str, object]]:
        return output

    def encode_response(self, output: dict[str, object]) -> dict[str, object]:
        return output


if __name__ == "__main__":
    api = SliceAPI(max_batch_size=max_batch_size(), batch_timeout=0.01)
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=int(os.environ.get("BENCH_WORKERS", "1")),
        fast_queue=True,
        timeout=60,
    )
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
