"""The file, without the command."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from notifier.cli.statefile import StateFile
from tests.cli.served import PATIENCE


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_link_is_followed_and_the_mode_kept(tmp_path: Path) -> None:
    """Also a link that leads to no file yet."""
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "st", tmp_path / "link"
    link.symlink_to("data/st")
    StateFile(link, pause=0).save("a=e:1;t=1.000")
    assert link.is_symlink() and real.read_text() == "a=e:1;t=1.000\n"
    real.chmod(0o664)
    StateFile(link, pause=0).save("a=e:2;t=1.000")
    assert link.is_symlink() and real.read_text() == "a=e:2;t=1.000\n"
    assert mode(real) == 0o664
    assert os.listdir(tmp_path / "data") == ["st"]


@pytest.mark.parametrize("text", [None, "a=e:1;t=1.000\n"])
def test_check_leaves_what_is_there(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "st"
    if text is not None:
        path.write_text(text)
    file = StateFile(path, pause=0)
    file.load()
    file.check()
    assert (path.read_text() if path.exists() else None) == text
    assert os.listdir(tmp_path) == ([] if text is None else ["st"])


def test_check_finds_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StateFile(tmp_path / "no" / "st", pause=0).check()


async def test_later_write_that_fails_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = StateFile(folder / "st", pause=0.05)
    file.save("a=e:1;t=1.000")
    file.save("a=e:2;t=1.000")
    folder.rename(tmp_path / "away")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(FileNotFoundError):
            await file.until_failed()
    with pytest.raises(FileNotFoundError):
        file.save("a=e:3;t=1.000")


def test_long_state_is_read(tmp_path: Path) -> None:
    token = ",".join(f"channel{n:04}=e:1" for n in range(1000)) + ";t=1.000"
    file = StateFile(tmp_path / "st", pause=0)
    file.save(token)
    assert StateFile(tmp_path / "st", pause=0).load() == token
