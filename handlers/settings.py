"""``/settings``: what this node runs with."""

from __future__ import annotations

from typing import ClassVar

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations
from notifier.config.shown import shown
from notifier.errors import UnknownField


class SettingList(Handler):
    """The settings of the node that was asked, to be read only; no secret is shown."""

    acts: ClassVar = {"GET": "settings.read"}

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="read_settings",
            summary="What the node that was asked runs with",
            text="Secrets are `***`.",
            answers={200: Answer("Each setting, by its name.", {JSON: dict[str, answers.Setting]})},
            errors=(UnknownField,),
        )
    }

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        self.answer(shown(self.node.settings, self.node.origins))

    head = get
