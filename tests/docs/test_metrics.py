"""``docs/reference/metrics.md`` and the alerts name the metrics there are."""

from __future__ import annotations

import re
from typing import Any

from notifier.counts import GAP_CAUSES, READERS, REASONS, SOURCES, TRANSPORTS, Counts
from notifier.metrics import Metrics, State
from tests.docs.markdown import CHECKOUT, read

PAGE = read("reference/metrics.md")
ROWS = re.findall(
    r"^\| `(notifier_\w+)` \| (\w+) \| (.*?) ?\| (.*?) \| (.*?) ?\|$", PAGE, flags=re.M
)
SUFFIX = {"counter": "_total", "info": "_info"}


def families() -> list[Any]:
    state = State(
        blocked=0,
        patterns=0,
        channels=0,
        held_bytes=0,
        trouble=False,
        draining=False,
        revocations=0,
        forgotten_revocations=0,
        api_keys_trouble=False,
        keys_trouble=False,
    )
    return list(Metrics(Counts(), lambda: state, version="1", max_connections=1).collect())


def test_every_metric_is_in_a_table_with_its_type_and_labels() -> None:
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels, *_ in ROWS
    }
    assert len(documented) == len(ROWS)
    assert documented == {
        family.name + SUFFIX.get(family.type, ""): (family.type, set(family._labelnames))
        for family in families()
    }


def test_every_value_of_a_label_is_explained() -> None:
    for value in (*TRANSPORTS, *SOURCES, *GAP_CAUSES, *READERS, *REASONS):
        assert f"`{value}`" in PAGE, value


def test_the_alerts_ask_for_metrics_there_are() -> None:
    known = {sample.name for family in families() for sample in family.samples}
    known |= {"notifier_publications_refused_total"}
    rules = (CHECKOUT / "examples/prometheus-alerts.yml").read_text("utf-8")
    named = set(re.findall(r"\bnotifier_\w+", rules))
    assert named and named <= known
    assert set(re.findall(r"`(notifier_\w+)`", PAGE)) <= known | {
        "notifier_pass_receivers",
        "notifier_loop_lag_seconds",
        "notifier_publish_seconds",
    }
