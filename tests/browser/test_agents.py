"""Choosing an agent on the page."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Route, expect

from functions.registry import listed_functions
from tests.browser.visitor import Visitor

FIRST = listed_functions().agents[0]
GATEWAY = "/functions/v1/auth-gateway"


@pytest.fixture
def posted(visitor: Visitor) -> Iterator[list[str]]:
    """The page with two agents, `helper` beside the first one, which answers for both; and what it posts, by path."""
    paths: list[str] = []

    def answer(route: Route) -> None:
        paths.append(route.request.url.partition(GATEWAY)[2])
        route.continue_(url=route.request.url.replace("/helper/", f"/{FIRST}/"))

    names = {"agents": [FIRST, "helper"]}
    visitor.page.route("**/local/agents", lambda route: route.fulfill(json=names))
    for name in names["agents"]:
        visitor.page.route(f"**{GATEWAY}/{name}/**", answer)
    visitor.page.reload()
    yield paths
    visitor.page.unroute_all(behavior="ignoreErrors")


def test_the_chosen_agent_answers_also_after_a_reload(visitor: Visitor, posted: list[str]) -> None:
    choice = visitor.page.get_by_role("combobox", name="Agent", exact=True)
    expect(choice).to_have_value(FIRST)
    visitor.say("say: from the first")
    visitor.wait_until_answered("from the first")
    assert posted == [f"/{FIRST}/runs"]

    choice.select_option("helper")
    visitor.say("say: from the helper")
    visitor.wait_until_answered("from the helper")
    assert posted[1:] == ["/helper/runs"]

    visitor.page.reload()
    expect(choice).to_have_value("helper")
    visitor.wait_until_answered("from the helper")
    visitor.say("say: again")
    visitor.wait_until_answered("again")
    assert posted[2:] == ["/helper/connect", "/helper/runs"]


def test_an_approval_is_sent_to_the_agent_that_needs_it(
    visitor: Visitor, posted: list[str]
) -> None:
    visitor.say(f'call: delete_note {{"id": "{uuid4()}"}}')
    approve = visitor.page.get_by_role("button", name="Approve")
    expect(approve).to_be_visible()
    visitor.page.get_by_role("combobox", name="Agent", exact=True).select_option("helper")
    visitor.page.reload()
    approve.click()

    expect(visitor.answers.last).to_contain_text('it is {"deleted":false}')
    assert posted == [f"/{FIRST}/runs", "/helper/connect", f"/{FIRST}/runs"]


def test_the_choice_fits_a_phone(visitor: Visitor, posted: list[str]) -> None:
    visitor.page.set_viewport_size({"width": 360, "height": 800})
    expect(visitor.page.get_by_role("combobox", name="Agent", exact=True)).to_be_visible()
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert posted == []


def test_one_agent_is_no_choice(visitor: Visitor) -> None:
    visitor.page.route("**/local/agents", lambda route: route.fulfill(json={"agents": [FIRST]}))
    visitor.page.reload()
    expect(visitor.send).to_be_visible()
    expect(visitor.page.get_by_role("combobox", name="Agent", exact=True)).to_be_hidden()
    visitor.page.unroute_all(behavior="ignoreErrors")
