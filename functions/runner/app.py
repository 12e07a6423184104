"""Executes waiting runs. A delivery stays open until its attempt ends, so that the platform counts it."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from functions.registry import agent_names
from functions.runner.cloudevents import CloudEvent, read_event
from shared.core import InvalidEvent
from shared.http import RegisteredAgents, RunServices, create_app, run_services, services_of
from shared.runs import CLOUD_EVENT_TYPE

router = APIRouter()

Services = Annotated[RunServices, Depends(services_of(RunServices))]


@router.post("/")
async def execute(request: Request, runs: Services) -> Response:
    """Execute the run that an event names, until this attempt ends: 204, also if the run does not wait.

    The run does not depend on the request: it continues if the sender goes. The event gives no rights: the run's row
    decides. The response is never an event, because a Broker would send it on.
    """
    run_id = _run_of(read_event(request.headers, await request.body()))
    await runs.worker.execute_delivered(run_id)
    return Response(status_code=204)


@router.post("/sweep")
async def sweep(runs: Services) -> Response:
    """Send all waiting runs and delete what is kept no longer. Responds before the runs are executed."""
    return JSONResponse({"dispatched": await runs.worker.sweep()})


def _run_of(event: CloudEvent) -> str:
    match event:
        case CloudEvent(type=kind, data={"run_id": str(run_id)}) if kind == CLOUD_EVENT_TYPE:
            try:
                return str(UUID(run_id))
            except ValueError:
                raise InvalidEvent("`run_id` is not a UUID.") from None
    raise InvalidEvent(f"This function takes {CLOUD_EVENT_TYPE} with the data {{'run_id': …}}.")


app = create_app(
    "runner",
    router,
    partial(run_services, agents=RegisteredAgents(agent_names)),
    requires=("supabase_database_url",),
)
