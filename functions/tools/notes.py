"""A user's own notes: row-level security decides whose they are, the call's key that each is written once."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from functions.tools.tool import Context, tool

Text = Annotated[str, Field(min_length=1, max_length=10_000)]
Limit = Annotated[int, Field(ge=1, le=100)]


class Note(BaseModel):
    id: UUID
    text: str
    created_at: datetime


class Notes(BaseModel):
    notes: list[Note]


class NewNote(BaseModel):
    text: Text


class Search(BaseModel):
    query: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description='Words that all must be there; "a phrase", or, -without.'
    )
    limit: Limit = 20


class Page(BaseModel):
    limit: Limit = 20
    before: UUID | None = Field(None, description="The last note of the page before.")


class Which(BaseModel):
    id: UUID


class Deleted(BaseModel):
    deleted: bool = Field(description="False: there was no such note, or none any more.")


@tool(idempotent=True)
async def add_note(arguments: NewNote, context: Context) -> Note:
    """Keep a note for the user."""
    caller = context.caller
    call = (dict(caller.claims), caller.run_id, context.key)
    return Note(**await context.database.call("write_note", *call, arguments.text))


@tool(read_only=True)
async def search_notes(arguments: Search, context: Context) -> Notes:
    """Find the user's notes by words, the best first."""
    claims = dict(context.caller.claims)
    query, limit = arguments.query, arguments.limit
    return Notes(notes=await context.database.call("search_notes", claims, query, limit))


@tool(read_only=True)
async def list_notes(arguments: Page, context: Context) -> Notes:
    """List the user's notes, newest first."""
    claims = dict(context.caller.claims)
    before, limit = arguments.before, arguments.limit
    return Notes(notes=await context.database.call("list_notes", claims, before, limit))


@tool(idempotent=True, destructive=True)
async def delete_note(arguments: Which, context: Context) -> Deleted:
    """Delete one of the user's notes. It cannot be brought back."""
    claims = dict(context.caller.claims)
    return Deleted(deleted=await context.database.call("delete_note", claims, arguments.id))
