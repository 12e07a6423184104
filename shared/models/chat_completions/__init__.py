"""OpenAI's Chat Completions, which most providers and servers of models speak."""

from shared.core import Json
from shared.models.chat_completions.reader import ChatCompletionsReader
from shared.models.chat_completions.request import request_body
from shared.models.provider_data import origin_of
from shared.models.requests import ModelRequest

__all__ = ["ChatCompletions"]


class ChatCompletions:
    """The API's path, body and reader."""

    path = "/chat/completions"
    optional = ("stream_options",)

    def __init__(self, base_url: str = "") -> None:
        self._origin = origin_of("chat_completions", base_url)

    def body(self, request: ModelRequest, model: str) -> Json:
        return request_body(request, model, self._origin)

    def reader(self) -> ChatCompletionsReader:
        return ChatCompletionsReader(self._origin)
