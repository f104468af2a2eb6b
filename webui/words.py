"""What the page says, in English and Chinese, as Markdown. Pure."""

import re
from collections.abc import Sequence

from ..adapters.errors import ServeError, shown
from .session import Phase, Turn

TITLE = "danlu 丹炉"
HEADER = """# 丹炉 danlu
Chat with the models that are served here · 与此处提供服务的模型对话"""
LOST = (
    "The page has lost its server; it goes on by itself. 页面与服务器失去连接，恢复后会自动继续。"
)
TERMS = (
    "**Terms of use · 使用条款** — What you type is sent to the model server of this site and may "
    "be logged there. Answers are made by a machine and may be wrong or offensive: check them "
    "before you rely on them, and enter no personal data. "
    "您输入的内容会发送到本站的模型服务器，并可能被记录。回答由机器生成，可能有误或不当，"
    "使用前请核实，请勿输入个人信息。"
)

LOGIN = "danlu 丹炉 · please sign in · 请用用户名（username）和密码（password）登录"

CURSOR = "▌"
FENCE = re.compile(r"^\s*(```|~~~)")
TAG = re.compile(r"<(?=[A-Za-z/!?])")
ADDRESS = re.compile(r"https?://[^\s'`]+")
MATH = re.compile(r"\\(?=[()\[\]])")
CODE_SPAN = re.compile(r"(`+[^`]*`+)")


NO_MODEL = "⚠ No model is chosen; nothing was sent. 尚未选择模型，未发送。"


def notice(models: Sequence[str], problem: str, chosen: str | None) -> str:
    """What keeps the reader from asking `chosen`, and what would help; "" if nothing does."""
    if problem:
        return (
            f"### The models cannot be listed · 无法获取模型列表\n{cause(problem)}\n\n"
            "Is the controller running? Start one with `python -m danlu.controller`; "
            "this page's log has the address that it asks, and it goes on by itself.\n\n"
            "请确认控制器已启动：`python -m danlu.controller`；所用地址见本页面程序的日志。"
            "页面会自动恢复，无需刷新。"
        )
    if not models:
        return (
            "### No model is served yet · 还没有模型在服务\n"
            "Start a worker: `python -m danlu.worker --model-path DIR --device npu` — "
            "its model appears here by itself once it is loaded.\n\n"
            "请启动一个 worker（命令同上）。模型加载完成后会自动出现在这里，无需刷新页面。"
        )
    if chosen and chosen not in models:
        return (
            f"### {verbatim(chosen)} is not served now · 当前没有服务该模型\n"
            "Choose another model, or start a worker for it: "
            f"`python -m danlu.worker --model-path DIR --model-names {chosen}`\n\n"
            "请选择其他模型，或为它启动一个 worker。"
        )
    return ""


def status(turn: Turn, seconds: float, first: float | None) -> str:
    """The line under the chat. `seconds` since the question, of which `first` to the first text."""
    if turn.phase is Phase.WAITING:
        return f"… waiting for a free place · 排队中 · {seconds:.0f} s"
    if turn.phase is Phase.ASKED and first is None:
        return f"… waiting for the first word · 等待回答 · {seconds:.0f} s"
    return " · ".join(part for part in (_ending(turn), _tokens(turn, seconds, first)) if part)


def _ending(turn: Turn) -> str:
    if turn.phase is not Phase.ENDED:
        return ""
    if turn.error:
        return "⚠ ended by an error · 出错"
    if turn.stop.is_set():
        return "■ stopped · 已停止"
    if turn.finish_reason == "length":
        return "✂ cut at the token limit: raise Max tokens · 已达长度上限"
    return ""


def _tokens(turn: Turn, seconds: float, first: float | None) -> str:
    if turn.usage is None or first is None:
        return ""
    said = turn.usage.completion_tokens
    parts = [f"{turn.usage.prompt_tokens} + {said} tokens"]
    if seconds - first > 0.05 and said > 1:
        parts.append(f"{(said - 1) / (seconds - first):.1f} tokens/s")
    return " · ".join([*parts, f"first after {first:.2f} s"])


SERVER = "the model server"  # whom readers know; its address is the operator's


def server_of(model: str) -> str:
    return f"the server of model {shown(model)!r}"


def failure(error: ServeError) -> str:
    """An error as the asker sees it: the cause and the number."""
    return f"{error.told} (error {error.code})"


def cause(sentence: str) -> str:
    """What went wrong, its addresses as code: as links they would lead nowhere."""
    return verbatim(ADDRESS.sub(r"`\g<0>`", sentence))


def too_long(length: int, limit: int) -> str:
    return (
        f"⚠ This message has {length} characters and the page takes {limit}; nothing was sent. "
        f"消息共 {length} 字，超过上限 {limit} 字，未发送。"
    )


def chat(turns: Sequence[Turn], *, settled: bool = True) -> list[list[str]]:
    """The conversation as the chatbot shows it: pairs of Markdown.

    Gradio 3.41.0 sets formulas only when a message changes and its HTML does not. So the last
    answer comes out once as it is, and once more, settled, with a line feed that shows nowhere.
    """
    pairs = [[verbatim(turn.question), _answer(turn)] for turn in turns]
    for number, turn in enumerate(turns):
        if turn.phase is Phase.ENDED and (settled or number < len(turns) - 1):
            pairs[number][1] += "\n"
    return pairs


def _answer(turn: Turn) -> str:
    text = verbatim(turn.answer)
    if turn.error:
        return f"{text}\n\n⚠ **{cause(turn.error)}**".strip()
    return text if turn.phase is Phase.ENDED else text + CURSOR


def verbatim(text: str) -> str:
    """`text` with what Markdown would swallow made visible; code stays as it is.

    The browser's sanitizer drops what looks like a tag, such as <think> or <stdio.h>, and Markdown
    takes the backslash off \\( and \\[ before they are seen as formulas.
    """
    fenced, lines = False, []
    for line in text.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            parts = CODE_SPAN.split(line)
            parts[::2] = [_escaped(part) for part in parts[::2]]
            line = "".join(parts)
        lines.append(line)
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return TAG.sub(r"\\<", MATH.sub(r"\\\\", text))
