"""A model's server of the standard library alone, to be run in any Python image; the user's message is its command.

`count 40 250` streams `1 2 ... 40`, a number every 250 ms; all else is answered at once. A name may follow, so that two
users' messages differ: `GET /requests` has how often each text came.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

#: How often each text came; every request has a thread.
_requests: Counter[str] = Counter()
_counting = Lock()


class Model(BaseHTTPRequestHandler):
    """OpenAI's Chat Completions, streamed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with _counting:
            body = json.dumps(_requests).encode() if self.path == "/requests" else b""
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        texts = [_text(each["content"]) for each in request["messages"] if each["role"] == "user"]
        with _counting:
            _requests[texts[-1]] += 1
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        # The end of the connection is the end of the answer.
        self.send_header("connection", "close")
        self.end_headers()
        for event in _events(texts[-1]):
            self.wfile.write(b"data: " + event.encode() + b"\n\n")
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing: thousands of lines would be the same."""


def _text(content: object) -> str:
    """The text of a message whose content is a string or a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)


def _events(text: str) -> Iterator[str]:
    for word in _words(text):
        yield _chunk({"content": word}, None)
    yield _chunk({}, "stop")
    yield json.dumps({**_HEAD, "choices": [], "usage": _USAGE})
    yield "[DONE]"


def _words(text: str) -> Iterator[str]:
    match text.split():
        case ["count", last, pause, *_]:
            for number in range(1, int(last) + 1):
                yield str(number) if number == 1 else f" {number}"
                time.sleep(int(pause) / 1000)
        case _:
            yield "Hello."


_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "counting"}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _chunk(delta: dict[str, str], finish: str | None) -> str:
    return json.dumps({**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Model).serve_forever()
