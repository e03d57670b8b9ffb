"""The API: watches a model repository, loads the newest valid version, answers predictions over HTTP."""

import os
import sys

# OpenVINO sends usage statistics from a forked process unless this package is missing: nothing leaves this machine, and
# a process with threads must not fork. No environment variable switches it off.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

# Before NumPy is imported: after each product of matrices the threads of its OpenBLAS spin for 50 ms, in the way of
# predictions. What the service multiplies with it is small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
