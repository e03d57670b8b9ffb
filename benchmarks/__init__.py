"""Serving side by side with peers: `make bench` and `make bench-swap`."""
