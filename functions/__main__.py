"""`python -m functions <name>`: serve one function on $PORT, until SIGTERM or Ctrl-C."""

import asyncio
import importlib
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from shared.core import InvalidSettings, Settings, loading

if TYPE_CHECKING:
    from shared.http import Function

#: The time to write the last responses after the grace.
_LAST_SECONDS = 0.2


class Server(uvicorn.Server):
    """A server that, on SIGTERM or Ctrl-C, finishes its work within the grace. A second signal ends the grace."""

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
        # A third signal kills the process.
        signal.signal(sig, signal.SIG_DFL)
        if self._loop:
            self._loop.call_soon_threadsafe(self._end_grace)

    def _end_grace(self) -> None:
        if not self._app.process:
            # The app is still starting: it has no runs and no calls.
            return
        self._app.process.grace.end()
        for task in self.server_state.tasks:
            task.cancel()

    async def shutdown(self, sockets: Any = None) -> None:
        if process := self._app.process:
            self._close_connections()
            # The socket stays open, so that clients can still reconnect to their runs here, or cancel them.
            await process.finish()
            seconds = max(process.grace.seconds_left, _LAST_SECONDS)
            self.config.timeout_graceful_shutdown = seconds  # type: ignore[assignment]  # not whole
        await super().shutdown(sockets)

    def _close_connections(self) -> None:
        """Close each connection after its current response, so that its next request goes to another process."""
        for connection in list(self.server_state.connections):
            connection.shutdown()
        self.server_state.default_headers = [(b"connection", b"close")]


def main(arguments: list[str]) -> int:
    """Serve until stopped. If the name or a setting is wrong, print one sentence and return exit code 1."""
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
        # Longer than clients keep idle connections (Deno: 90 s), so that none is closed while a client reuses it.
        timeout_keep_alive=120,
    )
    server = Server(config, app)
    # One sentence reports a wrong setting; the traceback that uvicorn logs for it would hide that sentence.
    logging.getLogger("uvicorn.error").addFilter(lambda _: app.invalid_settings is None)
    with suppress(SystemExit):
        server.run()
    if app.invalid_settings:
        sys.stderr.write(f"{app.invalid_settings}\n")
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
