"""The React example, bundled and opened in a browser, against the whole bundle."""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from local.environment import ROOT
from tests.browser.visitor import ALL_WORDS, LONG, Visitor
from tests.conformance.installing import by_npm, installed
from tests.fixtures.stack import ANSWERED_QUESTIONS, Stack

CLIENT = ROOT / "clients/js"
EXAMPLE = Path("examples/react")


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, bundled as its `npm run build` does."""
    folder = tmp_path_factory.mktemp("react")
    meta = json.loads((CLIENT / EXAMPLE / "package.json").read_text())
    # The packages of the index are cached; the client is the one of this checkout.
    del meta["dependencies"]["agent-functions-client"]
    listing = folder / "package.json"
    listing.write_text(json.dumps(meta))
    packages = installed(listing, by_npm, "react-example") / "node_modules"
    shutil.copytree(CLIENT, folder / "js")
    example = folder / "js" / EXAMPLE
    (example / "node_modules").mkdir()
    for package in packages.iterdir():
        (example / "node_modules" / package.name).symlink_to(package)
    (example / "node_modules/agent-functions-client").symlink_to(folder / "js")
    subprocess.run(["npm", "run", "build", "--silent"], cwd=example, check=True, timeout=120)
    return example


@pytest.fixture(scope="module")
def site(built: Path, app_socket: socket.socket) -> Iterator[str]:
    """Serves the bundle; returns its address."""
    address = app_socket.getsockname()
    handler = partial(Handler, directory=str(built))
    server = ThreadingHTTPServer(address, handler, bind_and_activate=False)
    server.socket.close()
    server.socket = app_socket
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://{}:{}/".format(*address)
    server.shutdown()


@pytest.fixture
def chat(site: str, context: BrowserContext, page_stack: Stack, visitor: Visitor) -> Page:
    """The example's page, signed in."""
    page = context.new_page()
    page.goto(site)
    page.get_by_label("Gateway").fill(page_stack.gateway)
    page.get_by_label("Token").fill(visitor.token("alice"))
    page.get_by_role("button", name="Sign in").click()
    return page


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def test_it_streams_and_continues_after_a_reload(chat: Page) -> None:
    say(chat, LONG)
    expect(chat.get_by_label("Agent")).to_contain_text("word0 word1")

    chat.reload()

    expect(chat.get_by_label("Agent")).to_have_text(ALL_WORDS)
    expect(chat.get_by_label("You")).to_have_text(LONG)
    expect(chat.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("button", "result"), [("Approve", "deleted"), ("Reject", "The user did not allow this call")]
)
def test_a_call_waits_for_the_user(chat: Page, button: str, result: str) -> None:
    say(chat, f'call: delete_note {{"id": "{uuid4()}"}}')
    answer = chat.get_by_role("button", name=button)
    expect(answer).to_be_visible()
    expect(chat.get_by_label("Agent")).to_contain_text("delete_note")

    # The question is the thread's, so it is still open after a reload.
    chat.reload()
    answer.click()

    expect(chat.get_by_label("Agent").last).to_contain_text("it is")
    expect(chat.get_by_label("Result")).to_contain_text(result)
    expect(answer).to_have_count(0)


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_it_stops_a_run(chat: Page, is_reloaded: bool) -> None:
    say(chat, "say: " + "|".join(f"word{n} " for n in range(200)))
    expect(chat.get_by_label("Agent")).to_contain_text("word0 word1")
    if is_reloaded:
        chat.reload()

    chat.get_by_role("button", name="Stop").click()

    expect(chat.get_by_role("button", name="Stop")).to_have_count(0)
    expect(chat.get_by_label("Agent")).not_to_contain_text("word199")
    say(chat, "say: again")
    expect(chat.get_by_label("Agent").last).to_have_text("again")


def test_an_error_is_shown(chat: Page, page_stack: Stack) -> None:
    chat.evaluate(
        "backend => sessionStorage.setItem('backend', JSON.stringify(backend))",
        {"gateway": page_stack.gateway, "token": "no token"},
    )
    chat.reload()
    expect(chat.get_by_role("alert")).to_have_text("unauthorized")


def test_an_expired_question_is_dismissed_and_the_thread_continues(
    chat: Page, expire: Callable[[Page], None]
) -> None:
    say(chat, f'call: delete_note {{"id": "{uuid4()}"}}')
    expect(chat.get_by_role("button", name="Approve")).to_be_visible()
    expect(chat.get_by_role("button", name="Send")).to_be_disabled()

    expire(chat)
    chat.get_by_role("button", name="Dismiss").click()

    expect(chat.get_by_label("Result")).to_contain_text("did not allow this call in time")
    say(chat, "say: hello again")
    expect(chat.get_by_label("Agent").last).to_have_text("hello again")
    expect(chat.get_by_role("alert")).to_have_count(0)


def test_the_questions_of_a_tool_are_a_form(chat: Page) -> None:
    say(chat, 'call: look_up {"how": "ask"}')
    form = chat.get_by_role("form", name="Question")
    expect(form).to_contain_text("Which seat?")
    form.get_by_label("row").fill("0")
    form.get_by_label("class").select_option("First")
    form.get_by_label("aisle").check()
    form.get_by_label("Whose name").fill("Bo")

    form.get_by_role("button", name="Answer", exact=True).click()
    expect(form).to_be_visible()  # The row is at least 1.
    form.get_by_label("row").fill("12")
    form.get_by_role("button", name="Answer", exact=True).click()

    expect(chat.get_by_label("Result")).to_have_text(ANSWERED_QUESTIONS)
    expect(form).to_have_count(0)


def test_a_question_can_be_left_unanswered(chat: Page) -> None:
    say(chat, 'call: look_up {"how": "ask"}')
    chat.get_by_role("button", name="Do not answer").click()
    expect(chat.get_by_label("Result")).to_contain_text("The user did not answer")
