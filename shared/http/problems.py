"""Problems as HTTP responses (RFC 9457): each code's status, and the handlers of exceptions."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

from shared.core import InvalidRequest, Problem, logger

#: The HTTP status of each code; docs/api.md lists them for clients.
STATUS: Final = {
    "invalid_request": 422,
    "invalid_cursor": 400,
    "invalid_event": 400,
    "unsupported_media_type": 415,
    "unauthorized": 401,
    "token_too_large": 431,
    "forbidden": 403,
    "body_too_large": 413,
    "run_not_found": 404,
    "thread_not_found": 404,
    "thread_exists": 409,
    "thread_deleted": 410,
    "idempotency_key_reused": 409,
    "precondition_failed": 412,
    "rewind_target_unknown": 404,
    "run_id_reused": 409,
    "thread_busy": 409,
    "interrupt_open": 409,
    "interrupt_resolved": 409,
    "interrupt_expired": 409,
    "interrupt_of_another_agent": 409,
    "budget_exceeded": 429,
    "nothing_to_answer": 422,
    "content_unsupported": 422,
    "too_many_runs": 503,
    "unavailable": 503,
    "agent_unavailable": 503,
    "not_found": 404,
    "method_not_allowed": 405,
    "internal_error": 500,
}


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


def log_refusal(error: Problem) -> None:
    """Log why a request is refused, where its response does not say it."""
    if error.reason:
        logger.info("request.refused", extra={"code": error.code, "reason": error.reason})


async def _on_problem(request: Request, error: Problem) -> Response:
    log_refusal(error)
    return problem(request, error.code, error.detail, retry_after=error.retry_after)


async def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    # The place and the reason, but never the value, which may be private.
    errors = [
        {"at": ".".join(map(str, fault["loc"][1:])), "error": fault["msg"]}
        for fault in error.errors()
    ]
    return problem(request, InvalidRequest.code, InvalidRequest().detail, errors=errors[:20])


async def _on_http(request: Request, error: HTTPException) -> Response:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    response = problem(request, codes.get(error.status_code, "invalid_request"), str(error.detail))
    if allow := (error.headers or {}).get("Allow"):
        response.headers["allow"] = allow
    return response


def crash_response(scope: Scope) -> JSONResponse:
    """The response to a request that hit a bug."""
    return problem(Request(scope), "internal_error", "Something went wrong on our side.")


#: The handlers of exceptions that are raised before a response starts.
HANDLERS: Final[dict[type[Exception], Any]] = {
    Problem: _on_problem,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
}
