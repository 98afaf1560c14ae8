"""What things are called in Redis.

All that belongs to one channel has the channel in a hash tag, so that a Cluster keeps it together
and one script can use it. (Channel names hold no braces.) What is nobody's has a tag that begins
with ``$``, as no channel's name does.

Keys are in one database; what rings is heard in all of them, so it carries the database's number.
"""

from __future__ import annotations

from notifier.channels import Namespaces


class Names:
    """The keys and doorbells of one service.

    :param prefix: what they begin with, so that several services can share a Redis.
    :param db: the number of the database that the keys are in.
    """

    def __init__(self, prefix: str, namespaces: Namespaces, db: int = 0) -> None:
        self._prefix = prefix
        self._db = f":{db}" if db else ""
        self._namespaces = namespaces
        # Every channel there is, in order of their names; and the channels that came to life.
        self.channels = f"{prefix}:{{$channels}}:names"
        self.births = f"{prefix}:{{$channels}}:births"
        self.births_bell = f"{prefix}:{{$channels}}:bell{self._db}"
        # The nodes there are, when each counts as dead, and what it says of itself.
        self.living = f"{prefix}:{{$nodes}}:living"
        self.states = f"{prefix}:{{$nodes}}:states"
        self.orders_bell = f"{prefix}:{{$nodes}}:orders{self._db}"
        # What the nodes tell each other of who has taken how much of what is limited.
        self.spent_bell = f"{prefix}:{{$nodes}}:spent{self._db}"
        # Tokens that are revoked, by when they end; and a tag, another one after each change.
        self.revoked = f"{prefix}:{{$revoked}}:tokens"
        # Users whose tokens are, each with the moment before which they were issued.
        self.revoked_users = f"{prefix}:{{$revoked}}:users"
        self.revoked_tag = f"{prefix}:{{$revoked}}:tag"

    def log(self, channel: str) -> str:
        return f"{self._prefix}:{{{channel}}}:log"

    def stream(self, channel: str) -> str:
        return f"{self._prefix}:{{{channel}}}:stream"

    def expiries(self, channel: str) -> str:
        return f"{self._prefix}:{{{channel}}}:expiries"

    def key(self, channel: str, key: str) -> str:
        """Of an idempotency key, which is scoped to the channel already."""
        return f"{self._prefix}:{{{channel}}}:key:{key}"

    def bell(self, channel: str) -> str:
        """What rings when something happens in the channel."""
        return f"{self._prefix}:{{{channel}}}:bell{self._db}"

    def here(self, channel: str) -> str:
        """Who follows the channel, by node; and what rings when that changes."""
        return f"{self._prefix}:{{{channel}}}:here{self._db}"

    def followed(self, node: str) -> str:
        """The channels that a node's connections follow, in order of their names."""
        return f"{self._prefix}:{{${node}}}:followed"

    def answers_bell(self, node: str) -> str:
        """What rings when a node's orders are answered."""
        return f"{self._prefix}:{{${node}}}:answers{self._db}"

    def shelf(self, name: str) -> str:
        """What is kept there until somebody takes it."""
        return f"{self._prefix}:{{$shelf:{name}}}"

    def live_bell(self, channel: str) -> str:
        """What an ephemeral channel's publications are announced on."""
        return f"{self._prefix}:live{self._db}:{self.namespace(channel)}/{{{channel}}}"

    def live_pattern(self, namespace: str) -> str:
        """All of those of a namespace (:meth:`namespace`)."""
        return f"{self._prefix}:live{self._db}:{namespace}/*"

    def live_channel(self, bell: bytes) -> str:
        """The channel of a :meth:`live_bell`."""
        return bell.decode().partition("/{")[2].removesuffix("}")

    def namespace(self, channel: str) -> str:
        """The name of the channel's namespace; "" for the default one."""
        name, colon, _ = channel.partition(":")
        return name if colon and name in self._namespaces.named else ""

    def probe(self, tag: str, node: str) -> str:
        """A node's own doorbell, by which it knows whether it still hears.

        :param tag: decides in a Cluster whose shard it is; begins with ``$``.
        """
        return f"{self._prefix}:{{{tag}}}:probe:{node}{self._db}"
