"""The Redis that other tests are run with."""

from __future__ import annotations

import pytest

from tests.redisservers.server import CERTIFICATE, RedisServer, redis_cli


def test_redis_answers_on_a_port_a_unix_socket_and_with_tls(redis_server: RedisServer) -> None:
    tls = ["--tls", "--cacert", CERTIFICATE, "--sni", "localhost", "-p", redis_server.tls_port]
    assert redis_server.cli("PING") == "PONG"
    assert redis_cli("-s", f"{redis_server.folder}/redis.sock", "PING") == "PONG"
    assert redis_cli(*map(str, tls), "PING") == "PONG"
    assert redis_server.url == f"redis://127.0.0.1:{redis_server.port}"
    assert redis_server.port != 6379


def test_killed_redis_comes_back_on_its_port_with_its_append_only_file() -> None:
    with RedisServer(appendfsync="always") as server:
        port, folder = server.port, server.folder
        server.cli("SET", "kept", "yes")
        server.kill()
        assert not server.running
        with pytest.raises(AssertionError, match="refused"):
            server.cli("PING")
        server.restart()
        assert server.port == port
        assert server.cli("GET", "kept") == "yes"
    assert not server.running
    assert not folder.exists()


def test_errors_of_redis_fail_the_test(redis_server: RedisServer) -> None:
    with pytest.raises(AssertionError, match=r"redis-cli .* NOSUCHCOMMAND: .*unknown command"):
        redis_server.cli("NOSUCHCOMMAND")


def test_missing_redis_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.fail.Exception, match=r"apt-get install .* redis-server"):
        with RedisServer():
            pass
