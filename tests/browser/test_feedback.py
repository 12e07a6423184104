"""What the page shows before any message, while the user waits, and after a refusal."""

from uuid import uuid4

import pytest
from playwright.sync_api import Route, expect

from tests.browser.visitor import Visitor


def test_an_empty_thread_explains_the_page(visitor: Visitor) -> None:
    expect(visitor.log).to_contain_text("Ask something.")
    visitor.say("say: hello")
    visitor.wait_until_answered("hello")
    expect(visitor.log).not_to_contain_text("Ask something.")


@pytest.mark.parametrize(
    ("stand_in", "said"),
    [
        ("echo", "To call a tool, begin with its name"),
        ("smollm2", "a toy that knows little and cannot call tools"),
    ],
)
def test_the_page_says_which_stand_in_answers(visitor: Visitor, stand_in: str, said: str) -> None:
    expect(visitor.log).to_contain_text("It may use tools")
    visitor.page.route("**/local/model", lambda route: route.fulfill(json={"standIn": stand_in}))
    visitor.page.reload()
    expect(visitor.log).to_contain_text(said)


def test_the_page_shows_progress_until_the_first_text(visitor: Visitor) -> None:
    routes: list[Route] = []
    visitor.page.route("**/assistant/runs", lambda route: routes.append(route))
    with visitor.page.expect_request("**/assistant/runs"):
        visitor.say("say: hello")
    expect(visitor.log.get_by_text("Working")).to_be_visible()

    while not routes:
        # The browser has sent the request; Playwright reports its route a moment later.
        visitor.page.wait_for_timeout(20)
    routes[0].continue_()
    visitor.wait_until_answered("hello")
    expect(visitor.log.get_by_text("Working")).to_have_count(0)


def test_a_refused_message_and_the_interrupt_stay_on_the_page(visitor: Visitor) -> None:
    visitor.say(f'call: delete_note {{"id": "{uuid4()}"}}')
    approve = visitor.page.get_by_role("button", name="Approve")
    expect(approve).to_be_visible()
    visitor.say("say: never mind")

    refused = visitor.log.get_by_role("alert").last
    expect(refused).to_contain_text("Answer the question above first. (interrupt_open)")
    expect(refused).to_be_in_viewport()
    expect(visitor.page.get_by_label("Message", exact=True)).to_have_value("say: never mind")
    expect(visitor.log).not_to_contain_text("never mind")
    approve.click()
    expect(visitor.answers.last).to_contain_text('it is {"deleted":false}')
    visitor.forgive("409")


def test_a_refused_answer_can_be_sent_again(visitor: Visitor) -> None:
    visitor.say(f'call: delete_note {{"id": "{uuid4()}"}}')
    approve = visitor.page.get_by_role("button", name="Approve")
    expect(approve).to_be_visible()
    spent = {"code": "budget_exceeded", "detail": "Spent."}
    later = {"retry-after": "3600"}
    visitor.page.route(
        "**/assistant/runs",
        lambda route: route.fulfill(status=429, json=spent, headers=later),
        times=1,
    )
    approve.click()
    expect(visitor.log.get_by_role("alert").last).to_contain_text("tokens of today are spent")

    approve.click()
    expect(visitor.answers.last).to_contain_text('it is {"deleted":false}')
    visitor.forgive("429")
