"""The page of the local stack in a real browser: Debian's Chromium, driven by Playwright."""

import asyncio
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from local.stack import start_stack
from tests.browser.visitor import Visitor
from tests.fixtures.sql import execute
from tests.fixtures.stack import Stack, outside, plan_of, stack_folder
from tests.gateway.door import unavailable

_QUICK = {"LEASE_SECONDS": "1", "LEASE_RENEW_SECONDS": "0.2", "TAKEOVER_GRACE_SECONDS": "0.2"}


@pytest.fixture(scope="package")
def app_socket() -> Iterator[socket.socket]:
    """Where a test serves an app. The gateway accepts requests of its origin."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture(scope="package")
def page_stack(app_socket: socket.socket) -> Iterator[Stack]:
    """A bundle of its own: these tests kill its processes."""
    with outside() as (model, odd), stack_folder() as folder:
        servers = {
            "tools": {"approval": {"calculator": "edit"}},
            "odd": {"url": odd, "approval": "never"},
        }
        settings = {
            **_QUICK,
            "ALLOWED_ORIGINS": f"http://127.0.0.1:{app_socket.getsockname()[1]}",
            "MOCK_WEATHER_TOOL_API_KEY": "test",
            "MCP_SERVERS": json.dumps(servers),
        }
        plan = plan_of(folder, model, settings)
        with start_stack(plan) as running:
            yield Stack(running, plan.keys, model)


@pytest.fixture(scope="package")
def browser(page_stack: Stack) -> Iterator[Browser]:
    """Started last and ended first: while Playwright runs, no other event loop can run in this thread."""
    del page_stack
    chromium = shutil.which("chromium") or unavailable("chromium is not installed")
    # Chromium has no sandbox for root; these pages are local.
    options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        started_browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield started_browser
        started_browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def visitor(context: BrowserContext, page_stack: Stack) -> Iterator[Visitor]:
    """A user on the page, signed in as alice. At the end the console must be empty."""
    page: Page = context.new_page()
    visitor = Visitor(page, page_stack.project)
    visitor.open()
    yield visitor
    assert visitor.complaints == []


@pytest.fixture
def expire(page_stack: Stack) -> Callable[[Page], None]:
    """Expires all open interrupts, and sets the browser's clock after the times that they name, and loads the page."""

    def expire(page: Page) -> None:
        change = (
            "update agent.interrupt set expires_at = now() - interval '1 s' where status = 'open'"
        )
        # Playwright's own loop runs in this thread.
        with ThreadPoolExecutor() as pool:
            pool.submit(asyncio.run, execute(page_stack.running.owner_url, change)).result()
        page.clock.set_fixed_time(datetime.now(UTC) + timedelta(hours=169))
        page.reload()

    return expire
