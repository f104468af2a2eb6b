"""The page as its user sees it: a real page process, a real browser, every other host silent."""

import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.browser import OpenTab, StartPage
from support.chatservers import Fake, FakeDanlu, FakeStock, Script
from support.processes import SOON, wait_for

from danlu.adapters.errors import NoWorker

pytestmark = pytest.mark.slow

LOADED = 20.0  # seconds; it is about one, on an idle machine


@pytest.mark.parametrize("kind", [FakeDanlu, FakeStock])
def test_a_question_is_answered_word_by_word_without_any_other_network(
    kind: type[Fake], start_page: StartPage, open_tab: OpenTab
) -> None:
    with kind() as fake:
        fake.script = Script("春眠", "不觉晓", "，处处", "闻啼鸟")
        fake.script.pause_after = 2
        url = start_page(fake.url)
        began = time.monotonic()
        tab = open_tab(url)
        assert time.monotonic() - began < LOADED
        expect(tab.page.get_by_label("Model 模型")).to_have_value("fake-model")
        expect(tab.page.locator("div.block#danlu-notice")).to_be_hidden()
        tab.ask("背一首诗")
        tab.expect_answer("春眠不觉晓▌")
        expect(tab.page.locator("#danlu-stop")).to_be_visible()
        fake.script.go_on.set()
        tab.expect_answer("春眠不觉晓，处处闻啼鸟")
        expect(tab.page.get_by_test_id("user")).to_have_text("背一首诗")
        expect(tab.page.locator("#danlu-status p")).to_contain_text("5 + 4 tokens")
        tab.expect_idle()
        expect(tab.page.locator("#danlu-box textarea")).to_have_value("")
    assert tab.faults == []
    assert [url for url in tab.sent if "iframe-resizer" not in url] == []


@pytest.mark.parametrize("kind", [FakeDanlu, FakeStock])
def test_stop_ends_the_worker_and_keeps_what_was_said(
    kind: type[Fake], start_page: StartPage, open_tab: OpenTab
) -> None:
    with kind() as fake:
        fake.script = Script("more ")
        fake.script.endless = True
        tab = open_tab(start_page(fake.url))
        tab.ask("count")
        expect(tab.page.get_by_test_id("bot")).to_contain_text("more more")
        assert not fake.script.left.is_set()
        tab.click("stop")
        wait_for(fake.script.left.is_set, "the worker saw the stop", SOON)
        tab.expect_idle()
        expect(tab.page.locator("#danlu-status p")).to_contain_text("已停止")
        expect(tab.page.get_by_test_id("bot")).to_contain_text("more more")
        fake.script = Script("fine")
        tab.ask("and now")
        tab.expect_answer("fine")


def test_a_closed_tab_ends_the_worker_even_while_it_is_silent(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    danlu.script.pause_after = 1
    tab = open_tab(danlu_page)
    tab.ask("think")
    tab.expect_answer("Hello▌")
    tab.page.close()
    wait_for(danlu.script.left.is_set, "the worker saw its reader leave", SOON)


def test_regenerate_asks_again_and_clear_forgets(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    tab = open_tab(danlu_page)
    expect(tab.page.locator("#danlu-again")).to_be_disabled()
    danlu.script = Script("one")
    tab.ask("hi")
    tab.expect_answer("one")
    tab.expect_idle()
    danlu.script = Script("two")
    tab.click("again")
    tab.expect_answer("two")
    expect(tab.page.get_by_test_id("bot")).to_have_count(1)
    tab.expect_idle()
    tab.click("clear")
    expect(tab.page.get_by_test_id("bot")).to_have_count(0)
    tab.ask("anew")
    tab.expect_answer("two")
    sent = danlu.bodies("/v1/chat/completions")[-1]["messages"]
    assert sent == [{"role": "user", "content": "anew"}]


def test_parameters_and_the_system_prompt_are_sent(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    tab = open_tab(danlu_page)
    tab.page.click("text=Parameters 参数")
    tab.page.fill("#danlu-system textarea", "be kind")
    numbers = tab.page.locator("#danlu-parameters").get_by_test_id("number-input")
    numbers.first.fill("1.5")
    numbers.last.fill("64")
    tab.ask("hi")
    tab.expect_answer("Hello, world.")
    [body] = danlu.bodies("/v1/chat/completions")
    assert body["messages"][0] == {"role": "system", "content": "be kind"}
    assert (body["temperature"], body["max_tokens"]) == (1.5, 64)


def test_a_model_that_comes_up_appears_by_itself_and_the_notice_goes(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    danlu.models = []
    tab = open_tab(danlu_page)
    notice = tab.page.locator("div.block#danlu-notice")
    expect(notice).to_contain_text("python -m danlu.worker")
    expect(notice).to_contain_text("还没有模型在服务")
    danlu.models = ["late-model"]
    expect(tab.page.get_by_label("Model 模型")).to_have_value("late-model")
    expect(notice).to_be_hidden()
    tab.ask("hi")
    tab.expect_answer("Hello, world.")
    danlu.models = ["other-model"]
    expect(notice).to_contain_text("late-model is not served now")


def test_a_controller_that_is_not_there_is_missed_until_it_comes(
    start_page: StartPage, open_tab: OpenTab
) -> None:
    with FakeDanlu() as fake:
        late = FakeDanlu()
        fake.address = late.url  # an API plane that does not answer yet
        tab = open_tab(start_page(fake.url))
        notice = tab.page.locator("div.block#danlu-notice")
        expect(notice).to_contain_text("the model server cannot be reached")
        expect(notice).to_contain_text("python -m danlu.controller")
        expect(notice).not_to_contain_text(late.url)  # the page's log has it
        with late:
            expect(tab.page.get_by_label("Model 模型")).to_have_value("fake-model")
            expect(notice).to_be_hidden()


def test_an_address_with_a_model_selects_it(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    danlu.models = ["a", "b", "c"]
    tab = open_tab(f"{danlu_page}/?model=b")
    expect(tab.page.get_by_label("Model 模型")).to_have_value("b")
    tab.ask("hi")
    tab.expect_answer("Hello, world.")
    assert danlu.bodies("/v1/chat/completions")[0]["model"] == "b"


# The right edges, in pixels, of what would stick out if anything did.
EDGES = """() => [...document.querySelectorAll(
  '[data-testid=bot], #danlu-send, #danlu-parameters .form > .block, #danlu-parameters input'
)].map(part => part.getBoundingClientRect().right)"""


def test_on_a_phone_nothing_sticks_out_of_the_page(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    line = "x" * 300
    danlu.script = Script(f"```\n{line}\n```")
    tab = open_tab(danlu_page)
    tab.page.set_viewport_size({"width": 390, "height": 844})
    tab.ask("hi")
    expect(tab.page.locator("#danlu-chat pre")).to_contain_text(line)
    tab.expect_idle()
    tab.page.click("text=Parameters 参数")
    tab.page.wait_for_selector("#danlu-parameters input[type=range] >> nth=3")
    edges = tab.page.evaluate(EDGES)
    assert len(edges) > 10
    assert max(edges) <= 390
    widths = "parts => parts.map(part => part.scrollWidth - part.clientWidth)"
    blocks = tab.page.locator("#danlu-parameters .form > .block")
    assert max(blocks.evaluate_all(widths)) <= 0
    assert tab.page.locator("#danlu-chat").evaluate("chat => chat.offsetHeight") > 844 / 3


def test_an_error_is_told_with_its_cause_and_its_number(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    danlu.failure = (503, NoWorker("the last worker has just left").envelope())
    tab = open_tab(danlu_page)
    tab.ask("hi")
    tab.expect_answer("⚠ the last worker has just left (error 50005)")
    tab.expect_idle()
    danlu.failure = None
    tab.click("again")
    tab.expect_answer("Hello, world.")


def test_a_question_that_is_too_long_stays_in_its_box(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    tab = open_tab(danlu_page)
    tab.ask("x" * 201)
    expect(tab.page.locator("#danlu-status p")).to_contain_text("201 characters")
    expect(tab.page.locator("#danlu-box textarea")).to_have_value("x" * 201)
    assert danlu.bodies("/v1/chat/completions") == []


def test_two_tabs_are_two_conversations(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    url = danlu_page
    first, second = open_tab(url), open_tab(url)
    first.ask("mine")
    first.expect_answer("Hello, world.")
    second.ask("yours")
    second.expect_answer("Hello, world.")
    sent = danlu.bodies("/v1/chat/completions")[1]["messages"]
    assert [message["content"] for message in sent] == ["yours"]


def test_what_a_model_says_is_shown_and_never_run(
    danlu: FakeDanlu, danlu_page: str, open_tab: OpenTab
) -> None:
    said = "<think>hm</think> <img src=x onerror=\"document.title='run'\">"
    danlu.script = Script(said, " ![](http://elsewhere.example/a.png)", "\n\n\\(x^2\\)")
    tab = open_tab(danlu_page)
    tab.ask("hi")
    expect(tab.page.get_by_test_id("bot")).to_contain_text(said)
    expect(tab.page.locator("[data-testid=bot] .katex")).to_have_count(1)
    tab.expect_idle()
    assert tab.page.title() == "danlu 丹炉"
    assert [url for url in tab.sent if "elsewhere" in url] == []


def test_a_page_with_users_lets_them_in_and_answers_them(
    start_page: StartPage, open_tab: OpenTab, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_text("ada:one")
    with FakeDanlu() as fake:
        url = start_page(fake.url, "--gradio-auth-path", str(users), "--show-terms-of-use")
        tab = open_tab(url, wait=False)
        tab.page.get_by_label("username").fill("ada")
        tab.page.get_by_label("password").fill("one")
        tab.page.get_by_role("button", name="Login").click()
        tab.page.wait_for_selector("#danlu-box textarea")
        expect(tab.page.locator("#danlu-terms").first).to_contain_text("使用条款")
        tab.ask("hi")
        tab.expect_answer("Hello, world.")


def test_the_page_works_under_a_path_of_a_reverse_proxy(
    start_page: StartPage, open_tab: OpenTab
) -> None:
    with FakeDanlu() as fake:
        tab = open_tab(f"{start_page(fake.url, '--gradio-root-path', '/danlu')}/danlu/")
        tab.ask("hi")
        tab.expect_answer("Hello, world.")
        fake.models = ["other"]
        expect(tab.page.locator("div.block#danlu-notice")).to_contain_text("not served now")


def test_votes_are_logged_where_a_log_is_kept(
    start_page: StartPage, open_tab: OpenTab, tmp_path: Path
) -> None:
    with FakeDanlu() as fake:
        tab = open_tab(start_page(fake.url, LOGDIR=str(tmp_path)))
        tab.ask("hi")
        tab.expect_answer("Hello, world.")
        tab.click("up")
        expect(tab.page.locator("#danlu-up")).to_be_disabled()
        [file] = tmp_path.glob("*-conv.json")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["chat", "upvote"]
    assert {line["ip"] for line in lines} == {"127.0.0.1"}
