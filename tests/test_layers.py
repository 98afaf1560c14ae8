"""The house rules of imports: a module imports only from its own floor or a lower one, and so on.

The checker works on sources, so that the tests below can plant violations and see them found.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent

FLOORS: tuple[frozenset[str], ...] = (
    # 0: words, and how they are written
    frozenset({"", "errors", "notification", "channels"})
    | {"fields", "assets", "durations", "instants", "jsontext", "value"},
    # 1: pure protocol
    frozenset({"wire", "session", "history", "recovery", "members"})
    | {"attendance", "connectionstate", "nodestate", "expiries"},
    # 2: what a node is told, and tells
    frozenset({"config", "logs", "auth", "limits", "counts", "metrics", "audit"}),
    # 3: the log and its readers
    frozenset({"brokers", "feed", "hub", "sink", "keepalive"})
    | {"backfill", "lane", "ring", "tail", "subscription", "subscriptions"}
    | {"listener", "patterns", "presence", "connections", "requests", "strangers"}
    | {"backlog", "errands", "roster", "connectionlimits", "lobby", "publishrate", "ids"},
    # 4: the use cases
    frozenset({"node", "client", "drain", "crew", "directory", "authentication"})
    | {"administration", "residents"},
    # 5
    frozenset({"handlers"}),
    # 6: what puts it together
    frozenset({"server", "serving", "supervisor", "cli", "__main__"})
    | {"collector", "lifeline", "orders", "tls", "worker"},
)
PURE_FLOOR = 1
IMPURE = {"asyncio", "tornado", "redis", "time", "os", "sys", "socket", "select", "threading"}
IMPURE_CALLS = {"now", "utcnow", "today"}
# The fan-out, which handlers reach through the node alone.
BEHIND_THE_NODE = {"brokers", "hub", "feed", "lane", "ring", "tail", "backfill"} | {
    "patterns",
    "presence",
    "roster",
    "subscriptions",
}
TORNADO_ROOMS = {"handlers", "server", "client"}
ENVIRONMENT_ROOMS = {"cli", "config"}
CONTAINERS = {"set", "list", "dict", "deque", "defaultdict", "OrderedDict", "Counter"} | {
    "WeakSet",
    "WeakKeyDictionary",
    "WeakValueDictionary",
}


@dataclass(frozen=True, slots=True)
class Import:
    """``name`` is imported on ``line``; ``at_load`` when merely importing the module does it."""

    name: str
    line: int
    at_load: bool


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    tree: ast.Module
    is_package: bool = False
    imports: list[Import] = field(default_factory=list)

    @property
    def room(self) -> str:
        return room_of(self.name)


def room_of(module: str) -> str:
    """``notifier.wire.resume`` is in the room ``wire``, ``handlers.ws`` in ``handlers``."""
    if module == "handlers" or module.startswith("handlers."):
        return "handlers"
    return module.split(".")[1] if "." in module else ""


def floor_of(room: str) -> int | None:
    return next((floor for floor, rooms in enumerate(FLOORS) if room in rooms), None)


def is_ours(module: str) -> bool:
    return module.split(".")[0] in ("notifier", "handlers")


def read(modules: Mapping[str, str]) -> list[Source]:
    """The parsed modules; a package is named ``name.__init__``."""
    sources = []
    for name, text in modules.items():
        is_package = name.endswith(".__init__")
        source = Source(name.removesuffix(".__init__"), ast.parse(text), is_package)
        sources.append(source)
    names = {source.name for source in sources}
    for source in sources:
        source.imports.extend(imports_of(source, names))
    return sources


def imports_of(source: Source, known: set[str]) -> Iterator[Import]:
    def walk(node: ast.AST, at_load: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_load)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = source.name.split(".")
                    parts = parts[: len(parts) - child.level + (1 if source.is_package else 0)]
                    base = ".".join([*parts, *([base] if base else [])])
                for alias in child.names:
                    inner = f"{base}.{alias.name}"
                    yield Import(inner if inner in known else base, child.lineno, at_load)
            else:
                later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                    later = True
                yield from walk(child, at_load and not later)

    yield from walk(source.tree, True)


def violations(modules: Mapping[str, str]) -> list[str]:
    """Every broken rule, as ``module:line: sentence``."""
    sources = read(modules)
    found: list[str] = []
    for source in sources:
        found += [f"{source.name}:{line}: {text}" for line, text in broken_rules(source)]
    return found + circles(sources)


def broken_rules(source: Source) -> Iterator[tuple[int, str]]:
    floor = floor_of(source.room)
    if floor is None:
        yield 1, f"{source.room!r} has no floor: give it one in tests/test_layers.py"
        return
    for item in source.imports:
        yield from broken_by_import(source, floor, item)
    for node in ast.walk(source.tree):
        yield from broken_by_node(source, floor, node)
    for scope in ast.walk(source.tree):
        if isinstance(scope, ast.Module | ast.ClassDef):
            yield from shared_state(scope)


def broken_by_import(source: Source, floor: int, item: Import) -> Iterator[tuple[int, str]]:
    top, room = item.name.split(".")[0], room_of(item.name)
    if is_ours(item.name):
        theirs = floor_of(room)
        if theirs is not None and theirs > floor:
            yield item.line, f"floor {floor} imports {item.name} of floor {theirs}"
        if source.room == "client" and theirs is not None and theirs > 1 and room != "client":
            yield item.line, f"the client sees floors 0 and 1 only, not {item.name}"
        if source.room == "handlers" and room in BEHIND_THE_NODE:
            yield item.line, f"handlers talk to the node, not to {item.name}"
        if room == "handlers" and source.room not in ("handlers", "server"):
            yield item.line, "server.py alone imports handlers"
    if top in ("redis", "hiredis") and not source.name.startswith("notifier.brokers.redis"):
        yield item.line, "redis appears only in brokers/redis/"
    if top == "tornado" and source.room not in TORNADO_ROOMS:
        yield item.line, "tornado appears only in handlers/, server.py and client.py"
    if item.name.startswith("tornado.options"):
        yield item.line, "tornado.options is a singleton"
    if floor == PURE_FLOOR and top in IMPURE:
        yield item.line, f"floor {PURE_FLOOR} is pure and imports {top}"


def broken_by_node(source: Source, floor: int, node: ast.AST) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv" as name):
            reads = f"os.{name}"
        case ast.Attribute(value=ast.Name(id="sys"), attr="argv"):
            reads = "sys.argv"
        case ast.ImportFrom(module="os", names=names) if any(
            alias.name in ("environ", "environb", "getenv") for alias in names
        ):
            reads = "os.environ"
        case ast.ImportFrom(module="sys", names=names) if any(n.name == "argv" for n in names):
            reads = "sys.argv"
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in IMPURE_CALLS:
            if floor == PURE_FLOOR:
                yield node.lineno, f"floor {PURE_FLOOR} is pure and reads the clock with {attr}()"
            return
        case ast.Global():
            yield node.lineno, "global: no state on modules"
            return
        case _:
            return
    if source.room not in ENVIRONMENT_ROOMS:
        yield node.lineno, f"{reads} is read in cli/ and config.py only"


def shared_state(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Containers made empty on a module or a class are there to be filled: state."""
    for statement in scope.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        match statement.value:
            case ast.List(elts=[]) | ast.Dict(keys=[]):
                pass
            case ast.Call(func=ast.Name(id=name), args=[]) if name in CONTAINERS:
                pass
            case ast.Call(func=ast.Attribute(attr=name)) if name in CONTAINERS:
                pass
            case ast.Call(func=ast.Name(id="defaultdict" | "deque")):
                pass
            case _:
                continue
        owner = f"class {scope.name}" if isinstance(scope, ast.ClassDef) else "the module"
        yield statement.lineno, f"an empty container on {owner} is shared state"


def circles(sources: list[Source]) -> list[str]:
    """Modules that import one another while they load."""
    graph = {
        source.name: sorted({item.name for item in source.imports if item.at_load})
        for source in sources
    }
    found: list[str] = []
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append("imports in a circle: " + " -> ".join((*path[path.index(name) :], name)))
        elif name in graph and name not in done:
            for other in graph[name]:
                if other != name:
                    visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return found


def modules_of(checkout: Path) -> dict[str, str]:
    return {
        ".".join(path.relative_to(checkout).with_suffix("").parts): path.read_text("utf-8")
        for package in ("notifier", "handlers")
        for path in sorted((checkout / package).rglob("*.py"))
    }


def test_every_module_keeps_the_rules() -> None:
    assert "\n".join(violations(modules_of(CHECKOUT))) == ""


def test_every_module_was_looked_at() -> None:
    modules = modules_of(CHECKOUT)
    assert {"notifier.__init__", "notifier.config.settings", "notifier.cli.app"} <= modules.keys()


@pytest.mark.parametrize(
    ("module", "text", "sentence"),
    [
        ("notifier.errors", "from notifier.node import Node", "imports notifier.node of floor 4"),
        ("notifier.errors", "def f():\n from notifier import hub", "notifier.hub of floor 3"),
        ("notifier.wire.x", "from ..hub import Hub", "imports notifier.hub of floor 3"),
        ("notifier.wire.__init__", "from .. import hub", "imports notifier.hub of floor 3"),
        ("notifier.wire.x", "import asyncio", "is pure and imports asyncio"),
        ("notifier.session", "from time import monotonic", "is pure and imports time"),
        ("notifier.session", "x = datetime.now(UTC)", "reads the clock"),
        ("notifier.client", "from notifier.config import Settings", "floors 0 and 1 only"),
        ("notifier.client", "import notifier.hub", "floors 0 and 1 only"),
        (
            "handlers.notify",
            "from notifier.brokers.memory.broker import X",
            "handlers talk to the node",
        ),
        ("handlers.notify", "from notifier import hub", "handlers talk to the node"),
        ("handlers.notify", "from notifier.server import Server", "of floor 6"),
        ("notifier.cli.serve", "import handlers.routes", "server.py alone imports handlers"),
        ("notifier.node", "import handlers", "server.py alone imports handlers"),
        ("notifier.brokers.memory.broker", "import redis.asyncio", "redis appears only in"),
        ("notifier.hub", "from tornado.ioloop import IOLoop", "tornado appears only in"),
        ("notifier.cli.serve", "import tornado", "tornado appears only in"),
        ("notifier.server", "from tornado.options import define", "singleton"),
        ("notifier.server", "import os\nx = os.environ['A']", "os.environ is read in cli/"),
        ("notifier.server", "import os\nx = os.getenv('A')", "os.getenv is read in cli/"),
        ("notifier.server", "from os import environ", "os.environ is read in cli/"),
        ("notifier.server", "import sys\nx = sys.argv[1]", "sys.argv is read in cli/"),
        ("notifier.hub", "class Hub:\n waiters = set()", "an empty container on class Hub"),
        ("notifier.hub", "feeds: dict[str, int] = {}", "an empty container on the module"),
        ("notifier.hub", "import weakref\nx = weakref.WeakSet()", "an empty container"),
        ("notifier.hub", "feeds = defaultdict(list)", "an empty container on the module"),
        ("notifier.hub", "def f():\n global x", "no state on modules"),
        ("notifier.helper", "", "'helper' has no floor"),
    ],
)
def test_planted_violation_is_found(module: str, text: str, sentence: str) -> None:
    found = violations({"notifier.hub": "", "notifier.__init__": "", module: text})
    assert len([line for line in found if sentence in line]) == 1, found
    assert found[0].startswith(module.removesuffix(".__init__") + ":")


def test_circle_is_found() -> None:
    found = violations(
        {
            "notifier.feed": "from notifier import hub",
            "notifier.hub": "from notifier.sink import Sink",
            "notifier.sink": "from notifier.feed import Feed",
        }
    )
    assert found == [
        "imports in a circle: notifier.feed -> notifier.hub -> notifier.sink -> notifier.feed"
    ]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("notifier.hub", "from notifier.feed import Feed"),  # of its own floor
        ("notifier.cli.serve", "def f():\n from notifier.serving import run"),
        ("notifier.cli.serve", "import os, sys\nx = os.environ, sys.argv"),
        ("notifier.brokers.redis.client", "import redis.asyncio"),
        ("handlers.ws", "from tornado.websocket import X\nfrom notifier.node import Node"),
        ("notifier.server", "import handlers.routes\nimport tornado.web"),
        ("notifier.hub", "class A:\n __slots__ = ()\n names = frozenset({'a'})\n def f(s): x = []"),
        ("notifier.feed", "if TYPE_CHECKING:\n from notifier.hub import Hub"),  # types may circle
    ],
)
def test_rightful_module_passes(module: str, text: str) -> None:
    others = {"notifier.hub": "from notifier.feed import Feed", "notifier.feed": ""}
    assert violations({**others, module: text}) == []
