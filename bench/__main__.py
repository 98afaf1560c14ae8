"""``python -m bench``: measure, and write what came out to ``bench/results``."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.load import missing
from bench.peers import NAMES, peers
from bench.picture import draw
from bench.plan import FULL, QUICK
from bench.report import RESULTS, targets_table
from bench.run import run
from bench.scenarios import SCENARIOS


def _chosen(text: str | None, known: tuple[str, ...], option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()] if text else list(known)
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint=option)
    return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="A look at everything in three minutes.")
@click.option("--only", metavar="SCENARIO,…", help="These scenarios alone; see --list.")
@click.option("--peers", "chosen", metavar="PEER,…", help="These peers alone; see --list.")
@click.option("--rounds", type=click.IntRange(1), help="Turns of each side; 10 otherwise.")
@click.option("--seconds", type=click.FloatRange(0.1), help="How long a turn publishes.")
@click.option("--size", type=click.FloatRange(0.01), help="A factor on numbers of sockets.")
@click.option("--seed", default=1, show_default=True, help="Of what payloads hold.")
@click.option("--no-pin", is_flag=True, help="Leave it to the kernel which core runs what.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    help="Where to write to; bench/results otherwise.",
)
@click.option("--list", "lists", is_flag=True, help="Show what there is to measure.")
def main(
    quick: bool,
    only: str | None,
    chosen: str | None,
    rounds: int | None,
    seconds: float | None,
    size: float | None,
    seed: int,
    no_pin: bool,
    results: Path,
    lists: bool,
) -> None:
    """How fast notifier is, next to its peers."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    if lists:
        _list(console)
        return
    if reason := missing():
        raise click.ClickException(reason)
    wanted = _chosen(only, tuple(s.name for s in SCENARIOS), "--only")
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    usual = QUICK if quick else FULL
    names = _chosen(chosen, NAMES, "--peers")
    plan = replace(
        usual,
        rounds=rounds or usual.rounds,
        seconds=seconds or usual.seconds,
        size=size or usual.size,
        peers=names,
        main_peers=names if chosen else usual.main_peers,
        seed=seed,
        pin=not no_pin,
    )
    # Servers that were begun end with us, also where it is not Ctrl-C that ends us.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    result = run(scenarios, plan, console)
    if plan.is_full:
        console.print(targets_table(result.outcomes))
    page = result.save(results)
    console.print(f"[green]✓[/green] written to {page} and {page.with_suffix('.json').name}")
    if "paced" in result.outcomes and not quick:
        picture = draw(page.with_suffix(".json"), page.with_suffix(".svg"))
        console.print(f"[green]✓[/green] drawn in {picture.name}")
    for case, wrong in result.wrong.items():
        for name, count in wrong.items():
            console.print(f"[red]✗[/red] {case}: {name} got {count:,} messages wrong")
    if any("notifier" in wrong for wrong in result.wrong.values()):
        sys.exit(1)


def _list(console: Console) -> None:
    table = Table(title="scenarios (--only)", title_justify="left", box=None, pad_edge=False)
    for scenario in SCENARIOS:
        table.add_row(f"[cyan]{scenario.name}[/cyan]", scenario.line)
    console.print(table)
    present, absent = peers(NAMES)
    table = Table(title="\npeers (--peers)", title_justify="left", box=None, pad_edge=False)
    for peer in present:
        table.add_row(f"[cyan]{peer.name}[/cyan]", peer.title)
    for name, reason in absent.items():
        table.add_row(f"[dim]{name}[/dim]", f"[dim]{reason}[/dim]")
    console.print(table)


if __name__ == "__main__":
    main()
