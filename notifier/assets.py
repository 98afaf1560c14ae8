"""The files of the page."""

from __future__ import annotations

from pathlib import Path


def static_path() -> Path:
    """The directory with the page's files: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "static"
    return installed if installed.is_dir() else package.parent / "static"
