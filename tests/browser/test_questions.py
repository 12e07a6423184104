"""Questions of tools, and expired approvals, on the page."""

from collections.abc import Callable
from uuid import uuid4

from playwright.sync_api import Page, expect

from tests.browser.visitor import Visitor
from tests.fixtures.stack import ANSWERED_QUESTIONS


def test_the_questions_of_a_tool_are_a_form(visitor: Visitor) -> None:
    visitor.say('call: look_up {"how": "ask"}')
    form = visitor.page.get_by_role("region", name="Question")
    seat = form.get_by_role("group", name="Which seat?")
    # The order of the tool's schema, which Postgres does not keep.
    expect(seat.locator("label span")).to_have_text(["row", "class", "aisle"])
    seat.get_by_label("row").fill("12")
    seat.get_by_label("class").select_option("First")
    seat.get_by_label("aisle").check()
    form.get_by_role("group", name="For whom?").get_by_label("Whose name").fill("Bo")

    form.get_by_role("button", name="Answer", exact=True).click()

    visitor.wait_until_answered(f"it is {ANSWERED_QUESTIONS}")
    expect(form).to_have_count(0)


def test_a_question_can_be_left_unanswered(visitor: Visitor) -> None:
    visitor.say('call: look_up {"how": "ask"}')
    visitor.page.get_by_role("button", name="Do not answer").click()
    visitor.wait_until_answered(
        "it is The user did not answer the tool's question. The call was not finished."
    )


def test_an_expired_approval_can_only_be_dismissed(
    visitor: Visitor, expire: Callable[[Page], None]
) -> None:
    visitor.say(f'call: delete_note {{"id": "{uuid4()}"}}')
    approval = visitor.page.get_by_role("region", name="Approval")
    expect(approval.get_by_role("button", name="Approve")).to_be_visible()

    expire(visitor.page)
    expect(approval).to_contain_text("Expired")
    expect(approval.get_by_role("button", name="Approve")).to_have_count(0)
    approval.get_by_role("button", name="Dismiss").click()

    expect(approval).to_have_count(0)
    visitor.say("say: hello again")
    visitor.wait_until_answered("hello again")
