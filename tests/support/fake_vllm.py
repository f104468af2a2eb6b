"""`python -m support.fake_vllm serve …`: stands for the vllm command, and takes a worker's flags.

Words in the variable FAKE_VLLM change it: `fail` ends while it loads, `hang` never serves,
`grandchild` leaves a process behind that holds its output. A generation whose prompt has DIE ends
the process.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import Response

from .upstreams import FakeUpstream

STUB = """#!/bin/sh
exec {python} -m support.fake_vllm "$@"
"""


class FakeVllm(FakeUpstream):
    async def _generate(self, body: Any) -> Response:
        if "DIE" in str(body):
            print("engine core died", flush=True)
            os._exit(9)
        return await super()._generate(body)


def lay_vllm(folder: Path) -> str:
    """A `vllm` in `folder`; the PATH with it."""
    stub = folder / "vllm"
    stub.write_text(STUB.format(python=sys.executable))
    stub.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", nargs="+", required=True)
    parser.add_argument("--dtype")
    parser.add_argument("--max-model-len", type=int, default=100)
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--enforce-eager", action="store_true")
    args = parser.parse_args()
    print(f"vllm pid={os.getpid()} args={sys.argv[1:]}", flush=True)
    print(f"cards={os.environ.get('ASCEND_RT_VISIBLE_DEVICES', '')}", flush=True)
    how = os.environ.get("FAKE_VLLM", "")
    if "grandchild" in how:
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"grandchild pid={left.pid}", flush=True)
    print("Loading safetensors checkpoint shards:  50% Completed", flush=True)
    if "fail" in how:
        sys.exit("ValueError: no kernel for this card")
    if "hang" in how:
        time.sleep(600)
    fake = FakeVllm(
        models=args.served_model_name,
        context=args.max_model_len,
        key=os.environ["VLLM_API_KEY"],
    )
    uvicorn.run(fake.app(), host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
