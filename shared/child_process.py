"""What a program of ours gets from its parent, besides its arguments."""

import os
import sys


def child_environment() -> dict[str, str]:
    """Environment for a child that runs a module of ours: it finds what its parent finds, wherever it was started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}


def unthreaded_numpy_environment() -> dict[str, str]:
    """The same for a child in which NumPy starts no threads: it multiplies nothing with it, or has to fork."""
    return {**child_environment(), "OPENBLAS_NUM_THREADS": "1"}
