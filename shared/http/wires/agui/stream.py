"""One client's stream of one run, as AG-UI frames: from a cursor, or from a snapshot, until the run or the leg ends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from time import monotonic

from fastapi import Request
from starlette.responses import Response

from shared.core import Cursor, Json, LogEvent, RunNotFound, Snapshot
from shared.http.exchange import KEEP_ALIVE, event_stream
from shared.http.process import Process
from shared.http.services import RunServices
from shared.http.wires.agui.projection import Projection, leg_ended
from shared.runs import RunView


class Stream:
    """One client's stream of one run."""

    def __init__(
        self,
        request: Request,
        process: Process,
        runs: RunServices,
        claims: Json,
        view: RunView,
        *,
        protocol_version: str | None,
        cancels_on_disconnect: bool = False,
    ) -> None:
        self._request = request
        self._process = process
        self._runs = runs
        self._claims = claims
        self._view = view
        # Clients before 1.0 do not say their version.
        self._is_older_client = protocol_version is None
        self._cancels_on_disconnect = cancels_on_disconnect

    def respond(
        self, cursor: Cursor | None, *, starts_with_snapshot: bool = False, in_legs: bool = False
    ) -> Response:
        seconds = self._process.settings.stream_leg_seconds if in_legs else 0.0
        return event_stream(self._frames(cursor, starts_with_snapshot, seconds), self._request)

    async def _frames(
        self, cursor: Cursor | None, starts_with_snapshot: bool, leg_seconds: float
    ) -> AsyncGenerator[bytes, None]:
        ends_at = monotonic() + leg_seconds if leg_seconds else None
        has_written = False
        try:
            async with aclosing(
                self._runs.reader.follow(
                    self._claims, self._view, cursor, starts_with_snapshot=starts_with_snapshot
                )
            ) as parts:
                async for frames, place in self._project(parts, cursor):
                    if has_written and ends_at and monotonic() >= ends_at:
                        # The next leg starts with these frames: they may hold the ending, which must be the last frame.
                        yield leg_ended(cursor or Cursor(0, 0))
                        break
                    cursor = place or cursor
                    if frames:
                        has_written = True
                        yield frames
        except RunNotFound:
            # The run was deleted; a reader that comes back gets the problem.
            return
        except (asyncio.CancelledError, GeneratorExit):
            if self._cancels_on_disconnect and not self._process.grace.is_over:
                request_id = self._request.scope["request_id"]
                self._runs.worker.cancel_abandoned(self._claims, self._view, request_id)
            raise

    async def _project(
        self, parts: AsyncIterator[list[LogEvent] | Snapshot], cursor: Cursor | None
    ) -> AsyncIterator[tuple[bytes, Cursor | None]]:
        projection = Projection(
            self._view, resumes=cursor is not None, for_older_client=self._is_older_client
        )
        place = cursor or Cursor(0, 0)
        skip = 0 if place.frame is None else place.frame + 1
        async for part in parts:
            if isinstance(part, Snapshot) and not projection.can_restart:
                # The client comes back from this place, and gets the snapshot first then.
                yield leg_ended(place), None
                return
            if not part:
                yield KEEP_ALIVE, None
                continue
            if isinstance(part, Snapshot):
                place = Cursor(part.attempt, part.seq)
                yield projection.write_snapshot(part), place
            else:
                place = Cursor(part[-1].attempt, part[-1].seq)
                yield projection.write(part, skip=skip), place
            # Only the first event may need to skip frames that the client already has.
            skip = 0
