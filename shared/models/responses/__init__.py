"""OpenAI's Responses API, stateless: nothing is stored there, and reasoning comes back encrypted to be sent again."""

from shared.core import Json
from shared.models.provider_data import origin_of
from shared.models.requests import ModelRequest
from shared.models.responses.reader import ResponsesReader
from shared.models.responses.request import request_body

__all__ = ["Responses"]


class Responses:
    """The API's path, body and reader."""

    path = "/responses"
    #: OpenAI's models without reasoning refuse it.
    optional = ("include",)

    def __init__(self, base_url: str) -> None:
        self._origin = origin_of("responses", base_url)

    def body(self, request: ModelRequest, model: str) -> Json:
        return request_body(request, model, self._origin)

    def reader(self) -> ResponsesReader:
        return ResponsesReader(self._origin)
