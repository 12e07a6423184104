"""Adds to the OpenAPI that FastAPI generates: problems, bodies, security."""

from collections import defaultdict
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from functions.threads.shapes import NewThread, ProblemBody, ThreadChanges
from shared.core import Json, meanings
from shared.http import STATUS

_REFS = "#/components/schemas/{model}"
_BODIES: Final[tuple[type[BaseModel], ...]] = (NewThread, ThreadChanges, ProblemBody)
_SERVER: Final = "https://{project}.supabase.co/functions/v1/auth-gateway/threads"
_ANYWHERE: Final = (
    "unauthorized",
    "token_too_large",
    "invalid_request",
    "unavailable",
    "internal_error",
)
_MEANINGS: Final = meanings() | {
    "internal_error": "Something went wrong on our side.",
    "not_found": "There is nothing at this address.",
}

Responses = dict[int | str, dict[str, Any]]


def problems(*codes: str) -> Responses:
    """The problems of a route, besides those that every route can return."""
    by_status: dict[int | str, list[str]] = defaultdict(list)
    for code in (*_ANYWHERE, *codes):
        by_status[STATUS[code]].append(f"`{code}`: {_MEANINGS[code]}")
    content = {"application/problem+json": {"schema": {"$ref": _ref(ProblemBody)}}}
    return {
        status: {"description": "\n\n".join(meanings), "content": content}
        for status, meanings in by_status.items()
    }


def thread_response(status: int, *headers: str) -> Responses:
    """A success with an entity tag."""
    descriptions: Json = {"ETag": "The version of this representation.", "Location": "Its address."}
    described_headers = {
        n: {"description": descriptions[n], "schema": {"type": "string"}} for n in headers
    }
    return {status: {"headers": described_headers}}


def file_response(*kinds: str) -> Responses:
    """A success that is a file of one of these media types."""
    header = {"description": "A name for the file.", "schema": {"type": "string"}}
    return {
        200: {
            "description": "The file, streamed.",
            "content": {kind: {"schema": {"type": "string"}} for kind in kinds},
            "headers": {"Content-Disposition": header},
        }
    }


def body(model: type[BaseModel]) -> Json:
    """A JSON body, which is read after its sender is verified."""
    content = {"application/json": {"schema": {"$ref": _ref(model)}}}
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI) -> None:
    """Add all of this to the app's `/openapi.json`."""

    def openapi() -> Json:
        if not app.openapi_schema:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _schema(app: FastAPI) -> Json:
    schema = get_openapi(
        title="Threads",
        version="1",
        summary="A user's threads: list, read, rename, archive, search, export, delete.",
        routes=app.routes,
        servers=[{"url": _SERVER, "variables": {"project": {"default": "project"}}}],
    )
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in _BODIES:
        schemas[_name(model)] = model.model_json_schema(by_alias=True)
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    components["securitySchemes"] = {"supabase": scheme}
    schema["security"] = [{"supabase": []}]
    for operation in (
        operation for path in schema["paths"].values() for operation in path.values()
    ):
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _present(parameter["schema"])
    return schema


def _present(schema: Json) -> Json:
    """A parameter's schema when it is present: queries and headers have no null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}


def _name(model: type[BaseModel]) -> str:
    return str(model.model_config.get("title") or model.__name__)


def _ref(model: type[BaseModel]) -> str:
    return _REFS.format(model=_name(model))
