"""The model's text, and so the expected contents of every thread: a function of the seed and of the request.

A turn takes 3 to 7 s, which is longer than every window of the platform here.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from shared.core.json import Json
from tests.doubles import Piece, Reply, calls, chunk, says

#: A tool whose effect counts, and one that may be called again.
CHARGE, LOOK = "charge", "look"


@dataclass(frozen=True)
class Turn:
    """One turn of the model: its text, and the tools that it then calls."""

    words: Sequence[str]
    tools: Sequence[str]

    @property
    def text(self) -> str:
        return "".join(self.words)


class Script:
    """The whole play. `task` is the text of a user's message; the model's turns follow from it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._broken: set[tuple[str, int]] = set()

    def turns(self, task: str) -> list[Turn]:
        """All turns of the answer to a task."""
        drawn = self._drawn(task)
        turns = [
            Turn(_words(drawn, task, nth), drawn.choices((CHARGE, LOOK), k=number))
            for nth, number in enumerate(drawn.choices((1, 2, 3), k=drawn.choice((0, 0, 1, 2))))
        ]
        return [*turns, Turn(_words(drawn, task, len(turns)), [])]

    def reply(self, request: Json) -> Reply:
        """The model's answer to a request: the turn that is due, at its own pace, sometimes broken off once."""
        task, done = due(request["messages"])
        turn, drawn = self.turns(task)[done], self._drawn(f"{task} {done}")
        pace = drawn.uniform(0.08, 0.12)
        pieces: list[Piece] = [drawn.uniform(0.0, 0.3)]
        for word in turn.words:
            pieces += [chunk({"content": word}), pace]
        if drawn.random() < 0.1 and (task, done) not in self._broken:
            self._broken.add((task, done))
            return Reply(pieces[: len(pieces) // 2], cuts=True)
        wanted = [(f"call_{nth}", name, f'{{"n": {nth}}}') for nth, name in enumerate(turn.tools)]
        # The end of a turn as the doubles write it, without the text that came before.
        return Reply([*pieces, *(calls(*wanted) if wanted else says())])

    def _drawn(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {name}")  # noqa: S311  # it must be the same again


def due(messages: Sequence[Json]) -> tuple[str, int]:
    """The task of a request, and the number of turns already answered."""
    last = max(nth for nth, message in enumerate(messages) if message["role"] == "user")
    done = sum(message["role"] == "assistant" for message in messages[last:])
    # A run before this one may have been cancelled before it said anything: then both tasks are one message.
    return messages[last]["content"].split("\n\n")[-1], done


def _words(drawn: random.Random, task: str, nth: int) -> list[str]:
    return [f"{task}.{nth}.{word} " for word in range(drawn.randint(40, 60))]
