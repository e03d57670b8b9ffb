"""Key pairs for signing versions, made with the commands that the documentation gives."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeyPair:
    """PEM files of a private key and its public half."""

    private: Path
    public: Path


def make_key_pair(folder: Path, name: str = "signing") -> KeyPair:
    """A new pair on the curve P-256."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = KeyPair(folder / f"{name}.key", folder / f"{name}.pem")
    make = ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(pair.private))
    subprocess.run(make, check=True, capture_output=True)
    half = ("openssl", "ec", "-in", str(pair.private), "-pubout", "-out", str(pair.public))
    subprocess.run(half, check=True, capture_output=True)
    return pair
