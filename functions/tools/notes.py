"""A user's own notes. Row-level security limits each user to theirs; the call's key makes each write happen once."""

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
        description='Words that must all occur; "a phrase", or, -without.'
    )
    limit: Limit = 20


class Page(BaseModel):
    limit: Limit = 20
    before: UUID | None = Field(None, description="The id of the last note of the previous page.")


class NoteId(BaseModel):
    id: UUID


class Deleted(BaseModel):
    deleted: bool = Field(description="False if there was no such note.")


@tool(idempotent=True)
async def add_note(arguments: NewNote, context: Context) -> Note:
    """Save a note for the user."""
    caller = context.caller
    call = (dict(caller.claims), caller.run_id, context.key)
    return Note(**await context.database.call("write_note", *call, arguments.text))


@tool(read_only=True)
async def search_notes(arguments: Search, context: Context) -> Notes:
    """Find the user's notes by words, best match first."""
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
async def delete_note(arguments: NoteId, context: Context) -> Deleted:
    """Delete one of the user's notes. It cannot be restored."""
    claims = dict(context.caller.claims)
    return Deleted(deleted=await context.database.call("delete_note", claims, arguments.id))
