"""Which torch, torch_npu and CANN belong together. Pure.

From torch_npu's own table of versions (COMPATIBILITY.md of Ascend/pytorch); danlu needs torch 2.6.
"""

import re

CANN_OF = {  # torch_npu: the CANN it is made for, the oldest first
    "2.6.0": "8.2.RC1",
    "2.6.0.post3": "8.3.RC1",
    "2.6.0.post5": "8.5.0",
    "2.7.1": "8.3.RC1",
    "2.7.1.post2": "8.5.0",
    "2.7.1.post4": "9.0.0",
    "2.7.1.post5": "9.1.0",
    "2.8.0": "8.3.RC1",
    "2.8.0.post2": "8.5.0",
    "2.8.0.post4": "9.0.0",
    "2.9.0": "8.5.0",
    "2.9.0.post2": "9.0.0",
    "2.9.0.post3": "9.1.0",
    "2.10.0": "9.0.0",
    "2.11.0": "9.1.0",
    "2.12.0": "9.1.0",
}
TESTED = "2.13.0"  # the pair that danlu is tested with; its CANN is in no table yet
NEWEST_CANN = "9.1.0"
FINAL = 99  # stands behind every release candidate

OLD_CHIPS = re.compile(r"310|910(A|B$|Pro|Premium)")  # no bfloat16, jit_compile by default


def release(version: str) -> str:
    """The part that torch and torch_npu must share: 2.7.1 of 2.7.1+cpu and 2.7.1.post2."""
    found = re.match(r"\d+\.\d+(\.\d+)?", version)
    return found[0] if found else version


def cann_age(version: str) -> tuple[int, ...]:
    """Something to compare CANN's versions by: 8.3.RC1 is older than 8.3.0 and 8.5.0."""
    numbers = [int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part]  # type: ignore[index]
    candidate = re.search(r"RC(\d+)", version, re.IGNORECASE)
    padded = (*numbers, 0, 0, 0)[:3]
    return (*padded, int(candidate[1]) if candidate else FINAL)


def pip_pair(torch: str, cann: str) -> str:
    """What pip is asked for so that torch and torch_npu are a pair, for this CANN if possible."""
    own = [npu for npu in CANN_OF if release(npu) == release(torch)]
    fitting = [npu for npu in own if not cann or cann_age(CANN_OF[npu]) <= cann_age(cann)]
    if own:
        return f"torch_npu=={(fitting or own[:1])[-1]}"
    if release(torch) == TESTED or not cann:
        return f"torch=={TESTED} torch_npu=={TESTED}"
    npu = [npu for npu, made_for in CANN_OF.items() if cann_age(made_for) <= cann_age(cann)]
    best = npu[-1] if npu else next(iter(CANN_OF))
    return f"torch=={release(best)} torch_npu=={best}"
