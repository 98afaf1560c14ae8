"""Serving until told to stop: in this process, or in several workers."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

from notifier import logs
from notifier.auth.origin import ANY_ORIGIN
from notifier.authentication import CannotAuthenticate, authenticates
from notifier.brokers.base import CannotOpen
from notifier.collector import Growth, resident_bytes, settle
from notifier.config import Origin, Settings, reached
from notifier.lifeline import Lifeline
from notifier.orders import Orders, by_signals
from notifier.server import SPARE_FILES, Server, claim
from notifier.supervisor import NoneStarted, Supervisor, cores
from notifier.tls import CannotLoad

log = logging.getLogger("notifier.server")


class CannotServe(Exception):
    """The server can't start. Its sentence is for who starts it."""


def cannot_listen(settings: Settings, error: OSError) -> CannotServe:
    address = f"{settings.host}:{settings.port}"
    return CannotServe(f"cannot serve on {address}: {error.strerror or error}")


def allow_files(connections: int) -> None:
    """Let the process have as many files open as it may, and say when that is not enough."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections + SPARE_FILES:
        logs.event(
            log,
            logging.WARNING,
            "server.few_files",
            open_files=hard,
            max_connections=connections,
            hint="raise the limit (ulimit -n) or lower max_connections",
        )


def tell_who_may(settings: Settings) -> None:
    """Say so where nobody is asked for a key or a token, and whom that lets in."""
    if authenticates(settings):
        return
    how = reached.from_elsewhere(dict(settings))
    if how:
        hint = "whoever reaches this server may read and publish everything"
        logs.event(log, logging.WARNING, "server.open", reached=how, hint=hint)
    else:
        hint = "to serve others, make keys (notifier key create) or verify tokens"
        logs.event(log, logging.INFO, "server.open", reached="from this machine alone", hint=hint)
    # Pages that somebody visits ask from that machine.
    if ANY_ORIGIN in settings.allowed_origins:
        logs.event(
            log,
            logging.WARNING,
            "server.open_to_any_page",
            allowed_origins=",".join(settings.allowed_origins),
            hint="every page that somebody here visits may read and publish everything: name the "
            "origins that may, or make keys (notifier key create, setting keys_file)",
        )


async def serve(
    settings: Settings,
    greet: Callable[[str], None],
    ordered: Callable[[Orders], AbstractContextManager[None]] = by_signals,
    origins: Mapping[str, Origin] = MappingProxyType({}),
) -> None:
    """Serve until ordered to drain or to stop.

    :param greet: told the server's URL once it listens.
    :param ordered: where orders come from, entered on the event loop.
    :param origins: where the settings come from.
    :raises CannotServe:
    """
    allow_files(settings.max_connections)
    try:
        server = Server(settings, origins)
    except CannotAuthenticate as error:
        raise CannotServe(str(error)) from error
    orders = Orders(reload=server.reload)
    # Before it says that it listens: who reads that may end it at once.
    with ordered(orders):
        try:
            await server.start()
        except (CannotOpen, CannotLoad) as error:
            raise CannotServe(str(error)) from error
        except OSError as error:
            raise cannot_listen(settings, error) from error
        settle()
        server.look = Growth(resident_bytes, time.monotonic).look
        greet(server.url)
        await orders.asked.wait()
        draining = asyncio.create_task(server.drain())
        insisting = asyncio.create_task(orders.insisted.wait())
        await asyncio.wait([draining, insisting], return_when=asyncio.FIRST_COMPLETED)
        insisting.cancel()
        if not draining.done():
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await server.stop()
        else:
            draining.result()


def run_workers(
    settings: Settings,
    count: int,
    greet: Callable[[str], None],
    origins: Mapping[str, Origin] = MappingProxyType({}),
) -> int:
    """Serve with so many workers until told to stop; the supervisor's exit status.

    :raises CannotServe:
    """
    # Workers share what is imported before they are forked: 19.7 MB of their own becomes 11.2.
    import notifier.brokers.redis.broker  # noqa: F401

    try:
        held = claim(settings)
    except OSError as error:
        raise cannot_listen(settings, error) from error
    # Where any port will do, it is the same one for all.
    settings = settings.model_copy(update={"workers": count, "port": held[0].getsockname()[1]})

    def work(line: Lifeline) -> int:
        for sock in held:
            sock.close()
        logs.configure(settings.log_level, settings.log_format, common={"worker": line.worker})
        try:
            asyncio.run(serve(settings, line.listening, line.attended, origins))
        except CannotServe as error:
            line.failed(str(error))
            return 1
        return 0

    supervisor = Supervisor(work, count, drain_seconds=settings.drain_seconds, on_ready=greet)
    try:
        return supervisor.run()
    except NoneStarted as error:
        raise CannotServe(str(error)) from error
    finally:
        for sock in held:
            sock.close()


def run(
    settings: Settings,
    *,
    greet: Callable[[str], None] = lambda url: None,
    origins: Mapping[str, Origin] = MappingProxyType({}),
) -> int:
    """Serve until told to stop; the process's exit status.

    :param greet: told the server's URL once it, or all its workers, listen.
    :param origins: where the settings come from.
    :raises CannotServe:
    """
    workers = settings.workers or cores()

    def listening(url: str) -> None:
        tell_who_may(settings)
        greet(url)

    if workers > 1:
        return run_workers(settings, workers, listening, origins)
    asyncio.run(serve(settings, listening, origins=origins))
    return 0
