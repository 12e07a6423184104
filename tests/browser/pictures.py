"""`python -m tests.browser.pictures`: make docs/chat.png and docs/run.png, which the README shows."""

import json
import shutil

from playwright.sync_api import expect, sync_playwright

from local.environment import ROOT
from local.stack import start_stack
from shared.core import Json
from tests.browser.visitor import Visitor
from tests.doubles import Reply, calls, chunk, says
from tests.fixtures.stack import outside, plan_of, stack_folder

_DATABASE = "What is a database?"
_WEATHER = "What is the weather in Berlin?"
_NOTE = "Delete my oldest note."
_NOTE_ID = "6d1b5a0e-5a0c-4a39-9c2f-1f5f6c4f1d11"
_ANSWER = (
    "A database keeps data in tables, and answers questions about it. It keeps the data when the power fails, and lets"
    " many programs read and change it at once."
)
_PAUSE_SECONDS = 0.15


def _answer(request: Json) -> Reply:
    last = request["messages"][-1]
    if last["role"] == "tool":
        weather = json.loads(last["content"])
        return Reply(says(f"It is **{weather['temperature']:g} °C** in Berlin: {weather['sky']}."))
    match last["content"]:
        case text if text == _WEATHER:
            return Reply(calls(("call_1", "get_weather", '{"location": "Berlin"}')))
        case text if text == _NOTE:
            return Reply(calls(("call_2", "delete_note", json.dumps({"id": _NOTE_ID}))))
    first, *words = (f"{word} " for word in _ANSWER.split())
    pieces = [piece for word in words for piece in (_PAUSE_SECONDS, chunk({"content": word}))]
    opening, *closing = says(first)
    return Reply([opening, *pieces, *closing])


def _picture_run(visitor: Visitor) -> None:
    """A run whose process is killed in the middle of its answer, as a timeline."""
    page = visitor.page
    visitor.say(_DATABASE)
    expect(visitor.answers.last).to_contain_text("answers")
    page.get_by_role("link", name="Functions").click()
    page.get_by_role("button", name="Kill assistant").click()
    page.get_by_role("link", name="Chat").click()
    visitor.wait_until_answered(_ANSWER)
    page.get_by_role("link", name="Runs").click()
    timeline = page.get_by_role("list", name="Timeline")
    expect(timeline).to_contain_text("attempt 2 takes over")
    page.get_by_text("Events", exact=True).click()
    page.screenshot(path=ROOT / "docs" / "run.png")


def _picture_chat(visitor: Visitor) -> None:
    """A thread with the result of a tool, and a call that waits for approval."""
    page = visitor.page
    page.get_by_role("link", name="Chat").click()
    page.get_by_role("button", name="New thread").click()
    visitor.say(_WEATHER)
    expect(visitor.answers.last).to_contain_text("in Berlin:")
    expect(visitor.send).to_be_visible()
    visitor.say(_NOTE)
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    expect(page.locator("#thread-list")).to_contain_text("waiting")
    page.screenshot(path=ROOT / "docs" / "chat.png")


def main() -> None:
    expect.set_options(timeout=30_000)
    with outside() as (model, _), stack_folder() as folder:
        model.answer_all = _answer
        plan = plan_of(folder, model, {"MOCK_WEATHER_TOOL_API_KEY": "test"})
        with start_stack(plan) as running, sync_playwright() as playwright:
            options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=options
            )
            page = browser.new_page(viewport={"width": 1100, "height": 760})
            visitor = Visitor(page, running.page_url.rstrip("/"))
            visitor.open()
            _picture_run(visitor)
            _picture_chat(visitor)
            browser.close()


if __name__ == "__main__":
    main()
