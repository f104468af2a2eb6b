"""The `danlu` command: finds the subcommand and hands the rest of the line to it.

Only the chosen one is imported. `python -m danlu.cli` with FastChat's flags and no subcommand is
the terminal chat, as `fastchat.serve.cli` is.
"""

import importlib
import sys
from collections.abc import Sequence

from .. import __version__
from ..adapters.errors import StartError
from ..adapters.host.program import run

COMMANDS = {  # name: what it does; each is a module here with a main(argv), MODULES aside
    "up": "serve a model: controller, worker and web page in one command",
    "chat": "talk to a model in this terminal",
    "train": "fine-tune a model; see what would be trained, compare the answers, merge a LoRA",
    "export": "write a model anew, in its original layout or in transformers' own",
    "doctor": "find out what keeps this machine from serving, and what mends it",
    "bench": "put a server under load and measure it",
}
MODULES = {"doctor": "doctor.program", "bench": "bench.program", "train": "train.program"}

HELP = f"""usage: danlu COMMAND [--flags]

{chr(10).join(f"  {name:<8}{what}" for name, what in COMMANDS.items())}

  danlu up --demo                           a small real model: page on :7860, API on :8000
  danlu up --demo-chatglm2                  a tiny ChatGLM2, without any network
  danlu up --model-path DIR                 your own
  danlu chat --model-path DIR               without servers
  danlu train --model-path DIR --data-path FILE --output-dir DIR
  danlu export --model-path DIR --out DIR   for other programs
  danlu bench --concurrency 16              the API on :8000 under load

`danlu COMMAND --help` lists a command's flags. The programs behind `up` can be run alone:
danlu-controller, danlu-worker, danlu-webui."""


def main() -> int:
    return run("danlu", lambda: command(sys.argv[1:]))


def command(argv: Sequence[str]) -> None:
    """Do what `argv` says; raises StartError for a command that we do not have."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP)
    elif argv[0] == "--version":
        print(f"danlu {__version__}")
    elif argv[0].startswith("-"):
        _main_of("chat", argv)
    elif argv[0] in COMMANDS:
        _main_of(argv[0], argv[1:])
    else:
        raise StartError(f"there is no command {argv[0]!r}; we have {', '.join(COMMANDS)}")


def _main_of(name: str, argv: Sequence[str]) -> None:
    importlib.import_module(f".{MODULES.get(name, name)}", __package__).main(argv)


if __name__ == "__main__":
    sys.exit(main())
