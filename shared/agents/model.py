"""The model of an agent: which one, at which provider, with which settings, and which models replace it if it fails."""

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from shared.core import Json
from shared.models import ModelSettings

_PROVIDER = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Model:
    """A model and its settings. A setting that is None is not sent, so that the provider's default applies.

    `name` None: that of `OPENAI_MODEL`. `api` None: that of `OPENAI_API`. `provider` "groq": the server at
    `MODEL_PROVIDER_GROQ_BASE_URL`, with the key `MODEL_PROVIDER_GROQ_API_KEY`; None: that of `OPENAI_BASE_URL`.
    `extra_body` has more members of the request's body; they replace those of the same name. `max_tools`: how many
    tools it takes; None: MODEL_MAX_TOOLS.

    `fallback`: the models to use, in this order, if this one fails before its first token. A name stands for this
    model's settings with another name.

    Raises:
        ValueError: `provider` cannot be part of a variable's name, `max_tools` is below 1, or a fallback has fallbacks
            of its own.
    """

    name: str | None = None
    _: KW_ONLY
    temperature: float | None = None
    top_p: float | None = None
    reasoning_effort: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    max_output_tokens: int | None = None
    parallel_tool_calls: bool | None = None
    extra_body: Json | None = None
    max_tools: int | None = None
    api: Literal["chat_completions", "responses"] | None = None
    provider: str | None = None
    fallback: "Sequence[str | Model]" = ()

    def __post_init__(self) -> None:
        if self.provider is not None and not _PROVIDER.match(self.provider):
            raise ValueError(
                f"A provider's name is lower-case letters, digits and _, not {self.provider!r}."
            )
        if self.max_tools is not None and self.max_tools < 1:
            raise ValueError("A model takes at least one tool: max_tools is a number from 1 up.")
        if any(isinstance(model, Model) and model.fallback for model in self.fallback):
            raise ValueError("A fallback cannot have fallbacks of its own: list them all in one.")

    @property
    def in_order(self) -> "list[Model]":
        """This model, and then its fallbacks."""
        first = replace(self, fallback=())
        return [
            first,
            *(replace(first, name=m) if isinstance(m, str) else m for m in self.fallback),
        ]

    def settings(self, output_schema: Json | None = None) -> ModelSettings:
        """The settings of a request to this model. `output_schema`: the JSON Schema of the response's text."""
        return ModelSettings(
            model=self.name,
            temperature=self.temperature,
            top_p=self.top_p,
            reasoning_effort=self.reasoning_effort,
            verbosity=self.verbosity,
            max_output_tokens=self.max_output_tokens,
            parallel_tool_calls=self.parallel_tool_calls,
            extra_body=self.extra_body,
            max_tools=self.max_tools,
            output_schema=output_schema,
        )
