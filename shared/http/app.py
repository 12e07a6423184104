"""What every function has on the wire: an app, its health, who is asking, bodies, and server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Annotated, Any, Final, Protocol, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, StreamingResponse

from shared.auth import Principal, Verifier, load_verification
from shared.core import (
    METRICS,
    Grace,
    InvalidRequest,
    Json,
    Settings,
    clean_json,
    configure_logging,
    exporting,
    loading,
    logger,
)
from shared.database import Database
from shared.http.context import Context
from shared.http.problems import HANDLERS, crashed

#: A part of a function that lives as long as its process: it is entered before requests come, and puts itself
#: into `app.state`. What it needs and being ready does not wait for it adds to `app.state.warm`.
Use = Callable[[FastAPI], AbstractAsyncContextManager[None]]


_WARM_SECONDS: Final = 0.05
#: FastAPI would tell what exceptions say, and a variable of its own would turn it on. Ours is in `shared.core`.
_NOT_FASTAPIS: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


class Checked(Protocol):
    """Something the function depends on, and may be asked whether it is there."""

    async def is_ready(self) -> bool: ...


def create_app(
    name: str,
    router: APIRouter,
    *,
    uses: Sequence[Use] = (),
    requires: Sequence[str] = (),
    settings: Settings | None = None,
) -> FastAPI:
    """A function: its routes, with health, problems and logs around them. `requires` names settings it needs.

    Nothing happens here; the lifespan reads the settings, if none are given, and enters what the function uses, in
    this order.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings or Settings.from_env()
        app.state.settings.require(*requires)
        app.state.grace = Grace(app.state.settings)
        configure_logging(name, app.state.settings.log_level)
        async with AsyncExitStack() as stack:
            # Before all the others, and so after them at the end.
            traces = exporting(name, app.state.settings, METRICS)
            await stack.enter_async_context(traces)
            app.state.warm = [partial(_build_routes, app)]
            for use in uses:
                await stack.enter_async_context(use(app))
            await stack.enter_async_context(_warming(app.state.warm))
            logger.info("function.ready")
            yield

    app = FastAPI(
        title=name, lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=_NOT_FASTAPIS
    )
    app.state.name = name
    app.state.checks = {}
    app.state.requires = requires
    app.include_router(_health)
    app.include_router(router)
    app.add_middleware(Context, crashed=crashed)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


async def _build_routes(app: FastAPI) -> None:
    # FastAPI does it for the first request, which has the routes looked at one by one.
    nowhere = {"type": "http", "method": "GET", "path": "/-", "headers": []}
    for route in app.router.routes:
        route.matches(nowhere)


@asynccontextmanager
async def _warming(works: Sequence[Callable[[], Awaitable[object]]]) -> AsyncIterator[None]:
    """Load, in this order and once the server listens, what was put off until then."""
    warming = asyncio.ensure_future(_warm(works))
    try:
        yield
    finally:
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)


async def _warm(works: Sequence[Callable[[], Awaitable[object]]]) -> None:
    # Being ready must not wait for imports, nor share the interpreter with them.
    await asyncio.sleep(_WARM_SECONDS)
    with loading():
        for work in works:
            try:
                await work()
            except Exception as error:
                # Whoever needs it has it tried again, and is told.
                logger.warning("function.not_warm", extra={"error": type(error).__name__})


@asynccontextmanager
async def database(app: FastAPI) -> AsyncIterator[None]:
    """Use Postgres: `app.state.database`, which readiness asks for."""
    app.state.database = app.state.checks["database"] = Database(app.state.settings)
    await app.state.database.connect()
    app.state.warm.append(app.state.database.warm)
    try:
        yield
    finally:
        await app.state.database.close()


@asynccontextmanager
async def identity(app: FastAPI) -> AsyncIterator[None]:
    """Use the two proofs of who is asking: `app.state.verifier`, behind `User`."""
    settings = app.state.settings
    issuer = f"{settings.supabase_url.rstrip('/')}/auth/v1"
    app.state.verifier = Verifier(
        function=app.state.name,
        issuer=issuer,
        gateway_keys=settings.gateway_public_keys,
        jwks=settings.supabase_jwks or None,
        jwks_url=f"{issuer}/.well-known/jwks.json",
        legacy_secret=settings.legacy_jwt_secret or None,
    )
    app.state.warm.append(partial(asyncio.to_thread, load_verification))
    yield


_health = APIRouter(include_in_schema=False)


@_health.get("/health")
async def health() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


@_health.get("/readiness")
async def readiness(request: Request) -> JSONResponse:
    """What the function depends on is there too, and the process does not stop."""
    checks: dict[str, Checked] = request.app.state.checks
    found = {name: "ok" if await check.is_ready() else "error" for name, check in checks.items()}
    is_ready = "error" not in found.values() and not request.app.state.grace.has_started
    body = {"status": "ready" if is_ready else "not_ready", "dependencies": found}
    return JSONResponse(body, status_code=200 if is_ready else 503)


async def _principal(request: Request) -> Principal:
    headers = request.headers
    return await request.app.state.verifier.verify(  # type: ignore[no-any-return]  # app.state is untyped
        authorization=headers.getlist("authorization"),
        assertion=headers.getlist("x-gateway-assertion"),
        method=request.method,
        path=request.scope["raw_path"].partition(b"?")[0].decode("latin-1"),
    )


#: Who is asking, proved twice: the user's token, and the gateway's word for it.
User = Annotated[Principal, Depends(_principal)]


Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, kind: type[Body]) -> tuple[Body, Json]:
    """The request's JSON as `kind`, and as it came. Read after the caller was identified, unlike a route's parameter.

    Raises:
        InvalidRequest: it is not JSON, or nests too deeply.
        RequestValidationError: it is not of that kind.
    """
    try:
        body = _loads(await request.body())
        return kind.model_validate(body), body
    except ValidationError as error:
        found = [{**e, "loc": ("body", *e["loc"])} for e in error.errors(include_input=False)]
        raise RequestValidationError(found) from None
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest("The request's body is not JSON this function can keep.") from None


def _loads(raw: bytes) -> Any:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # Lone surrogates are an error to orjson; they are replaced where the body is read.
        body = json.loads(raw)
    # What cannot be written again, such as 300 levels of lists, cannot be kept either; a request adds a few of its own.
    orjson.dumps([[[[[[clean_json(body)]]]]]])
    return body


def event_stream(frames: AsyncIterator[bytes], request: Request) -> StreamingResponse:
    """Server-sent events (WHATWG HTML §9.2) that no proxy holds back."""
    headers = {
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
        "x-request-id": request.scope.get("request_id", ""),
    }
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)


KEEP_ALIVE: Final = b": ping\n\n"
