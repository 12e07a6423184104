"""Send a message, print the answer as it is written, and reconnect after every cut.

Needs httpx: python example.py URL TOKEN TEXT.
"""

import json
import sys
import time
from uuid import uuid4

import httpx

url, token, text = sys.argv[1:]
run_id, cursor, type_ = str(uuid4()), "", ""
message = {"id": str(uuid4()), "role": "user", "content": text}
version = {"protocolVersion": "1.0"}
body = {"threadId": str(uuid4()), "runId": run_id, "messages": [message], **version}
client = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=45)
# A repeated runId is the same run, so the request can be repeated until the first event has arrived.
first = {"method": "POST", "url": f"{url}/assistant/runs", "json": body}
rest = {"method": "GET", "url": f"{url}/assistant/runs/{run_id}/events"}

while type_ not in ("RUN_FINISHED", "RUN_ERROR"):
    frame: dict[str, str] = {}
    try:
        with client.stream(
            **({**rest, "params": {"after": cursor, **version}} if cursor else first)
        ) as response:
            if response.status_code >= 502:
                # The function starts, stops or is full.
                raise httpx.ReadError("Unavailable.")
            response.raise_for_status()
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                frame[name] = value
                if line == "" and "id" in frame:
                    event = json.loads(frame.pop("data"))
                    cursor, type_ = frame.pop("id"), event["type"]
                    print(event.get("delta", ""), end="", flush=True)
    except httpx.TransportError:
        time.sleep(1)
print()
