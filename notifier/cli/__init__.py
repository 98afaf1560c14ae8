"""The command ``notifier``."""

from notifier.cli.app import main

__all__ = ["main"]
