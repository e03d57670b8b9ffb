"""What trainer and service must agree on, once: classes, decoding, preprocessing, artifact layout, versions."""

VERSION = "0.2.0"
"""Of this software, for both programs; that of a model is a number of its own. pyproject.toml repeats it."""
