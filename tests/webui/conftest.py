"""A real browser and real pages for the tests that need them."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Route, expect, sync_playwright
from support.browser import OpenTab, StartPage, Tab
from support.chatservers import FakeDanlu
from support.processes import SOON, Program, free_port

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def start_page() -> Iterator[StartPage]:
    """Starts `python -m danlu.webui` in front of a controller; its address."""
    with ExitStack() as stack:
        yield lambda controller, *flags, **env: _started(stack, controller, flags, env)


@pytest.fixture(scope="module")
def shared_page() -> Iterator[tuple[FakeDanlu, str]]:
    """One page for all tests that need no other flags than the usual."""
    with ExitStack() as stack:
        fake = stack.enter_context(FakeDanlu())
        yield fake, _started(stack, fake.url, ("--input-char-len-limit", "200"), {})


@pytest.fixture
def danlu(shared_page: tuple[FakeDanlu, str]) -> FakeDanlu:
    """The controller behind the shared page, as new."""
    shared_page[0].reset()
    return shared_page[0]


@pytest.fixture
def danlu_page(shared_page: tuple[FakeDanlu, str], danlu: FakeDanlu) -> str:
    """The address of the shared page."""
    return shared_page[1]


def _started(
    stack: ExitStack, controller: str, flags: Sequence[str], env: Mapping[str, str]
) -> str:
    port = free_port()
    given = ("--host", "127.0.0.1", "--port", str(port), "--controller-url", controller)
    program = Program.ours("danlu.webui", *given, "--refresh-interval", "0.2", *flags, env=env)
    stack.enter_context(program).wait_until_answers(f"http://127.0.0.1:{port}/health")
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer than a module: Playwright keeps an event loop running in this thread, and
    async tests need that place for theirs."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    expect.set_options(timeout=1000 * SOON)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[OpenTab]:
    """Opens a page in a fresh profile, with every other host held without an answer."""
    with ExitStack() as stack:

        def open_it(url: str, *, wait: bool = True) -> Tab:
            context = browser.new_context(viewport={"width": 1200, "height": 900})
            stack.callback(context.close)
            page = context.new_page()
            tab = Tab(page, [], [])
            page.on("pageerror", lambda error: tab.faults.append(str(error)))

            def hold(route: Route) -> None:
                tab.sent.append(route.request.url)  # and never answers

            context.route(lambda address: "//127.0.0.1" not in address, hold)
            page.goto(url, wait_until="commit")
            if wait:
                page.wait_for_selector("#danlu-box textarea")
            return tab

        yield open_it
