"""The libraries that decide about pixels and weights, and so belong to a result."""

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

# TensorFlow and OpenCV may be installed under another name
_LIBRARIES = (
    "keras", "nncf", "numpy", "opencv-python-headless", "opencv-python", "openvino", "scikit-learn", "simplejpeg",
    "tensorflow", "tensorflow-cpu",
)  # fmt: skip


def library_versions() -> dict[str, str]:
    """The version of Python, and of each library that is installed, by name."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found
