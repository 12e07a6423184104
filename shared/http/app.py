"""A function as a FastAPI app: its process, its services, its health, and its verified user."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from starlette.responses import JSONResponse

from shared.auth import Principal
from shared.core import (
    METRICS,
    Grace,
    Json,
    Settings,
    configure_logging,
    exporting,
    loading,
    logger,
)
from shared.database import Database
from shared.http.context import Context
from shared.http.problems import HANDLERS, crash_response
from shared.http.process import Process, users_verifier

if TYPE_CHECKING:
    from shared.agents import Agent

Services = TypeVar("Services")
#: Builds the services of a function's routes. It is entered before the first request, and exited after the last one.
Build = Callable[[Process], AbstractAsyncContextManager[Any]]

_WARM_SECONDS: Final = 0.05
#: Turns off FastAPI's own telemetry, which exports the messages of exceptions and could be enabled by an environment
#: variable. Our telemetry is in `shared.core`.
_NO_FASTAPI_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


class Function(FastAPI):
    """The app of one function. While it runs, it has a `process` and the `services` of its routes."""

    def __init__(self, name: str, requires: Sequence[str], **options: Any) -> None:
        super().__init__(title=name, docs_url=None, redoc_url=None, **options)
        self.requires = requires
        #: The agent that it serves, if it is one's function.
        self.agent: Agent | None = None
        self.process: Process | None = None
        self.services: Any = None
        #: Makes its OpenAPI document, if FastAPI's own says too little.
        self.describe: Callable[[FastAPI], Json] | None = None
        #: Why the function did not start.
        self.start_error: Exception | None = None

    def openapi(self) -> Json:
        """The document that `/openapi.json` returns, made at its first request."""
        if not self.describe:
            return super().openapi()
        if not self.openapi_schema:
            self.openapi_schema = self.describe(self)
        return self.openapi_schema


def create_app(
    name: str,
    router: APIRouter,
    build: Build,
    *,
    serves_users: bool = False,
    requires: Sequence[str] = (),
    settings: Settings | None = None,
) -> Function:
    """The app of a function: its routes, with health checks, problems and log lines.

    `build` makes the services of its routes. `serves_users`: its routes may depend on `User`. `requires` names the
    settings that must be set. The lifespan starts everything, and reads the settings if none are passed.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        active_settings = settings or Settings.from_env()
        active_settings.require(*requires)
        configure_logging(name, active_settings.log_level)
        # Tracing starts first and stops last, so that it covers everything else.
        try:
            async with (
                exporting(name, active_settings, METRICS),
                _process(name, active_settings, serves_users) as process,
                build(process) as services,
                _loading(process.after_ready),
            ):
                app.process, app.services = process, services
                logger.info("function.ready")
                yield
                await process.finish()
        except Exception as error:
            app.start_error = error
            raise

    app = Function(name, requires, lifespan=lifespan, telemetry=_NO_FASTAPI_TELEMETRY)
    # `include_router` would build each route a second time, when the first request is compared with it.
    app.router.routes.extend([*_health.routes, *router.routes])
    app.add_middleware(Context, crash_response=crash_response)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


@asynccontextmanager
async def _process(name: str, settings: Settings, serves_users: bool) -> AsyncIterator[Process]:
    database = Database(settings)
    process = Process(name, settings, Grace(settings), database)
    if serves_users:
        process.verifier = users_verifier(name, settings)
    await database.connect()
    try:
        yield process
    finally:
        await database.close()


def services_of(kind: type[Services]) -> Callable[[Request], Awaitable[Services]]:
    """The dependency that passes its function's services to a route: `Annotated[Kind, Depends(services_of(Kind))]`."""

    async def read_services(request: Request) -> Services:
        services: Services = request.app.services
        return services

    return read_services


async def _current_process(request: Request) -> Process:
    process: Process = request.app.process
    return process


#: The process that answers the request.
CurrentProcess = Annotated[Process, Depends(_current_process)]


async def _principal(request: Request) -> Principal:
    headers = request.headers
    verifier = request.app.process.verifier
    return await verifier.verify(  # type: ignore[no-any-return]  # a request's app is untyped
        authorization=headers.getlist("authorization"),
        assertion=headers.getlist("x-gateway-assertion"),
        method=request.method,
        path=request.scope["raw_path"].partition(b"?")[0].decode("latin-1"),
    )


#: The user who sends the request, verified by their token and by the gateway's assertion.
User = Annotated[Principal, Depends(_principal)]


@asynccontextmanager
async def _loading(steps: Sequence[Callable[[], Awaitable[object]]]) -> AsyncIterator[None]:
    """Run the steps of the start for which readiness does not wait."""
    task = asyncio.ensure_future(_load(steps))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _load(steps: Sequence[Callable[[], Awaitable[object]]]) -> None:
    # Imports would delay the readiness of the process, even in a thread.
    await asyncio.sleep(_WARM_SECONDS)
    with loading():
        for step in steps:
            try:
                await step()
            except Exception as error:
                # The request that needs it tries again, and reports what is wrong.
                logger.warning("function.not_warm", extra={"error": type(error).__name__})


_health = APIRouter(include_in_schema=False)


@_health.get("/health")
async def health() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


@_health.get("/readiness")
async def readiness(process: CurrentProcess) -> JSONResponse:
    """Postgres answers, and the process is not stopping."""
    has_database = await process.database.is_ready()
    is_ready = has_database and not process.grace.has_started
    body = {
        "status": "ready" if is_ready else "not_ready",
        "dependencies": {"database": "ok" if has_database else "error"},
    }
    return JSONResponse(body, status_code=200 if is_ready else 503)
