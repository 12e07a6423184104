"""Threads through the whole bundle: the agent's answers are listed, found, exported and deleted."""

import httpx

from tests.fixtures.stack import Stack


def test_a_conversation_is_listed_found_exported_and_deleted(stack: Stack) -> None:
    headers = {"authorization": f"Bearer {stack.token('reader')}"}
    run = {
        "threadId": "a thread",
        "runId": "of-reader",
        "messages": [{"id": "m1", "role": "user", "content": "say: Lisbon is far"}],
    }
    with httpx.Client(base_url=stack.gateway, headers=headers, timeout=20) as client:
        assert "RUN_FINISHED" in client.post("/assistant/runs", json=run).text

        (thread,) = client.get("/threads/threads").json()["data"]
        assert (thread["threadId"], thread["status"]) == ("a thread", "idle")
        items = client.get("/threads/threads/a%20thread/items").json()["data"]
        assert [item["data"]["role"] for item in items] == ["user", "assistant"]
        (hit,) = client.get("/threads/search?q=%22lisbon+is%22+-say").json()["data"]
        assert hit["itemId"] == items[1]["id"]

        found = client.get("/threads/threads/a%20thread")
        tag = found.headers["etag"]
        same = client.get("/threads/threads/a%20thread", headers={"if-none-match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        renamed = client.patch(
            "/threads/threads/a%20thread", json={"title": "Far"}, headers={"if-match": tag}
        )
        assert (renamed.status_code, renamed.json()["title"]) == (200, "Far")

        text = client.get("/threads/threads/a%20thread/export?format=markdown")
        assert text.headers["content-disposition"] == 'attachment; filename="a_thread.md"'
        assert "## Assistant\n\nLisbon is far" in text.text
        for function in ("threads", "assistant"):
            assert '"openapi":"3.1' in client.get(f"/{function}/openapi.json").text

        assert client.delete("/threads/threads/a%20thread").status_code == 204
        again = client.post("/assistant/runs", json={**run, "runId": "again"})
        assert (again.status_code, again.json()["code"]) == (410, "thread_deleted")
        assert client.delete("/threads/me").status_code == 204
        assert "RUN_FINISHED" in client.post("/assistant/runs", json={**run, "runId": "again"}).text


def test_the_location_of_a_new_thread_is_below_the_requested_address(stack: Stack) -> None:
    headers = {"authorization": f"Bearer {stack.token('writer')}", "idempotency-key": "k1"}
    with httpx.Client(headers=headers, timeout=20) as client:
        made = client.post(f"{stack.gateway}/threads/threads", json={"threadId": "é b"})
        again = client.post(f"{stack.gateway}/threads/threads", json={"threadId": "é b"})

        assert (made.status_code, again.status_code) == (201, 200)
        place = made.url.join(made.headers["location"])
        assert client.get(place).json() == made.json() == again.json()
