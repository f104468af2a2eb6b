"""What can be set on a controller: FastChat's flags, and those of the API in its process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..adapters.host.settings import knob, knob_of, settings_from
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
    api_keys: ApiKeys = knob_of(ApiSettings, "api_keys")
    allow_credentials: bool = knob_of(ApiSettings, "allow_credentials")
    allowed_origins: Words = knob_of(ApiSettings, "allowed_origins")
    allowed_methods: Words = knob_of(ApiSettings, "allowed_methods")
    allowed_headers: Words = knob_of(ApiSettings, "allowed_headers")
    heart_beat_expiration: float = knob(
        90.0,
        "seconds without a word after which a worker is dropped",
        low=0.1,
        env=("FASTCHAT_CONTROLLER_HEART_BEAT_EXPIRATION",),
    )
    probe_interval: float = knob(5.0, "seconds from one look at every worker to the next", low=0.1)
    worker_timeout: float = knob_of(ApiSettings, "worker_timeout")
    embedding_batch_size: int = knob_of(ApiSettings, "embedding_batch_size")
    drain_seconds: float = knob_of(ApiSettings, "drain_seconds")
    ssl: bool = knob_of(ApiSettings, "ssl")
    ssl_keyfile: str = knob_of(ApiSettings, "ssl_keyfile")
    ssl_certfile: str = knob_of(ApiSettings, "ssl_certfile")
    log_dir: str = knob_of(ApiSettings, "log_dir")

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
