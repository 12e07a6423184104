"""Methods that the suite calls and our functions lack: prompts, resources, completion."""

import json
import re

from functions.tools import mcp
from functions.tools.caller import Caller
from functions.tools.elicitation import Notify, answers_of
from functions.tools.server import Method
from shared.core.json import Json
from tests.conformance.everything import IMAGE, NAME, resource, text
from tests.conformance.samples import PNG

CAPABILITIES: Json = {
    "prompts": {},
    "resources": {},
    "completions": {},
    "logging": {},
}
_ASKS = "test_input_required_result_prompt"
_PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    _ASKS: (),
}
_TEXT = {"uri": "test://static-text", "name": "A text", "mimeType": "text/plain"}
_BINARY = {"uri": "test://static-binary", "name": "An image", "mimeType": "image/png"}
_TEMPLATE = {"uriTemplate": "test://template/{id}/data", "name": "A template"}
_DESCRIBED = {"description": "Of the conformance suite."}


async def _list_prompts(request: mcp.Request, caller: Caller, notify: Notify) -> Json:
    listed = [
        {"name": name, **_DESCRIBED, "arguments": [{"name": each} for each in arguments]}
        for name, arguments in _PROMPTS.items()
    ]
    return mcp.cacheable(request, {"prompts": listed})


async def _get_prompt(request: mcp.Request, caller: Caller, notify: Notify) -> Json:
    name, given = request.params.get("name"), request.params.get("arguments") or {}
    if name not in _PROMPTS:
        raise request.fault(mcp.INVALID_PARAMS, "Unknown prompt.")
    answers = answers_of(request.params.get("inputResponses") or {})
    if name == _ASKS and not answers:
        form = {"mode": "form", "message": "What context?", "requestedSchema": NAME}
        return mcp.input_required(
            {"user_context": {"method": "elicitation/create", "params": form}}, None
        )
    contents: list[Json] = [text(f"{name}: {json.dumps({**given, **(answers or {})})}")]
    if name == "test_prompt_with_embedded_resource":
        contents.insert(0, resource(given["resourceUri"], "text/plain", "Embedded."))
    if name == "test_prompt_with_image":
        contents.insert(0, IMAGE)
    return {"messages": [{"role": "user", "content": each} for each in contents]}


async def _list_resources(request: mcp.Request, caller: Caller, notify: Notify) -> Json:
    return mcp.cacheable(
        request, {"resources": [{**each, **_DESCRIBED} for each in (_TEXT, _BINARY)]}
    )


async def _list_templates(request: mcp.Request, caller: Caller, notify: Notify) -> Json:
    return mcp.cacheable(request, {"resourceTemplates": [{**_TEMPLATE, **_DESCRIBED}]})


async def _read_resource(request: mcp.Request, caller: Caller, notify: Notify) -> Json:
    uri = str(request.params.get("uri"))
    of_template = re.fullmatch(r"test://template/(\w+)/data", uri)
    if of_template:
        found = {"mimeType": "application/json", "text": json.dumps({"id": of_template[1]})}
    elif uri == _TEXT["uri"]:
        found = {"mimeType": "text/plain", "text": "This is a static text."}
    elif uri == _BINARY["uri"]:
        found = {"mimeType": "image/png", "blob": PNG}
    else:
        raise request.fault(mcp.INVALID_PARAMS, "Resource not found", {"uri": uri})
    return mcp.cacheable(request, {"contents": [{"uri": uri, **found}]})


async def _complete(request: mcp.Request, caller: Caller, notify: Notify) -> Json:
    return {"completion": {"values": ["test1", "test2"], "total": 2, "hasMore": False}}


async def _accept(request: mcp.Request, caller: Caller, notify: Notify) -> Json:
    return {}


METHODS: dict[str, Method] = {
    "prompts/list": _list_prompts,
    "prompts/get": _get_prompt,
    "resources/list": _list_resources,
    "resources/templates/list": _list_templates,
    "resources/read": _read_resource,
    "resources/subscribe": _accept,
    "resources/unsubscribe": _accept,
    "completion/complete": _complete,
    "logging/setLevel": _accept,
}
