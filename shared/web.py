"""What every function has on the wire: an app, its health, problems, and server-sent events."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Scope

from shared import log
from shared.context import Context
from shared.contracts import Json, clean_json
from shared.database import Database
from shared.identity import Principal, Verifier
from shared.problems import InvalidRequest, Problem
from shared.settings import Settings

#: One table of what a code is in HTTP; docs/api.md lists it for clients.
STATUS: Final = {
    "invalid_request": 422,
    "invalid_cursor": 400,
    "invalid_event": 400,
    "unsupported_media_type": 415,
    "unauthorized": 401,
    "forbidden": 403,
    "body_too_large": 413,
    "run_not_found": 404,
    "rewind_target_unknown": 404,
    "run_id_reused": 409,
    "thread_busy": 409,
    "interrupt_open": 409,
    "interrupt_resolved": 409,
    "interrupt_expired": 409,
    "budget_exceeded": 429,
    "nothing_to_answer": 422,
    "too_many_runs": 503,
    "unavailable": 503,
    "not_found": 404,
    "method_not_allowed": 405,
    "internal_error": 500,
}

#: A part of a function that lives as long as its process: it is entered before requests come, and puts itself
#: into `app.state`.
Use = Callable[[FastAPI], AbstractAsyncContextManager[None]]


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
        log.configure(name, app.state.settings.log_level)
        async with AsyncExitStack() as stack:
            for use in uses:
                await stack.enter_async_context(use(app))
            log.logger.info("function.ready")
            yield

    app = FastAPI(title=name, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.name = name
    app.state.checks = {}
    app.state.requires = requires
    app.include_router(_health)
    app.include_router(router)
    app.add_middleware(Context, crashed=_crashed)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


@asynccontextmanager
async def database(app: FastAPI) -> AsyncIterator[None]:
    """Use Postgres: `app.state.database`, which readiness asks for."""
    app.state.database = app.state.checks["database"] = Database(app.state.settings)
    await app.state.database.connect()
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
    yield


_health = APIRouter(include_in_schema=False)


@_health.get("/health")
async def health() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


@_health.get("/readiness")
async def readiness(request: Request) -> JSONResponse:
    """What the function depends on is there too."""
    checks: dict[str, Checked] = request.app.state.checks
    found = {name: "ok" if await check.is_ready() else "error" for name, check in checks.items()}
    is_ready = "error" not in found.values()
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


def problem(request: Request, code: str, detail: str, **more: Any) -> JSONResponse:
    """An RFC 9457 problem with a stable `code`."""
    status = STATUS[code]
    retry_after = more.pop("retry_after", None)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request.scope.get("request_id", ""),
        **more,
    }
    headers = {"retry-after": str(retry_after)} if retry_after else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


async def _on_problem(request: Request, error: Problem) -> Response:
    return problem(request, error.code, error.detail, retry_after=error.retry_after)


async def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    # Where and why; never the value, which may be private.
    errors = [
        {"at": ".".join(map(str, found["loc"][1:])), "error": found["msg"]}
        for found in error.errors()
    ]
    return problem(request, InvalidRequest.code, InvalidRequest().detail, errors=errors[:20])


async def _on_http(request: Request, error: HTTPException) -> Response:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    told = problem(request, codes.get(error.status_code, "invalid_request"), str(error.detail))
    if allow := (error.headers or {}).get("Allow"):
        told.headers["allow"] = allow
    return told


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


def _crashed(scope: Scope) -> JSONResponse:
    return problem(Request(scope), "internal_error", "Something went wrong on our side.")


_HANDLERS: Final[dict[type[Exception], Any]] = {
    Problem: _on_problem,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
}


def event_stream(frames: AsyncIterator[bytes], request: Request) -> StreamingResponse:
    """Server-sent events (WHATWG HTML §9.2) that no proxy holds back."""
    headers = {
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
        "x-request-id": request.scope.get("request_id", ""),
    }
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)


KEEP_ALIVE: Final = b": ping\n\n"
