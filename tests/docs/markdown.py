"""Reading the project's own pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent
DOCS = CHECKOUT / "docs"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the heading it stands under."""

    language: str
    text: str
    heading: str


def read(name: str) -> str:
    """A page under ``docs/``."""
    return (DOCS / name).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    found, heading, language, lines = [], "", "", []
    fenced = False
    for line in page.splitlines():
        if line.startswith("```"):
            if fenced:
                found.append(Block(language, "\n".join(lines), heading))
            fenced, language, lines = not fenced, line[3:], []
        elif fenced:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def anchors(page: str) -> set[str]:
    """What ``#…`` can point to: GitHub's names of the headings, and anchors set by hand."""
    outside = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+?)\s*$", outside, flags=re.MULTILINE)
    names = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return names | set(re.findall(r'<a id="([^"]+)">', page))


def links(page: str) -> list[str]:
    """The targets of its links within the project."""
    outside = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", outside)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
