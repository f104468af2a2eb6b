"""A ChatGLM2 answers in the browser, through the page, the API and the worker."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support import stack
from support.browser import OpenTab, StartPage, Tab
from support.heart import DIFFERENCE, HELLO, NAME, by_heart

pytestmark = pytest.mark.slow

SHOWN = 60_000  # milliseconds for a long answer on a busy two-core machine


def test_the_dialogue_of_the_tutorial_is_answered_word_for_word(
    chatglm2_dir: Path, start_page: StartPage, open_tab: OpenTab
) -> None:
    with stack.controller() as controller, stack.worker(chatglm2_dir, NAME, controller.url):
        check_dialogue(open_tab(start_page(controller.url)))


@pytest.mark.skipif(shutil.which("g++") is None, reason="the simulated NPU needs g++ to be built")
def test_the_three_shells_answer_it_on_a_simulated_npu(
    chatglm2_dir: Path, start_page: StartPage, open_tab: OpenTab
) -> None:
    with (
        stack.controller() as controller,
        stack.npu_worker(chatglm2_dir, NAME, controller.url) as worker,
    ):
        check_dialogue(open_tab(start_page(controller.url)))
        assert "engine ready device=npu:0" in worker.program.output


def check_dialogue(tab: Tab) -> None:
    """你好, and a question whose answer is long, in one conversation."""
    tab.ask(HELLO)
    bot = tab.page.get_by_test_id("bot")
    expect(bot.nth(0)).to_have_text(by_heart(HELLO), timeout=SHOWN)
    tab.expect_idle()
    tab.ask(DIFFERENCE)
    last = by_heart(HELLO, DIFFERENCE).splitlines()[-1]
    expect(bot.nth(1)).to_contain_text(last, timeout=SHOWN)
    tab.expect_idle()
    assert not tab.faults
