"""Requests to a model and the events it streams, in no API's own terms; and adapters of OpenAI's two APIs."""

from shared.models.estimates import estimated_usage
from shared.models.events import (
    FinishReason,
    ModelEvent,
    ModelFailed,
    ProviderData,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)
from shared.models.names import hashed_name, model_name
from shared.models.openai import OpenAIModel
from shared.models.providers import ApiName, Provider, provider_of
from shared.models.requests import (
    ModelClient,
    ModelRequest,
    ModelSettings,
    NamedTool,
    ToolSpecification,
)
from shared.models.transcripts import clip_summary, oldest_exchanges, transcript
from shared.models.user_parts import refused_parts

__all__ = [
    "ApiName",
    "FinishReason",
    "ModelClient",
    "ModelEvent",
    "ModelFailed",
    "ModelRequest",
    "ModelSettings",
    "NamedTool",
    "OpenAIModel",
    "Provider",
    "ProviderData",
    "ReasoningDelta",
    "TextDelta",
    "ToolCallDelta",
    "ToolSpecification",
    "TurnEnded",
    "clip_summary",
    "estimated_usage",
    "hashed_name",
    "model_name",
    "oldest_exchanges",
    "provider_of",
    "refused_parts",
    "transcript",
]
