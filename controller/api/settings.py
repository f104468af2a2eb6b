"""What can be set on the API plane: the flags of FastChat's openai_api_server, and its secrets."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ...adapters.errors import StartError
from ...adapters.host.addresses import given_url
from ...adapters.host.settings import knob, settings_from

PREFIX = "DANLU_API_"
PROG = "danlu.controller.api"


class Words(tuple[str, ...]):
    """A tuple that is spelled as FastChat spells it: a JSON list of strings."""

    def __new__(cls, text: str) -> Self:
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise StartError(f'{text!r} is not a JSON list of strings, such as ["*"]')
        return super().__new__(cls, words)


class ApiKeys:
    """The keys of `k1,k2`; keeps digests only, so that no log or traceback can show a key."""

    def __init__(self, text: str = "") -> None:
        keys = (key.strip() for key in text.split(","))
        self._digests = tuple(_digest(key) for key in keys if key)
        if text and not self._digests:
            raise StartError("there is no key in it; leave it out for an API that is open to all")

    def __bool__(self) -> bool:
        return bool(self._digests)

    def __contains__(self, key: str) -> bool:
        """Whether `key` is one of them; takes equally long for every wrong key."""
        given = _digest(key)
        return any(hmac.compare_digest(given, known) for known in self._digests)

    def __repr__(self) -> str:
        return f"<{len(self._digests)} keys>" if self._digests else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Serves OpenAI's API in front of a controller, danlu's or a stock FastChat one."""

    host: str = knob("localhost", "address to listen on; 0.0.0.0 for every network")
    port: int = knob(8000, "port to listen on; 0 for any free one", low=0, high=65535)
    controller_address: str = knob(
        "http://localhost:21001",
        "URL of the controller that knows the workers",
        env=("CONTROLLER_ADDRESS",),
    )
    allow_credentials: bool = knob(False, "let browsers send credentials to the API across origins")
    allowed_origins: Words = knob(Words('["*"]'), "origins that browsers may call from, as JSON")
    allowed_methods: Words = knob(Words('["*"]'), "methods that browsers may use, as JSON")
    allowed_headers: Words = knob(Words('["*"]'), "headers that browsers may send, as JSON")
    api_keys: ApiKeys = knob(
        ApiKeys(),
        "keys separated by commas, one of which every client of the API must send",
        env=("API_KEYS",),
    )
    worker_timeout: float = knob(
        100.0,
        "seconds that a worker may be silent in the middle of an answer",
        low=0.1,
        env=("FASTCHAT_WORKER_API_TIMEOUT",),
    )
    embedding_batch_size: int = knob(
        4,
        "texts that are sent to a worker at a time for embeddings",
        low=1,
        env=("FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE",),
    )
    drain_seconds: float = knob(30.0, "seconds that running answers get to finish on a stop", low=0)
    ssl: bool = knob(False, "serve HTTPS with the files of SSL_KEYFILE and SSL_CERTFILE")
    ssl_keyfile: str = knob("", "private key for --ssl", env=("SSL_KEYFILE",))
    ssl_certfile: str = knob("", "certificate for --ssl", env=("SSL_CERTFILE",))
    log_dir: str = knob("", "directory of the log file; none if empty", env=("LOGDIR",))


def api_settings(argv: Sequence[str], environ: Mapping[str, str]) -> ApiSettings:
    """The settings of the stand-alone program; raises StartError."""
    settings = settings_from(ApiSettings, argv, environ, PREFIX, prog=PROG)
    given_url("--controller-address", settings.controller_address)
    return settings
