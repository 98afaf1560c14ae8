"""The server's certificate and key, as files that may be replaced while it runs.

Each load makes a context of its own and tries it out by shaking hands with itself, so that what
is handed on works; the one in use is never touched. A connection keeps the context it began with.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from notifier import logs

log = logging.getLogger("notifier.tls")

# What a look at a file tells: when it was changed, how long it is, and which one it is.
Looks = tuple[tuple[int, int, int] | None, ...]


class CannotLoad(Exception):
    """The files can't be used. Its sentence names the file and the reason."""


class _Encrypted(Exception):
    """OpenSSL asks for a password."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate that can be served with.

    :ivar context: of new connections.
    :ivar expires: as the certificate has it, such as ``Jun  1 12:00:00 2027 GMT``; empty when
        a client will not take it anyway.
    :ivar doubt: why a client that trusts the certificate would still refuse it now, such as
        "certificate has expired"; empty if it would not.
    """

    context: ssl.SSLContext
    expires: str = ""
    doubt: str = ""


class Keypair:
    """Where the certificate and its key are.

    :param cert: PEM, the server's own certificate first, then those between it and its root.
    :param key: PEM, not encrypted; may be the same file.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self._seen: Looks = ()

    def load(self) -> Loaded:
        """Read the files.

        :raises CannotLoad:
        """
        try:
            return self._load()
        except OSError as error:
            # One was taken away while they were read.
            raise CannotLoad(
                f"{self._cert} and {self._key} can't be read: {error.strerror or error}"
            ) from None

    def _load(self) -> Loaded:
        # Before they are read: what changes in the meantime is seen as a change the next time.
        self._seen = self._look()
        for path, what in ((self._cert, "certificate"), (self._key, "key")):
            _check_readable(path, what)
        context = server_context()
        try:
            context.load_cert_chain(self._cert, self._key, password=_refuse_password)
        except _Encrypted:
            raise CannotLoad(
                f"{self._key}: the key is encrypted, and nobody is there to be asked for its "
                "password; decrypt it with: openssl pkey -in KEY -out PLAIN"
            ) from None
        except ssl.SSLError as error:
            raise CannotLoad(self._explain(error)) from None
        expires, doubt = _try_out(context, self._cert)
        loaded = Loaded(context, expires, doubt)
        if doubt:
            logs.event(log, logging.WARNING, "tls.loaded", certificate=self._cert, doubt=doubt)
        else:
            logs.event(log, logging.INFO, "tls.loaded", certificate=self._cert, expires=expires)
        return loaded

    def changed(self) -> bool:
        """Whether the files look other than when they were last read, or tried to be."""
        return self._look() != self._seen

    def _look(self) -> Looks:
        return tuple(_look(path) for path in (self._cert, self._key))

    def _explain(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{self._key}: this is not the key of the certificate in {self._cert}"
        certificate, key = (
            b"-----BEGIN " + what in path.read_bytes()
            for path, what in ((self._cert, b"CERTIFICATE"), (self._key, b""))
        )
        if not certificate:
            return f"{self._cert}: there is no certificate in it (-----BEGIN CERTIFICATE-----)"
        if not key or b"PRIVATE KEY-----" not in self._key.read_bytes():
            return f"{self._key}: there is no key in it (-----BEGIN PRIVATE KEY-----)"
        return f"{self._cert} and {self._key} can't be used: {error.reason or error}"


class _Socket(ssl.SSLSocket):
    """Says goodbye (close_notify, RFC 8446 §6.1) before it ends: without, a peer can't tell a body
    that is over from one that was cut, and says so."""

    def shutdown(self, how: int) -> None:
        self._say_goodbye()
        super().shutdown(how)

    def close(self) -> None:
        self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        # It fails in the middle of a handshake, or of a record that no longer leaves; and it would
        # wait for the peer's goodbye, if it waited.
        with contextlib.suppress(OSError, ValueError):
            self.unwrap()


def server_context() -> ssl.SSLContext:
    """TLS 1.2 and 1.3, HTTP/1.1, no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A handshake in the middle of a connection would have writes wait for reads (and is a way to
    # burn our CPU). TLS 1.3 has none.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = _Socket
    return context


def _try_out(context: ssl.SSLContext, cert: Path) -> tuple[str, str]:
    """Shake hands with a client that trusts the certificate; when it expires, or what is wrong."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # The certificate itself is trusted, by whomever it was signed.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = context.wrap_bio(up, down, server_side=True)
    here = client.wrap_bio(down, up)
    try:
        for end in (here, there, here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        return "", error.verify_message
    except ssl.SSLError as error:
        raise CannotLoad(f"{cert}: no TLS is possible with it: {error.reason or error}") from None
    return str((here.getpeercert() or {}).get("notAfter", "")), ""


def _check_readable(path: Path, what: str) -> None:
    try:
        # A pipe is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CannotLoad(f"{path}: the {what} can't be read: {error.strerror or error}") from None
    if not is_file:
        # OpenSSL would read /dev/zero for ever.
        raise CannotLoad(f"{path}: the {what} is not a file")


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _refuse_password() -> str:
    raise _Encrypted
