"""The Qt programs, built by the line at their top and run against a server.

What is tested as well is the server: QWebSocket is a client that nobody here has written.
"""

from __future__ import annotations

import re
import shutil
import signal
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Thread

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.examples.programs import EXAMPLES, PATIENCE, Program, history, notify, required
from tests.handlers.serving import CHECKOUT
from tests.processes import Process, server_process

FOLDER = EXAMPLES / "qt-client"
SOURCES = {
    "echo": FOLDER / "echo.cpp",
    "chat": FOLDER / "chat.cpp",
    "images": FOLDER / "images.cpp",
}
PACKAGES = "g++ pkg-config qt6-base-dev qt6-websockets-dev"
# QWebSocket::defaultOutgoingFrameSize(): what is longer goes out in several frames.
FRAME = 512 * 1024


def build(source: Path, folder: Path) -> Path:
    """Run the build line as it stands."""
    (line,) = re.findall(r"^//   (g\+\+ .+)$", source.read_text("utf-8"), flags=re.MULTILINE)
    shutil.copy(source, folder)
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / source.stem


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The programs, by name."""
    required("g++", PACKAGES)
    check = [required("pkg-config", PACKAGES), "--exists", "Qt6WebSockets", "Qt6Gui"]
    if subprocess.run(check).returncode:
        pytest.fail(f"Qt 6 is missing; install it with: apt-get install {PACKAGES}")
    folder = tmp_path_factory.mktemp("qt")
    with ThreadPoolExecutor() as pool:
        programs = pool.map(lambda source: build(source, folder), SOURCES.values())
    return dict(zip(SOURCES, programs, strict=True))


def raw(port: int, channel: str) -> ClientConnection:
    """Another client on the channel, which is not Qt."""
    return connect(f"ws://localhost:{port}/raw/{channel}", max_size=None)


# --- echo ---


@pytest.mark.parametrize("path", ["/echo", "/"])
def test_echo_client_is_answered(server: Process, built: dict[str, Path], path: str) -> None:
    url = f"ws://localhost:{server.port}{path}"
    with Program(built["echo"], url, cwd=FOLDER) as program:
        assert program.line() == "Reçu: Hello, world!"
        assert program.exit_code() == 0
    with Program(built["echo"], url, "Où ça ? 🦆", cwd=FOLDER) as program:
        assert program.line() == "Reçu: Où ça ? 🦆"


def test_echo_client_says_why_there_is_no_answer(built: dict[str, Path]) -> None:
    with Program(built["echo"], "ws://localhost:1/echo", cwd=FOLDER) as program:
        assert program.note("ws:").endswith("Connection refused")
        assert program.exit_code() == 1


# --- chat ---


def test_text_goes_both_ways(server: Process, built: dict[str, Path]) -> None:
    url = f"ws://localhost:{server.port}/raw/chat"
    with Program(built["chat"], url, cwd=FOLDER) as chat, raw(server.port, "chat") as other:
        chat.note("-- on")
        chat.type("Salut, c’est Qt 🦆")
        assert chat.line() == other.recv(PATIENCE) == "Salut, c’est Qt 🦆"
        other.send("Hello from elsewhere")
        assert chat.line() == other.recv(PATIENCE) == "Hello from elsewhere"
        notify(server.port, "chat", message="and from curl", title="not shown on /raw")
        assert chat.line() == "and from curl"
        chat.end_of_input()
        assert chat.exit_code() == 0


def test_a_chat_that_wants_no_echo_gets_none(server: Process, built: dict[str, Path]) -> None:
    url = f"ws://localhost:{server.port}/raw/quiet?echo=0"
    with Program(built["chat"], url, cwd=FOLDER) as chat, raw(server.port, "quiet") as other:
        chat.note("-- on")
        chat.type("mine")
        assert other.recv(PATIENCE) == "mine"
        other.send("theirs")
        assert chat.line() == "theirs"


def test_chat_comes_back_when_the_server_does(built: dict[str, Path]) -> None:
    with server_process("--drain-seconds", "0.1") as first:
        url = f"ws://localhost:{first.port}/raw/chat"
        chat = Program(built["chat"], url, cwd=FOLDER)
        with chat:
            chat.note("-- on")
            first.signal(signal.SIGTERM)
            assert "come back" in chat.note("-- lost")
            chat.note("-- lost: Connection refused")
            chat.type("into the void")
            chat.note("-- not sent")
            with server_process("--port", str(first.port)):
                chat.note("-- on")
                chat.type("there again")
                assert chat.line() == "there again"


# --- images ---


def png(width: int, height: int) -> bytes:
    """A picture of noise: no packing makes it smaller."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    noise = Random(width * height)
    rows = b"".join(b"\0" + noise.randbytes(3 * width) for _ in range(height))
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def q_compress(original: bytes) -> bytes:
    return struct.pack(">I", len(original)) + zlib.compress(original)


def inflated_by_the_page(packed: bytes) -> bytes:
    """What the page's code makes of it."""
    script = """
        import { looksCompressed, inflate } from "./static/qcompress.js";
        const parts = [];
        for await (const part of process.stdin) parts.push(part);
        const packed = new Uint8Array(Buffer.concat(parts));
        if (!looksCompressed(packed)) throw new Error("it does not look compressed");
        process.stdout.write(await inflate(packed));
    """
    command = [required("node", "nodejs"), "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=CHECKOUT, input=packed, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Small, and so large that QWebSocket sends it in more than one frame.
@pytest.mark.parametrize("size", [(40, 30), (500, 500)])
def test_a_picture_arrives_verbatim_and_the_page_can_read_it(
    server: Process, built: dict[str, Path], tmp_path: Path, size: tuple[int, int]
) -> None:
    channel = f"images-{size[0]}"
    url = f"ws://localhost:{server.port}/raw/{channel}"
    (tmp_path / "noise.png").write_bytes(png(*size))
    with raw(server.port, channel) as other:
        with Program(built["images"], url, "noise.png", cwd=tmp_path) as program:
            packed = other.recv(PATIENCE)
            assert program.line() == f"sent {len(packed)} bytes"
            assert program.exit_code() == 0
    assert isinstance(packed, bytes)
    assert (len(packed) > FRAME) == (size == (500, 500))
    original = zlib.decompress(packed[4:])
    assert packed[:4] == struct.pack(">I", len(original))
    assert original.startswith(b"\x89PNG") and original[16:24] == struct.pack(">II", *size)
    assert inflated_by_the_page(packed) == original
    (kept,) = history(server.port, channel)
    assert kept["content_type"] == "application/octet-stream"


def test_qt_sends_a_large_message_in_several_frames(built: dict[str, Path], tmp_path: Path) -> None:
    """Else the test above shows nothing of fragments."""
    frames: list[int] = []

    def answer(connection: ServerConnection) -> None:
        for part in connection.recv_streaming():
            frames.append(len(part))

    with serve(answer, "localhost", 0, max_size=None) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        port = listening.socket.getsockname()[1]
        (tmp_path / "noise.png").write_bytes(png(500, 500))
        with Program(
            built["images"], f"ws://localhost:{port}/", "noise.png", cwd=tmp_path
        ) as program:
            program.note("-- lost")
        listening.shutdown()
        thread.join()
    assert len(frames) > 1 and sum(frames) > FRAME


def test_a_picture_over_the_limit_is_refused_with_the_reason(
    server: Process, built: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "noise.png").write_bytes(png(700, 700))
    url = f"ws://localhost:{server.port}/raw/large"
    with Program(built["images"], url, "noise.png", cwd=tmp_path) as program:
        assert program.note("-- lost") == "-- lost: message too big"
        assert program.exit_code() == 1


def test_pictures_of_others_are_saved_and_bombs_are_not(
    server: Process, built: dict[str, Path], tmp_path: Path
) -> None:
    url = f"ws://localhost:{server.port}/raw/gallery"
    bomb = struct.pack(">I", 0xFFFFFFFF) + zlib.compress(bytes(1000))
    with Program(built["images"], url, cwd=tmp_path) as program, raw(server.port, "gallery") as us:
        program.note("-- on")
        us.send(q_compress(png(30, 20)))
        assert program.line() == "image-1.png 30x20"
        us.send(bomb)
        us.send(b"\x00\x01")
        assert program.note(str(len(bomb))) == f"{len(bomb)} bytes that are no picture"
        program.note("2 bytes that are no picture")
        us.send(q_compress(png(600, 500)))
        assert program.line() == "image-4.png 600x500"
    assert (tmp_path / "image-1.png").read_bytes().startswith(b"\x89PNG")


def test_every_program_is_built_here() -> None:
    assert set(SOURCES.values()) == set(FOLDER.glob("*.cpp"))
