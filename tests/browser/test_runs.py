"""The view of runs, and a run whose process is killed."""

from playwright.sync_api import expect

from functions.registry import listed_functions
from tests.browser.visitor import ALL_WORDS, LONG, Visitor


def test_a_run_outlives_its_process(visitor: Visitor) -> None:
    visitor.say(LONG)
    expect(visitor.answers.last).to_contain_text("word3")
    thread = visitor.thread_id()
    visitor.page.get_by_role("link", name="Functions").click()
    row = visitor.page.get_by_role("row").filter(has_text="Kill assistant")
    expect(visitor.page.locator("#functions")).to_contain_text("Runs in progress: 1.")
    starts = int(row.get_by_role("cell").nth(1).inner_text())
    row.get_by_role("button", name="Kill assistant").click()
    expect(row.get_by_role("cell").nth(1)).to_have_text(str(starts + 1))

    visitor.page.get_by_role("link", name="Chat").click()
    expect(visitor.page.locator("#connection")).to_have_text("Reconnecting…")
    expect(visitor.page.locator("#connection")).to_have_text("", timeout=30_000)
    expect(visitor.answers.last).to_have_text(ALL_WORDS, timeout=30_000)
    expect(visitor.send).to_be_visible()

    visitor.page.get_by_role("link", name="Runs").click()
    assert thread in visitor.page.url
    expect(visitor.page.get_by_role("list", name="Timeline")).to_contain_text(
        "attempt 2 takes over"
    )
    timeline = visitor.page.get_by_role("list", name="Timeline").get_by_role("listitem")
    expect(timeline.nth(0)).to_contain_text("lost")
    expect(timeline.last).to_contain_text("completed")
    expect(visitor.page.locator("#course")).to_contain_text("Turns1")
    # The browser itself logs errors for broken answers, and for those of a gateway without an agent.
    visitor.forgive("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_FAILED", "502", "503")


def test_each_function_shows_the_runs_it_holds(visitor: Visitor) -> None:
    visitor.say(LONG)
    expect(visitor.answers.last).to_contain_text("word3")
    thread = visitor.thread_id()
    visitor.page.get_by_role("link", name="Functions").click()

    live = visitor.page.locator("#functions td.live")
    names = listed_functions().names
    none = ["0"] * len(names)
    expect(live).to_have_text(["1" if name == "assistant" else "0" for name in names])
    expect(live).to_have_text(none)
    in_background = {"threadId": thread, "runId": f"background-{thread}"}
    message = {"id": "question", "role": "user", "content": LONG}
    props = {"background": True}
    visitor.post(
        "/assistant/runs", {**in_background, "messages": [message], "forwardedProps": props}
    )
    expect(live).to_have_text(["1" if name == "runner" else "0" for name in names])
    expect(live).to_have_text(none)


def test_the_focus_stays_on_a_run_while_the_list_is_refreshed(visitor: Visitor) -> None:
    visitor.say("say: one")
    visitor.wait_until_answered("one")
    visitor.page.get_by_role("link", name="Runs").click()
    run = visitor.page.locator("#run-list a")
    run.focus()
    for _ in range(2):
        with visitor.page.expect_response(lambda answer: "/log?" in answer.url):
            pass
    expect(run).to_be_focused()


def test_the_log_of_a_run_is_a_timeline_and_raw(visitor: Visitor) -> None:
    visitor.say('call: get_weather {"location": "Berlin"}')
    expect(visitor.answers.last).to_contain_text("it is")
    expect(visitor.send).to_be_visible()
    visitor.thread_id()
    visitor.page.get_by_role("link", name="Runs").click()

    timeline = visitor.page.get_by_role("list", name="Timeline")
    expect(timeline).to_contain_text("turn 1")
    expect(timeline).to_contain_text("get_weather")
    expect(timeline).to_contain_text("turn 2")
    expect(timeline).to_contain_text("completed")
    facts = visitor.page.locator(".facts")
    expect(facts).to_contain_text("Turns2")
    expect(facts).to_contain_text("14 in, 6 out")
    visitor.page.get_by_text("Events", exact=True).click()
    expect(visitor.page.get_by_role("cell", name="run.completed")).to_be_visible()


def test_the_runs_of_a_thread_are_another_view_of_the_same_address(visitor: Visitor) -> None:
    visitor.say("say: one")
    visitor.wait_until_answered("one")
    visitor.thread_id()
    visitor.page.get_by_role("link", name="Runs").click()
    visitor.page.reload()

    expect(visitor.page.get_by_role("list", name="Runs of this thread")).to_contain_text(
        "completed"
    )
    visitor.page.get_by_role("link", name="Chat").click()
    visitor.wait_until_answered("one")
