"""Adds to the OpenAPI that FastAPI generates for `threads`: problems, bodies, security."""

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from functions.threads.shapes import NewThread, ThreadChanges
from shared.core import Json
from shared.http import openapi


def thread_response(status: int, *headers: str) -> openapi.Responses:
    """A success with an entity tag."""
    descriptions: Json = {"ETag": "The version of this representation.", "Location": "Its address."}
    described_headers = {
        n: {"description": descriptions[n], "schema": {"type": "string"}} for n in headers
    }
    return {status: {"headers": described_headers}}


def file_response(*kinds: str) -> openapi.Responses:
    """A success that is a file of one of these media types."""
    header = {"description": "A name for the file.", "schema": {"type": "string"}}
    return {
        200: {
            "description": "The file, streamed.",
            "content": {kind: {"schema": {"type": "string"}} for kind in kinds},
            "headers": {"Content-Disposition": header},
        }
    }


def describe(app: FastAPI) -> Json:
    """The document of `threads`, with all of this."""
    schema = get_openapi(
        title="Threads",
        version="1",
        summary="A user's threads: list, read, rename, archive, search, export, delete.",
        routes=app.routes,
    )
    return openapi.complete(schema, "threads", NewThread, ThreadChanges)
