"""Which call each piece of a stream belongs to, however a provider numbers and names its calls."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.core import Json, clean
from shared.models.events import ToolCallDelta
from shared.models.shapes import arguments_in


@dataclass(slots=True)
class _Call:
    number: int
    id: str | None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)

    def ends_before(self, id_: str | None, name: str | None, arguments: str) -> bool:
        """Whether a piece belongs to another call. One without a name never does."""
        if not name or not self.name:
            return False
        if name != self.name:
            return True
        is_other = id_ != self.id or id_ is None
        if not any(self.arguments):
            # Two calls without arguments, or a call whose id changes with each piece.
            return bool(is_other and id_ and not arguments)
        return (is_other or bool(arguments)) and self._is_whole()

    def _is_whole(self) -> bool:
        text = "".join(self.arguments).rstrip()
        if not text.endswith("}"):
            return False
        try:
            json.loads(text)
        except ValueError:
            return False
        return True


class CallPieces:
    """The calls of a turn. Providers give all of them one index or none, no id, or a new id with each piece.

    A piece with a name after complete arguments starts a call. One without a name continues the call of its index, or
    else of its id, or else the last one. `origin` {api, base_url?}: where they come from.
    """

    def __init__(self, origin: Json | None = None) -> None:
        self._origin = origin
        self._calls: list[_Call] = []
        #: The newest call of each index, or of each place in a list of pieces without indexes (-1, -2, …).
        self._slots: dict[int, _Call] = {}

    def read(self, pieces: Sequence[Json]) -> list[ToolCallDelta]:
        """The deltas of a chunk's pieces, with the numbers of their calls.

        Raises:
            TypeError, AttributeError: they are of another shape.
        """
        return [
            self._read(piece, -1 - place if len(pieces) > 1 else None)
            for place, piece in enumerate(pieces)
        ]

    def _read(self, piece: Json, place: int | None) -> ToolCallDelta:
        function = piece.get("function") or {}
        id_ = clean(piece.get("id") or "") or None
        name = clean(function.get("name") or "") or None
        arguments = arguments_in(function.get("arguments"))
        index = _index(piece.get("index"))
        call = self._call(place if index is None else index, id_, name, arguments)
        call.name = call.name or name
        call.arguments.append(arguments)
        return ToolCallDelta(call.number, id_, name, arguments, self._origin)

    def _call(self, slot: int | None, id_: str | None, name: str | None, arguments: str) -> _Call:
        call = self._last_of(slot, id_, name)
        if call is None or call.ends_before(id_, name, arguments):
            call = _Call(len(self._calls), id_)
            self._calls.append(call)
            # A later piece may have an index that the first one lacks.
            self._slots.setdefault(call.number, call)
        if slot is not None:
            self._slots[slot] = call
        return call

    def _last_of(self, slot: int | None, id_: str | None, name: str | None) -> _Call | None:
        if slot is not None:
            return self._slots.get(slot)
        same = [call for call in self._calls if id_ and call.id == id_ and not name]
        found = same or self._calls
        return found[-1] if found else None


def _index(value: Any) -> int | None:
    if value is not None and not isinstance(value, int):
        raise TypeError(f"an index is a number, not {type(value)}")
    return value
