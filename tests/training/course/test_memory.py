"""How much memory was taken at the most."""

import resource
from pathlib import Path

from support.courses import CPU

from danlu.training.course.memory import most_memory


def test_on_a_host_it_is_the_processs_in_bytes() -> None:
    most = most_memory(CPU)
    told = Path("/proc/self/status").read_text()
    (line,) = (line for line in told.splitlines() if line.startswith("VmHWM:"))
    assert most >= 0.9 * int(line.split()[1]) * 1024
    assert most <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
