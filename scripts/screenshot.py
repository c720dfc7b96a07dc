"""Takes docs/try-it.png, the picture of the page at / that the README shows, with Chromium.

    python scripts/screenshot.py

Starts the service on a port of this machine with a database that goes with it. Debian, Ubuntu: apt install chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

from werkzeug.serving import make_server

from service.app import create_app

TARGET = Path(__file__).resolve().parent.parent / "docs" / "try-it.png"
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]


def main() -> None:
    browser = shutil.which("chromium") or sys.exit("Chromium is missing (Debian, Ubuntu: apt install chromium).")
    server = make_server("127.0.0.1", 0, create_app(), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = f"http://127.0.0.1:{server.port}/?example=two-tissues"
    subprocess.run(
        [browser, *OPTIONS, "--window-size=1180,2010", f"--screenshot={TARGET}", page], check=True, timeout=120
    )
    server.shutdown()


if __name__ == "__main__":
    main()
