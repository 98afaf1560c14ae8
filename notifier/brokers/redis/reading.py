"""What is read of a log by who follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from notifier.notification import Position


@dataclass(frozen=True, slots=True)
class Reading:
    """What ``follow.lua`` answers.

    :param asked: where the reader was when it asked; ``None``: nowhere yet.
    :param same_id: the id that the log has there, or at its head; "" where it has no entry.
    :param forks: earlier epochs, and up to which offset they were this log.
    """

    asked: Position | None
    epoch: str
    head: int
    floor: int
    clears: int
    cleared: int
    forks: dict[str, int]
    same_id: str
    more: bool
    entries: Sequence[tuple[int, bytes]]

    @classmethod
    def of(cls, asked: Position | None, answer: Sequence[bytes | int]) -> Reading:
        epoch, head, floor, clears, cleared, forks, same_id, more, *rest = answer
        return cls(
            asked,
            _text(epoch),
            int(head),
            int(floor),
            int(clears),
            int(cleared),
            {
                epoch: int(offset)
                for epoch, _, offset in (fork.partition(":") for fork in _text(forks).split())
            },
            _text(same_id),
            more == 1,
            [
                (int(offset), entry)
                for offset, entry in zip(rest[::2], rest[1::2], strict=True)
                if isinstance(entry, bytes)
            ],
        )


def _text(word: bytes | int) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
