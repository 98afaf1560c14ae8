"""The settings: one definition for flags, environment, file, help and the reference page.

A setting ``max_body_bytes`` is the flag ``--max-body-bytes``, the variable
``NOTIFIER_MAX_BODY_BYTES`` and the key ``max_body_bytes`` of the TOML file. A flag wins over the
environment, that over the file, that over the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from notifier.channels import MAX_CHANNEL_BYTES, Namespace, Namespaces
from notifier.config import brokerurl, reached, tokens
from notifier.config.namespaces import NamespaceSettings
from notifier.config.values import (
    FROM_JSON,
    BrokerURL,
    Duration,
    FilePath,
    HostNames,
    NamespaceName,
    Networks,
    Origins,
    Secret,
    Size,
    Who,
    Workers,
    refuse_bool,
)

PREFIX = "NOTIFIER_"

# With any of these somebody can show who it is.
_ASKS = ("keys_file", "token_secret", "token_keys_file", "token_jwks_url")

_KiB, _MiB = 1024, 1024 * 1024
_DAY = 86400.0


def _setting(group: str, default: Any, description: str, **rules: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"group": group}, **rules)


class Settings(BaseSettings):
    """Everything that can be set. Durations are seconds, sizes are bytes.

    ``Settings(…)`` takes its arguments and defaults alone; :func:`load` reads the environment
    and the file too.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        # A variable is text like a flag; the validators below read it.
        enable_decoding=False,
        validate_default=True,
    )

    host: str = _setting(
        "Network",
        "127.0.0.1",
        "Address or name to listen on; 0.0.0.0 and :: are every interface.",
        min_length=1,
    )
    port: int = _setting(
        "Network", 8888, "TCP port to listen on; 0 is any free one.", ge=0, le=65535
    )
    allowed_hosts: HostNames = _setting(
        "Network",
        (),
        "Host names served besides loopback names, IP addresses and the bound host; * is any.",
    )
    allowed_origins: Origins = _setting(
        "Network",
        (),
        "Origins of other sites whose pages may use this server; * is any, whose cookies are then "
        "passed over. With *, and without keys or tokens, every page that somebody who reaches "
        "this server visits may do everything.",
    )

    trusted_proxies: Networks = _setting(
        "Network",
        (),
        "Addresses and networks (10.0.0.0/8) of proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed; from others these headers are ignored.",
    )

    tls_cert: str = _setting(
        "TLS",
        "",
        "PEM file of the certificate, and of those between it and its root: HTTPS is served, and "
        "no HTTP. It is read again on SIGHUP, and when it changes.",
    )
    tls_key: str = _setting(
        "TLS", "", "PEM file of the certificate's key, not encrypted; may be the same file."
    )
    hsts_max_age: Duration = _setting(
        "TLS",
        0.0,
        "How long browsers use HTTPS alone for this host name, on every port, after each answer "
        "over HTTPS (Strict-Transport-Security); 0 does not tell them to.",
        ge=0,
        le=2 * 366 * _DAY,
    )

    broker: BrokerURL = _setting(
        "Broker",
        "memory:",
        "URL of the broker: memory: keeps everything inside this process, sqlite:PATH in a file "
        "that outlives it, such as sqlite:/var/lib/notifier/notifier.db; redis://HOST joins nodes "
        "(also rediss://, unix://, redis+sentinel://HOST/MASTER, redis+cluster://HOST).",
    )
    redis_prefix: str = _setting(
        "Broker",
        "notifier",
        "What this service's keys in Redis begin with; nodes of one service have the same.",
        pattern=r"^[0-9A-Za-z_.-]{1,50}$",
    )
    redis_timeout: Duration = _setting(
        "Broker",
        3.0,
        "How long an answer of Redis may take, and how long publishing is tried before it is "
        "refused.",
        ge=0.1,
        le=60,
    )
    redis_linger: Duration = _setting(
        "Broker",
        10.0,
        "How long a node still hears a channel in Redis after its last subscriber has left.",
        ge=0,
        le=3600,
    )
    redis_wait_replicas: int = _setting(
        "Broker",
        0,
        "Replicas of Redis that must have a publication before it is acknowledged (WAIT); not in a "
        "Cluster.",
        ge=0,
        le=10,
    )

    workers: Workers = _setting(
        "Workers",
        1,
        "Processes that serve, each a node of its own on the same port; auto or 0 is one for each "
        "core. More than one need a broker they can share.",
        ge=0,
        le=256,
    )

    history_size: int = _setting(
        "History",
        256,
        "Publications kept per channel, on Redis at most 100000; 0 makes channels ephemeral: live "
        "delivery only.",
        ge=0,
        le=1_000_000,
    )
    history_ttl: Duration = _setting(
        "History", 12 * 3600.0, "How long a publication is kept.", gt=0, le=30 * _DAY
    )
    history_bytes: Size = _setting(
        "History",
        64 * _MiB,
        "Memory, or disk, for the history of all channels; the least recently used are trimmed "
        "first. Not in Redis: there, maxmemory bounds it.",
        ge=0,
    )
    idempotency_ttl: Duration = _setting(
        "History",
        3600.0,
        "How long a repeated idempotency key is answered with its first result.",
        ge=0,
        le=30 * _DAY,
    )
    feed_size: int = _setting(
        "History",
        1024,
        "Publications of one channel this node holds ready for those who catch up.",
        ge=1,
        le=1_000_000,
    )
    feed_bytes: Size = _setting(
        "History", 4 * _MiB, "Bytes of one channel this node holds ready for them.", ge=1
    )
    feeds_bytes: Size = _setting(
        "History", 256 * _MiB, "Bytes of all channels together this node holds ready.", ge=1
    )
    namespaces: Annotated[dict[NamespaceName, NamespaceSettings], FROM_JSON] = _setting(
        "History",
        {},
        "Namespaces, each with its own history_size, history_ttl and presence, and with its own "
        "answers to who may do what: a table [namespaces.NAME] in the file, JSON elsewhere.",
    )

    presence: bool = _setting(
        "Presence", False, "Whether clients may see who is on a channel, and who joins and leaves."
    )
    presence_members: int = _setting(
        "Presence",
        100,
        "Connections on a channel that are listed; of more only the count is told.",
        ge=0,
        le=1000,
    )

    keys_file: FilePath = _setting(
        "Access",
        "",
        "File of the API keys, as `notifier key` writes it. It is read anew when it changes.",
    )
    token_secret: Secret = _setting(
        "Access",
        "",
        "Secret with which tokens are signed and verified (HS256), at least 32 bytes. Others see a "
        "flag: set it in the environment or the file.",
        repr=False,
    )
    token_keys_file: FilePath = _setting(
        "Access",
        "",
        "File of the public keys that verify tokens (RS256, ES256, EdDSA): PEM, one after the "
        "other, or a JWKS document. It is read anew when it changes. Needs the extra jwt.",
    )
    token_jwks_url: str = _setting(
        "Access",
        "",
        "https URL of a JWKS document with public keys that verify tokens; fetched anew every ten "
        "minutes, and for a key that is not known yet. Needs the extra jwt.",
    )
    token_audience: str = _setting(
        "Access",
        "",
        "Whom tokens must be for (aud). Where it is not set, tokens that are for somebody are "
        "refused.",
    )
    token_issuer: str = _setting("Access", "", "Who must have issued a token (iss); else anybody.")
    max_token_life: Duration = _setting(
        "Access",
        365 * _DAY,
        "How long a token may live at most, from its iat (or from now, where it has none) to its "
        "exp. So long it is remembered that all tokens of a user were revoked. Tokens "
        "without iat may outlive that: give them one.",
        gt=0,
        le=3650 * _DAY,
    )
    token_cookie: str = _setting(
        "Access", "", "Name of the cookie in which browsers bring their token; else none is read."
    )
    insecure: bool = _setting(
        "Access",
        False,
        "Serve others than this machine (on another host, under allowed_hosts, behind "
        "trusted_proxies) although nobody is asked for a key or a token: whoever reaches the "
        "server may do everything.",
    )
    who_may_publish: Who = _setting(
        "Access",
        "auto",
        "Who may publish without having been granted it by an API key or a token. public: anybody; "
        "authenticated: whoever has a token; owner: the user whose name is the second part of the "
        "channel's, as in user:42:inbox; granted: nobody. auto is granted where there are keys or "
        "tokens, else public; the namespace user is then granted too, whatever stands here.",
    )
    who_may_subscribe: Who = _setting(
        "Access",
        "auto",
        "Who may subscribe without having been granted it; as above, but that the namespace user "
        "is its owner's.",
    )
    who_may_read_history: Who = _setting(
        "Access", "auto", "Who may read history without having been granted it; as above."
    )
    who_may_see_presence: Who = _setting(
        "Access",
        "auto",
        "Who may see who is on a channel without having been granted it; as above.",
    )

    max_body_bytes: Size = _setting(
        "Limits", _MiB, "Largest body of an HTTP request, or one line of NDJSON.", ge=1
    )
    max_message_bytes: Size = _setting(
        "Limits", _MiB, "Largest WebSocket message a client may send.", ge=1
    )
    max_header_bytes: Size = _setting(
        "Limits", 32 * _KiB, "Largest head of an HTTP request.", ge=1024
    )
    max_pending_bytes: Size = _setting(
        "Limits",
        _MiB,
        "Replies a client may leave unread before its connection is closed.",
        ge=1,
    )
    max_backlog_bytes: Size = _setting(
        "Limits",
        256 * _MiB,
        "Replies all clients of this node together may leave unread; over it, the connections of "
        "those who leave most are closed. 0 is any number.",
        ge=0,
    )
    max_subscriptions: int = _setting(
        "Limits", 128, "Channels and patterns one connection may subscribe to.", ge=1
    )
    max_pattern_channels: int = _setting(
        "Limits", 1000, "Channels that patterns may bring to one connection.", ge=1
    )
    max_connections: int = _setting(
        "Limits",
        15_000,
        "Clients connected to this node: WebSockets and streams. Each worker is one.",
        ge=1,
    )
    max_connections_per_address: int = _setting(
        "Limits",
        1000,
        "Clients connected to this node from one address, or from one IPv6 network (/64); 0 is any "
        "number. Behind a proxy, all have its address unless trusted_proxies names it.",
        ge=0,
    )
    max_connections_per_user: int = _setting(
        "Limits",
        100,
        "Clients connected to this node with one API key, or with tokens of one sub; 0 is any "
        "number.",
        ge=0,
    )
    max_tickets_per_user: int = _setting(
        "Limits",
        100,
        "Tickets this node has given to one API key, or to tokens of one sub, that nobody has "
        "shown yet; all together they are at most 10000. 0 is any number of one.",
        ge=0,
    )
    max_new_connections_per_second: int = _setting(
        "Limits",
        100,
        "Clients that may connect to this node from one address, or from one IPv6 network (/64), "
        "in a second; ten times as many at once. 0 is any number.",
        ge=0,
    )
    max_commands_per_second: int = _setting(
        "Limits",
        200,
        "Messages, pings and small fragments one WebSocket may send in a second; twice as many at "
        "once. 0 is any number.",
        ge=0,
    )
    max_publishes_per_second: int = _setting(
        "Limits",
        0,
        "Notifications one producer may send in a second, to all nodes on one Redis together; "
        "twice as many at once. One for several channels counts once for each. A producer is an "
        "API key, the sub of a token, or else an address. 0 is any number. All nodes should have "
        "the same.",
        ge=0,
    )
    max_channel_name_bytes: Size = _setting(
        "Limits",
        MAX_CHANNEL_BYTES,
        "Longest name of a channel or a pattern that may be published or subscribed to, or asked "
        "about; in UTF-8.",
        ge=1,
        le=MAX_CHANNEL_BYTES,
    )
    max_channels: int = _setting("Limits", 100_000, "Channels the broker keeps.", ge=1)
    max_idempotency_keys: int = _setting(
        "Limits",
        200_000,
        "Idempotency keys remembered; the oldest are forgotten first. Not in Redis.",
        ge=1,
    )
    max_unwritten_bytes: Size = _setting(
        "Limits",
        16 * _MiB,
        "Publications that may wait for the broker's disk, or for Redis; more are refused for the "
        "moment.",
        ge=1,
    )
    max_batch: int = _setting("Limits", 1000, "Notifications in one array.", ge=1)
    max_channels_per_notification: int = _setting(
        "Limits", 100, "Channels one notification may name.", ge=1
    )

    ping_interval: Duration = _setting(
        "Connections", 25.0, "How often a connection is pinged.", gt=0, le=3600
    )
    ping_timeout: Duration = _setting(
        "Connections", 25.0, "How long the answer to a ping may take.", gt=0, le=3600
    )
    stalled_seconds: Duration = _setting(
        "Connections",
        30.0,
        "A client that takes no byte of what waits for it for so long is cut off.",
        gt=0,
        le=3600,
    )
    header_timeout: Duration = _setting(
        "Connections",
        75.0,
        "How long a connection may be idle between requests, and a request's head take.",
        gt=0,
        le=_DAY,
    )
    body_timeout: Duration = _setting(
        "Connections",
        60.0,
        "How long a request's body may take, or one of NDJSON be silent.",
        gt=0,
        le=_DAY,
    )
    authenticate_timeout: Duration = _setting(
        "Connections",
        15.0,
        "Where keys or tokens are asked for: how long a connection to /ws may be without one and "
        "without doing anything that goes without; 0 is no limit.",
        ge=0,
        le=_DAY,
    )
    deflate: bool = _setting(
        "Connections",
        False,
        "Whether WebSockets that offer permessage-deflate get publications compressed, and may "
        "send compressed messages.",
    )
    deflate_min_bytes: Size = _setting(
        "Connections", 256, "Publications shorter than this are sent as they are.", ge=0
    )
    drain_seconds: Duration = _setting(
        "Connections",
        10.0,
        "On SIGTERM, the time over which clients are sent away.",
        ge=0,
        le=3600,
    )

    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "Logging", "info", "The least important events that are logged."
    )
    log_format: Literal["text", "json"] = _setting(
        "Logging", "text", "Log lines for people, or one JSON object per line."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments alone: :func:`load` keeps account of where each value came from."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        return refuse_bool(value, cls.model_fields[info.field_name or ""])

    @field_validator("port", mode="before")
    @classmethod
    def _no_service_link(cls, value: object) -> object:
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError(
                'this is a link Kubernetes makes for a service named "notifier": '
                "set enableServiceLinks: false in the pod, or name the service otherwise"
            )
        return value

    @field_validator("tls_key")
    @classmethod
    def _both_or_none(cls, key: str, info: ValidationInfo) -> str:
        if bool(key) != bool(info.data.get("tls_cert")):
            raise ValueError("tls_cert and tls_key go together: set both or none")
        return key

    @field_validator("insecure")
    @classmethod
    def _not_open_by_accident(cls, insecure: bool, info: ValidationInfo) -> bool:
        asks = any(info.data.get(name) for name in _ASKS)
        how = reached.from_elsewhere(info.data)
        if how and not (insecure or asks):
            raise ValueError(
                f"{how}, whoever reaches this server could read and publish everything: make "
                "keys (notifier key create, setting keys_file) or verify tokens (token_secret, "
                "token_keys_file, token_jwks_url), serve this machine alone, or say that it is "
                "meant so with --insecure"
            )
        return insecure

    @field_validator("token_secret")
    @classmethod
    def _secret_nobody_guesses(cls, secret: str) -> str:
        return tokens.check_secret(secret)

    @field_validator("token_jwks_url")
    @classmethod
    def _url_to_be_trusted(cls, url: str) -> str:
        return tokens.check_url(url)

    @field_validator("token_cookie")
    @classmethod
    def _name_of_a_cookie(cls, name: str) -> str:
        return tokens.check_cookie(name)

    @field_validator("broker")
    @classmethod
    def _known_broker(cls, url: str) -> str:
        return brokerurl.check_broker(url)

    @field_validator("history_size")
    @classmethod
    def _what_redis_can_walk(cls, size: int, info: ValidationInfo) -> int:
        return brokerurl.check_history_size(size, broker=info.data.get("broker", ""))

    @field_validator("namespaces")
    @classmethod
    def _what_redis_can_walk_there(
        cls, namespaces: dict[str, NamespaceSettings], info: ValidationInfo
    ) -> dict[str, NamespaceSettings]:
        for own in namespaces.values():
            brokerurl.check_history_size(own.history_size or 0, broker=info.data.get("broker", ""))
        return namespaces

    @field_validator("redis_wait_replicas")
    @classmethod
    def _replicas_of_one_master(cls, replicas: int, info: ValidationInfo) -> int:
        if replicas and "+cluster:" in info.data.get("broker", ""):
            raise ValueError(
                "this is for one master with replicas; in a Cluster, set min-replicas-to-write in "
                "Redis"
            )
        return replicas

    @field_validator("workers")
    @classmethod
    def _shared_broker(cls, workers: int, info: ValidationInfo) -> int:
        return brokerurl.check_workers(workers, broker=info.data.get("broker", ""))

    def keypair(self) -> tuple[Path, Path] | None:
        """The files of certificate and key, where TLS is served."""
        return (Path(self.tls_cert), Path(self.tls_key)) if self.tls_cert else None

    def channel_namespaces(self) -> Namespaces:
        """The namespaces, each with what it does not set itself taken from the node."""
        default = Namespace(
            history_size=self.history_size, history_ttl=self.history_ttl, presence=self.presence
        )
        return Namespaces(
            default=default,
            named={name: own.over(default) for name, own in self.namespaces.items()},
        )


def group_of(field: FieldInfo) -> str:
    """The heading under which help and reference show the setting."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def flag_name(key: str) -> str:
    return "--" + key.replace("_", "-")


def variable_name(key: str) -> str:
    return PREFIX + key.upper()
