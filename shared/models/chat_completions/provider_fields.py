"""The members of a Chat Completion that a provider wants back with later requests, and refuses to miss.

* `extra_content`, of calls and of messages: Gemini's signatures of its thoughts.
* `reasoning_details`: the thoughts of a model behind OpenRouter or MiniMax, with their signatures.
* `reasoning_content`: DeepSeek and Kimi refuse calls without the reasoning that led to them. Its text is stored as an
  item of the thread already, so only the name of the member is kept. Servers that call it `reasoning` do not want it
  back, and Groq refuses it.
"""

from collections.abc import Sequence
from typing import Any, Final

from shared.core import Json, clean_json
from shared.models.events import ProviderData

_REASONING: Final = "reasoning_content"
#: The members of a detail that arrive in pieces.
_TEXTS: Final = ("text", "summary", "data")


class ProviderFields:
    """Collects the members of one response. `origin` {api, base_url?} is where it comes from."""

    def __init__(self, origin: Json) -> None:
        self._origin = origin
        self._has_reasoning = False
        self._details: list[Json] = []

    def of_call(self, call: Json) -> list[ProviderData]:
        """What belongs to a call, from a piece of it."""
        if not isinstance(extra := call.get("extra_content"), dict):
            return []
        members = {"extra_content": clean_json(extra)}
        return [ProviderData(self._origin, {"of": "call", "members": members}, "call")]

    def of_delta(self, delta: Json) -> list[ProviderData]:
        """What belongs to the turn, from a piece of it."""
        found: list[Json] = []
        if _is_signed(extra := delta.get("extra_content")):
            found.append({"of": "turn", "members": {"extra_content": clean_json(extra)}})
        if delta.get(_REASONING) and not self._has_reasoning:
            self._has_reasoning = True
            found.append({"reasoning": _REASONING})
        if isinstance(details := delta.get("reasoning_details"), list):
            self._add_details(details)
        return [ProviderData(self._origin, item, "turn") for item in found]

    def at_end(self) -> list[ProviderData]:
        """What belongs to the turn and is complete only at its end."""
        if not self._details:
            return []
        members, self._details = {"reasoning_details": clean_json(self._details)}, []
        return [ProviderData(self._origin, {"of": "turn", "members": members}, "turn")]

    def _add_details(self, details: Sequence[Any]) -> None:
        for piece in details:
            if not isinstance(piece, dict):
                continue
            if self._details and _continues(piece, self._details[-1]):
                _extend(self._details[-1], piece)
            else:
                self._details.append({**piece})


def _is_signed(extra: Any) -> bool:
    # The other messages of Gemini only say that a text is a thought.
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and bool(google.get("thought_signature"))


def _continues(piece: Json, detail: Json) -> bool:
    is_same = all(piece.get(name) == detail.get(name) for name in ("type", "index"))
    return is_same and piece.get("id") in (None, detail.get("id"))


def _extend(detail: Json, piece: Json) -> None:
    for name, value in piece.items():
        if name in _TEXTS and isinstance(value, str) and isinstance(detail.get(name), str):
            detail[name] += value
        elif value is not None:
            detail[name] = value
