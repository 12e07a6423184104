"""A small function for the stand-in's own tests. `python -m tests.platform.app` serves it on $PORT."""

import asyncio
import os
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl

import uvicorn

#: Seconds from its start until it is ready.
_READY_SECONDS = float(os.environ.get("READY_SECONDS", "0"))
#: The effect of SIGTERM: end when all requests are answered, or nothing.
_OBEYS = os.environ.get("OBEYS", "yes") == "yes"


class Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        print("got SIGTERM", flush=True)
        if _OBEYS:
            super().handle_exit(sig, frame)


class App:
    """Serves /readiness, /stream, /silent, /die and /echo, and answers all other paths with its process id."""

    def __init__(self) -> None:
        self.ready_at = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        now = asyncio.get_running_loop().time()
        self.ready_at = self.ready_at or now + _READY_SECONDS
        query = dict(parse_qsl(scope["query_string"].decode()))
        status = 503 if scope["path"] == "/readiness" and now < self.ready_at else 200
        if scope["path"] not in ("/readiness", "/health"):
            print(
                "request", scope["path"], "ready" if now >= self.ready_at else "early", flush=True
            )
        if scope["path"] == "/echo":
            await _echo(scope, receive, send)
            return
        await asyncio.sleep(float(query.get("wait", 0)))
        headers = [(b"x-pid", str(os.getpid()).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await self._stream(int(query.get("chunks", 1)), float(query.get("every", 0)), send)
        if scope["path"] == "/die":
            os._exit(3)
        if scope["path"] == "/silent":
            await _gone(receive)
            print("client gone", flush=True)
        await send({"type": "http.response.body", "body": b"end", "more_body": False})

    async def _stream(self, chunks: int, every: float, send: Any) -> None:
        for number in range(chunks):
            body = f"{number}\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(every)


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    sent = dict(scope["headers"])[b"x-sent"]
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-received", sent)]}
    await send(start)
    while (message := await receive())["more_body"]:
        await send({"type": "http.response.body", "body": message["body"], "more_body": True})
    await send({"type": "http.response.body", "body": message["body"]})


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def main() -> None:
    config = uvicorn.Config(
        App(),
        host=os.environ["HOST"],
        port=int(os.environ["PORT"]),
        lifespan="off",
        log_level="warning",
    )
    Server(config).run()


if __name__ == "__main__":
    main()
