"""The API: watches a model repository, loads the newest valid version, answers predictions over HTTP."""

import sys

# OpenVINO sends usage statistics from a forked process unless this package is missing: nothing leaves this machine, and
# a process with threads must not fork. No environment variable switches it off.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
