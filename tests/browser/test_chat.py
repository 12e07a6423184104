"""Chatting on the page: a user signs in, sends a message, sees the answer grow, and answers interrupts."""

import re
from uuid import uuid4

from playwright.sync_api import expect

from tests.browser.visitor import ALL_WORDS, LONG, Visitor
from tests.fixtures.stack import Stack


def test_an_answer_is_shown_while_it_is_written_and_then_whole(visitor: Visitor) -> None:
    visitor.say(LONG)

    expect(visitor.answers.last).to_contain_text("word2")
    expect(visitor.answers.last).not_to_contain_text("word23")
    expect(visitor.log).to_have_attribute("aria-busy", "true")
    visitor.wait_until_answered(ALL_WORDS)
    expect(visitor.log).to_have_attribute("aria-busy", "false")


def test_a_screen_reader_gets_each_sentence_once(visitor: Visitor) -> None:
    visitor.say("say: One sentence. Ano|ther| one. |And the last")
    visitor.wait_until_answered("One sentence. Another one. And the last")

    announced = visitor.page.locator("#said p")
    expect(announced).to_have_text(["One sentence.", "Another one.", "And the last"])


def test_markdown_is_rendered(visitor: Visitor) -> None:
    visitor.say("say: # Title\n\n- **a**\n- [b](https://b.example/)\n\n```\nx < 1\n```\n")

    answer = visitor.answers.last
    expect(answer.get_by_role("heading", name="Title")).to_be_visible()
    expect(answer.get_by_role("listitem")).to_have_count(2)
    link = answer.get_by_role("link", name="b")
    expect(link).to_have_attribute("href", "https://b.example/")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    expect(answer.locator("pre code")).to_have_text("x < 1")


def test_hostile_markdown_runs_and_loads_nothing(visitor: Visitor) -> None:
    requested: list[str] = []
    visitor.page.on("request", lambda request: requested.append(request.url))
    attacks = [
        "<script>window.hacked = 1</script>",
        "<img src=x onerror='window.hacked = 1'>",
        "<svg onload=window.hacked=1>",
        "<iframe srcdoc='<script>parent.hacked=1</script>'>",
        "[a](javascript:window.hacked=1)",
        "![b](https://evil.example/pixel.png)",
        "[c](data:text/html,<script>alert(1)</script>)",
        '<a href="javascript:window.hacked=1">d</a>',
        '[e](https://f.example/"onclick=window.hacked=1)',
        "```html\n</code></pre><script>window.hacked=1</script>\n```",
    ]
    visitor.say("say: " + "\n\n".join(attacks))
    expect(visitor.answers.last).to_contain_text("<script>window.hacked = 1</script>")
    expect(visitor.send).to_be_visible()

    for link in visitor.answers.last.get_by_role("link").all():
        assert (link.get_attribute("href") or "").startswith("https://")
    assert (
        visitor.answers.last.locator("img, script, iframe, svg, [onclick], [onerror]").count() == 0
    )
    assert visitor.page.evaluate("window.hacked") is None
    assert not [url for url in requested if not url.startswith(visitor.project)]


def test_a_tool_call_is_a_card_with_its_arguments_and_its_result(visitor: Visitor) -> None:
    visitor.say('call: get_weather {"location": "Berlin"}')

    card = visitor.log.locator(".card.tool")
    expect(card).to_contain_text("done")
    card.get_by_text("get_weather").click()
    expect(card.get_by_label("Arguments")).to_contain_text('"location": "Berlin"')
    expect(card.get_by_label("Result")).to_contain_text('"source": "mock"')


def test_a_call_waits_for_approval_even_after_a_reload(visitor: Visitor) -> None:
    visitor.say(f'call: delete_note {{"id": "{uuid4()}"}}')
    expect(visitor.page.get_by_role("region", name="Approval")).to_be_visible()
    expect(visitor.log.locator(".card.tool")).to_contain_text("waits for you")

    visitor.page.reload()
    visitor.page.get_by_role("button", name="Approve").click()

    expect(visitor.answers.last).to_contain_text('it is {"deleted":false}')
    expect(visitor.page.get_by_role("region", name="Approval")).to_have_count(0)


def test_a_call_is_made_with_the_arguments_that_the_user_edited(visitor: Visitor) -> None:
    visitor.say('call: calculator {"expression": "1 + 1"}')
    question = visitor.page.get_by_role("region", name="Approval")
    question.get_by_label("Arguments").fill("{")
    question.get_by_role("button", name="Approve").click()
    expect(question.get_by_role("alert")).to_have_text("The arguments are not JSON.")

    question.get_by_label("Arguments").fill('{"expression": "20 + 3"}')
    question.get_by_role("button", name="Approve").click()

    expect(visitor.answers.last).to_contain_text("23")
    expect(question).to_have_count(0)


def test_a_refused_call_is_not_made_and_the_model_gets_the_reason(visitor: Visitor) -> None:
    visitor.say(f'call: delete_note {{"id": "{uuid4()}"}}')
    visitor.page.get_by_label("Why not").fill("I still need it.")
    visitor.page.get_by_role("button", name="Refuse").click()

    expect(visitor.answers.last).to_contain_text("I still need it.")
    assert "deleted" not in visitor.answers.last.inner_text()


def test_stop_ends_the_run_and_keeps_its_text(visitor: Visitor) -> None:
    visitor.say(LONG)
    expect(visitor.answers.last).to_contain_text("word2")
    visitor.page.get_by_role("button", name="Stop").click()

    expect(visitor.log).to_contain_text("Stopped.")
    expect(visitor.answers.last).to_contain_text("word2")
    assert "word23" not in visitor.answers.last.inner_text()


def test_an_edited_message_replaces_all_items_after_it(visitor: Visitor) -> None:
    visitor.say("say: first")
    visitor.wait_until_answered("first")
    visitor.say("say: second")
    visitor.wait_until_answered("second")

    visitor.page.get_by_role("button", name="Edit").first.click()
    visitor.page.get_by_label("Your message").fill("say: other")
    visitor.page.get_by_role("button", name="Send again").click()

    visitor.wait_until_answered("other")
    expect(visitor.answers).to_have_count(1)
    expect(visitor.threads.first).to_have_text("say: other")
    visitor.page.reload()
    visitor.wait_until_answered("other")
    expect(visitor.answers).to_have_count(1)


def test_an_answer_is_regenerated(visitor: Visitor, page_stack: Stack) -> None:
    visitor.say("say: again")
    visitor.wait_until_answered("again")
    requests_before = len(page_stack.model.requests)

    visitor.page.get_by_role("button", name="Regenerate").click()

    expect(visitor.page.get_by_role("button", name="Regenerate")).to_be_visible()
    visitor.wait_until_answered("again")
    expect(visitor.answers).to_have_count(1)
    assert len(page_stack.model.requests) == requests_before + 1


def test_a_reload_in_the_middle_shows_the_same_text_and_the_rest(visitor: Visitor) -> None:
    visitor.say(LONG)
    expect(visitor.answers.last).to_contain_text("word5")
    visitor.page.reload()

    expect(visitor.answers.last).to_contain_text("word5")
    expect(visitor.page.get_by_role("button", name="Stop")).to_be_visible()
    visitor.wait_until_answered(ALL_WORDS)


def test_two_users_do_not_see_each_others_threads(visitor: Visitor) -> None:
    secret = f"secret{uuid4().hex[:8]}"
    visitor.say(f"say: {secret}")
    visitor.wait_until_answered(secret)
    thread = visitor.thread_id()
    expect(visitor.threads.filter(has_text=secret)).to_have_count(1)

    visitor.page.get_by_label("Message", exact=True).fill("a draft")
    visitor.sign_in("bob")
    expect(visitor.page.get_by_label("Message", exact=True)).to_have_value("")
    expect(visitor.page.locator("#said")).to_be_empty()
    expect(visitor.log).not_to_contain_text(secret)
    expect(visitor.threads.filter(has_text=secret)).to_have_count(0)
    visitor.open(f"/#/chat/{thread}")
    visitor.page.reload()
    expect(visitor.page.get_by_label("Signed in as")).to_have_value("bob")
    expect(visitor.log).not_to_contain_text(secret)
    visitor.forgive("404")

    visitor.sign_in("alice")
    visitor.threads.filter(has_text=secret).click()
    visitor.wait_until_answered(secret)


def test_a_thread_is_found_by_the_text_in_it(visitor: Visitor) -> None:
    visitor.say("say: The zymurgist brews.")
    visitor.wait_until_answered("The zymurgist brews.")
    visitor.page.get_by_role("button", name="New thread").click()
    expect(visitor.answers).to_have_count(0)

    visitor.page.get_by_label("Search in your threads").fill("zymurgist")

    expect(visitor.threads.first.locator("mark").first).to_have_text("zymurgist")
    visitor.threads.first.click()
    visitor.wait_until_answered("The zymurgist brews.")


def test_the_example_app_shows_an_answer_and_continues_after_a_reload(
    page_stack: Stack, visitor: Visitor
) -> None:
    visitor.page.evaluate(
        "backend => localStorage.setItem('backend', JSON.stringify(backend))",
        {"url": page_stack.gateway, "token": visitor.token("alice")},
    )
    visitor.open("/client/examples/browser.html")
    visitor.page.get_by_label("Question").fill(LONG)
    visitor.page.get_by_role("button", name="Ask").click()
    expect(visitor.page.locator("pre")).to_contain_text("assistant: word0 word1")

    visitor.page.reload()

    expect(visitor.page.locator("pre")).to_contain_text(f"assistant: {ALL_WORDS}")
    visitor.forgive("404")
