"""The page is accessible: axe finds no fault, the keyboard is enough, and it fits a phone."""

import subprocess
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect

from local.gateway import find_deno
from tests.browser.visitor import LONG, SCREENSHOTS, Visitor
from tests.fixtures.stack import Stack

ANSWER = """say: ## Three colours

Here are **three** of them, with `code` and a [link](https://example.com/):

1. red
2. green
3. blue

```python
print("a long line that has to be scrolled, because it does not fit a phone of 360 pixels")
```
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, from npm."""
    script = 'import axe from "npm:axe-core@4.14.1"; console.log(axe.source)'
    command = [find_deno(), "eval", "--no-lock", "--quiet", script]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {[node['target'] for node in rule['nodes']]}"
        for rule in found["violations"]
    ]


def full(visitor: Visitor) -> None:
    """A thread with every kind of element that the page can show."""
    visitor.say(ANSWER)
    expect(visitor.answers.last.get_by_role("listitem")).to_have_count(3)
    expect(visitor.send).to_be_visible()
    visitor.say('call: get_weather {"location": "Berlin"}')
    expect(visitor.answers.last).to_contain_text("it is")
    expect(visitor.send).to_be_visible()
    visitor.say(f'call: delete_note {{"id": "{uuid4()}"}}')
    expect(visitor.page.get_by_role("button", name="Approve")).to_be_visible()
    visitor.thread_id()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_no_fault_in_any_view(
    browser: Browser, page_stack: Stack, axe: str, width: int, scheme: Any
) -> None:
    context = browser.new_context(
        color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 800}
    )
    visitor = Visitor(context.new_page(), page_stack.project)
    visitor.open()
    full(visitor)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    for view in ("Chat", "Runs", "Functions"):
        visitor.page.get_by_role("link", name=view, exact=True).click()
        shown = visitor.page.get_by_role("region", name=view)
        expect(shown).to_contain_text(
            {"Chat": "red", "Runs": "turn", "Functions": "assistant"}[view]
        )
        assert violations(visitor.page, axe) == []
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
        cut = "all => all.filter(part => part.scrollWidth > part.clientWidth).length"
        assert visitor.page.locator("#functions .wide").evaluate_all(cut) == 0
        visitor.page.screenshot(path=SCREENSHOTS / f"{view.lower()}-{width}-{scheme}.png")
    assert visitor.complaints == []
    context.close()


def test_the_keyboard_is_enough(visitor: Visitor) -> None:
    press = visitor.page.keyboard.press
    visitor.page.get_by_label("Message", exact=True).focus()
    visitor.page.keyboard.type(f'call: delete_note {{"id": "{uuid4()}"}}')
    press("Enter")
    approve = visitor.page.get_by_role("button", name="Approve")
    expect(approve).to_be_visible()

    for _ in range(30):
        press("Shift+Tab")
        if approve.evaluate("button => button === document.activeElement"):
            break
    press("Enter")

    expect(visitor.answers.last).to_contain_text('it is {"deleted":false}')


def test_escape_leaves_a_message_as_it_was(visitor: Visitor) -> None:
    visitor.say("say: stays")
    visitor.wait_until_answered("stays")
    edit = visitor.page.get_by_role("button", name="Edit")
    edit.click()
    expect(visitor.page.get_by_label("Your message")).to_be_focused()
    visitor.page.keyboard.press("Escape")

    expect(edit).to_be_focused()
    expect(visitor.log).to_contain_text("say: stays")


def test_send_and_stop_pass_the_focus_to_each_other(visitor: Visitor) -> None:
    visitor.page.get_by_label("Message", exact=True).fill(LONG)
    visitor.send.focus()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("button", name="Stop")).to_be_focused()
    expect(visitor.answers.last).to_contain_text("word2")
    visitor.page.keyboard.press("Enter")

    expect(visitor.send).to_be_focused()
    expect(visitor.log).to_contain_text("Stopped.")


def test_on_a_phone_the_threads_are_behind_a_button(browser: Browser, page_stack: Stack) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640})
    visitor = Visitor(context.new_page(), page_stack.project)
    visitor.open()
    visitor.say("say: on a phone")
    visitor.wait_until_answered("on a phone")
    expect(visitor.threads.first).not_to_be_visible()

    visitor.page.get_by_role("button", name="Threads").click()
    visitor.threads.filter(has_text="on a phone").first.click()

    visitor.wait_until_answered("on a phone")
    expect(visitor.threads.first).not_to_be_visible()
    context.close()
