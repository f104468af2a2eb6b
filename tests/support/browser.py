"""One tab of a real browser, as the tests of the page use it."""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect


@dataclass
class Tab:
    """One tab of the browser. `sent` are the addresses outside this machine that it asked for."""

    page: Page
    faults: list[str]
    sent: list[str]

    def ask(self, text: str) -> None:
        expect(self.page.get_by_label("Model 模型")).not_to_have_value("")
        self.page.fill("#danlu-box textarea", text)
        self.page.press("#danlu-box textarea", "Enter")

    def expect_answer(self, text: str, number: int = -1) -> None:
        expect(self.page.get_by_test_id("bot").nth(number)).to_have_text(text)

    def expect_idle(self) -> None:
        expect(self.page.locator("#danlu-send")).to_be_visible()
        expect(self.page.locator("#danlu-stop")).to_be_hidden()

    def click(self, name: str) -> None:
        self.page.click(f"#danlu-{name}")


StartPage = Callable[..., str]
OpenTab = Callable[..., Tab]
