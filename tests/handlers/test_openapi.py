"""The OpenAPI document: it is one, and says what the URL table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter
from tornado.web import RequestHandler

from handlers.described import JSON, Answer, Operation, Parameter
from handlers.openapi import document
from handlers.policy import Level, Policy
from handlers.route import Route
from handlers.routes import routes
from notifier.assets import static_path
from notifier.auth.rules import OPEN, Access, Rule, Rules
from notifier.auth.scopes import Scope
from notifier.node import Node
from notifier.server import Server
from tests.docs.test_errors import ERRORS
from tests.handlers.serving import request, serving
from tests.handlers.test_administration import LATER, site, subscribed, token

# Told in other ways than by an answer over HTTP, or not at all.
_IN_BAND = {
    "BadMessage", "UnknownType", "AlreadySubscribed", "NotSubscribed", "CommandsTooFast",
    "SubscriptionEnded", "ConnectionEnded", "AuthenticationTimeout", "HeadStalled", "AnswerUnread",
}  # fmt: skip
GUARDED = Access(Rules.all(Rule.GRANTED), {})


@pytest.fixture
def table(node: Node) -> list[Route]:
    return routes(node, static_path())


def operations(told: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


async def test_it_is_served_and_valid(server: Server) -> None:
    answer = await request(server.port, "GET", "/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(answer.json).validate()


async def test_it_is_for_everybody_also_where_others_are_asked() -> None:
    async with serving(token_secret="kQ3vX9bT2nL7wZ5rY1mC8dF4gH6jP0sA") as server:
        answer = await request(server.port, "GET", "/openapi.json")
        assert answer.status == 200
        assert {} not in answer.json["paths"]["/nodes"]["get"]["security"]


@pytest.mark.parametrize("access", [OPEN, GUARDED], ids=["open", "guarded"])
def test_it_is_valid_whoever_may(table: list[Route], access: Access) -> None:
    OpenAPIV31SpecValidator(document(table, access, cookie="session")).validate()


def test_every_method_of_every_route_is_in_it(table: list[Route]) -> None:
    told = {(path, method) for path, method, _ in operations(document(table, OPEN))}
    assert told == {
        (route.path.replace("*", ""), method) for route in table for method in route.policy.needs
    }


def test_it_says_what_each_needs(table: list[Route]) -> None:
    needs = {
        (route.path.replace("*", ""), method): need
        for route in table
        for method, need in route.policy.needs.items()
    }
    for path, method, operation in operations(document(table, GUARDED)):
        need, security = needs[path, method], operation["security"]
        if need is Level.PUBLIC:
            assert security == []
            assert "401" not in operation["responses"]
            continue
        scopes = [str(need)] if isinstance(need, Scope) else []
        assert all(list(way.values()) == [scopes] for way in security)
        takes_ticket = path in ("/ws", "/raw/{channel}", "/events", "/stream")
        assert {name for way in security for name in way} == (
            {"bearer", "basic", "key"} | ({"ticket"} if takes_ticket else set())
        )
        assert "401" in operation["responses"]
        assert ("40302" in str(operation["responses"].get("403"))) == isinstance(need, Scope)


def test_nobody_in_particular_may_where_a_rule_lets_them(table: list[Route]) -> None:
    rules = Rules.all(Rule.GRANTED)
    open_to_read = Rules(Rule.GRANTED, Rule.PUBLIC, Rule.GRANTED, Rule.GRANTED)
    told = document(table, Access(rules, {"open": open_to_read}))["paths"]
    assert {} in told["/events"]["get"]["security"]
    assert {} not in told["/notify"]["post"]["security"]
    assert {} not in told["/metrics"]["get"]["security"]
    assert {} not in told["/ticket"]["post"]["security"]
    told = document(table, OPEN)["paths"]
    assert {} in told["/metrics"]["get"]["security"]
    assert {} in told["/ticket"]["post"]["security"]


def test_the_cookie_is_told_where_there_is_one(table: list[Route]) -> None:
    assert "cookie" not in document(table, OPEN)["components"]["securitySchemes"]
    schemes = document(table, OPEN, cookie="session")["components"]["securitySchemes"]
    told = schemes["cookie"]
    assert (told["type"], told["in"], told["name"]) == ("apiKey", "cookie", "session")


def test_errors_are_told_with_their_numbers_and_sentences(table: list[Route]) -> None:
    told = document(table, OPEN)
    for name, schema in told["components"]["schemas"].items():
        if name.endswith("Error"):
            code = schema["properties"]["code"]["const"]
            assert ERRORS[code].__name__ == name.removesuffix("Error")
            assert schema["properties"]["temporary"]["const"] == ERRORS[code].temporary
            assert len(schema["description"]) > 5
    refusals = told["paths"]["/channels/{channel}"]["get"]["responses"]["404"]
    assert refusals["description"] == (
        "Not Found\n\n- `40402` nothing was ever published there, and nobody listens"
    )


def test_every_error_is_told_that_http_can_answer(table: list[Route]) -> None:
    schemas = document(table, OPEN)["components"]["schemas"]
    untold = {kind.__name__ for kind in ERRORS.values()} - {
        name.removesuffix("Error") for name in schemas if name.endswith("Error")
    }
    # Of methods that no path has; and of connections that are open already.
    assert untold == {"MethodNotAllowed", *_IN_BAND}


def test_what_may_come_again_tells_when(table: list[Route]) -> None:
    for _, _, operation in operations(document(table, OPEN)):
        for status, answer in operation["responses"].items():
            temporary = [
                code
                for code in map(int, re.findall(r"`(\d{5})`", answer["description"]))
                if ERRORS[code].temporary
            ]
            assert bool(temporary) == ("Retry-After" in answer.get("headers", {})), status


def test_a_body_that_is_needed_is_told(table: list[Route]) -> None:
    paths = document(table, OPEN)["paths"]
    assert paths["/revocations"]["post"]["requestBody"]["required"] is True
    # Its fields may stand in the URL.
    assert "required" not in paths["/notify"]["post"]["requestBody"]


def test_tickets_may_be_out_of_reach_wherever_they_are_shown(table: list[Route]) -> None:
    for path, _, operation in operations(document(table, OPEN)):
        if path in ("/ws", "/raw/{channel}", "/events", "/stream", "/ticket"):
            assert "50301" in operation["responses"]["503"]["description"], path


async def test_the_answers_to_those_who_run_it_are_as_described(tmp_path: Path) -> None:
    revocation = {"token_id": "lost", "until": LATER}
    shown = token(info={"team": "équipe"})
    async with site(tmp_path, {"presence": True}) as made, made.enter(shown) as client:
        await subscribed(client)
        told = {r.path: r.operations for r in routes(made.nodes[0].node, static_path())}
        for method, path, body in (
            ("GET", "/channels/{channel}/presence", None),
            ("GET", "/connections", None),
            ("GET", "/settings", None),
            ("GET", "/nodes", None),
            ("DELETE", "/connections?key=reader", None),
            ("DELETE", "/connections?user=42", None),
            ("POST", "/revocations", revocation),
            ("GET", "/revocations", None),
            ("POST", "/ticket", None),
        ):
            key = shown if "{channel}" in path else None
            answer = await made.ask(method, path.format(channel="a"), body, key=key)
            described = told[path.partition("?")[0]][method].answers[answer.status]
            shape: TypeAdapter[object] = TypeAdapter(described.content[JSON])
            # A member that is not described would be lost.
            assert shape.validate_python(answer.json) == answer.json, (method, path)


class Undescribed(RequestHandler):
    def get(self) -> None: ...


def described(**operations: Operation) -> type[RequestHandler]:
    return type("Described", (Undescribed,), {"describes": operations})


CHANNEL = Parameter(name="channel", text="", where="path")
READ = Operation(name="read", summary="", answers={200: Answer("It.")})
OF_CHANNEL = Operation(
    name="read", summary="", answers={200: Answer("It.")}, parameters=(CHANNEL,)
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "handler", "wrong"),
    [
        ("/x", Undescribed, "GET"),
        ("/x", described(GET=READ, POST=READ), "POST"),
        ("/x/{channel}", described(GET=READ), "channel"),
        ("/x", described(GET=OF_CHANNEL), "channel"),
    ],
)
def test_a_route_that_is_not_described_does_not_start(
    path: str, handler: type[RequestHandler], wrong: str
) -> None:
    route = Route(path, handler, Policy({"GET": Level.PUBLIC}))
    with pytest.raises(ValueError, match=f"the description of .*{path} is wrong about {wrong}"):
        route.check(("GET", "HEAD", "OPTIONS"))


def test_a_route_that_is_described_starts() -> None:
    policy = Policy({"GET": Level.PUBLIC})
    Route("/x", described(GET=READ), policy).check(("GET", "OPTIONS"))
    Route("/x/{channel}", described(GET=OF_CHANNEL), policy).check(("GET", "HEAD"))
