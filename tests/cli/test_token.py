from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from notifier.auth.keyset import secret_key
from notifier.auth.scopes import Scope
from notifier.auth.tokens import Token, TokenRules
from tests.auth.signing import SECRET, jwk, jwks, keys_of, private, private_pem, public_pem
from tests.auth.signing import token as signed
from tests.cli.conftest import Run

MAKE = ["token", "make", "--sub", "42", "--channel", "builds:*"]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "notifier.toml"
    file.write_text(f'token_secret = "{SECRET}"')
    return file


def test_token_is_made_alone_on_stdout_and_is_good(notifier: Run) -> None:
    done = notifier(*MAKE, "--publish", "chat:lobby", "--info", '{"name": "é"}', "--expires", "1d")
    assert done.returncode == 0
    text = done.stdout.removesuffix("\n")
    assert "✓ for 42, signed with HS256" in done.stderr and text not in done.stderr
    identity = TokenRules().verify(Token.parse(text), keys_of("HS256"), time.time()).identity
    assert identity.user == "42" and identity.credential_id
    assert identity.info == '{"name":"é"}'.encode()
    assert identity.is_granted(Scope.HISTORY, "builds:main")
    assert identity.is_granted(Scope.PUBLISH, "chat:lobby")
    assert not identity.is_granted(Scope.PUBLISH, "builds:main")
    assert identity.expires_at is not None
    assert abs(identity.expires_at - time.time() - 86400) < 120
    checked = notifier("token", "check", text)
    assert checked.returncode == 0
    assert checked.stdout.startswith("✓ the server would take it\n  signed    HS256\n")
    assert "  sub       42\n" in checked.stdout and "  for 23h\n" in checked.stdout


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_token_may_be_signed_with_a_private_key(
    notifier: Run, tmp_path: Path, settings: Path, algorithm: str
) -> None:
    (tmp_path / "private.pem").write_bytes(private_pem(private(algorithm)))
    (tmp_path / "public.pem").write_text(public_pem(private(algorithm)))
    text = notifier(*MAKE, "--key", "private.pem", "--kid", "k1").stdout.strip()
    assert notifier("token", "check", text).returncode == 1  # the secret does not fit
    settings.write_text('token_keys_file = "public.pem"')
    checked = notifier("token", "check", text)
    assert checked.returncode == 0
    assert f"  signed    {algorithm}, key k1\n" in checked.stdout


def test_issuer_and_audience_are_those_of_the_settings(notifier: Run, settings: Path) -> None:
    plain = notifier(*MAKE).stdout.strip()
    settings.write_text(
        f'token_secret = "{SECRET}"\ntoken_audience = "push"\ntoken_issuer = "https://id"'
    )
    made = json.loads(notifier(*MAKE, "--json").stdout)
    assert (made["claims"]["aud"], made["claims"]["iss"]) == ("push", "https://id")
    assert notifier("token", "check", made["token"]).returncode == 0
    refused = notifier("token", "check", plain)
    assert refused.returncode == 1
    assert refused.stdout.startswith("✗ This token is not for this server (aud).  (40101)\n")


def test_token_may_come_from_stdin_and_be_a_header_s_value(notifier: Run) -> None:
    text = notifier(*MAKE).stdout.strip()
    for given in (f"{text}\n", f"Bearer {text}"):
        assert notifier("token", "check", "-", stdin=given.encode()).returncode == 0
    assert notifier("token", "check", "-", stdin=b"\xff" * 100_000).returncode == 1


def test_json_is_for_programs(notifier: Run) -> None:
    text = signed(exp=1000, headers={"kid": "k"})
    done = notifier("token", "check", text, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert (answer["accepted"], answer["error"]["code"]) == (False, 40102)
    assert (answer["algorithm"], answer["kid"]) == ("HS256", "k")
    assert answer["claims"] == {"sub": "42", "exp": 1000}
    nonsense = json.loads(notifier("token", "check", "x", "--json").stdout)
    assert (nonsense["error"]["code"], nonsense["algorithm"]) == (40101, None)


def test_expired_token_is_shown_and_refused(notifier: Run) -> None:
    done = notifier("token", "check", signed(exp=1_000_000_000))
    assert done.returncode == 1
    assert done.stdout.startswith("✗ This token has expired; get a new one.  (40102)\n")
    assert "2001-09-0" in done.stdout and "  over\n" in done.stdout


def test_what_a_stranger_writes_can_not_forge_lines(notifier: Run) -> None:
    text = signed({"sub": "x\n✓ the server would take it\x1b[2J", "exp": 1e300, "a\nb": 1})
    done = notifier("token", "check", text)
    assert done.returncode == 1
    assert "\n✓" not in done.stdout and "\x1b" not in done.stdout and "\nb" not in done.stdout


def test_without_keys_no_token_is_taken(notifier: Run, settings: Path) -> None:
    settings.write_text("")
    done = notifier("token", "check", signed())
    assert done.returncode == 1
    assert "verify no tokens: set token_secret" in done.stdout
    done = notifier(*MAKE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing to sign with" in done.stderr


def test_no_command_shows_the_secret(notifier: Run) -> None:
    text = notifier(*MAKE).stdout.strip()
    for arguments in (["token", "check", text], ["config", "show"], ["config", "check"], MAKE):
        done = notifier(*arguments)
        assert done.returncode == 0
        assert SECRET not in done.stdout + done.stderr
    assert 'token_secret = "***"' in notifier("config", "show").stdout
    assert text.rpartition(".")[2] not in notifier("token", "check", text).stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["token", "make", "--sub", ""], "sub is no string"),
        (["token", "make", "--sub", "x" * 201], "sub is no string"),
        ([*MAKE, "--channel", "a b"], "not a channel name"),
        ([*MAKE, "--publish", "$x"], "leading $"),
        ([*MAKE, "--expires", "soon"], "not a duration"),
        ([*MAKE, "--expires", "0"], "a second at least"),
        ([*MAKE, "--expires", "366d"], "for 365 days at most (setting max_token_life)"),
        ([*MAKE, "--info", "{"], "not JSON"),
        ([*MAKE, "--info", json.dumps("x" * 2000)], "info is longer"),
        ([*MAKE, "--key", "none.pem"], "none.pem: No such file"),
        ([*MAKE, "--key", "notifier.toml"], "no private key"),
        ([*MAKE, "--channel", "c" * 100, "--kid", "k" * 9000], "longer than 8192"),
    ],
)
def test_mistake_exits_2_and_makes_nothing(
    notifier: Run, arguments: list[str], problem: str
) -> None:
    done = notifier(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def issuer() -> Iterator[HTTPServer]:
    """Serves a JWKS document with one RSA key at /jwks."""
    document = jwks(jwk(private("RS256"), "RS256", kid="a"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/jwks?v=1" else 404)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: it is not the test's output."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_of_a_url_are_fetched(notifier: Run, settings: Path, issuer: HTTPServer) -> None:
    base = f"http://127.0.0.1:{issuer.server_port}"
    text = signed(algorithm="RS256", headers={"kid": "a"}, exp=time.time() + 60)
    settings.write_text(f'token_jwks_url = "{base}/jwks?v=1"')
    assert notifier("token", "check", text).returncode == 0
    settings.write_text(f'token_jwks_url = "{base}/none"')
    done = notifier("token", "check", text)
    assert done.returncode == 2
    assert "none: it answered 404" in done.stderr


def test_signature_of_another_secret_is_refused(notifier: Run) -> None:
    assert secret_key(SECRET).verifies(b"", b"") is False
    other = notifier(*MAKE, variables={"NOTIFIER_TOKEN_SECRET": SECRET[::-1]}).stdout.strip()
    done = notifier("token", "check", other)
    assert done.returncode == 1
    assert "signature is not good" in done.stdout
