"""``docs/reference/audit.md`` names the acts there are, and an event looks as it says."""

from __future__ import annotations

import json
import re

from notifier.audit import ACTS
from tests.docs.markdown import blocks, read

PAGE = read("reference/audit.md")


def test_every_act_is_in_the_table() -> None:
    table = PAGE.partition("| event |")[2]
    assert dict(re.findall(r"^\| `([a-z.]+)` \| (.*) \|$", table, flags=re.M)) == ACTS


def test_the_example_has_the_fields_that_are_explained() -> None:
    (line,) = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    assert line["event"] in ACTS
    explained = set(
        re.findall(r"`(\w+)`", PAGE.partition("| field |")[2].partition("| event |")[0])
    )
    assert {"kind", "who", "remote", "outcome"} <= explained & line.keys()
