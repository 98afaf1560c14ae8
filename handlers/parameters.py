"""Parameters that several routes have."""

from __future__ import annotations

from handlers.described import Parameter
from notifier.channels import MAX_CHANNEL_BYTES
from notifier.history import DEFAULT_LIMIT, MAX_LIMIT
from notifier.wire.resume import MAX_TOKEN_BYTES

# The document tells the setting's length in its place.
NAME_SHAPE = {"type": "string", "minLength": 1, "maxLength": MAX_CHANNEL_BYTES}
SINCE_SHAPE = {"type": "string", "maxLength": MAX_TOKEN_BYTES}
SWITCH = {"type": "string", "enum": ["0", "1"], "default": "0"}

CHANNEL = Parameter(
    name="channel",
    where="path",
    text="A channel's name: letters and digits of any script and `_ . ~ - @ =`, in parts "
    "separated by `:`; in NFC. Its length is that in UTF-8.",
    shape=NAME_SHAPE,
    example="alerts",
)
CONNECTION = Parameter(
    name="connection",
    where="path",
    text="What the server calls a connection: in `welcome`, in presence, in the log.",
    shape={"type": "string", "minLength": 1},
    example="Zk3hJ0q_2bXw9c1M",
)
CHANNELS = Parameter(
    name="channel",
    text="A channel, or a pattern such as `builds:*`; may be repeated.",
    shape=NAME_SHAPE,
    many=True,
    example=["alerts"],
)
SINCE = Parameter(
    name="since",
    text="Where to begin: a position, a resume token, `latest`, `all`, a duration (`10m`), a time "
    "(RFC 3339), or a count (`-20`).",
    shape=SINCE_SHAPE,
    example="all",
)
PRESENCE = Parameter(
    name="presence", text="`1`: tell also who joins and leaves.", shape=SWITCH, example="0"
)
LIMIT = Parameter(
    name="limit",
    text="How many on a page.",
    shape={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    example=10,
)
