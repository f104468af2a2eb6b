"""What the web page can be told: FastChat's flags of gradio_web_server, and ours beside them."""

from dataclasses import dataclass
from pathlib import Path

from ..adapters.errors import StartError
from ..adapters.host.addresses import given_url
from ..adapters.host.settings import knob

PREFIX = "DANLU_WEBUI_"

REFUSED = {  # FastChat's flags that are understood and not honoured
    "--share": "it would load a tunnel program and put the page on the internet; "
    "publish the page behind your own reverse proxy (--gradio-root-path)",
    "--moderate": "it would send every question to OpenAI, and FastChat itself ignores it; "
    "leave it out",
    "--register-api-endpoint-file": "this page shows the models of one place; "
    "name an OpenAI-style server with --api-url instead",
    "--use-remote-storage": "conversations are logged to files only; set LOGDIR",
}


@dataclass(frozen=True, slots=True)
class WebuiSettings:
    """The chat page: a Gradio front end for the models that a controller knows."""

    host: str = knob("0.0.0.0", "address to listen on", env=("GRADIO_SERVER_NAME",))
    port: int = knob(7860, "port to listen on", low=0, high=65535, env=("GRADIO_SERVER_PORT",))
    controller_url: str = knob("http://localhost:21001", "the controller, ours or FastChat's")
    api_url: str = knob("", "an OpenAI-style API to talk to, in place of asking the controller")
    api_key: str = knob("", "key for the API; better given by the variable than by the flag")
    concurrency_count: int = knob(10, "answers that are written at the same time", low=1)
    model_list_mode: str = knob(
        "once",
        "once: all pages share a list that follows the controller; "
        "reload: a page that opens also asks the controller anew",
        choices=("once", "reload"),
    )
    refresh_interval: float = knob(3.0, "seconds between two looks at the list of models", low=0.1)
    silence_timeout: float = knob(
        600.0,
        "seconds without a new token after which an answer is given up",
        low=1,
        env=("FASTCHAT_WORKER_API_TIMEOUT",),
    )
    input_char_len_limit: int = knob(
        12000,
        "characters in a question; a longer one is sent back to its writer, never cut",
        low=1,
        env=("FASTCHAT_INPUT_CHAR_LEN_LIMIT",),
    )
    show_terms_of_use: bool = knob(False, "show the terms of use above the chat")
    gradio_auth_path: str = knob("", "file with user:password pairs, by commas or lines")
    gradio_root_path: str = knob(
        "", "path under which a reverse proxy serves the page", env=("GRADIO_ROOT_PATH",)
    )
    log_dir: str = knob(
        "", "directory of the log file and the conversation log; none if empty", env=("LOGDIR",)
    )


def check(settings: WebuiSettings) -> WebuiSettings:
    """`settings` if they make sense together; raises StartError naming the first that does not."""
    for flag, url in (
        ("--controller-url", settings.controller_url),
        ("--api-url", settings.api_url),
    ):
        if url:
            given_url(flag, url)
    if not (settings.controller_url or settings.api_url):
        raise StartError("give --controller-url or --api-url; without either there is no model")
    root = settings.gradio_root_path
    if root and (not root.startswith("/") or root.endswith("/")):
        raise StartError(f"--gradio-root-path wants a path such as /danlu, not {root!r}")
    if settings.gradio_auth_path:
        credentials(settings.gradio_auth_path)
    return settings


def credentials(path: str) -> dict[str, str]:
    """The users of an auth file and their passwords, in FastChat's form user:pass,user:pass."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise StartError(f"--gradio-auth-path {path!r} cannot be read: {exc}") from exc
    users: dict[str, str] = {}
    for pair in text.replace("\n", ",").split(","):
        user, colon, password = pair.strip().partition(":")
        if not pair.strip():
            continue
        if not (user and colon and password):
            raise StartError(f"--gradio-auth-path {path!r} wants user:password pairs")
        users[user] = password
    if not users:
        raise StartError(f"--gradio-auth-path {path!r} names no user")
    return users
