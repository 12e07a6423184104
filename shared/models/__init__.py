"""What a model is, and the provider's API behind it."""

from shared.models.completions import CallPart, Finish, ModelFailed, Part, Text
from shared.models.openai import Model, OpenAIModel

__all__ = [
    "CallPart",
    "Finish",
    "Model",
    "ModelFailed",
    "OpenAIModel",
    "Part",
    "Text",
]
