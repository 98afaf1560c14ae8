"""HTTP requests and the handshakes of WebSockets, tried again where that is safe."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from notifier import __version__
from notifier.client.address import Address
from notifier.client.backoff import Backoff
from notifier.client.credential import Credential
from notifier.client.failures import (
    UNREADABLE,
    BadAnswer,
    Unreachable,
    is_temporary,
    refusal,
    retry_after,
)
from notifier.errors import ExpiredCredential, NodesSilent

_FIRST_DELAY = 0.25
_CONNECT_TIMEOUT = 10.0
_AT_ONCE = 100
_SHOWN = 200  # characters of an answer that is none of ours


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of success.

    :param content: its JSON.
    """

    content: Any
    headers: Mapping[str, str]


class _InPart(Exception):
    """Some of what was sent was not stored, for a reason that passes."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        wait = answer.headers.get("Retry-After", "")
        self.retry_after = float(wait) if wait.isascii() and wait.isdigit() else 0.0


class Requests:
    """How this program asks this server."""

    def __init__(
        self,
        address: Address,
        *,
        credential: Credential,
        headers: Mapping[str, str],
        timeout: float,
        retries: int,
        max_delay: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.address = address
        self.credential = credential
        self.timeout = timeout
        self.max_delay = max_delay
        self._headers = dict(headers)
        self._retries = retries
        self._tls = tls
        self._http: AsyncHTTPClient | None = None

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    async def get(self, *path: str, query: Iterable[tuple[str, str | int | None]] = ()) -> Answer:
        """Read a resource."""
        return await self._persist(self._request(self.address.page(*path, query=query), "GET"))

    async def delete(
        self,
        *path: str,
        query: Iterable[tuple[str, str | int | None]] = (),
        counted: bool = False,
    ) -> Answer:
        """End what may be ended twice.

        :param counted: the answer tells how many it ended. Where some nodes are silent the others
            have done it, and would count nothing the next time; so it is not tried again.
        """
        request = self._request(self.address.page(*path, query=query), "DELETE")
        return await self._persist(request, counted=counted)

    async def post(
        self, *path: str, body: bytes, content_type: str, counted: bool = False
    ) -> Answer:
        """Send what is safe to send again.

        :param counted: as for :meth:`delete`.
        :raises NotifierError: the server refused it.
        :raises Unreachable: no answer, also when tried again.
        :raises BadAnswer: the answer is none of a notifier.
        """
        request = self._request(self.address.page(*path), "POST", {"Content-Type": content_type})
        request.body = body
        return await self._persist(request, counted=counted)

    async def handshake(self) -> tuple[HTTPRequest, str | None]:
        """The request that opens a WebSocket, and the token that it shows."""
        request = self._request(self.address.socket, "GET")
        return request, await self._sign(request)

    async def _sign(self, request: HTTPRequest) -> str | None:
        """Say who we are."""
        token = await self.credential.get()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return token

    def _request(
        self, url: str, method: str, headers: Mapping[str, str] | None = None
    ) -> HTTPRequest:
        return HTTPRequest(
            url,
            method,
            headers=HTTPHeaders({**self._headers, **(headers or {})}),
            user_agent=f"notifier/{__version__}",
            connect_timeout=min(_CONNECT_TIMEOUT, self.timeout),
            request_timeout=self.timeout,
            follow_redirects=False,
            ssl_options=self._tls,
        )

    async def _persist(self, request: HTTPRequest, *, counted: bool = False) -> Answer:
        backoff = Backoff(_FIRST_DELAY, self.max_delay)
        renewed = not self.credential.is_renewable
        while True:
            token = None
            try:
                token = await self._sign(request)
                return await self._once(request)
            except _InPart as part:
                if backoff.tries >= self._retries:
                    return part.answer
                wait = backoff.next(part.retry_after)
            except ExpiredCredential:
                if renewed:
                    raise
                renewed, wait = True, 0.0
                self.credential.drop(token)
            except Exception as problem:
                if backoff.tries >= self._retries or not is_temporary(problem):
                    raise
                if counted and isinstance(problem, NodesSilent):
                    raise
                wait = backoff.next(retry_after(problem))
            await asyncio.sleep(wait)

    async def _once(self, request: HTTPRequest) -> Answer:
        if self._http is None:
            # Not whatever the program has configured: a curl would heed other settings.
            self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=_AT_ONCE)
        try:
            response = await self._http.fetch(request)
        except Exception as error:
            part = _in_part(error)
            if part is not None:
                raise part from None
            problem = translated(error, self.address)
            if problem is error:
                raise
            raise problem from error
        try:
            return Answer(json.loads(response.body), response.headers)
        except UNREADABLE:
            raise _stranger(response, self.address) from None


def translated(error: Exception, address: Address) -> Exception:
    """What a failed request or handshake means."""
    match error:
        case HTTPClientError(response=HTTPResponse() as response) if error.code != 599:
            problem = _refusal(response)
            if problem is None:
                return _stranger(response, address)
            return problem
        case ssl.SSLCertVerificationError():
            return BadAnswer(f"{address} is not to be trusted: {error.verify_message}")
        case HTTPClientError():
            return Unreachable(f"cannot reach {address}: {error.message}")
        case StreamClosedError(real_error=BaseException() as real):
            return (
                translated(real, address)
                if isinstance(real, OSError)
                else Unreachable(f"cannot reach {address}: {real}")
            )
        case StreamClosedError():
            return Unreachable(f"cannot reach {address}: the connection was closed")
        case OSError():
            return Unreachable(f"cannot reach {address}: {error.strerror or error}")
    return error


def _refusal(response: HTTPResponse) -> Exception | None:
    """The server's refusal; None if it is somebody else's."""
    try:
        error = dict(json.loads(response.body)["error"])
    except UNREADABLE:
        return None
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        error["retry_after"] = float(text)
    return refusal(error)


def _in_part(error: Exception) -> _InPart | None:
    """What the server answers then: 503, and what became of each instead of one error."""
    response = error.response if isinstance(error, HTTPClientError) else None
    if response is None or response.code != 503:
        return None
    try:
        content = json.loads(response.body)
    except UNREADABLE:
        return None
    told = isinstance(content, dict) and content.keys() & {"stored", "channels"}
    return _InPart(Answer(content, response.headers)) if told and "error" not in content else None


def _stranger(response: HTTPResponse, address: Address) -> BadAnswer:
    text = response.body.decode("utf-8", "replace")[:_SHOWN].strip()
    shown = f": {text}" if text else ""
    return BadAnswer(
        f"{address} answered {response.code} {response.reason}, as no notifier does{shown}",
        status=response.code,
    )
