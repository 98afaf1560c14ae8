"""No route is served of which nobody has said who may use it."""

from __future__ import annotations

from typing import Any

import pytest

from handlers import application
from handlers.base import Handler
from handlers.policy import Level, Policy
from handlers.route import Route
from tests.handlers.serving import serving


class Forgotten(Handler):
    async def get(self) -> None:
        """Whatever it would tell."""

    async def delete(self) -> None:
        """Whatever it would do."""


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        (Policy(), "GET, DELETE"),
        (Policy({"GET": Level.PUBLIC}), "DELETE"),
        (Policy({"GET": Level.PUBLIC, "DELETE": Level.PUBLIC, "PUT": Level.PUBLIC}), "PUT"),
    ],
)
async def test_a_route_without_a_policy_does_not_start(
    monkeypatch: pytest.MonkeyPatch, policy: Policy, wrong: str
) -> None:
    real = application.routes

    def with_one_more(*arguments: Any) -> list[Route]:
        return [*real(*arguments), Route("/forgotten", Forgotten, policy)]

    monkeypatch.setattr(application, "routes", with_one_more)
    with pytest.raises(ValueError, match=f"^the policy of /forgotten is wrong about {wrong}$"):
        async with serving():
            pass
