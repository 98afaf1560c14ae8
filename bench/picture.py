"""Draws the main comparison as an SVG that is read in the light and in the dark."""

from __future__ import annotations

import json
import statistics
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from bench.process import CHECKOUT

TARGET = CHECKOUT / "docs" / "images" / "fanout.svg"
_ROW, _BAR, _LEFT, _WIDTH, _TOP = 26, 16, 290, 800, 46
_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f; }
    .title { font-weight: 600; font-size: 14px; }
    .note { fill: #57606a; font-size: 11px; }
    .bar { fill: #8c959f; }
    .ours { fill: #0969da; }
    .floor { fill: none; stroke: #8c959f; stroke-dasharray: 3 3; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
      .bar { fill: #6e7681; }
      .ours { fill: #4493f8; }
      .floor { stroke: #9198a1; }
    }
"""


class Row(NamedTuple):
    name: str
    title: str
    value: float


def draw(result: Path, target: Path = TARGET) -> Path:
    """Two panels: what a delivery costs, and how many there are in a second."""
    told = json.loads(result.read_text())
    cases = {case["name"]: case for case in told["cases"]}
    panels, height = [], 0
    for name, figure, title, unit in (
        ("paced", "cpu_per_delivery", "Server CPU per delivery: less is better", "µs"),
        ("flat-out", "deliveries_per_second", "Deliveries per second, flat-out", ""),
    ):
        if name not in cases:
            continue
        rows = _rows(cases[name], figure)
        panel, size = _panel(rows, height, f"{title} ({cases[name]['title']})", unit)
        panels.append(panel)
        height += size
    machine = told["machine"]
    note = (
        f"{told['date'][:10]} · {machine['processor']}, {machine['cores']} cores, one of them for "
        f"the server · medians of {told['plan']['rounds']} rounds"
    )
    panels.append(f'<text class="note" x="8" y="{height + 14}">{escape(note)}</text>')
    body = "\n".join(panels)
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height + 26}" '
        f'role="img" aria-label="notifier and its peers, measured">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )
    return target


def _rows(case: dict[str, Any], figure: str) -> list[Row]:
    scale = next(f["scale"] for f in case["figures"] if f["name"] == figure)
    rows = []
    for side in case["sides"]:
        values = [turn[figure] * scale for turn in side["turns"] if figure in turn]
        if values:
            rows.append(Row(side["name"], side["title"], statistics.median(values)))
    best_is_large = figure.endswith("per_second")
    return sorted(rows, key=lambda row: row.value, reverse=best_is_large)


def _panel(rows: list[Row], top: int, title: str, unit: str) -> tuple[str, int]:
    """Bars, the best one first."""
    parts = [f'<text class="title" x="8" y="{top + 24}">{escape(title)}</text>']
    longest = max(row.value for row in rows)
    room = _WIDTH - _LEFT - 90
    for number, row in enumerate(rows):
        y = top + _TOP + number * _ROW
        width = max(2.0, room * row.value / longest)
        kind = "bar ours" if row.name == "notifier" else "bar"
        value = f"{row.value:,.1f}" if row.value < 1000 else f"{row.value:,.0f}"
        baseline = y + _BAR - 3
        parts += [
            f'<text x="{_LEFT - 8}" y="{baseline}" text-anchor="end">{escape(row.title)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" '
            f'height="{_BAR}" rx="2"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{baseline}">{value} {unit}</text>',
        ]
    return "\n".join(parts), _TOP + len(rows) * _ROW + 10
