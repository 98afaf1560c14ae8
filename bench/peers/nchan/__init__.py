"""nginx with the module Nchan."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from bench.peer import Peer, Subscribing, request
from bench.process import Running, spawn

# Where Debian has it; not on everybody's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_TEMPLATE = Path(__file__).parent / "nginx.conf"


class NchanPeer(Peer):
    name = "nchan"
    title = "nginx with Nchan (C)"

    def missing(self) -> str | None:
        if _nginx() is None:
            return "no nginx"
        return None if _module().exists() else "no Nchan in nginx"

    def versions(self) -> dict[str, str]:
        return {"nginx": _about("nginx version: nginx/") or "?", "nchan": _nchan_version()}

    def start(self, port: int, *, folder: Path) -> Running:
        text = _TEMPLATE.read_text().replace("@MODULE@", str(_module()))
        configuration = folder / "nginx.conf"
        configuration.write_text(text.replace("@PORT@", str(port)))
        # -e: also what it says before it has read its configuration goes to our log.
        options: list[str | Path] = ["-p", folder, "-c", configuration, "-e", "stderr"]
        return spawn([_nginx() or "nginx", *options], port=port, folder=folder)

    def subscribing(self, *channels: str) -> Subscribing:
        return Subscribing("/subscribe?channel=" + ",".join(channels))

    def publish(self, channel: str, payload: bytes) -> bytes:
        return request("POST", f"/publish?channel={channel}", payload, content_type="text/plain")


def _nginx() -> str | None:
    return shutil.which("nginx", path=_PATH)


def _about(what: str) -> str | None:
    """What ``nginx -V`` says after this."""
    done = subprocess.run([_nginx() or "nginx", "-V"], capture_output=True, text=True, check=True)
    found = re.search(re.escape(what) + r"(\S+)", done.stderr)
    return found[1] if found else None


def _module() -> Path:
    return Path(_about("--modules-path=") or "modules") / "ngx_nchan_module.so"


def _nchan_version() -> str:
    """As Debian says; the module has it nowhere."""
    query = ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "?"
    # Without Debian's own parts: 1:1.3.6+dfsg-2.
    found = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return found[0] if found else done.stdout


PEER = NchanPeer()
