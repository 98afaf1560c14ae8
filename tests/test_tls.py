from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import pytest

import notifier.tls
from notifier.tls import CannotLoad, Keypair
from tests.certificates import Pair, certificate, encrypted, expired


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return certificate(tmp_path)


def refusal(pair: Pair) -> str:
    with pytest.raises(CannotLoad) as refused:
        Keypair(pair.cert, pair.key).load()
    return str(refused.value)


def test_a_good_pair_is_loaded(pair: Pair) -> None:
    loaded = Keypair(pair.cert, pair.key).load()
    assert loaded.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert loaded.expires.endswith("GMT") and not loaded.doubt


def test_certificate_and_key_may_be_one_file(pair: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
    assert not Keypair(both, both).load().doubt


@pytest.mark.parametrize("which", ["cert", "key"])
def test_a_missing_file_is_named(pair: Pair, tmp_path: Path, which: str) -> None:
    gone = tmp_path / "gone.pem"
    wrong = Pair(gone, pair.key) if which == "cert" else Pair(pair.cert, gone)
    assert refusal(wrong).startswith(f"{gone}: the {'certificate' if which == 'cert' else 'key'}")
    assert refusal(wrong).endswith("can't be read: No such file or directory")


@pytest.mark.parametrize("which", ["cert", "key"])
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_what_is_no_file_is_not_read(pair: Pair, tmp_path: Path, which: str, kind: str) -> None:
    odd = tmp_path / "odd"
    match kind:
        case "device":
            odd.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(odd)
        case _:
            odd.mkdir()
    wrong = Pair(odd, pair.key) if which == "cert" else Pair(pair.cert, odd)
    assert refusal(wrong).endswith("is not a file")


@pytest.mark.parametrize("moment", ["server_context", "_try_out"])
@pytest.mark.parametrize("which", ["cert", "key"])
def test_a_file_that_is_taken_away_while_it_is_read_is_told(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, which: str, moment: str
) -> None:
    real = getattr(notifier.tls, moment)

    def meanwhile(*args: object) -> object:
        getattr(pair, which).unlink()
        return real(*args)

    monkeypatch.setattr(notifier.tls, moment, meanwhile)
    if (which, moment) == ("key", "_try_out"):
        Keypair(pair.cert, pair.key).load()  # it was read before
    else:
        assert refusal(pair).endswith("can't be read: No such file or directory")


def test_the_key_of_another_certificate_is_refused(pair: Pair, tmp_path: Path) -> None:
    other = certificate(tmp_path, "other")
    assert refusal(Pair(pair.cert, other.key)) == (
        f"{other.key}: this is not the key of the certificate in {pair.cert}"
    )


def test_an_encrypted_key_is_refused_without_asking_for_its_password(
    pair: Pair, tmp_path: Path
) -> None:
    assert "the key is encrypted" in refusal(encrypted(pair, tmp_path))


def test_files_that_hold_something_else_are_named(pair: Pair, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    assert refusal(Pair(text, pair.key)).startswith(f"{text}: there is no certificate in it")
    assert refusal(Pair(pair.cert, text)).startswith(f"{text}: there is no key in it")
    assert refusal(Pair(pair.cert, pair.cert)).startswith(f"{pair.cert}: there is no key in it")


def test_an_expired_certificate_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = expired(tmp_path)
    assert Keypair(pair.cert, pair.key).load().doubt == "certificate has expired"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING


def test_a_change_of_either_file_is_seen_once(pair: Pair, tmp_path: Path) -> None:
    keypair = Keypair(pair.cert, pair.key)
    keypair.load()
    assert not keypair.changed()
    pair.put(certificate(tmp_path, "other"))
    assert keypair.changed()
    keypair.load()
    assert not keypair.changed()
    pair.key.unlink()
    assert keypair.changed()
    with pytest.raises(CannotLoad):
        keypair.load()
    assert not keypair.changed(), "what can't be read is tried again when it changes"
