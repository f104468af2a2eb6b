"""Which of Gradio's routes are open: asked of the real app, in its process."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from danlu.webui.app import build_app
from danlu.webui.settings import WebuiSettings

pytestmark = [
    pytest.mark.anyio,
    # What Gradio 3.41.0 says to the newest FastAPI and Starlette that it works with.
    pytest.mark.filterwarnings("ignore:\\s+on_event is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings(
        "ignore:The `name` is not the first parameter anymore:DeprecationWarning"
    ),
]

SECRET = "the-secret-of-this-folder"


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file in the working directory, which Gradio would hand out."""
    before = Path.cwd()
    os.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text(SECRET)
    yield tmp_path / "secret.txt"
    os.chdir(before)


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


async def test_gradio_would_hand_out_files_of_its_working_directory(secret: Path) -> None:
    """What the door is for; if this ever fails, the door's comment is to be looked at."""
    import gradio as gr
    from gradio.routes import App

    with gr.Blocks(analytics_enabled=False) as page:
        gr.Markdown("hello")
    async with client_of(App.create_app(page)) as client:
        assert (await client.get("/file=secret.txt")).text == SECRET


@pytest.mark.parametrize(
    "path",
    [
        "/file=secret.txt",
        "/file/secret.txt",
        "/file%3Dsecret.txt",
        "//file=secret.txt",
        "/danlu/file=secret.txt",
        "/danlu//file=secret.txt",
        "/proxy=http://127.0.0.1:9/",
        "/stream/a/1/2",
        "/startup-events",
        "/openapi.json",
        "/token",
        "/static/../../../../secret.txt",
        "/static/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/static/{absolute}",
        "/static//{absolute}",
    ],
)
@pytest.mark.parametrize("root", ["", "/danlu"])
async def test_no_route_hands_out_a_file_or_fetches_one(secret: Path, path: str, root: str) -> None:
    app = build_app(WebuiSettings(gradio_root_path=root))
    path = path.replace("{absolute}", str(secret).lstrip("/"))
    async with client_of(app) as client:
        for method in ("GET", "HEAD"):
            answer = await client.request(method, f"http://page{path}")
            assert answer.status_code in (403, 404, 405)
            assert SECRET not in answer.text


async def test_nothing_can_be_uploaded(secret: Path) -> None:
    async with client_of(build_app(WebuiSettings())) as client:
        answer = await client.post("/upload", files={"files": ("a.txt", b"x")})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "there is no POST /upload here"


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/health", "/info"])
async def test_what_the_page_needs_is_open(path: str) -> None:
    async with client_of(build_app(WebuiSettings())) as client:
        assert (await client.get(path)).status_code == 200


async def test_the_page_forbids_itself_to_reach_elsewhere() -> None:
    async with client_of(build_app(WebuiSettings())) as client:
        answer = await client.get("/", headers={"Origin": "http://elsewhere"})
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert "fonts.googleapis.com/css" not in answer.text
    assert "googletagmanager" not in answer.text


async def test_the_page_answers_under_a_root_path_stripped_or_not() -> None:
    app = build_app(WebuiSettings(gradio_root_path="/danlu"))
    async with client_of(app) as client:
        for path in ("/config", "/danlu/config"):
            assert (await client.get(path)).json()["root"] == "/danlu"
        assert (await client.get("/danlu/health")).status_code == 200
        assert (await client.get("/danlu")).status_code == 200


async def test_a_page_with_users_tells_strangers_nothing(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("ada:one")
    app = build_app(WebuiSettings(gradio_auth_path=str(users)))
    async with client_of(app) as client:
        assert (await client.get("/config")).status_code == 401
        assert '"auth_required":true' in (await client.get("/")).text
        for data in ({"username": "ada", "password": "two"}, {"username": "eve", "password": ""}):
            assert (await client.post("/login", data=data)).status_code in (400, 422)
        right = await client.post("/login", data={"username": "ada", "password": "one"})
        assert right.status_code == 200
        cookies = {"access-token-unsecure": right.cookies["access-token-unsecure"]}
    async with client_of(app) as client:
        client.cookies.update(cookies)
        assert (await client.get("/config")).status_code == 200
