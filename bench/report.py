"""Results: on the terminal, as JSON, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from bench.case import Figure, Outcome
from bench.estimate import Estimate, estimate
from bench.plan import Plan
from bench.targets import TARGETS

RESULTS = Path(__file__).parent / "results"
# Of a turn, besides its case's figures.
_KEPT = ("wrong", "published", "delivered", "hangups", "seconds", "cpu_seconds", "load_cores")


@dataclass(slots=True)
class Result:
    """One call's outcomes, and what they were measured with."""

    date: str
    plan: Plan
    machine: dict[str, str]
    revision: str
    versions: dict[str, dict[str, str]]
    outcomes: dict[str, Outcome]

    @property
    def wrong(self) -> dict[str, dict[str, int]]:
        """What was not delivered as it should be, by case and side."""
        return {name: found.wrong for name, found in self.outcomes.items() if found.wrong}

    def save(self, folder: Path = RESULTS) -> Path:
        """Write both files; the Markdown one."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.date[:16].replace(':', '')}-{self.revision.rstrip('+')}"
        name += "-quick" if self.plan.quick else ""
        place = folder / f"{name}.json"
        place.write_text(json.dumps(self.described(), indent=1, ensure_ascii=False) + "\n")
        page = folder / f"{name}.md"
        page.write_text(self.markdown())
        return page

    def described(self) -> dict[str, Any]:
        """As JSON: every turn, in the order they were taken."""
        return {
            "date": self.date,
            "revision": self.revision,
            "machine": self.machine,
            "versions": self.versions,
            "plan": {
                k: v for k, v in asdict(self.plan).items() if k in ("rounds", "seconds", "size")
            }
            | {"seed": self.plan.seed, "pinned": self.plan.server_cores is not None},
            "cases": [_described(found) for found in self.outcomes.values()],
            "targets": [
                {"what": t.what, "bound": t.bound, "reached": _listed(r), "met": t.met(r)}
                for t in TARGETS
                if (r := t.reached(self.outcomes)) is not None
            ],
        }

    def markdown(self) -> str:
        facts = [f"{name}: {value}" for name, value in self.machine.items()]
        versions = [
            " ".join(f"{name} {version}" for name, version in found.items())
            for found in self.versions.values()
        ]
        plan = self.plan
        lines = [
            f"# {self.date[:10]}, {self.revision}",
            "",
            " · ".join(facts),
            "",
            "Versions: " + "; ".join(dict.fromkeys(versions)) + ".",
            "",
            f"{plan.rounds} rounds of {plan.seconds:g} s, seed {plan.seed}; a server has "
            + ("one core of its own." if plan.server_cores else "all cores, with the load.")
            + " Medians, with the interval that holds the median with 95 % (bootstrap). A ratio is"
            " ours to theirs in the same round.",
        ]
        if plan.is_full:
            lines += ["", "## Targets", "", "| | target | reached | |", "|---|---|---|---|"]
        for target in TARGETS if plan.is_full else ():
            reached = target.reached(self.outcomes)
            if reached is not None:
                mark = "✓" if target.met(reached) else "✗"
                text = f"{number(reached)} {target.unit}".rstrip()
                lines.append(f"| {target.what} | {target.bound} | {text} | {mark} |")
        for outcome in self.outcomes.values():
            lines += ["", *_markdown(outcome)]
        return "\n".join(lines) + "\n"


def _described(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    shown = [figure.name for figure in case.figures]
    return {
        "name": case.name,
        "title": case.title,
        "figures": [
            {"name": f.name, "title": f.title, "unit": f.unit, "scale": f.scale}
            for f in case.figures
        ],
        "sides": [
            {
                "name": side.name,
                "title": side.title,
                "turns": [
                    {k: _rounded(turn[k]) for k in (*shown, *_KEPT) if k in turn}
                    for turn in outcome.turns.get(side.name, [])
                ],
            }
            for side in case.sides
        ],
        "absent": case.absent,
        "failures": outcome.failures,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _listed(found: Estimate) -> list[float]:
    return [_rounded(value) for value in found]


def number(found: Estimate, digits: int | None = None) -> str:
    """``1.07 (1.05–1.11)``: the median, and the interval that holds it."""
    if digits is None:
        size = max(abs(found.median), 1e-9)
        digits = 0 if size >= 1000 else 1 if size >= 20 else 2
    middle, low, high = (f"{value:,.{digits}f}" for value in found)
    return middle if low == high else f"{middle} ({low}–{high})"


def cell(outcome: Outcome, side: str, figure: Figure) -> str:
    """A side's figure in its unit; of the main one also the interval."""
    values = [value * figure.scale for value in outcome.values(side, figure.name)]
    found = estimate(values)
    if found is None:
        return ""
    if figure is outcome.case.main:
        return number(found, figure.digits)
    return f"{found.median:,.{figure.digits}f}"


def ratio(outcome: Outcome, side: str) -> str:
    """Ours to theirs, of the main figure."""
    if side == outcome.ours:
        return ""
    found = estimate(outcome.ratios(outcome.ours, side, outcome.case.main.name))
    return "" if found is None else number(found, 2)


def _headings(figures: tuple[Figure, ...] | list[Figure]) -> list[str]:
    return [f"{figure.title}{', ' + figure.unit if figure.unit else ''}" for figure in figures]


def _markdown(outcome: Outcome) -> list[str]:
    case = outcome.case
    headings = ["", *_headings(list(case.figures)), "ours to it"]
    lines = [
        f"## {case.name}",
        "",
        case.title[0].upper() + case.title[1:] + ".",
        "",
        "| " + " | ".join(headings) + " |",
        "|---" * len(headings) + "|",
    ]
    for side in case.sides:
        cells = [side.title, *(cell(outcome, side.name, f) for f in case.figures)]
        lines.append("| " + " | ".join([*cells, ratio(outcome, side.name)]) + " |")
    notes = [f"{name}: {count} messages wrong" for name, count in outcome.wrong.items()]
    notes += [f"{name}: {reason}" for name, reason in (case.absent | outcome.failures).items()]
    return [*lines, "", *(f"- {note}" for note in notes)] if notes else lines


def table(outcome: Outcome) -> Table:
    """For a terminal."""
    case = outcome.case
    shown = Table(title=f"{case.name}: {case.title}", title_justify="left", title_style="bold")
    shown.add_column("")
    for heading in _headings(list(case.figures)):
        shown.add_column(heading, justify="right")
    shown.add_column("ours to it", justify="right", style="cyan")
    wrong = outcome.wrong
    for side in case.sides:
        title = Text(side.title, style="bold" if side.name == outcome.ours else "")
        if side.name in wrong:
            title.append(f"  {wrong[side.name]:,} wrong", style="bold red")
        if side.name in outcome.failures:
            title.append("  failed", style="bold red")
        cells = [cell(outcome, side.name, figure) for figure in case.figures]
        shown.add_row(title, *cells, ratio(outcome, side.name))
    return shown


def targets_table(outcomes: Mapping[str, Outcome]) -> Table:
    """What was to be reached, as far as it was measured."""
    shown = Table(title="targets", title_justify="left", title_style="bold")
    for heading, justify in (("", "left"), ("target", "right"), ("reached", "right"), ("", "left")):
        shown.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for target in TARGETS:
        reached = target.reached(outcomes)
        if reached is None:
            continue
        mark = Text("✓", style="green") if target.met(reached) else Text("✗", style="red")
        text = f"{number(reached)} {target.unit}".rstrip()
        shown.add_row(target.what, target.bound, text, mark)
    return shown
