"""`python -m functions <name>`: serve one function on $PORT, until SIGTERM or Ctrl-C. `--help` lists the commands."""

import asyncio
import importlib
import logging
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from functions.packages import needed_packages

with needed_packages("functions", "make dev", "make bootstrap"):
    import uvicorn

    from functions.importing import import_app, why_not_started
    from functions.registry import InvalidFunctions, check_code, read_file
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
    """Serve a function, or run a command. If that fails, print one sentence and return exit code 1."""
    try:
        names = read_file().names
        match arguments:
            case [name] if name in names:
                return _serve(name)
        run_while_read = importlib.import_module("functions.output").run_while_read
        commands = importlib.import_module("functions.commands")
        return int(run_while_read(lambda: commands.run(arguments, names)))
    except (InvalidFunctions, InvalidSettings) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(name: str) -> int:
    """Serve until stopped.

    Raises:
        InvalidFunctions: the function has no code.
        InvalidSettings: a setting is missing or wrong.
    """
    check_code(name)
    settings = Settings.from_env()
    app = import_app(name)
    settings.require(*app.requires)
    _check_host(settings)
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
    logging.getLogger("uvicorn.error").addFilter(
        lambda _: not isinstance(app.start_error, InvalidSettings)
    )
    with suppress(SystemExit):
        server.run()
    if app.start_error and not server.started:
        sys.stderr.write(f"{why_not_started(name, app.start_error)}\n")
    return 0 if server.started else 1


def _check_host(settings: Settings) -> None:
    try:
        socket.getaddrinfo(settings.host, settings.port)
    except (OSError, UnicodeError):
        raise InvalidSettings("HOST is not an address of this machine.") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
