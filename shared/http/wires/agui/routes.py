"""Interactive runs over AG-UI 1.0: start, follow, re-attach, cancel."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.responses import JSONResponse, Response

from shared.agents import BoundAgent
from shared.core import CLIENT_ID_PATTERN, ContentUnsupported, Cursor, Json, Unauthorized
from shared.http.app import CurrentProcess, User, services_of
from shared.http.exchange import read_body
from shared.http.services import RunServices
from shared.http.wires.agui import limits
from shared.http.wires.agui.endings import interrupts, usage
from shared.http.wires.agui.run_input import ConnectInput, RunAgentInput
from shared.http.wires.agui.stream import Stream
from shared.models import refused_parts
from shared.runs import Leased, NotLeased, RunView

router = APIRouter()

RunId = Annotated[str, Path(pattern=CLIENT_ID_PATTERN, max_length=128)]
Services = Annotated[RunServices, Depends(services_of(RunServices))]


@router.post("/runs")
async def start(request: Request, user: User, runs: Services, process: CurrentProcess) -> Response:
    """Start a run and stream it, or, in the background, only start it. The same body again re-attaches to it."""
    run_input, body = await read_body(request, RunAgentInput)
    _check_content(run_input, runs.agents[process.name])
    props = run_input.forwarded_props
    admitted = await runs.worker.start(
        user.claims,
        run_input.to_request(body, agent=process.name, request_id=request.scope["request_id"]),
        background=props.background,
    )
    if isinstance(admitted, Leased):
        view = admitted.view()
    else:
        view = await runs.store.find(user.claims, client_run_id=run_input.run_id)
        if props.background:
            return JSONResponse(_view(view), status_code=202)
        await runs.worker.recover(view)
    is_attached = isinstance(admitted, NotLeased) and admitted.is_attached
    cancels = props.on_disconnect == "cancel"
    stream = Stream(
        *(request, process, runs, user.claims, view),
        protocol_version=run_input.protocol_version,
        cancels_on_disconnect=cancels,
    )
    response = stream.respond(None, starts_with_snapshot=is_attached, in_legs=props.resumable)
    if isinstance(admitted, Leased):
        response.headers.update(limits.headers(process.settings, admitted.tokens_left))
    return response


@router.get("/runs/{run_id}")
async def read(run_id: RunId, user: User, runs: Services, process: CurrentProcess) -> Response:
    """A run: its status, cursor and ending, and what is left of its limits."""
    view = await runs.store.find(user.claims, client_run_id=run_id)
    usage_so_far = await runs.store.limit_usage(user.claims, view.run_id)
    limits_left = limits.describe(
        process.settings, usage_so_far["tool_calls"], usage_so_far["tokens_left"]
    )
    return JSONResponse({**_view(view), "limits": limits_left})


@router.get("/runs/{run_id}/events")
async def events(
    run_id: RunId,
    request: Request,
    user: User,
    runs: Services,
    process: CurrentProcess,
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    protocol_version: Annotated[str | None, Query(alias="protocolVersion", max_length=64)] = None,
) -> Response:
    """A run's events after a cursor (`Last-Event-ID` or `?after=`), or all its events, and then new ones."""
    cursor_text = last_event_id or after
    cursor = Cursor.parse(cursor_text) if cursor_text else None
    view = await runs.store.find(user.claims, client_run_id=run_id)
    await runs.worker.recover(view)
    stream = Stream(request, process, runs, user.claims, view, protocol_version=protocol_version)
    return stream.respond(cursor, in_legs=True)


@router.post("/runs/{run_id}/cancel")
async def cancel(run_id: RunId, request: Request, user: User, runs: Services) -> Response:
    """End a run: 200 with its status once it has ended, 202 while its holder has yet to end it."""
    status = await runs.worker.cancel(user.claims, run_id, request.scope["request_id"])
    has_ended = status not in ("queued", "in_progress")
    return JSONResponse({"runId": run_id, "status": status}, 200 if has_ended else 202)


@router.post("/sweep", include_in_schema=False)
async def sweep(request: Request, runs: Services, process: CurrentProcess) -> Response:
    """Dispatch all waiting runs. Only the schedule may request it; the gateway checks its secret."""
    if process.verifier is None:
        raise Unauthorized("assertion.not_verified_here")
    assertion = request.headers.getlist("x-gateway-assertion")
    process.verifier.verify_schedule(assertion=assertion, method="POST", path="/sweep")
    return JSONResponse({"dispatched": await runs.worker.sweep()})


@router.post("/connect")
async def connect(
    request: Request, user: User, runs: Services, process: CurrentProcess
) -> Response:
    """Attach to a thread's latest run, or to a given one: the thread as it is now, and then new events."""
    connect_input, _ = await read_body(request, ConnectInput)
    view = await runs.store.find(
        user.claims, client_run_id=connect_input.run_id, client_thread_id=connect_input.thread_id
    )
    await runs.worker.recover(view)
    version = connect_input.protocol_version
    stream = Stream(request, process, runs, user.claims, view, protocol_version=version)
    return stream.respond(None, starts_with_snapshot=True)


def _check_content(run_input: RunAgentInput, agent: BoundAgent) -> None:
    """Refuse what the agent's model cannot take before it is stored.

    Raises:
        ContentUnsupported: naming the types of the parts.
    """
    api = agent.models[0].api
    new = [message.content for message in run_input.newest_user_messages]
    if refused := dict.fromkeys(part for content in new for part in refused_parts(content, api)):
        raise ContentUnsupported(
            f"The agent's model cannot take this content: {', '.join(refused)}."
        )


def _view(view: RunView) -> Json:
    ending = view.ending or {}
    members = {
        "runId": view.client_run_id,
        "threadId": view.client_thread_id,
        "agent": view.agent,
        "parentRunId": view.client_parent_run_id,
        "status": view.status,
        "cursor": str(Cursor(view.attempt, view.last_seq)),
        "createdAt": view.created_at,
        "startedAt": view.started_at,
        "endedAt": view.ended_at,
        "pendingToolCallIds": ending.get("pending_calls") or None,
        "interrupts": interrupts(ending) or None,
        "result": ending.get("output"),
        **usage(ending.get("usage")),
        "error": {"code": ending["code"], "message": ending["message"]}
        if "code" in ending
        else None,
    }
    return {name: value for name, value in members.items() if value is not None}
