"""What is known of a machine: plain values, gathered once, and the same as JSON.

Every field has the value of a machine that lacks the thing. A tester's or a user's
`danlu doctor --json` carries them under `facts`, and read back they give the same findings.
"""

from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from ...adapters.errors import StartError


@dataclass(frozen=True, slots=True)
class Node:
    """A device file."""

    path: str
    usable: bool  # by this user, for reading and writing
    group: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """Somebody else's work on a card."""

    pid: int
    name: str
    megabytes: int


@dataclass(frozen=True, slots=True)
class Card:
    """A chip as npu-smi lists it; its place in the list is the number that programs use."""

    name: str  # 910B3, 310P3 …
    health: str = "OK"
    used: int = 0  # MB of its memory
    total: int = 0
    processes: tuple[Process, ...] = ()
    npu: int = 0  # npu-smi's own number


@dataclass(frozen=True, slots=True)
class Child:
    """What came of a few lines of Python in a process of their own."""

    asked: bool = False
    ok: bool = False
    words: str = ""  # the last ones of a child that failed, or what it was asked for


@dataclass(frozen=True, slots=True)
class Cann:
    """An installed CANN, and what this shell knows of it."""

    set_env: str = ""  # path of the script to source
    version: str = ""
    home: str = ""  # ASCEND_HOME_PATH or ASCEND_TOOLKIT_HOME
    library_path: bool = False  # LD_LIBRARY_PATH leads into it


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    owner: str  # what listens there; a question mark if that cannot be read
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint, judged by its files."""

    path: str
    problem: str = ""  # what is missing or broken, one sentence
    kind: str = ""  # gguf, chatglm2, chatglm1, or the config's model_type
    dtype: str = ""
    size: int = 0  # bytes of the weights
    declared: int = 0  # bytes that the index promises; 0 if there is none
    pointers: tuple[str, ...] = ()  # files that git-lfs left as pointers
    disk_free: int = 0  # bytes, where it lies


@dataclass(frozen=True, slots=True)
class Facts:
    """One machine."""

    device: str = "auto"  # what is to be served on
    machine: str = ""  # x86_64, aarch64
    user: str = ""
    groups: tuple[str, ...] = ()
    container: bool = False
    encoding: str = "utf-8"  # of the terminal
    python: str = ""  # its version
    executable: str = ""
    danlu: str = ""
    requires: tuple[str, ...] = ()  # danlu's own requirements, extras included
    packages: dict[str, str] = field(default_factory=dict)  # name and version of what is installed
    environment: dict[str, str] = field(default_factory=dict)  # what matters of it, without secrets
    preload: str = ""  # the LD_PRELOAD that would mend a failed import, if there is one
    pci_cards: int = 0  # of Huawei's, seen on the bus
    driver: str = ""
    firmware: str = ""
    firmware_range: tuple[str, ...] = ()  # first and last that the driver takes
    nodes: tuple[Node, ...] = ()
    smi: Child = Child()
    cards: tuple[Card, ...] = ()
    cann: Cann = Cann()
    torch: Child = Child()  # `import torch`
    torch_alone: Child = Child()  # the same without its backends; asked if the first one failed
    torch_npu: Child = Child()  # `import torch_npu` and one use of a card
    page: Child = Child()  # `import gradio`
    cuda_build: str = ""  # torch's CUDA version
    memory: int = 0  # bytes that can still be used
    ports: tuple[Port, ...] = ()  # of danlu's, those that are taken
    model: Model | None = None


def to_json(facts: Facts) -> str:
    return ADAPTER.dump_json(facts, indent=2).decode()


def from_json(text: str) -> Facts:
    """Raises StartError for what is not the JSON of facts."""
    try:
        return ADAPTER.validate_json(text)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise StartError(f"these are no facts of a machine: {where}: {first['msg']}") from exc


ADAPTER = TypeAdapter(Facts)
