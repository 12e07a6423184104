"""What every function's OpenAPI says alike: the problems of its routes, and how its callers prove who they are."""

from collections import defaultdict
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from shared.core import Json, meanings
from shared.http.problems import STATUS

_REFS: Final = "#/components/schemas/{model}"
_SERVER: Final = "https://{project}.supabase.co/functions/v1/auth-gateway/"
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


class ProblemBody(BaseModel):
    """A problem (RFC 9457). `code` is stable; `errors` names the places where a request is wrong, and why."""

    model_config = ConfigDict(title="Problem")

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[dict[str, str]] = []


def problems(*codes: str) -> Responses:
    """The problems of a route, besides those that every route can return."""
    by_status: dict[int | str, list[str]] = defaultdict(list)
    for code in (*_ANYWHERE, *codes):
        by_status[STATUS[code]].append(f"`{code}`: {_MEANINGS[code]}")
    content = {"application/problem+json": {"schema": {"$ref": ref(ProblemBody)}}}
    return {
        status: {"description": "\n\n".join(texts), "content": content}
        for status, texts in by_status.items()
    }


def body(model: type[BaseModel], examples: Json | None = None) -> Json:
    """A JSON body, which is read after its sender is verified. `examples`: values by name."""
    content: Json = {"schema": {"$ref": ref(model)}}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def complete(schema: Json, function: str, *models: type[BaseModel]) -> Json:
    """Add to a generated document what all functions share: the address, the token, problems; and these models."""
    schema["servers"] = [
        {"url": _SERVER + function, "variables": {"project": {"default": "project"}}}
    ]
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    described: tuple[type[BaseModel], ...] = (*models, ProblemBody)
    for model in described:
        own = model.model_json_schema(by_alias=True, ref_template=_REFS)
        schemas |= own.pop("$defs", {})
        schemas[name_of(model)] = own
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    components["securitySchemes"] = {"supabase": scheme}
    schema["security"] = [{"supabase": []}]
    for operation in (each for path in schema["paths"].values() for each in path.values()):
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _present(parameter["schema"])
    return schema


def name_of(model: type[BaseModel]) -> str:
    """Its name among the document's schemas."""
    return str(model.model_config.get("title") or model.__name__)


def ref(model: type[BaseModel]) -> str:
    """A reference to its schema."""
    return _REFS.format(model=name_of(model))


def _present(schema: Json) -> Json:
    """A parameter's schema when it is present: queries and headers have no null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}
