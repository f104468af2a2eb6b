"""`python -m support.contender KIND`: a contender without a model, as a process of its own.

KIND is `good`, `missing`, `breaks` (at its second task) or `noisy` (it prints on standard output).
"""

import sys

from benchmarks.contest import Outcome, Task
from benchmarks.lines import Missing, resident, serve


class Fake:
    def __init__(self, kind: str) -> None:
        if kind == "missing":
            raise Missing("there is no such thing here")
        self._kind, self._tasks = kind, 0

    def run(self, task: Task) -> Outcome:
        self._tasks += 1
        if self._kind == "breaks" and self._tasks == 2:
            raise SystemExit(3)
        if self._kind == "noisy":
            print("a library says hello")
        times = [float(number) for number in range(1, task.new_tokens + 1)]
        streams = len(task.prompts)
        return Outcome([times] * streams, streams * task.new_tokens, times[-1])

    def peak(self) -> int:
        return resident()

    def close(self) -> None:
        print("closed", file=sys.stderr)


if __name__ == "__main__":
    serve(lambda: Fake(sys.argv[1]))
