"""The service as a worker has it, for a server that is not its own: granian takes `ours:application` from this folder.

Nothing of tests/ is imported: a peer ships a package of that name.
"""

from __future__ import annotations

import gc
import os

from flask import Flask

from service.app import create_app
from service.logs import configure_logs
from service.settings import read_settings


def application() -> Flask:
    """The application, its log on standard error; settings come from the environment."""
    settings = read_settings(os.environ)
    configure_logs(settings.log_level)
    app = create_app(settings)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return app
