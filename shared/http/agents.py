"""An agent as a function: a FastAPI app that serves its runs over AG-UI."""

import importlib
import re
from functools import partial
from typing import Final

from fastapi import FastAPI

from shared.agents import Agent
from shared.core import Json, Settings
from shared.http.app import Function, create_app
from shared.http.loading import OneAgent
from shared.http.services import run_services
from shared.http.wires.agui.routes import router

#: A name is part of a URL, a host and a Kubernetes object's name.
NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?\Z")
_REQUIRED: Final = ("supabase_database_url", "supabase_url", "gateway_public_keys")


def agent_app(name: str, agent: Agent, *, settings: Settings | None = None) -> Function:
    """The app of an agent; add routes of your own to it as to any FastAPI app.

    `name` is that of its function: the gateway's path, and `run.agent` of its runs. Nothing happens here: the app's
    lifespan reads the settings, if none are given, and starts everything.

    Raises:
        ValueError: the name cannot be a function's.
    """
    if not NAME.match(name):
        raise ValueError(f"{name!r} cannot be a function's name: lower-case letters, digits and -.")
    build = partial(run_services, agents=OneAgent(name, agent))
    app = create_app(name, router, build, serves_users=True, requires=_REQUIRED, settings=settings)
    app.agent = agent
    app.describe = _describe
    return app


def _describe(app: FastAPI) -> Json:
    # Imported when the document is requested, since no run needs it.
    wire = importlib.import_module("shared.http.wires.agui.openapi")
    document: Json = wire.describe(app)
    return document
