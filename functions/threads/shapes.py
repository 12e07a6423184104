"""The shapes of this API's requests and responses. Times are ISO 8601 in UTC; names in JSON are camelCase."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

from shared.core import CLIENT_ID_PATTERN, Json, Kind, clean_json, public_data

_MAX_METADATA_BYTES = 16 * 1024


def _digits(value: Any) -> int:
    """How many digits its numbers have in Postgres, which writes them in full: 1e300 has 301 digits."""
    if isinstance(value, float):
        return len(f"{Decimal(repr(value)):f}")
    if isinstance(value, dict):
        value = [*value.values()]
    return sum(map(_digits, value)) if isinstance(value, list) else 0


def _fits(metadata: Json) -> Json:
    if len(orjson.dumps(metadata)) + _digits(metadata) > _MAX_METADATA_BYTES:
        raise ValueError(f"metadata is larger than {_MAX_METADATA_BYTES} bytes")
    return metadata


def _public_event(data: Json) -> Json:
    return {**data, "item": public_data(data["item"])} if "item" in data else data


Id = Annotated[
    str, StringConstraints(pattern=CLIENT_ID_PATTERN, max_length=128), BeforeValidator(clean_json)
]
Title = Annotated[str, StringConstraints(max_length=500), BeforeValidator(clean_json)]
Metadata = Annotated[dict[str, Any], BeforeValidator(clean_json), AfterValidator(_fits)]
Cursor = Annotated[
    str, Field(description="Where to continue; opaque.", examples=["eyJwb3NpdGlvbiI6N30"])
]


class Shape(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
    )


class RequestBody(Shape):
    model_config = ConfigDict(extra="forbid")


class NewThread(RequestBody):
    """A thread to create. Without an id, the server chooses one."""

    thread_id: Annotated[Id | None, Field(examples=["holiday"])] = None
    title: Annotated[Title | None, Field(examples=["A week in Lisbon"])] = None
    metadata: Annotated[Metadata, Field(examples=[{"project": "travel"}])] = {}


class ThreadChanges(RequestBody):
    """The members to change; others stay. `metadata` is replaced as a whole."""

    title: Annotated[Title | None, Field(examples=["Two weeks in Lisbon"])] = None
    metadata: Annotated[Metadata, Field(examples=[{"project": "travel"}])] = {}
    archived: bool = False


class Thread(Shape):
    """A thread. `updatedAt` is its last activity: its creation, or the start or end of a run.

    `status`: a run is in progress (running), a run waits (queued), or an interrupt is open (waiting).
    """

    thread_id: Annotated[str, Field(examples=["holiday"])]
    title: Annotated[str | None, Field(examples=["A week in Lisbon"])]
    metadata: Annotated[dict[str, Any], Field(examples=[{"project": "travel"}])]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    status: Literal["idle", "running", "queued", "waiting"]


class Item(Shape):
    """An entry of a thread, as it is stored. `supersededAt`: when an edit or a regeneration replaced it."""

    id: Annotated[str, Field(examples=["m1"])]
    kind: Kind
    run_id: str | None
    created_at: datetime
    superseded_at: datetime | None
    data: Annotated[
        dict[str, Any],
        BeforeValidator(public_data),
        Field(examples=[{"role": "user", "content": "Name three colours."}]),
    ]


class Run(Shape):
    """A run of a thread. `ending`: the data of its last event, by status (reason, code, interrupts)."""

    run_id: Annotated[str, Field(examples=["r1"])]
    agent: Annotated[str, Field(examples=["assistant"])]
    status: Literal[
        "queued", "in_progress", "interrupted", "completed", "incomplete", "cancelled", "failed"
    ]
    attempt: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    usage: dict[str, Any] | None
    ending: dict[str, Any] | None


class LogRow(Shape):
    """One row of a run's log: `count` events from `seq` on (neighbouring deltas share a row)."""

    attempt: int
    seq: int
    count: int
    type: Annotated[str, Field(examples=["item.completed"])]
    item_id: str | None
    data: Annotated[dict[str, Any], BeforeValidator(_public_event)]
    created_at: datetime


class Part(Shape):
    """A piece of a snippet. `match`: it matches the query."""

    text: str
    match: bool


class Hit(Shape):
    """A message that matches, or, without `itemId`, a title."""

    thread: Thread
    item_id: str | None
    snippet: list[Part]


Entry = TypeVar("Entry")


class Page(Shape, Generic[Entry]):
    """A page, and the cursor of the next one: null if there is none."""

    data: list[Entry]
    next: Cursor | None


class ThreadPage(Page[Thread]):
    """A page of threads."""


class RunPage(Page[Run]):
    """A page of runs."""


class HitPage(Page[Hit]):
    """A page of search results."""


class ItemPage(Page[Item]):
    """A page of items, and the cursors of the next and the previous page."""

    previous: Cursor | None


class LogPage(Shape):
    """Rows of a log, and the `seq` to continue after: null at the end of the stored log."""

    data: list[LogRow]
    next: int | None
