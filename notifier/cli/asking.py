"""What commands that ask a server have in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from notifier.cli.terminal import Exit, fail
from notifier.cli.whoami import advice, credential, with_key
from notifier.errors import NotifierError
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Client

DEFAULT_URL = "http://127.0.0.1:8888"
_TRUST = "notifier.trust"
EXIT_CODES = (
    "Exit codes: 0 done; 1 the server refused; 2 the command line is wrong; 3 no connection to "
    "the server; 130 stopped by Ctrl-C."
)

F = TypeVar("F", bound=Callable[..., Any])


def with_url(function: F) -> F:
    """Give a command ``--url``; ``--ca-file``, which is heeded by :func:`trust`; and
    ``--key-file``."""
    function = with_key(function)
    function = click.option(
        "--ca-file",
        metavar="FILE",
        envvar="NOTIFIER_CA_FILE",
        show_envvar=True,
        expose_value=False,
        callback=_trust_file,
        help="PEM file of the certificates to trust, in place of the usual ones.",
    )(function)
    return click.option(
        "--url",
        envvar="NOTIFIER_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="The server.",
    )(function)


def _trust_file(context: click.Context, _: click.Parameter, file: str | None) -> None:
    if not file:
        return
    try:
        context.meta[_TRUST] = ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise click.BadParameter(f"there is no certificate in {file}") from None
    except OSError as error:
        raise click.BadParameter(f"{file} can't be read: {error.strerror or error}") from None


def trust() -> ssl.SSLContext | None:
    """What ``--ca-file`` of the command under way said; ``None``: the usual certificates, which
    ``SSL_CERT_FILE`` may name."""
    made: ssl.SSLContext | None = click.get_current_context().meta.get(_TRUST)
    return made


def ask(url: str, work: Callable[[Client], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Do the work with a client of the server; what goes wrong ends the command in one line.

    Ctrl-C and SIGTERM cancel the work and end the command with what shells expect, 128 and the
    signal's number; a second Ctrl-C ends it at once.
    """
    # Late, since it brings Tornado: help and mistakes need not wait for it.
    import notifier.client

    # What it warns of, we tell in our own words.
    logging.getLogger("tornado.general").setLevel(logging.CRITICAL)
    try:
        client = notifier.client.connect(url, token=credential(), tls=trust(), **options)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None

    async def attended() -> int:
        loop, stopped = asyncio.get_running_loop(), 0

        async def all_of_it() -> None:
            async with client:
                await work(client)

        def stop(number: int) -> None:
            nonlocal stopped
            stopped = 128 + number
            task.cancel()
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(each)

        task = asyncio.create_task(all_of_it())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return stopped

    try:
        code = asyncio.run(attended())
    except (NotifierError, notifier.client.ClientError) as problem:
        raise failed(problem, url) from None
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    if code:
        raise click.exceptions.Exit(code)


def failed(problem: Exception, url: str) -> click.exceptions.Exit:
    """Say what went wrong between us and the server."""
    from notifier.client import Unreachable

    sentence = escape(str(problem))
    if isinstance(problem, NotifierError):
        return fail(Exit.REFUSED, sentence, refusal_details(problem.describe()))
    if isinstance(problem, Unreachable):
        hint = ["Is it running?  notifier serve"] if url == DEFAULT_URL else []
        return fail(Exit.UNREACHABLE, sentence, hint)
    return fail(Exit.REFUSED, sentence)


def refusal_details(error: dict[str, Any]) -> list[str]:
    """What the server told beyond the sentence."""
    facts = [f"code {error.get('code')}"]
    if error.get("field"):
        facts.append(f"field {error['field']}")
    if error.get("temporary"):
        facts.append("temporary: the same may work later")
    details = [", ".join(facts), str(error.get("docs", "")), *advice(error.get("code"), error)]
    return [escape(detail) for detail in details if detail]
