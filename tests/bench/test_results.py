"""The harness runs, and its results have their shape. Nothing here depends on how fast it is."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from bench import targets
from bench.__main__ import main
from bench.case import Case, Figure, Outcome, Side, Turn
from bench.estimate import estimate
from bench.load import LoadError
from bench.page import BLOCK, PAGE, tables, write
from bench.peers.notifier import PEER
from bench.picture import TARGET, draw
from bench.plan import Plan
from bench.process import CHECKOUT
from bench.report import Result, table, targets_table
from bench.run import Bar, measure
from bench.scenarios import SCENARIOS
from bench.scenarios.credentials import cases as credentials
from bench.scenarios.deflate import inflated
from bench.scenarios.fanout import FLAT_OUT, PACED, side
from tests.frames import client_frame

TINY = Plan(rounds=2, seconds=0.2, size=0.01, peers=("notifier",), quick=True)
VALUE = Figure("value", "a value", "ms", 1e3, 1)


def result_of(outcome: Outcome) -> Result:
    return Result(
        "2026-11-25T12:00:00+00:00",
        TINY,
        {"processor": "<any> & all", "cores": "2"},
        "abc1234",
        {"notifier": {"notifier": "0"}},
        {outcome.case.name: outcome},
    )


def steady(name: str, *values: float) -> Side:
    """One whose turns give these values; one that is infinite fails."""
    left = list(values)

    def turn() -> Turn:
        value = left.pop(0)
        if value == float("inf"):
            raise LoadError("it is over")
        return {"value": value, "wrong": 0.0}

    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        yield turn

    return Side(name, name, begin)


def measured(case: Case, plan: Plan = TINY) -> Outcome:
    with Bar(Console(quiet=True)) as bar:
        return measure(case, plan, bar)


def test_whoever_publishes_with_a_key_or_a_token_is_let() -> None:
    for case in credentials(TINY):
        outcome = measured(case)
        assert not outcome.failures and not outcome.wrong
        assert list(outcome.turns) == ["open", "key", "HS256", "ES256", "RS256"]
        for turns in outcome.turns.values():
            assert all(turn["published"] and turn["cpu_per_publication"] for turn in turns)


def test_fan_out_is_measured_and_written(tmp_path: Path) -> None:
    ours = side(PEER, TINY, sockets=20, interval=0.02, seconds=0.5)
    case = Case("paced", "20 sockets", [ours], PACED, absent={"ws": "no node"})
    outcome = measured(case)
    assert not outcome.failures
    assert not outcome.wrong
    turns = outcome.turns["notifier"]
    assert len(turns) == 2
    for turn in turns:
        assert turn["delivered"] == 20 * turn["published"] > 0
        assert turn["cpu_per_delivery"] > 0
        assert 0 < turn["latency_p50"] <= turn["latency_p99"] <= turn["latency_max"]

    page = result_of(outcome).save(tmp_path)
    told = json.loads(page.with_suffix(".json").read_text())
    assert told["plan"]["seed"] == 1
    assert told["revision"] == "abc1234"
    (written,) = told["cases"]
    assert written["absent"] == {"ws": "no node"}
    assert [len(each["turns"]) for each in written["sides"]] == [2]
    text = page.read_text()
    assert "no node" in text
    assert "| notifier (Python, Tornado) |" in text

    drawn = draw(page.with_suffix(".json"), tmp_path / "picture.svg")
    assert ElementTree.parse(drawn).getroot().tag.endswith("svg")


def test_the_docs_show_what_a_result_of_this_checkout_says(tmp_path: Path) -> None:
    (found,) = BLOCK.findall(PAGE.read_text())
    path, shown = found
    result = CHECKOUT / path
    assert shown == tables(json.loads(result.read_text()))
    assert TARGET.read_text() == draw(result, tmp_path / "picture.svg").read_text()


def test_each_target_has_a_name_of_its_own() -> None:
    names = [target.what for target in targets.TARGETS]
    assert len(set(names)) == len(names)


def test_a_page_gets_the_tables_of_another_result(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- measured: old.json -->\nold\n<!-- end -->\nAfter.\n")
    path, _ = BLOCK.findall(PAGE.read_text())[0]
    write(CHECKOUT / path, page)
    ((told, shown),) = BLOCK.findall(page.read_text())
    assert told == path
    assert "old" not in shown
    assert page.read_text().startswith("Before.\n<!-- measured: bench/results/")
    assert page.read_text().endswith("<!-- end -->\nAfter.\n")


def test_sides_take_turns_and_are_compared_round_by_round() -> None:
    sides = [steady("ours", 9, 1, 2), steady("theirs", 9, 2, 8)]
    outcome = measured(Case("case", "a case", sides, [VALUE]))
    assert outcome.values("ours", "value") == [1, 2]  # the first was to warm up
    assert outcome.ratios("ours", "theirs", "value") == [0.5, 0.25]
    text = Console(width=200)
    with text.capture() as captured:
        text.print(table(outcome))
        text.print(targets_table({"case": outcome}))
    assert "0.38" in captured.get()


def test_a_side_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    sides = [steady("ours", 9, 1, 2), steady("theirs", 9, 2, float("inf"))]
    outcome = measured(Case("case", "a case", sides, [VALUE]))
    assert outcome.values("ours", "value") == [1, 2]
    assert "it is over" in outcome.failures["theirs"]
    assert "it is over" in result_of(outcome).save(tmp_path).read_text()


def test_wrong_messages_are_told_of(tmp_path: Path) -> None:
    outcome = Outcome(
        Case("case", "a case", [steady("ours")], [VALUE]), {"ours": [{"value": 1, "wrong": 3}]}
    )
    assert result_of(outcome).wrong == {"case": {"ours": 3}}
    assert "3 messages wrong" in result_of(outcome).save(tmp_path).read_text()


def test_an_estimate_is_a_median_in_its_interval() -> None:
    found = estimate([5, 1, 2, 3, 4, 100])
    assert found is not None
    assert found.median == 3.5
    assert 1 <= found.low <= found.median <= found.high <= 100
    assert estimate([]) is None
    assert estimate([7]) == (7, 7, 7)


def test_targets_name_cases_and_figures_that_there_are() -> None:
    turn = {figure.name: 2.0 for figure in (*PACED, *FLAT_OUT)}
    sides = [steady("notifier"), steady("floor"), steady("nchan"), steady("write_message")]
    outcomes = {
        name: Outcome(Case(name, name, sides, figures), {side.name: [turn] for side in sides})
        for name, figures in (("paced", PACED), ("flat-out", FLAT_OUT), ("batches", FLAT_OUT))
    }
    reached = [target.reached(outcomes) for target in targets.TARGETS]
    assert sum(found is not None for found in reached) == 6
    assert not any(target.reached({}) for target in targets.TARGETS)


def test_a_deflated_stream_is_inflated_message_by_message() -> None:
    import zlib

    def deflated(text: bytes) -> bytes:
        maker = zlib.compressobj(wbits=-15)
        body = maker.compress(text) + maker.flush(zlib.Z_SYNC_FLUSH)
        frame = bytearray(client_frame(body[:-4], masked=False))
        frame[0] |= 0x40
        return bytes(frame)

    texts = [b"a" * 1000, b"b", bytes(range(97, 123)) * 9000]
    stream = deflated(texts[0]) + client_frame(texts[1], masked=False) + deflated(texts[2])
    assert list(inflated(stream)) == texts


def test_every_scenario_is_listed() -> None:
    told = CliRunner().invoke(main, ["--list"])
    assert told.exit_code == 0
    for scenario in SCENARIOS:
        assert scenario.name in told.output
        assert scenario.line in told.output


def test_what_is_unknown_is_refused() -> None:
    for option in ("--only", "--peers"):
        told = CliRunner().invoke(main, [option, "nothing"])
        assert told.exit_code == 2
        assert "none of" in told.output
