"""Certificates for tests, made with openssl."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_CA = """\
[ca]
default_ca = ca
[ca]
database = {folder}/index
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate for localhost, signed by itself, and its key."""

    cert: Path
    key: Path

    def put(self, other: Pair) -> None:
        """Replace the files by others, as a renewal does."""
        for mine, theirs in ((self.cert, other.cert), (self.key, other.key)):
            fresh = mine.with_suffix(".new")
            fresh.write_bytes(theirs.read_bytes())
            fresh.replace(mine)

    @property
    def flags(self) -> tuple[str, ...]:
        return "--tls-cert", str(self.cert), "--tls-key", str(self.key)


def certificate(folder: Path, name: str = "one") -> Pair:
    """A new one, for two days."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {pair.key} -out {pair.cert}"
    )
    return pair


def expired(folder: Path) -> Pair:
    """One whose time is over."""
    pair = Pair(folder / "expired.pem", folder / "expired.key")
    (folder / "index").touch()
    (folder / "serial").write_text("01")
    (folder / "ca.conf").write_text(_CA.format(folder=folder))
    openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost "
        f"-keyout {pair.key} -out {folder}/request"
    )
    openssl(
        f"ca -batch -notext -selfsign -config {folder}/ca.conf -keyfile {pair.key} "
        f"-in {folder}/request -startdate 20200101000000Z -enddate 20200201000000Z -out {pair.cert}"
    )
    return pair


def encrypted(pair: Pair, folder: Path) -> Pair:
    """The same, with a password on the key."""
    key = folder / "encrypted.key"
    openssl(f"pkey -in {pair.key} -aes256 -passout pass:secret -out {key}")
    return Pair(pair.cert, key)


def openssl(command: str) -> None:
    if shutil.which("openssl") is None:
        pytest.fail("openssl is missing; install it with: apt-get install openssl")
    subprocess.run(["openssl", *command.split()], check=True, capture_output=True, timeout=60)
