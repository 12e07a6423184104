"""`python -m functions <name>`: serve one function on $PORT, until SIGTERM or Ctrl-C."""

import asyncio
import importlib
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from shared.core import InvalidSettings, Settings, loading

if TYPE_CHECKING:
    from shared.http import Function

#: What responses get to be written when the grace is over.
_LAST_SECONDS = 0.2


class Server(uvicorn.Server):
    """A server that, told to stop, finishes what it holds within its grace. A second signal ends the grace."""

    def __init__(self, config: uvicorn.Config, app: "Function") -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        with loading():
            await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)
            return
        # A third one ends the process where it is.
        signal.signal(sig, signal.SIG_DFL)
        if self._loop:
            self._loop.call_soon_threadsafe(self._end_grace)

    def _end_grace(self) -> None:
        if not self._app.process:
            # It is still starting, and holds nothing.
            return
        self._app.process.grace.end()
        for task in self.server_state.tasks:
            task.cancel()

    async def shutdown(self, sockets: Any = None) -> None:
        if process := self._app.process:
            self._ask_for_other_connections()
            # It still listens: a client that comes back to its run here, or cancels it, is answered.
            await process.finish()
            seconds = max(process.grace.seconds_left, _LAST_SECONDS)
            self.config.timeout_graceful_shutdown = seconds  # type: ignore[assignment]  # not whole
        await super().shutdown(sockets)

    def _ask_for_other_connections(self) -> None:
        """Have every connection end with the response it carries, so that the next request goes to another process."""
        for connection in list(self.server_state.connections):
            connection.shutdown()
        self.server_state.default_headers = [(b"connection", b"close")]


def main(arguments: list[str]) -> int:
    """Serve until stopped. Exit code 1 with one sentence when the name or a setting is wrong."""
    names = sorted(path.parent.name for path in Path(__file__).parent.glob("*/app.py"))
    if len(arguments) != 1 or arguments[0] not in names:
        sys.stderr.write(f"usage: python -m functions {{{' | '.join(names)}}}\n")
        return 1
    try:
        settings = Settings.from_env()
        with loading():
            app: Function = importlib.import_module(f"functions.{arguments[0]}.app").app
        settings.require(*app.requires)
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
    )
    server = Server(config, app)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
