"""``docs/tutorial.md``: somebody who does what it says sees what it says."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.docs.markdown import Block, blocks, read
from tests.examples.programs import PATIENCE, Program, environment, notifier_command, until
from tests.processes import server_process

BLOCKS = blocks(read("tutorial.md"))


class Reader:
    """Runs what the tutorial shows, in its order, with ports and a folder of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._commands = notifier_command(folder / "bin")
        self._server = ExitStack()
        self.port = 0
        self.site = 0
        self.output: list[str] = []
        self.running: Program | None = None

    def do(self, block: Block) -> None:
        match block.language:
            case "html":
                (self._folder / "wall.html").write_text(self._here(block.text))
            case "sh":
                self._run(block.text)

    def _run(self, text: str) -> None:
        if text.startswith("make run"):
            self._serve(re.findall(r"ARGS=\"(.+)\"", text))
        elif text.startswith("python3 -m http.server"):
            command = self._here(text).replace("python3", sys.executable)
            self._start(*command.split(), "--bind", "127.0.0.1")
        elif "notifier subscribe" in text:
            # The virtual environment is not where the tutorial's reader has it.
            command = text.replace('export PATH="$PWD/.venv/bin:$PATH"\n', "")
            assert command != text
            self.running = self._start("bash", "-c", self._here(command))
        else:
            program = self._start("bash", "-euo", "pipefail", "-c", self._here(text))
            assert program.exit_code() == 0, (text, list(program.err.queue))
            self.output += list(program.out.queue)

    def _serve(self, arguments: list[str]) -> None:
        """Ctrl-C in the first terminal, and this."""
        self._server.close()
        words = self._here(" ".join(arguments)).split()
        again = ["--port", str(self.port)] if self.port else []
        self.port = self._server.enter_context(server_process(*again, *words)).port
        self._stack.callback(self._server.close)

    def _start(self, *command: str) -> Program:
        env = environment(self.port, commands=self._commands)
        return self._stack.enter_context(Program(*command, cwd=self._folder, env=env))

    def _here(self, text: str) -> str:
        text = text.replace("localhost:8888", f"localhost:{self.port}")
        text = re.sub(r"\b9000\b", str(self.site), text)
        return text.replace("/tmp/", f"{self._folder}/")

    def restart(self) -> None:
        """Ctrl-C, and the same line again."""
        line = next(b.text for b in BLOCKS if b.text.startswith("make run ARGS"))
        self._run(line)


@pytest.fixture(autouse=True)
def tools() -> None:
    for tool in ("curl", "bash"):
        assert shutil.which(tool), f"{tool} is missing; install it with: apt-get install {tool}"


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        reader.site = free_port()
        for block in BLOCKS:
            if block.text.startswith('curl -d "Sent before'):
                reader.restart()
            if block.text == "cat /tmp/reactions.log":
                assert reader.running is not None
                reactions = tmp_path / "reactions.log"
                until(lambda: reactions.exists() and reactions.read_text(), reader.running)  # noqa: B023
            reader.do(block)
            if "notifier subscribe" in block.text:
                assert reader.running is not None
                until((tmp_path / "tutorial.state").exists, reader.running)
            if block.language == "sh" and block.text.startswith("python3"):
                until(partial(answers, f"http://localhost:{reader.site}/wall.html"))
        shown = next(b.text for b in BLOCKS if b.language == "text" and "db2" in b.text)
        assert reader.output[-1] == shown
        receipts = [json.loads(line) for line in reader.output if line.startswith('{"id"')]
        example = next(json.loads(b.text) for b in BLOCKS if b.language == "json")
        assert all(receipt.keys() == example.keys() for receipt in receipts)
        # The last poll gave the last two, and nothing else; all of it outlived the restart.
        streamed = [json.loads(line) for line in reader.output if line.startswith('{"type"')]
        polls, poll = [], []
        for message in streamed:
            poll.append(message)
            if message["type"] == "end":
                polls.append([m["message"] for m in poll if m["type"] == "notification"])
                poll = []
        assert polls[-1] == ["one", "two"]
        assert polls[0] == ["Hello, wall", "Sent before the page was back"]
