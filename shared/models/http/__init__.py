"""A small HTTP client for streams: `Connections` to a model's server."""

from shared.models.http.connections import Connections
from shared.models.http.exchange import Response

__all__ = ["Connections", "Response"]
