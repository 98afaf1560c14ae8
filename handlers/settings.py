"""``/settings``: what this node runs with."""

from __future__ import annotations

from typing import ClassVar

from handlers import query
from handlers.base import Handler
from notifier.config.shown import shown


class SettingList(Handler):
    """The settings of the node that was asked, to be read only; no secret is shown."""

    acts: ClassVar = {"GET": "settings.read"}

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, frozenset())
        self.answer(shown(self.node.settings, self.node.origins))

    head = get
