"""Runs a program that cannot outlive the one that started it.

`python -m danlu.adapters.host.tether PARENT PROGRAM ARGUMENT...` asks the kernel for SIGKILL at its
parent's death (PR_SET_PDEATHSIG, kept across exec) and becomes the program. The kernel takes the
thread that started it for its parent: start it from one that lives as long. Asking after the fork
and inside the child is what keeps it safe beside threads. Where the kernel offers no such thing
(not Linux), the program simply runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was asked
            sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
