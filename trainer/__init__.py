"""lungct trainer."""

import sys

# OpenVINO and NNCF send usage statistics unless this package is missing: nothing leaves this machine. No environment
# variable switches it off.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
