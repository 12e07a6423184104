"""Ask, print the answer as it is written, and go on behind every cut. Needs httpx: python example.py URL TOKEN TEXT."""

import json
import sys
import time
from uuid import uuid4

import httpx

url, token, text = sys.argv[1:]
run_id, cursor, type_ = str(uuid4()), "", ""
message = {"id": str(uuid4()), "role": "user", "content": text}
body = {"threadId": str(uuid4()), "runId": run_id, "messages": [message]}
client = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=45)
# The same runId is the same run, so it may be posted until its first event is here.
first = {"method": "POST", "url": f"{url}/agent/runs", "json": body}
rest = {"method": "GET", "url": f"{url}/agent/runs/{run_id}/events"}

while type_ not in ("RUN_FINISHED", "RUN_ERROR"):
    frame: dict[str, str] = {}
    try:
        with client.stream(
            **({**rest, "params": {"after": cursor}} if cursor else first)
        ) as answer:
            if answer.status_code >= 502:
                # A function that starts, stops or is full.
                raise httpx.ReadError("Not at the moment.")
            answer.raise_for_status()
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                frame[name] = value
                if line == "" and "id" in frame:
                    event = json.loads(frame.pop("data"))
                    cursor, type_ = frame.pop("id"), event["type"]
                    print(event.get("delta", ""), end="", flush=True)
    except httpx.TransportError:
        time.sleep(1)
print()
