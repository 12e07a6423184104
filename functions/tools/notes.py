"""A user's own notes. Row-level security limits each user to theirs; the call's key makes each write happen once."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from shared.agents import ToolContext, tool

Text = Annotated[str, Field(min_length=1, max_length=10_000)]
Limit = Annotated[int, Field(ge=1, le=100)]
Query = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description='Words that must all occur; "a phrase", or, -without.',
    ),
]
LastOfPage = Annotated[UUID, Field(description="The id of the last note of the previous page.")]


class Note(BaseModel):
    id: UUID
    text: str
    created_at: datetime


class Notes(BaseModel):
    notes: list[Note]


class Deleted(BaseModel):
    deleted: bool = Field(description="False if there was no such note.")


@tool(idempotent=True)
async def add_note(text: Text, context: ToolContext) -> Note:
    """Save a note for the user."""
    call = (dict(context.user.claims), context.run and context.run.id, context.key)
    return Note(**await context.database.call("write_note", *call, text))


@tool(read_only=True)
async def search_notes(query: Query, context: ToolContext, limit: Limit = 20) -> Notes:
    """Find the user's notes by words, best match first."""
    claims = dict(context.user.claims)
    return Notes(notes=await context.database.call("search_notes", claims, query, limit))


@tool(read_only=True)
async def list_notes(
    context: ToolContext, limit: Limit = 20, before: LastOfPage | None = None
) -> Notes:
    """List the user's notes, newest first."""
    claims = dict(context.user.claims)
    return Notes(notes=await context.database.call("list_notes", claims, before, limit))


@tool(idempotent=True, destructive=True)
async def delete_note(id: UUID, context: ToolContext) -> Deleted:  # the model's word
    """Delete one of the user's notes. It cannot be restored."""
    claims = dict(context.user.claims)
    return Deleted(deleted=await context.database.call("delete_note", claims, id))
