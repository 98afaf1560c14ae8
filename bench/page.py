"""Brings a result to where people look: the picture, and the tables of a page of the docs.

python -m bench.page bench/results/<a result>.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.case import Figure
from bench.estimate import Estimate, estimate
from bench.picture import draw
from bench.process import CHECKOUT
from bench.report import number
from bench.targets import TARGETS

PAGE = CHECKOUT / "docs" / "explanation" / "performance.md"
_BLOCK = "<!-- measured: {path} -->\n{tables}<!-- end -->"
BLOCK = re.compile(r"<!-- measured: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)

# What a thing costs: said how, in which case, of which side, by which figure.
COSTS = (
    ("an idle WebSocket, resident", "idle", "notifier", "bytes_per_connection"),
    ("a handshake with a subscription, CPU", "handshakes", "notifier", "cpu_per_handshake"),
    ("a client that resumes 100 missed messages, CPU", "storm", "resume", "cpu_per_client"),
    ("a channel with a socket and 10 publications, resident", "feeds", "notifier",
     "bytes_per_connection"),
    ("a client that reads nothing of 20 MB, resident", "stuck", "notifier",
     "bytes_per_connection"),
    ("a publication: one POST at a time, CPU", "post", "notifier", "cpu_per_publication"),
    ("… 8 producers at once", "post-brokers", "memory", "cpu_per_publication"),
    ("… on sqlite", "post-brokers", "sqlite", "cpu_per_publication"),
    ("… on Redis, CPU of the node", "post-brokers", "redis", "cpu_per_publication"),
    ("… a line of NDJSON", "ndjson", "memory", "cpu_per_publication"),
    ("… a WebSocket command", "websocket", "memory", "cpu_per_publication"),
    ("a delivery, paced: one publication a turn, CPU", "paced", "notifier", "cpu_per_delivery"),
    ("… flat-out: as many a turn as there are", "batches", "notifier", "cpu_per_delivery"),
    ("… a connection on 50 channels", "wide-sockets", "notifier", "cpu_per_delivery"),
    ("… deflated, 2,000 bytes", "deflate", "deflate", "cpu_per_delivery"),
)  # fmt: skip


def tables(told: dict[str, Any]) -> str:
    """What was to be reached, and what things cost, as Markdown."""
    lines = ["| what | target | reached | |", "|---|---|---|---|"]
    reached = {target["what"]: target for target in told["targets"]}
    for target in TARGETS:
        found = reached.get(target.what)
        if found is not None:
            mark = "✓" if found["met"] else "✗"
            text = f"{number(Estimate(*found['reached']))} {target.unit}".rstrip()
            lines.append(f"| {target.what} | {target.bound} | {text} | {mark} |")
    lines += ["", "| what | costs |", "|---|---|"]
    lines += [f"| {what} | {text} |" for what, text in _costs(told)]
    return "\n".join(lines) + "\n"


def _costs(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    cases = {case["name"]: case for case in told["cases"]}
    for what, name, ours, figure in COSTS:
        case = cases.get(name, {"sides": [], "figures": []})
        turns = [turn for side in case["sides"] if side["name"] == ours for turn in side["turns"]]
        for known in (Figure(**f, digits=0) for f in case["figures"] if f["name"] == figure):
            found = estimate([turn[figure] * known.scale for turn in turns if figure in turn])
            if found is not None:
                yield what, f"{number(found)} {known.unit}"


def write(result: Path, page: Path = PAGE) -> None:
    """Put the tables of the result where the page has those of another."""
    told = json.loads(result.read_text())
    path = result.resolve().relative_to(CHECKOUT).as_posix()
    block = _BLOCK.format(path=path, tables=tables(told))
    text, count = BLOCK.subn(lambda _: block, page.read_text())
    if count != 1:
        raise ValueError(f"{page} has {count} places for what was measured, not one")
    page.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    print(PAGE)
    print(draw(Path(sys.argv[1])))
