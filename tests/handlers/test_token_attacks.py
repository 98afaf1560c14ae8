"""Forged, stale and foreign tokens, tried on a running server in every way one can show one.

What reads them is tested in ``tests/auth``; here it is that nothing on the way lets one pass: over
HTTP, at a WebSocket's handshake and on an open one, each is refused with its number, also where
the channel is open to everybody.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from notifier.channels import Pattern
from notifier.server import Server
from tests.auth.signing import SECRET, jwk, jwks, private, public_pem, raw_token, token
from tests.handlers.serving import HANDSHAKE, RawSocket, open_stream, request, serving

BAD, EXPIRED = 40101, 40102
OURS = {"aud": "notifier", "iss": "https://issuer.example", "channels": ["alerts"]}
# Everything is public under open:, but not for who shows what is not good.
SETTINGS: dict[str, Any] = {
    "token_secret": SECRET,
    "token_audience": OURS["aud"],
    "token_issuer": OURS["iss"],
    "token_cookie": "session",
    "namespaces": {
        "open": {
            f"who_may_{deed}": "public"
            for deed in ("publish", "subscribe", "read_history", "see_presence")
        }
    },
}


def claims(**changed: Any) -> dict[str, Any]:
    said = {"sub": "42", "exp": time.time() + 600, **OURS, **changed}
    return {name: value for name, value in said.items() if value is not None}


def payload(**changed: Any) -> bytes:
    return json.dumps(claims(**changed)).encode()


def ours(algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    """Signed as it should be."""
    named = {"kid": "a", **(headers or {})} if algorithm == "RS256" else headers
    return token(claims(**changed), algorithm, headers=named)


def headed(_secret: bytes = SECRET.encode(), **header: Any) -> str:
    """With this header, and HMAC-SHA256 of a secret whatever it says."""
    return raw_token(json.dumps(header).encode(), payload(), _secret)


def unsigned(**header: Any) -> str:
    return headed(**header).rpartition(".")[0]


def by_stranger(**header: Any) -> str:
    """Well made, with a key of the attacker's own, which the header brings along."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    brought = {"jwk": jwk(key, "RS256", kid="mine")} if header.get("jwk") is True else {}
    return jwt.PyJWS().encode(payload(), key, "RS256", headers=header | brought)


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def mended(part: int, change: Callable[[str], str]) -> str:
    parts = ours().split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def another_signature(algorithm: str, secret: str) -> str:
    return jwt.PyJWS().encode(payload(), secret, algorithm)


PEM = public_pem(private("RS256"))
JWKS = jwks(jwk(private("RS256"), "RS256", kid="a"))
_JSON = '{"alg":"HS256","typ":"JWT"}'

# What is tried, and as what it is refused; the address is of a listener that must not be asked.
ATTACKS: dict[str, tuple[int, Callable[[str], str]]] = {
    # Not signed at all (RFC 8725 §2.1).
    **{
        f"alg {name!r}{form}": (BAD, make)
        for name in ("none", "None", "NONE", "nOnE", "", " none", "none ", "none\0", None, 0, [])
        for form, make in {
            "": lambda _, name=name: headed(alg=name),
            ", no signature": lambda _, name=name: unsigned(alg=name) + ".",
            ", two parts": lambda _, name=name: unsigned(alg=name),
            ", some signature": lambda _, name=name: unsigned(alg=name) + ".AAAA",
        }.items()
    },
    "no alg": (BAD, lambda _: headed(typ="JWT")),
    "alg twice, none last": (
        BAD, lambda _: raw_token(b'{"alg":"HS256","alg":"none"}', payload())),
    "alg twice, none first": (
        BAD, lambda _: raw_token(b'{"alg":"none","alg":"HS256"}', payload())),
    "signature left out": (BAD, lambda _: mended(2, lambda part: "")),
    "signature cut": (BAD, lambda _: mended(2, lambda part: part[:-6])),
    "signature with more": (BAD, lambda _: mended(2, lambda part: part + "AAAA")),
    "signature of zeros": (BAD, lambda _: mended(2, lambda part: encoded(bytes(32)))),
    # A public key taken for a secret (RFC 8725 §2.1), and other keys and algorithms.
    **{
        f"{name} with the {what} for a secret": (BAD, make)
        for name in ("HS256", "HS384", "HS512", "RS256", "hs256")
        for what, make in {
            "public PEM": lambda _, name=name: headed(PEM.encode(), alg=name, kid="a"),
            "stripped PEM": lambda _, name=name: headed(PEM.strip().encode(), alg=name),
            "JWKS": lambda _, name=name: headed(JWKS, alg=name, kid="a"),
        }.items()
    },
    "an empty secret": (BAD, lambda _: headed(b"", alg="HS256")),
    "another secret": (BAD, lambda _: headed(b"x" * 32, alg="HS256")),
    "HS384 with our secret": (BAD, lambda _: another_signature("HS384", SECRET * 2)),
    "HS512 with our secret": (BAD, lambda _: another_signature("HS512", SECRET * 2)),
    "PS256": (BAD, lambda _: jwt.PyJWS().encode(payload(), private("RS256"), "PS256")),
    "ES256 by nobody we know": (BAD, lambda _: ours("ES256")),
    "EdDSA by nobody we know": (BAD, lambda _: ours("EdDSA")),
    "the secret under the name of another key": (
        BAD, lambda _: ours(headers={"kid": "a"})),
    # The key named, or brought along, by the token (RFC 8725 §2.7, §3.10).
    "jwk in the header": (BAD, lambda _: by_stranger(jwk=True)),
    "jwk under our kid": (BAD, lambda _: by_stranger(jwk=True, kid="a")),
    "jku": (BAD, lambda url: by_stranger(jku=url, kid="a")),
    "x5u": (BAD, lambda url: by_stranger(x5u=url, kid="a")),
    "x5c": (BAD, lambda _: by_stranger(x5c=["MIIB"], kid="a")),
    "kid of nobody": (BAD, lambda _: by_stranger(kid="b")),
    "kid that is a path": (BAD, lambda _: headed(b"", alg="HS256", kid="../../../dev/null")),
    "kid that is SQL": (BAD, lambda _: headed(b"x" * 32, alg="HS256", kid="' UNION SELECT 'x")),
    "kid that is a URL": (BAD, lambda url: by_stranger(kid=url)),
    "kid that is no string": (BAD, lambda _: headed(alg="HS256", kid=["a"])),
    "kid that is empty": (BAD, lambda _: headed(alg="HS256", kid="")),
    "crit": (BAD, lambda _: headed(alg="HS256", crit=["exp"])),
    "b64": (BAD, lambda _: headed(alg="HS256", b64=False)),
    # Its time.
    "expired": (EXPIRED, lambda _: ours(exp=time.time() - 1)),
    "expired long ago": (EXPIRED, lambda _: ours("RS256", exp=1)),
    "without an end": (BAD, lambda _: ours(exp=None)),
    "an end without end": (BAD, lambda _: ours(exp=1e300)),
    "an end at the end of time": (BAD, lambda _: ours(exp=253402300799.9999)),
    "an end that is text": (BAD, lambda _: ours(exp="2099-01-01")),
    "an end that is true": (BAD, lambda _: ours(exp=True)),
    "an end that is infinite": (
        BAD, lambda _: raw_token(_JSON.encode(), b'{"sub":"42","exp":Infinity}')),
    "an end below zero": (BAD, lambda _: ours(exp=-1)),
    "two ends": (
        BAD, lambda _: raw_token(_JSON.encode(), b'{"sub":"42","exp":1,"exp":9999999999}')),
    "not yet": (BAD, lambda _: ours(nbf=time.time() + 300)),
    "written tomorrow": (BAD, lambda _: ours(iat=time.time() + 86400)),
    # Whom it is for, who wrote it, whom it speaks of.
    "for somebody else": (BAD, lambda _: ours(aud="another")),
    "for several, not us": (BAD, lambda _: ours(aud=["another", "NOTIFIER"])),
    "for us, nearly": (BAD, lambda _: ours(aud="notifier ")),
    "for nobody": (BAD, lambda _: ours(aud=None)),
    "for a number": (BAD, lambda _: ours(aud=0)),
    "by somebody else": (BAD, lambda _: ours(iss="https://issuer.example.evil.example")),
    "by nobody": (BAD, lambda _: ours(iss=None)),
    "by a list": (BAD, lambda _: ours(iss=[OURS["iss"]])),
    "of nobody": (BAD, lambda _: ours(sub=None)),
    "of a number": (BAD, lambda _: ours(sub=42)),
    "of a list": (BAD, lambda _: ours(sub=["42"])),
    # Its form.
    "five parts": (BAD, lambda _: ours() + ".AAAA.AAAA"),
    "a payload that is a list": (BAD, lambda _: raw_token(_JSON.encode(), b"[]")),
    "a payload that is no JSON": (BAD, lambda _: raw_token(_JSON.encode(), b"\xff")),
    "a payload that is deep": (
        BAD, lambda _: raw_token(_JSON.encode(), b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}")),
    "a header that is long": (BAD, lambda _: headed(alg="HS256", x="x" * 2000)),
    "a payload that is long": (BAD, lambda _: ours(info="x" * 5000)),
    "padding": (BAD, lambda _: ours() + "="),
    "the standard alphabet": (BAD, lambda _: mended(2, lambda part: "+/" + part[2:])),
    "not ours at all": (BAD, lambda _: "eyJ.eyJ.sig"),
    "a key that is none": (BAD, lambda _: "nk_abcdefgh_" + "a" * 43),
    "a ticket that is none": (BAD, lambda _: "ticket_" + "0" * 64),
}  # fmt: skip


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Server]:
    keys = tmp_path / "keys.json"
    keys.write_bytes(JWKS)
    async with serving(token_keys_file=str(keys), **SETTINGS) as server:
        yield server


class Ways:
    """All that one can do with a token at a server."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def over_http(self, path: str, headers: dict[str, str], method: str = "GET") -> int:
        body = b"hi" if method == "POST" else None
        answer = await request(self._port, method, path, headers=headers, body=body)
        return 0 if answer.status == 200 else answer.code

    async def handshake(self, path: str, headers: dict[str, str]) -> int:
        answer = await request(self._port, "GET", path, headers={**HANDSHAKE, **headers})
        return 0 if answer.status == 101 else answer.code

    async def authenticate(self, shown: str) -> tuple[int, int]:
        """What is answered, and what to a wish for what is not public, after that."""
        reader, writer = await open_stream(self._port)
        socket = RawSocket(reader, writer)
        try:
            assert (await socket.upgrade("/ws")).status == 101
            assert (await socket.message())["type"] == "welcome"
            said = await socket.ask({"type": "authenticate", "token": shown})
            wish = await socket.ask({"type": "subscribe", "channel": "alerts"})
            return _code(said), _code(wish)
        finally:
            socket.close()

    async def each(self, shown: str) -> dict[str, int]:
        bearer = {"Authorization": f"Bearer {shown}"}
        told, wish = await self.authenticate(shown)
        found = {
            "read": await self.over_http("/channels/open:1/history", bearer),
            "publish": await self.over_http("/notify/open:1", bearer, "POST"),
            "key": await self.over_http("/channels/open:1", {"X-API-Key": shown}),
            "cookie": await self.over_http("/channels/open:1", {"Cookie": f"session={shown}"}),
            "administer": await self.over_http("/nodes", bearer),
            "get a ticket": await self.over_http("/ticket", bearer, "POST"),
            "poll": await self.over_http("/stream?poll=1&channel=open:1", bearer),
            "native": await self.handshake("/ws?channel=open:1", bearer),
            "raw": await self.handshake("/raw/open:1", bearer),
            "message": told,
        }
        if "=" not in shown and shown:
            offered = {"Sec-WebSocket-Protocol": f"notifier.v1, bearer.{shown}"}
            found["subprotocol"] = await self.handshake("/ws", offered)
        assert wish == 40100, "it became somebody"
        return found


def _code(message: dict[str, Any]) -> int:
    return int(message["code"]) if message["type"] == "error" else 0


async def test_good_tokens_are_taken_here(guarded: Server) -> None:
    """Else nothing below would mean anything."""
    ways = Ways(guarded.port)
    for shown in (ours(), ours("RS256")):
        bearer = {"Authorization": f"Bearer {shown}"}
        assert await ways.over_http("/stream?poll=1&channel=alerts", bearer) == 0
        assert await ways.handshake("/ws?channel=alerts", bearer) == 0
        assert await ways.authenticate(shown) == (0, 0)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_gets_nowhere(guarded: Server, attack: str) -> None:
    asked = 0

    def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    listener = await asyncio.start_server(ask, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        code, make = ATTACKS[attack]
        found = await Ways(guarded.port).each(make(f"http://127.0.0.1:{port}/keys"))
    assert found == dict.fromkeys(found, code)
    assert asked == 0, "the token had the server fetch something"
    assert await stored(guarded) == 0


@pytest.mark.parametrize("size", [8193, 20_000, 30_000])
async def test_one_that_is_far_too_long_gets_nowhere(guarded: Server, size: int) -> None:
    shown = headed(alg="HS256", x="x" * size)
    found = await Ways(guarded.port).each(shown)
    assert found.pop("message") == BAD, "it comes in no head"
    # From 32 KiB on, the head is refused before anybody reads it.
    assert set(found.values()) == {43102 if size == 30_000 else BAD}
    assert await stored(guarded) == 0


async def stored(server: Server) -> int:
    """How many publications there are, whatever was asked of it."""
    page = await server.node.directory.channels(Pattern.parse("*"), "", None)
    return sum(one.state.publications for one in page.channels if one.state is not None)
