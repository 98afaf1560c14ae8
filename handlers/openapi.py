"""The service as an OpenAPI document (3.1), made of the routes and of what their handlers say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

import notifier
from handlers import answers
from handlers.described import JSON, Operation, Parameter, Shape
from handlers.parameters import NAME_SHAPE
from handlers.policy import Level, Need
from handlers.route import Route
from notifier import errors
from notifier.auth.rules import Access
from notifier.auth.scopes import Scope
from notifier.channels import MAX_CHANNEL_BYTES
from notifier.errors import (
    BadChannel,
    BadCredential,
    BadRequest,
    BodyTooLarge,
    BrokerUnavailable,
    ChannelTooLong,
    ExpiredCredential,
    Forbidden,
    ForeignHost,
    ForeignOrigin,
    HeaderTooLarge,
    InternalError,
    KeysUnavailable,
    NotifierError,
    Unauthenticated,
)
from notifier.fields import Fields

_ABOUT = """\
Every path also answers `OPTIONS` with its methods, and `HEAD` where it answers `GET` (but for the
WebSockets). What is refused has a numbered error; `docs` in it says where that is explained.
"""
# How any request may be refused, whatever it is for.
_ANYWHERE = (BadRequest, BodyTooLarge, HeaderTooLarge, InternalError)
_FROM_ELSEWHERE = (ForeignOrigin, ForeignHost)
_CREDENTIALS = (Unauthenticated, BadCredential, ExpiredCredential, KeysUnavailable)
# ``│   ├── BadJSON                 40001  not JSON; carries line and column``
_SENTENCE = re.compile(r"── \w+ +(\d{5}) +(.+)")
_TICKET = "ticket"
_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key (`nk_…`) or a token."},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The key or the token as the password, or as the user without a password. "
        "Not for pages that may ask only because any may (`*` in `allowed_origins`).",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    _TICKET: {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "Of `POST /ticket`, for clients that can send no header; good once.",
    },
}


def document(
    routes: Iterable[Route],
    access: Access,
    *,
    cookie: str = "",
    longest_name: int = MAX_CHANNEL_BYTES,
) -> dict[str, Any]:
    """All of the service.

    :param access: says where nobody in particular may do something.
    :param cookie: the name of the one that says who it is, if there is one.
    :param longest_name: of a channel or a pattern, in bytes.
    """
    schemas = _Schemas(longest_name)
    schemes: dict[str, Any] = dict(_SCHEMES)
    if cookie:
        schemes["cookie"] = {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": "Of our own pages, and those of origins that `allowed_origins` names.",
        }
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = paths.setdefault(re.sub(r"\*}", "}", route.path), {})
        for method, operation in route.operations.items():
            need = route.policy.need(method)
            refusals: list[type[NotifierError]] = [*_ANYWHERE, *operation.errors]
            if not route.policy.cross_site:
                refusals += _FROM_ELSEWHERE
            if BadChannel in operation.errors:
                refusals.append(ChannelTooLong)
            if need is not Level.PUBLIC:
                refusals += _CREDENTIALS
            if isinstance(need, Scope):
                refusals.append(Forbidden)
            if operation.takes_ticket:
                # Where tickets are kept.
                refusals.append(BrokerUnavailable)
            path[method.lower()] = {
                **_head_of(operation, need),
                "security": _security(operation, need, access, schemes),
                **_parameters(operation.parameters, schemas),
                **_body(operation, schemas),
                "responses": _responses(operation, refusals, schemas),
            }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "notifier",
            "summary": "Notifications and event streams, in real time",
            "description": _ABOUT,
            "version": notifier.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas.made(), "securitySchemes": schemes},
    }


def _head_of(operation: Operation, need: Need) -> dict[str, Any]:
    text = operation.text
    if isinstance(need, Scope):
        text = f"{text}\n\nNeeds the scope `{need}`.".strip()
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        **({"description": text} if text else {}),
    }


def _security(
    operation: Operation, need: Need, access: Access, schemes: Iterable[str]
) -> list[dict[str, list[str]]]:
    """Each suffices; one without a name means: nobody in particular may, somewhere at least."""
    if need is Level.PUBLIC:
        return []
    scopes = [str(need)] if isinstance(need, Scope) else []
    ways = [{way: scopes} for way in schemes if way != _TICKET or operation.takes_ticket]
    nobody = access.asks_nobody(need) if isinstance(need, Scope) else access.open
    return [{}, *ways] if nobody else ways


def _parameters(parameters: Sequence[Parameter], schemas: _Schemas) -> dict[str, Any]:
    if not parameters:
        return {}
    return {"parameters": [_parameter(parameter, schemas) for parameter in parameters]}


def _parameter(parameter: Parameter, schemas: _Schemas) -> dict[str, Any]:
    schema = schemas.of(parameter.shape)
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.text,
        **({"required": True} if parameter.where == "path" or parameter.required else {}),
        "schema": {"type": "array", "items": schema} if parameter.many else schema,
        **({} if parameter.example is None else {"example": parameter.example}),
    }


def _body(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    if operation.body is None:
        return {}
    required = {"required": True} if operation.needs_body else {}
    return {"requestBody": {**required, "content": _content(operation.body, schemas)}}


def _content(content: Mapping[str, Shape], schemas: _Schemas) -> dict[str, Any]:
    return {kind: {"schema": schemas.of(shape)} for kind, shape in content.items()}


def _responses(
    operation: Operation, refusals: Iterable[type[NotifierError]], schemas: _Schemas
) -> dict[str, Any]:
    told: dict[int, dict[str, Any]] = {}
    for status, answer in operation.answers.items():
        told[status] = {"description": answer.text}
        if answer.headers:
            told[status]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in answer.headers.items()
            }
        if answer.content:
            told[status]["content"] = _content(answer.content, schemas)
    by_status: dict[int, list[type[NotifierError]]] = {}
    for refusal in sorted(set(refusals), key=lambda refusal: refusal.code):
        by_status.setdefault(refusal.code // 100, []).append(refusal)
    for status, kinds in by_status.items():
        told[status] = _refusal(status, kinds, schemas, told.get(status))
    return {str(status): told[status] for status in sorted(told)}


def _refusal(
    status: int,
    kinds: Sequence[type[NotifierError]],
    schemas: _Schemas,
    besides: dict[str, Any] | None,
) -> dict[str, Any]:
    """:param besides: what else is told under this status."""
    names = [f"- `{kind.code}` {schemas.error(kind)}" for kind in kinds]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"error": {"anyOf": [schemas.reference(kind) for kind in kinds]}},
        "required": ["error"],
    }
    if besides is not None and JSON in besides.get("content", {}):
        schema = {"anyOf": [besides["content"][JSON]["schema"], schema]}
    headers: dict[str, Any] = {}
    if any(kind.temporary for kind in kinds):
        headers["Retry-After"] = {
            "description": "Seconds.",
            "schema": {"type": "string", "pattern": "^[0-9]+$"},
        }
    if status == 401:
        headers["WWW-Authenticate"] = {
            "description": "`Bearer`, with an `error` where what was shown is not good; and "
            "`Basic`, but to browsers.",
            "schema": {"type": "string"},
        }
    return {
        "description": "\n".join([f"{HTTPStatus(status).phrase}", "", *names]),
        **({"headers": headers} if headers else {}),
        "content": {JSON: {"schema": schema}},
    }


class _Titleless(GenerateJsonSchema):
    """Without a title for each member, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Schemas:
    """Those that are referred to, made as they are asked for.

    :param longest_name: of a channel or a pattern, in bytes.
    """

    def __init__(self, longest_name: int) -> None:
        self._longest_name = longest_name
        self._made: dict[str, Any] = {}
        self._known: dict[Shape, Any] = {}
        sentences = _SENTENCE.findall(errors.__doc__ or "")
        self._sentences: dict[int, str] = {int(code): text for code, text in sentences}

    def made(self) -> dict[str, Any]:
        return dict(sorted(self._made.items()))

    def of(self, shape: Shape) -> Any:
        """The shape's own, or a reference to it."""
        if shape is NAME_SHAPE:
            return {**NAME_SHAPE, "maxLength": self._longest_name}
        if isinstance(shape, Mapping):
            return dict(shape)
        if shape not in self._known:
            self._known[shape] = self._make(shape)
        return self._known[shape]

    def _make(self, shape: Shape) -> Any:
        adapter: TypeAdapter[object] = TypeAdapter(shape)  # type: ignore[arg-type]  # or a union
        schema = adapter.json_schema(
            ref_template="#/components/schemas/{model}", schema_generator=_Titleless
        )
        for name, made in schema.pop("$defs", {}).items():
            self._made[name] = _notification(made) if name == Fields.__name__ else made
        # One that is no part of others is not made a definition of its own.
        if (name := schema.get("title")) is None:
            return schema
        self._made[name] = _notification(schema) if name == Fields.__name__ else schema
        return {"$ref": f"#/components/schemas/{name}"}

    def error(self, kind: type[NotifierError]) -> str:
        """What it says."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).capitalize()
        return self._sentences.get(kind.code, words.replace("json", "JSON"))

    def reference(self, kind: type[NotifierError]) -> dict[str, str]:
        self.of(answers.Refusal)
        name = f"{kind.__name__}Error"
        self._made[name] = {
            "allOf": [{"$ref": f"#/components/schemas/{answers.Refusal.__name__}"}],
            "description": self.error(kind),
            "properties": {
                "code": {"const": kind.code},
                "temporary": {"const": kind.temporary},
                "docs": {"const": f"{errors.DOCS}#{kind.code}"},
            },
        }
        return {"$ref": f"#/components/schemas/{name}"}


def _notification(fields: dict[str, Any]) -> dict[str, Any]:
    """The rules that are not about one field alone: null is as good as nothing, and there must be
    something to show."""
    properties = {
        name: schema if name == "data" else {"anyOf": [schema, {"type": "null"}]}
        for name, schema in fields["properties"].items()
    }
    something = [
        {"required": [name], "properties": {name: {"type": "string", "minLength": 1}}}
        for name in ("message", "title")
    ]
    something += [{"required": ["data"]}]
    something += [{"required": ["data_base64"], "properties": {"data_base64": {"type": "string"}}}]
    return {**fields, "properties": properties, "anyOf": something}
