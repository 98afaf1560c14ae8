"""``/static/``: the page's files and the JavaScript client."""

from __future__ import annotations

from typing import Any, ClassVar

from tornado.web import StaticFileHandler

from handlers import door
from handlers.described import Answer, Operation, Operations, Parameter
from handlers.policy import Policy
from notifier.errors import NoSuchResource
from notifier.node import Node


class Static(StaticFileHandler):
    """Revalidated at each use, so that an upgrade is seen at once."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="get_file",
            summary="The page's files, and the JavaScript client",
            parameters=(
                Parameter(
                    name="file",
                    where="path",
                    text="Its path; may have slashes in it.",
                    example="notifier.js",
                ),
            ),
            answers={
                200: Answer("It.", {"*/*": {}}, {"ETag": "Of what is in it."}),
                206: Answer("The part that `Range` asks for.", {"*/*": {}}),
                304: Answer("It is as `If-None-Match` says."),
                416: Answer("There is no such part."),
            },
            errors=(NoSuchResource,),
        )
    }

    def initialize(self, node: Node, policy: Policy, path: str) -> None:  # type: ignore[override]
        super().initialize(path)
        self.node = node
        self._policy = policy

    def prepare(self) -> None:
        door.admit(self.request, self.node.settings, self._policy)

    def set_default_headers(self) -> None:
        door.set_default_headers(self)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return door.decode(value, name)

    def options(self, *_: str) -> None:
        door.answer_options(self)

    def parse_url_path(self, url_path: str) -> str:
        # The file system takes no NUL, and no file has U+FFFD in its name.
        return super().parse_url_path(url_path.replace("\0", "\ufffd"))

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Referrer-Policy", "no-referrer")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        door.write_error(self, **kwargs)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        door.log_failure(self, value)
