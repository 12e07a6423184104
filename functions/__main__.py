"""`python -m functions <name>`: serve one function on $PORT, until SIGTERM."""

import importlib
import sys
from pathlib import Path
from typing import Any

import uvicorn

from shared.garbage import loading
from shared.settings import InvalidSettings, Settings


class Server(uvicorn.Server):
    """A server that gives its runs back before it waits for its connections."""

    def __init__(self, config: uvicorn.Config, state: Any) -> None:
        super().__init__(config)
        self._state = state

    async def startup(self, sockets: Any = None) -> None:
        with loading():
            await super().startup(sockets)

    async def shutdown(self, sockets: Any = None) -> None:
        if stop := getattr(self._state, "stop", None):
            await stop()
        await super().shutdown(sockets)


def main(arguments: list[str]) -> int:
    """Serve until stopped. Exit code 1 with one sentence when the name or a setting is wrong."""
    names = sorted(path.parent.name for path in Path(__file__).parent.glob("*/app.py"))
    if len(arguments) != 1 or arguments[0] not in names:
        sys.stderr.write(f"usage: python -m functions {{{' | '.join(names)}}}\n")
        return 1
    try:
        settings = Settings.from_env()
        with loading():
            app = importlib.import_module(f"functions.{arguments[0]}.app").app
        settings.require(*app.state.requires)
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        return 1
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # Longer than clients keep idle connections (Deno: 90 s), or one is closed as it is used again.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=5,
    )
    server = Server(config, app.state)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
