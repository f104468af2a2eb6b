"""The page: its parts, where they stand, and which handler each button calls."""

from typing import Any

import gradio as gr

from . import look, words
from .handlers import Handlers
from .session import Session
from .settings import WebuiSettings

LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]


def build_page(settings: WebuiSettings, handlers: Handlers, *, votes: bool) -> gr.Blocks:
    """The Blocks of the page; `votes` shows the buttons whose presses go into the log."""
    with gr.Blocks(
        title=words.TITLE, theme=look.theme(), css=look.CSS, analytics_enabled=False
    ) as page:
        parts = _Parts(settings, votes)
        _wire(page, parts, handlers, settings)
    # Signs of life and stop requests must not queue behind answers: the bound on those is ours.
    page.queue(concurrency_count=QUEUE, api_open=False)
    page.show_api = False
    return page


QUEUE = 1000  # Gradio's own bound on running generators; Handlers keeps the real one


class _Parts:
    """Every component, created in the order in which it stands on the page."""

    def __init__(self, settings: WebuiSettings, votes: bool) -> None:
        self.session = gr.State(Session())
        with gr.Row(elem_id="danlu-top"):
            gr.Markdown(words.HEADER, elem_id="danlu-header")
            self.model = gr.Dropdown(
                [], label="Model 模型", interactive=True, elem_id="danlu-model"
            )
        gr.HTML(words.LOST, elem_id="danlu-lost")
        if settings.show_terms_of_use:
            gr.Markdown(words.TERMS, elem_id="danlu-terms")
        self.notice = gr.Markdown(visible=False, elem_id="danlu-notice")
        self.chat = gr.Chatbot(
            label="Conversation 对话",
            show_label=False,
            show_copy_button=True,
            latex_delimiters=LATEX,
            elem_id="danlu-chat",
        )
        self.status = gr.Markdown(elem_id="danlu-status")
        with gr.Row():
            self.box = gr.Textbox(
                show_label=False,
                container=False,
                placeholder="Ask something 输入问题 · Enter sends 回车发送 "
                "· Shift+Enter breaks the line 换行",
                lines=1,
                max_lines=8,
                scale=8,
                autofocus=True,
                elem_id="danlu-box",
            )
            self.send = gr.Button(
                "Send 发送", variant="primary", scale=1, min_width=110, elem_id="danlu-send"
            )
            self.stop = gr.Button(
                "■ Stop 停止",
                variant="stop",
                scale=1,
                min_width=110,
                visible=False,
                elem_id="danlu-stop",
            )
        with gr.Row():
            self.up = _button("▲ Upvote 赞", "up", visible=votes)
            self.down = _button("▼ Downvote 踩", "down", visible=votes)
            self.flag = _button("⚑ Flag 举报", "flag", visible=votes)
            self.again = _button("↻ Regenerate 重新生成", "again")
            self.clear = _button("✕ Clear 清空", "clear")
        with gr.Accordion("Parameters 参数", open=False, elem_id="danlu-parameters"):
            self.system = gr.Textbox(
                label="System prompt 系统提示", lines=2, max_lines=8, elem_id="danlu-system"
            )
            with gr.Row():
                self.temperature = gr.Slider(
                    0, 2, 0.7, step=0.05, label="Temperature 温度", interactive=True
                )
                self.top_p = gr.Slider(0, 1, 1, step=0.05, label="Top P", interactive=True)
                self.top_k = gr.Slider(
                    0, 200, 0, step=1, label="Top K (0: off 关闭)", interactive=True
                )
                self.max_tokens = gr.Slider(
                    16,
                    8192,
                    1024,
                    step=16,
                    label="Max tokens 上限",
                    interactive=True,
                )
        self.go = gr.Number(visible=False)
        self.wish = gr.Textbox(visible=False)
        self.refresh = gr.Button("refresh", elem_id="danlu-refresh")

    @property
    def sampling(self) -> list[Any]:
        return [self.system, self.temperature, self.top_p, self.top_k, self.max_tokens]

    @property
    def look(self) -> list[Any]:
        """What every handler leaves as the session has it."""
        buttons = [self.send, self.stop, self.again, self.clear, self.up, self.down, self.flag]
        return [self.chat, *buttons]


def _button(text: str, name: str, *, visible: bool = True) -> gr.Button:
    return gr.Button(text, size="sm", interactive=False, visible=visible, elem_id=f"danlu-{name}")


def _wire(page: gr.Blocks, p: _Parts, on: Handlers, settings: WebuiSettings) -> None:
    """Which event calls which handler. A question that is taken changes `go`, and that alone
    starts an answer: one event, however the question was sent."""
    # Without postprocessing, which takes the indentation off answers.
    streamed: dict[str, Any] = {
        "show_progress": "hidden",
        "api_name": False,
        "postprocess": False,
    }
    direct: dict[str, Any] = {**streamed, "queue": False}

    for sent in (p.box.submit, p.send.click):
        sent(on.ask, [p.session, p.box, p.model], [p.box, p.go, p.status, *p.look], **direct)
    p.again.click(on.again, [p.session], [p.go, p.status, *p.look], **direct)
    p.go.change(on.answer, [p.session, p.model, *p.sampling], [p.chat, p.status], **streamed).then(
        on.settle, [p.session], p.look, **direct
    )
    p.stop.click(on.stop, [p.session], p.look, **direct)
    p.clear.click(on.clear, [p.session], [p.status, *p.look], **direct)
    for button, kind in ((p.up, "upvote"), (p.down, "downvote"), (p.flag, "flag")):
        button.click(on.vote(kind), [p.session, p.system], p.look, **direct)

    p.model.input(on.chosen, [p.model], [p.notice], **direct)
    p.refresh.click(on.listed, [p.model], [p.model, p.notice], **direct)
    opened = page.load(on.opened, [p.wish], [p.model, p.notice], _js=look.WISH, **direct)
    opened.then(None, None, None, _js=look.watch(settings.refresh_interval))
