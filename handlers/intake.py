"""What producers send to ``/notify``, in all the shapes it comes in, as fields.

JSON, a form, plain text or bytes; and fields in the query and in headers for those whose body is
the message itself. What the body says wins over the query, the query over headers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Any
from urllib.parse import parse_qsl

from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    parse_multipart_form_data,
)

from handlers import charsets
from notifier.errors import BadBody, BadJSON, BadParameter
from notifier.fields import FIELDS, unknown_field
from notifier.jsontext import parse_json

# Fields that may stand in a header, also with X- before them.
HEADER_FIELDS = ("title", "message", "priority", "tags", "click", "icon", "actions", "data",
                 "key", "expires", "channel", "id")  # fmt: skip
# As they are called in what Tornado has parsed.
_WRITTEN = frozenset(x + name.title() for name in HEADER_FIELDS for x in ("", "X-"))
# Fields whose value is JSON where it comes as text.
_JSON_FIELDS = ("actions", "data")
# Without one of these a form is a text that looks like one ("a=b").
_FORM_CONTENT = frozenset({"message", "title", "data"})
# RFC 9218 has browsers send a Priority header of their own: "u=1, i".
_BROWSER_PRIORITY = re.compile(r"(u=\d|i(=\?[01])?)(\s*,\s*(u=\d|i(=\?[01])?))*")
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


def read_notifications(
    request: HTTPServerRequest, body: bytes, *, in_channel: bool
) -> dict[str, Any] | list[Any]:
    """The fields of one notification, or a list of such, not yet validated.

    :param in_channel: the URL names the channel.
    :raises BadJSON:
    :raises BadBody: the body is not what its content type says.
    :raises UnknownField: a query parameter nobody knows.
    :raises BadParameter:
    """
    beside = fields_beside(request)
    inside = _from_body(body, request.headers.get("Content-Type", ""), in_channel=in_channel)
    if isinstance(inside, list):
        # What is the same for all may stand outside; an id is not.
        beside.pop("id", None)
        return [beside | item if isinstance(item, dict) else item for item in inside]
    return beside | inside


def fields_beside(
    request: HTTPServerRequest, *, others: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The fields in headers and in the query.

    :param others: parameters that are no fields.
    :raises UnknownField: a query parameter nobody knows.
    :raises BadParameter:
    """
    arguments = {k: v for k, v in request.query_arguments.items() if k not in others}
    return _from_headers(request.headers) | _from_query(arguments)


def idempotency_key(headers: HTTPHeaders) -> str | None:
    """:raises BadParameter: when it is not 1 to 200 printable ASCII characters."""
    key = headers.get("Idempotency-Key")
    if key is not None and _KEY.fullmatch(key) is None:
        raise BadParameter(
            "Idempotency-Key is 1 to 200 printable ASCII characters without spaces.",
            field="Idempotency-Key",
        )
    return key


# --- beside the body ---


def _from_headers(headers: HTTPHeaders) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if _WRITTEN.isdisjoint(headers):
        return fields
    for name in HEADER_FIELDS:
        value = headers.get(f"X-{name}", headers.get(name))
        if value is None or (name == "priority" and _BROWSER_PRIORITY.fullmatch(value)):
            continue
        fields[name] = _read_text(name, _decode_header(name, value))
    return fields


def _decode_header(name: str, value: str) -> str:
    """RFC 2047 words, or raw UTF-8, which Tornado hands over as Latin-1."""
    if "=?" in value:
        try:
            return "".join(_decode_word(*word) for word in decode_header(value))
        except (HeaderParseError, LookupError, ValueError):
            raise BadParameter(
                f"The header {name.title()} is not RFC 2047 text.", field=name
            ) from None
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _decode_word(text: str | bytes, charset: str | None) -> str:
    if isinstance(text, str):
        return text
    return charsets.decode(text, charset or "iso8859-1")


def _from_query(arguments: Mapping[str, list[bytes]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, values in arguments.items():
        if name not in FIELDS:
            raise unknown_field(name, name, FIELDS)
        try:
            texts = [value.decode() for value in values]
        except UnicodeDecodeError:
            raise BadParameter(f"The parameter {name} is not UTF-8.", field=name) from None
        if name == "channels" or (name == "channel" and len(texts) > 1):
            fields["channels"] = [part for text in texts for part in text.split(",")]
        else:
            fields[name] = _read_text(name, texts[-1])
    return fields


def _read_text(name: str, text: str) -> Any:
    if name not in _JSON_FIELDS:
        return text
    try:
        return parse_json(text)
    except BadJSON:
        if name == "data":
            return text  # a string is JSON's simplest value
        raise


# --- the body ---


def _from_body(body: bytes, content_type: str, *, in_channel: bool) -> dict[str, Any] | list[Any]:
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return _from_json(body)
    if not body:
        return {}
    if kind in ("", "application/x-www-form-urlencoded"):
        return _from_untold(body, form=bool(kind), in_channel=in_channel)
    if kind == "multipart/form-data":
        return _from_multipart(body, content_type)
    if kind.startswith("text/"):
        return {"message": _decode(body, parameters)}
    return _from_bytes(body, content_type)


def _from_json(body: bytes) -> dict[str, Any] | list[Any]:
    value = parse_json(body)
    if not isinstance(value, dict | list):
        raise BadBody("The body must be a JSON object, or an array of them.")
    return value


def _from_untold(body: bytes, *, form: bool, in_channel: bool) -> dict[str, Any] | list[Any]:
    """A body without a type, or with the one ``curl -d`` gives everything.

    It is JSON if it looks like it (and, where a text would do as well, has one of our fields),
    a form if it is made of our fields, else the text itself.
    """
    if body.lstrip()[:1] in (b"{", b"["):
        if not in_channel:
            return _from_json(body)
        try:
            value = _from_json(body)
        except (BadJSON, BadBody):
            value = []
        if isinstance(value, dict) and value.keys() & FIELDS:
            return value
    fields = _from_form(body) if form else None
    if fields is not None:
        return fields
    try:
        return {"message": body.decode()}
    except UnicodeDecodeError:
        return _from_bytes(body, "application/octet-stream")


def _from_form(body: bytes) -> dict[str, Any] | None:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True,
                          errors="strict", max_num_fields=100)  # fmt: skip
    except ValueError:  # also what is not ASCII, and what is not UTF-8 inside
        return None
    names = {name for name, _ in pairs}
    if not names <= FIELDS or not names & _FORM_CONTENT:
        return None
    return {name: _read_text(name, text) for name, text in pairs}


def _from_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    boundary = re.search(r'boundary="?([^";,]+)"?', content_type)
    if boundary is None:
        raise BadBody("A multipart body needs a boundary in its content type.")
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[Any]] = {}
    try:
        parse_multipart_form_data(boundary[1].encode(), body, arguments, files)
    except (HTTPInputError, ValueError) as problem:
        raise BadBody(f"The multipart body can't be read: {problem}") from None
    try:
        fields = _from_query(arguments)
    except BadParameter:
        raise BadBody("A field of the multipart body is not UTF-8.") from None
    uploads = [upload for named in files.values() for upload in named]
    if len(uploads) > 1:
        raise BadBody("A notification holds one file; send one request for each.")
    for upload in uploads:
        fields |= _from_bytes(upload["body"], upload["content_type"])
    return fields


def _from_bytes(body: bytes, content_type: str) -> dict[str, Any]:
    return {"content_type": content_type, "data_base64": base64.b64encode(body).decode()}


def _decode(body: bytes, parameters: str) -> str:
    charset = re.search(r'charset\s*=\s*"?([\w.:-]+)', parameters, re.IGNORECASE)
    name = charset[1] if charset else "utf-8"
    try:
        return charsets.decode(body, name)
    except (LookupError, UnicodeError):
        raise BadBody(f"The body is not text in the charset {name}.") from None
