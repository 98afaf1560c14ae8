"""A folder outside of the checkout for what peers build or download, once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cached(name: str, made_from: str) -> Path:
    """The place of what is made from this text (a source, a list of versions), there or not yet."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    return Path(base).expanduser() / "notifier-bench" / f"{name}-{digest}"


def make(place: Path, fill: Callable[[Path], None]) -> None:
    """Have a folder filled, unless it is there; what fails or is cut short leaves nothing."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        fill(making)
        making.rename(place)
    except OSError:
        # Somebody else has made it meanwhile.
        if not place.exists():
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
