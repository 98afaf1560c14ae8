"""Runs the cases: every side has its turn, round after round."""

from __future__ import annotations

import contextlib
import subprocess
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bench import machine
from bench.case import Case, Outcome, Turn
from bench.load import LoadError
from bench.peers import peers
from bench.plan import Plan
from bench.report import Result, table
from bench.scenarios import Scenario

# A side that fails in one of these ways is told of, and the others go on.
FAILURES = (LoadError, OSError, RuntimeError, subprocess.CalledProcessError)


class Bar:
    """On a terminal, what is measured just now and how far it is; elsewhere nothing."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", style="dim"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._all = TaskID(0)
        self._case: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def scenarios(self, scenarios: Sequence[Scenario]) -> Iterator[Scenario]:
        """Each of them, with a bar that counts."""
        self._all = self._progress.add_task("all", total=len(scenarios), doing="")
        for scenario in scenarios:
            self._progress.update(self._all, doing=scenario.name)
            yield scenario
            self._progress.advance(self._all)

    def begin(self, case: Case, turns: int) -> None:
        self.end()
        self._case = self._progress.add_task(case.name, total=turns, doing="")

    def doing(self, what: str) -> None:
        if self._case is not None:
            self._progress.update(self._case, doing=what)

    def advance(self) -> None:
        if self._case is not None:
            self._progress.advance(self._case)

    def end(self) -> None:
        if self._case is not None:
            self._progress.remove_task(self._case)
            self._case = None


def run(scenarios: Sequence[Scenario], plan: Plan, console: Console) -> Result:
    """Measure, and show each case's table when it is done."""
    versions = prepare(plan, console)
    outcomes: dict[str, Outcome] = {}
    began = datetime.now(UTC)
    with Bar(console) as bar:
        for scenario in bar.scenarios(scenarios):
            for case in scenario.cases(plan):
                outcome = measure(case, plan, bar)
                outcomes[case.name] = outcome
                bar.end()
                if outcome.turns:
                    console.print(table(outcome))
                else:
                    console.print(f"[bold]{case.name}[/bold]: nothing to measure")
                for name, reason in (case.absent | outcome.failures).items():
                    console.print(f"  [dim]{name}: {reason}[/dim]")
                console.print()
    return Result(
        began.isoformat(timespec="seconds"),
        plan,
        machine.machine(),
        machine.revision(),
        versions,
        outcomes,
    )


def prepare(plan: Plan, console: Console) -> dict[str, dict[str, str]]:
    """Build and install what the peers need; their versions."""
    present, absent = peers(plan.peers)
    for name, reason in absent.items():
        console.print(f"[dim]without {name}: {reason}[/dim]")
    versions = {}
    for peer in present:
        with console.status(f"preparing {peer.name}"):
            peer.prepare()
        versions[peer.name] = peer.versions()
    return versions


def measure(case: Case, plan: Plan, bar: Bar) -> Outcome:
    """Let the sides of the case take turns: A B, then B A, and so on."""
    outcome = Outcome(case, {side.name: [] for side in case.sides})
    rounds = min(plan.rounds, case.rounds or plan.rounds)
    bar.begin(case, len(case.sides) * (rounds + case.warm))
    with contextlib.ExitStack() as stack:
        takers: dict[str, Callable[[], Turn]] = {}

        def attempt(name: str, act: Callable[[], object]) -> None:
            try:
                act()
            except FAILURES as error:
                outcome.failures[name] = _said(error)
                takers.pop(name, None)
            bar.advance()

        def begin(name: str) -> None:
            side = next(side for side in case.sides if side.name == name)
            takers[name] = stack.enter_context(side.begin())
            if case.warm:
                takers[name]()

        for side in case.sides:
            bar.doing(f"starting {side.name}")
            attempt(side.name, lambda name=side.name: begin(name))  # type: ignore[misc]
        for number in range(rounds):
            for name in list(takers)[:: 1 if number % 2 == 0 else -1]:
                bar.doing(f"round {number + 1} of {rounds}, {name}")
                attempt(
                    name,
                    lambda name=name: outcome.turns[name].append(takers[name]()),  # type: ignore[misc]
                )
    return outcome


def _said(error: BaseException) -> str:
    last = traceback.format_exception_only(error)[-1].strip()
    return last if len(last) < 300 else "…" + last[-300:]
