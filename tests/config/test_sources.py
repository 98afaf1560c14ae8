from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from notifier.channels import Namespace
from notifier.config import Origin, Settings, SettingsError, load
from notifier.config.settings import flag_name, variable_name


@pytest.fixture(autouse=True)
def bare_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("NOTIFIER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def problems(flags: dict[str, object] | None = None, file: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(flags, file)
    return caught.value.problems


def test_defaults_are_what_the_readme_says() -> None:
    settings = load().settings
    assert (settings.host, settings.port, settings.broker) == ("127.0.0.1", 8888, "memory:")
    assert (settings.history_size, settings.history_ttl) == (256, 43200.0)
    assert settings.history_bytes == 64 * 1024 * 1024
    assert set(load().origins.values()) == {Origin("default")}


def test_every_setting_has_a_sentence() -> None:
    for key, field in Settings.model_fields.items():
        assert field.description and field.description.endswith("."), key


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_constructor_reads_neither_environment_nor_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFIER_PORT", "1")
    Path("notifier.toml").write_text("port = 2")
    assert Settings().port == 8888


def test_flag_wins_over_environment_over_file_over_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "some.toml"
    file.write_text('port = 1\nmax_batch = 1\nmax_channels = 1\nlog_level = "debug"')
    monkeypatch.setenv("NOTIFIER_PORT", "2")
    monkeypatch.setenv("NOTIFIER_MAX_BATCH", "2")
    loaded = load({"port": "3"}, file)
    assert (loaded.settings.port, loaded.origins["port"]) == (3, Origin("flag", "--port"))
    assert loaded.settings.max_batch == 2
    assert loaded.origins["max_batch"] == Origin("environment", "NOTIFIER_MAX_BATCH")
    assert loaded.settings.max_channels == 1
    assert loaded.origins["max_channels"] == Origin("file", str(file))
    assert loaded.origins["host"] == Origin("default")
    assert loaded.file == file


def test_file_is_the_named_one_else_the_variables_else_the_one_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number, name in enumerate(("notifier.toml", "variable.toml", "flag.toml"), 1):
        Path(name).write_text(f"port = {number}")
    assert load().settings.port == 1
    monkeypatch.setenv("NOTIFIER_CONFIG", "variable.toml")
    assert load().settings.port == 2
    assert load(file=Path("flag.toml")).settings.port == 3


def test_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(file=Path("none.toml")) == ("none.toml: No such file or directory",)
    monkeypatch.setenv("NOTIFIER_CONFIG", "gone.toml")
    assert problems() == ("gone.toml: No such file or directory",)
    assert problems(file=Path(".")) == (".: Is a directory",)


def test_file_that_is_not_toml_is_told_with_its_line() -> None:
    Path("notifier.toml").write_text("port = 1\nhost = \n")
    (problem,) = problems()
    assert problem.startswith("notifier.toml is not TOML: ") and "line 2" in problem
    Path("notifier.toml").write_bytes(b'host = "\xff"')
    (problem,) = problems()
    assert problem.startswith("notifier.toml is not TOML: ")


def test_unknown_key_names_the_nearest() -> None:
    Path("notifier.toml").write_text("prot = 1\nzzz = 2\n[namespaces.a]\nhistory_tll = 3")
    nested, near, far = problems()
    assert near == "prot in notifier.toml is no setting; did you mean port?"
    assert far.startswith("zzz in notifier.toml is no setting; known are allowed_hosts, ")
    assert nested == (
        "namespaces.a.history_tll in notifier.toml is no setting; did you mean history_ttl?"
    )


def test_bad_value_names_source_value_and_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("notifier.toml").write_text("max_batch = 0")
    monkeypatch.setenv("NOTIFIER_HISTORY_TTL", "soon")
    port, ttl, batch = problems({"port": "99999"})
    assert port == "--port 99999: must be less than or equal to 65535"
    assert ttl.startswith("NOTIFIER_HISTORY_TTL=soon: 'soon' is not a duration: write ")
    assert batch == "max_batch = 0 in notifier.toml: must be greater than or equal to 1"


@pytest.mark.parametrize(
    ("key", "text", "rule"),
    [
        (
            "broker",
            "nats://h",
            "no broker of this kind is known; supported: memory:, sqlite:PATH, redis://HOST",
        ),
        ("broker", "sqlite:", "such as sqlite:notifier.db"),
        ("broker", "sqlite:///notifier.db", "such as sqlite:notifier.db"),
        ("broker", "sqlite::memory:", "such as sqlite:notifier.db"),
        ("broker", "memory", "no broker of this kind"),
        (
            "workers",
            "2",
            "need a broker they can share, such as redis://HOST; memory: lives in one",
        ),
        ("workers", "auto", "need a broker they can share"),
        ("workers", "0", "need a broker they can share"),
        ("workers", "many", "must be a whole number, or auto"),
        ("workers", "-1", "must be greater than or equal to 0"),
        ("port", "eighty", "must be a whole number"),
        ("port", "1.5", "must be a whole number"),
        ("port", "-1", "must be greater than or equal to 0"),
        ("port", "tcp://10.0.0.1:80", "enableServiceLinks"),
        ("host", "", "String should have at least 1 character"),
        ("feed_bytes", "4 potatoes", "is not a size"),
        ("ping_interval", "0", "must be greater than 0"),
        ("history_ttl", "31d", "must be less than or equal to"),
        ("log_format", "xml", "must be 'text' or 'json'"),
        ("log_level", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
        ("allowed_hosts", "http://a.example", "without scheme, port or path"),
        ("allowed_hosts", "a.example:80", "without scheme, port or path"),
        ("allowed_hosts", "*.example", "without scheme, port or path"),
        ("allowed_origins", "a.example", "write scheme, host"),
        ("allowed_origins", "https://a.example/page", "write scheme, host"),
        ("allowed_origins", "https://a.example:port", "is not an origin"),
        ("allowed_origins", "*.example", "or * for any"),
        ("allowed_origins", "https://*", "or * for any"),
        ("allowed_origins", "null", "or * for any"),
        ("namespaces", "{", "write a JSON object"),
        ("namespaces", "[]", "must be a table of tables"),
        ("namespaces", '{"a:b": {}}', "before its first colon"),
        ("namespaces", '{"a b": {}}', "is not allowed"),
        ("namespaces", '{"a": {"history_size": -1}}', "a.history_size = -1 in --namespaces: must"),
        ("namespaces", '{"a": {"history_size": true}}', "true and false are no values"),
        ("namespaces", '{"a": {"presence": "x"}}', "a.presence = x in --namespaces: must be true"),
        ("presence", "maybe", "must be true or false"),
        ("presence", "3", "must be true or false"),
    ],
)
def test_bad_value_is_refused_with_its_rule(key: str, text: str, rule: str) -> None:
    (problem,) = problems({key: text})
    assert rule in problem
    assert flag_name(key) in problem


@pytest.mark.parametrize(("text", "workers"), [("auto", 0), ("0", 0), ("1", 1), ("16", 16)])
def test_workers_are_a_number_or_one_for_each_core(text: str, workers: int) -> None:
    assert load({"workers": text, "broker": "redis://h"}).settings.workers == workers


def test_truth_is_no_number_in_the_file() -> None:
    Path("notifier.toml").write_text("port = true\nping_interval = nan\nhistory_ttl = inf")
    assert len(problems()) == 3


def test_every_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "host": "::1",
        "broker": "memory:x",
        "allowed_hosts": "a.example, B.Example.",
        "allowed_origins": "https://A.example:443,http://[::1]:8080/",
        "namespaces": '{"audit": {"history_size": 9, "history_ttl": "1m"}}',
        "presence": "true",
        "deflate": "true",
        "insecure": "true",
        "workers": "1",  # more need another broker
        "log_level": "error",
        "log_format": "json",
        "max_header_bytes": "2KiB",
        "token_secret": "0123456789abcdef" * 2,
        "token_jwks_url": "https://id.example/jwks.json",
        "who_may_publish": "granted",
        "who_may_subscribe": "authenticated",
        "who_may_read_history": "owner",
        "who_may_see_presence": "public",
        "trusted_proxies": "10.0.0.0/8, ::1",
    }
    for key in Settings.model_fields:
        monkeypatch.setenv(variable_name(key), texts.get(key, "3"))
    loaded = load()
    assert {origin.kind for origin in loaded.origins.values()} == {"environment"}
    settings = loaded.settings
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert settings.allowed_origins == ("https://a.example", "http://[::1]:8080")
    assert settings.max_header_bytes == 2048
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.ping_interval == 3.0
    assert settings.namespaces["audit"].history_ttl == 60.0
    assert settings.presence is True


def test_repeated_list_flag_and_commas_come_to_the_same() -> None:
    repeated = load({"allowed_origins": ("http://a", "http://b,http://c")}).settings
    commas = load({"allowed_origins": "http://a, http://b ,http://c,"}).settings
    assert repeated.allowed_origins == commas.allowed_origins
    assert len(commas.allowed_origins) == 3


def test_durations_and_sizes_in_the_file_are_numbers_or_text() -> None:
    Path("notifier.toml").write_text(
        'history_ttl = "1h30m"\nping_interval = 1.5\nfeed_bytes = 4096\nmax_body_bytes = "2MiB"'
    )
    settings = load().settings
    assert (settings.history_ttl, settings.ping_interval) == (5400.0, 1.5)
    assert (settings.feed_bytes, settings.max_body_bytes) == (4096, 2 << 20)


def test_namespace_takes_from_the_node_what_it_does_not_set() -> None:
    Path("notifier.toml").write_text(
        'history_size = 10\nhistory_ttl = "1h"\n'
        "[namespaces.live]\nhistory_size = 0\n[namespaces.audit]\nhistory_ttl = '7d'"
    )
    namespaces = load().settings.channel_namespaces()
    assert namespaces.default == Namespace(history_size=10, history_ttl=3600.0)
    assert namespaces.of("live:x") == Namespace(history_size=0, history_ttl=3600.0)
    assert namespaces.of("audit:x") == Namespace(history_size=10, history_ttl=7 * 86400.0)
    assert namespaces.of("other:x") == namespaces.default


def test_namespace_may_turn_presence_on_or_off() -> None:
    Path("notifier.toml").write_text(
        "[namespaces.chat]\npresence = true\n[namespaces.audit]\npresence = false"
    )
    namespaces = load().settings.channel_namespaces()
    assert [namespaces.of(channel).presence for channel in ("chat:x", "audit:x", "x")] == [
        True,
        False,
        False,
    ]
    namespaces = load({"presence": "true"}).settings.channel_namespaces()
    assert [namespaces.of(channel).presence for channel in ("chat:x", "audit:x", "x")] == [
        True,
        False,
        True,
    ]


def test_unknown_variable_is_remarked_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFIER_PROT", "1")
    monkeypatch.setenv("NOTIFIER_WHATEVER_ELSE", "1")
    monkeypatch.setenv("NOTIFIER_URL", "http://h")
    # Kubernetes writes these beside a service of the name.
    monkeypatch.setenv("NOTIFIER_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("NOTIFIER_PORT_80_TCP_ADDR", "10.0.0.1")
    assert load().unknown_variables == {
        "NOTIFIER_PROT": "NOTIFIER_PORT",
        "NOTIFIER_WHATEVER_ELSE": None,
    }


@pytest.mark.parametrize("one", ["tls_cert", "tls_key"])
def test_certificate_and_key_go_together(one: str) -> None:
    with pytest.raises(SettingsError, match="set both or none"):
        load({one: "x.pem"})


@pytest.mark.parametrize("network", ["proxy.example", "10.0.0.1/8", "*", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(SettingsError, match="no network such as"):
        load({"trusted_proxies": network})
