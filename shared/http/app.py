"""A function as a FastAPI app: its process, its services, its health, and its verified user."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from starlette.responses import JSONResponse

from shared.auth import Principal
from shared.core import (
    METRICS,
    Grace,
    InvalidSettings,
    Settings,
    configure_logging,
    exporting,
    loading,
    logger,
)
from shared.database import Database
from shared.http.context import Context
from shared.http.problems import HANDLERS, crashed
from shared.http.process import Process, load_signatures, users_verifier

Services = TypeVar("Services")
#: Builds what a function's routes are handed. Entered before requests come, left after the last one.
Build = Callable[[Process], AbstractAsyncContextManager[Any]]

_WARM_SECONDS: Final = 0.05
#: FastAPI's own telemetry records exceptions' messages, and a variable could turn it on. Ours is in `shared.core`.
_NOT_FASTAPIS: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


class Function(FastAPI):
    """The app of one function. While it runs it has a `process`, and the `services` that its routes are handed."""

    def __init__(self, name: str, requires: Sequence[str], **options: Any) -> None:
        super().__init__(title=name, docs_url=None, redoc_url=None, **options)
        self.requires = requires
        self.process: Process | None = None
        self.services: Any = None
        #: Why the function did not start, if a setting cannot be used.
        self.invalid_settings: str | None = None


def create_app(
    name: str,
    router: APIRouter,
    build: Build,
    *,
    serves_users: bool = False,
    requires: Sequence[str] = (),
    settings: Settings | None = None,
) -> Function:
    """A function: its routes, with health, problems and logs around them.

    `build` makes its services. `serves_users`: routes may ask for a `User`. `requires` names settings it cannot do
    without. Nothing happens here: the lifespan reads the settings, if none are given, and starts everything.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        used = settings or Settings.from_env()
        used.require(*requires)
        configure_logging(name, used.log_level)
        # Tracing starts first and stops last, so that it covers everything else.
        try:
            async with (
                exporting(name, used, METRICS),
                _process(name, used, serves_users) as process,
            ):
                process.after_ready.insert(0, partial(_build_routes, app))
                async with build(process) as services, _loading(process.after_ready):
                    app.process, app.services = process, services
                    logger.info("function.ready")
                    yield
                    await process.finish()
        except InvalidSettings as error:
            app.invalid_settings = str(error)
            raise

    app = Function(name, requires, lifespan=lifespan, telemetry=_NOT_FASTAPIS)
    app.include_router(_health)
    app.include_router(router)
    app.add_middleware(Context, crashed=crashed)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


@asynccontextmanager
async def _process(name: str, settings: Settings, serves_users: bool) -> AsyncIterator[Process]:
    database = Database(settings)
    process = Process(name, settings, Grace(settings), database)
    process.after_ready.append(database.warm)
    if serves_users:
        process.verifier = users_verifier(name, settings)
        process.after_ready.append(load_signatures)
    await database.connect()
    try:
        yield process
    finally:
        await database.close()


def provided(kind: type[Services]) -> Callable[[Request], Awaitable[Services]]:
    """The dependency that hands a route its function's services: `Annotated[Mine, Depends(provided(Mine))]`."""

    async def services_of(request: Request) -> Services:
        services: Services = request.app.services
        return services

    return services_of


async def _running(request: Request) -> Process:
    process: Process = request.app.process
    return process


#: The process that answers the request.
Running = Annotated[Process, Depends(_running)]


async def _principal(request: Request) -> Principal:
    headers = request.headers
    verifier = request.app.process.verifier
    return await verifier.verify(  # type: ignore[no-any-return]  # a request's app is untyped
        authorization=headers.getlist("authorization"),
        assertion=headers.getlist("x-gateway-assertion"),
        method=request.method,
        path=request.scope["raw_path"].partition(b"?")[0].decode("latin-1"),
    )


#: The user who sends the request, proved twice: by their token and by the gateway's assertion.
User = Annotated[Principal, Depends(_principal)]


async def _build_routes(app: FastAPI) -> None:
    # FastAPI builds its routes when the first request has them looked at one by one.
    nowhere = {"type": "http", "method": "GET", "path": "/-", "headers": []}
    for route in app.router.routes:
        route.matches(nowhere)


@asynccontextmanager
async def _loading(works: Sequence[Callable[[], Awaitable[object]]]) -> AsyncIterator[None]:
    """Load, once the server listens, what being ready does not wait for."""
    task = asyncio.ensure_future(_load(works))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _load(works: Sequence[Callable[[], Awaitable[object]]]) -> None:
    # Being ready must not wait for imports, nor share the interpreter with them.
    await asyncio.sleep(_WARM_SECONDS)
    with loading():
        for work in works:
            try:
                await work()
            except Exception as error:
                # The request that needs it tries again, and reports what is wrong.
                logger.warning("function.not_warm", extra={"error": type(error).__name__})


_health = APIRouter(include_in_schema=False)


@_health.get("/health")
async def health() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


@_health.get("/readiness")
async def readiness(process: Running) -> JSONResponse:
    """Postgres answers, and the process is not stopping."""
    has_database = await process.database.is_ready()
    is_ready = has_database and not process.grace.has_started
    body = {
        "status": "ready" if is_ready else "not_ready",
        "dependencies": {"database": "ok" if has_database else "error"},
    }
    return JSONResponse(body, status_code=200 if is_ready else 503)
