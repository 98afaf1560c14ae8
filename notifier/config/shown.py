"""The settings in effect, as they may be shown: no secret among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from notifier.config.settings import Settings
from notifier.config.sources import Origin
from notifier.config.values import write_value


def shown(settings: Settings, origins: Mapping[str, Origin]) -> dict[str, dict[str, Any]]:
    """For each setting its ``value``, as people write it; where it is ``from``; and the ``name`` of
    the flag, the variable or the file.

    :param origins: of those that are not there it is not known, other than of defaults.
    """
    answer: dict[str, dict[str, Any]] = {}
    for key, field in Settings.model_fields.items():
        value = getattr(settings, key)
        origin = origins.get(key) or Origin("default" if value == field.get_default() else "code")
        entry = {"value": write_value(field, value), "from": origin.kind}
        answer[key] = entry | ({"name": origin.name} if origin.name else {})
    return answer
