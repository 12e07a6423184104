"""A function on AWS Lambda, behind API Gateway (payload 2.0) or a Function URL.

Lambda sends whole responses: a stream is sent when it has ended, so a run's frames arrive all at once. After a
response, the container is frozen with its tasks: background runs need a `runner` on a platform that keeps running.
"""

import asyncio
from typing import Any, Final
from urllib.parse import quote, unquote

from fastapi import FastAPI
from mangum import Mangum
from starlette.types import Receive, Scope, Send

from shared.auth import path_of
from shared.core import Json

#: Media types that are sent as text; others are sent in base64.
_TEXTS: Final = ["text/", "application/json", "application/problem+json", "application/x-ndjson"]

#: Characters of a percent-encoded path.
_IN_PATHS: Final = "/%:@!$&'()*+,;=~"


class LambdaHandler:
    """The handler of one app: `handler = LambdaHandler(app)` in the module that Lambda is configured to call.

    The app starts once per container, here, where Lambda grants a container its start-up time.
    """

    def __init__(self, app: FastAPI) -> None:
        self._loop = asyncio.new_event_loop()
        # Mangum runs each request on the thread's current loop.
        asyncio.set_event_loop(self._loop)
        self._lifespan = app.router.lifespan_context(app)
        self._loop.run_until_complete(self._lifespan.__aenter__())

        async def with_raw_path(scope: Scope, receive: Receive, send: Send) -> None:
            # Mangum decodes a path that API Gateway has decoded already.
            path = _sent_path(scope["aws.event"])
            scope["raw_path"], scope["path"] = path.encode(), unquote(path)
            await app(scope, receive, send)

        self._answer = Mangum(with_raw_path, lifespan="off", text_mime_types=_TEXTS)

    def __call__(self, event: Json, context: Any) -> Json:
        """The response to one event: {statusCode, headers, body, isBase64Encoded}."""
        return self._answer(event, context)

    def close(self) -> None:
        """Stop the app. Lambda never calls this: it freezes a container, and discards it later."""
        self._loop.run_until_complete(self._lifespan.__aexit__(None, None, None))
        self._loop.close()


def _sent_path(event: Json) -> str:
    """The path as the gateway sent and signed it.

    A Function URL passes it on; an HTTP API of API Gateway decodes it, and `a:b` may have been sent as `a%3Ab`. Only
    the assertion has it then. Its signature is verified later, and until then it only says how the path of the event
    was written.
    """
    path: str = event["rawPath"]
    asserted = path_of(event["headers"].get("x-gateway-assertion", "")) or ""
    return asserted if path in (asserted, unquote(asserted)) else quote(path, safe=_IN_PATHS)
