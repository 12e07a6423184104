"""The ids of calls in a request: unique, and valid for the server that gets them."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import count
from string import ascii_letters, digits
from typing import Final

from shared.core import Json
from shared.models.conversation import AnsweredCall, AssistantMessage, Message
from shared.models.provider_data import is_from

_ALPHABET: Final = (ascii_letters + digits).encode()
#: Mistral takes ids of nine letters and digits only, and every other server takes these too.
_LENGTH: Final = 9


def call_ids(messages: Iterable[Message], origin: Json) -> dict[str, str]:
    """The id to send for each call, by its key.

    A server gets its own ids back: some models number their calls by them. An id from elsewhere, or one that a server
    gave twice, is replaced by one that only depends on the call, so that requests begin alike.
    """
    calls = [call for message in messages for call in _calls(message)]
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for call in calls:
        if call.provider_id and is_from(call.provider, origin) and call.provider_id not in taken:
            ids[call.key] = call.provider_id
            taken.add(call.provider_id)
    for call in calls:
        if call.key not in ids:
            ids[call.key] = next(each for each in _candidates(call.key) if each not in taken)
            taken.add(ids[call.key])
    return ids


def _calls(message: Message) -> tuple[AnsweredCall, ...]:
    return message.calls if isinstance(message, AssistantMessage) else ()


def _candidates(key: str) -> Iterator[str]:
    for number in count():
        digest = hashlib.sha256(f"{key} {number}".encode("utf-8", "surrogatepass")).digest()
        yield bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:_LENGTH]).decode()
