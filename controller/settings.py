"""What can be set on a controller: FastChat's flags, and those of the API in its process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..adapters.host.settings import knob, settings_from
from .api.settings import ApiKeys, ApiSettings, Words
from .dispatch import POLICIES

PREFIX = "DANLU_CONTROLLER_"


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Knows the workers, gives each request to one of them, and serves OpenAI's API."""

    host: str = knob(
        "localhost", "address to listen on for workers; 0.0.0.0 for those of other machines"
    )
    port: int = knob(21001, "port to listen on; 0 for any free one", low=0, high=65535)
    dispatch_method: str = knob(
        "shortest_queue", "how the worker of a request is chosen", choices=sorted(POLICIES)
    )
    api_host: str = knob(
        "localhost", "address to serve the API on; 0.0.0.0 for clients of other machines"
    )
    api_port: int = knob(8000, "port of the API; 0 for any free one", low=0, high=65535)
    no_api: bool = knob(
        False, "serve no API here; run danlu.controller.api beside it or not at all"
    )
    api_keys: ApiKeys = knob(
        ApiKeys(),
        "keys separated by commas, one of which every client of the API must send",
        env=("API_KEYS",),
    )
    allow_credentials: bool = knob(False, "let browsers send credentials to the API across origins")
    allowed_origins: Words = knob(Words('["*"]'), "origins that browsers may call from, as JSON")
    allowed_methods: Words = knob(Words('["*"]'), "methods that browsers may use, as JSON")
    allowed_headers: Words = knob(Words('["*"]'), "headers that browsers may send, as JSON")
    heart_beat_expiration: float = knob(
        90.0,
        "seconds without a word after which a worker is dropped",
        low=0.1,
        env=("FASTCHAT_CONTROLLER_HEART_BEAT_EXPIRATION",),
    )
    probe_interval: float = knob(5.0, "seconds from one look at every worker to the next", low=0.1)
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

    def api(self) -> ApiSettings:
        """The API of this process; it needs no controller's address."""
        return ApiSettings(
            host=self.api_host,
            port=self.api_port,
            allow_credentials=self.allow_credentials,
            allowed_origins=self.allowed_origins,
            allowed_methods=self.allowed_methods,
            allowed_headers=self.allowed_headers,
            api_keys=self.api_keys,
            worker_timeout=self.worker_timeout,
            embedding_batch_size=self.embedding_batch_size,
            drain_seconds=self.drain_seconds,
        )


def controller_settings(argv: Sequence[str], environ: Mapping[str, str]) -> ControllerSettings:
    """The controller that flags and environment describe; raises StartError for an illegal one."""
    return settings_from(ControllerSettings, argv, environ, PREFIX, prog="danlu-controller")
