"""The random numbers of a sequence, each a function of its seed and its place. Keeps no state."""

import secrets
from hashlib import blake2b

SEEDS = 2**64
STEPS = 2**24  # float32 holds every multiple of 1/STEPS below 1


def a_seed() -> int:
    return secrets.randbelow(SEEDS)


def chances(seed: int, produced: int) -> tuple[float, float]:
    """Two independent numbers in [0, 1) for the token after `produced` ones, exact in float32.

    Whatever else runs, and wherever a sequence is taken up again, they are the same.
    """
    pair = (seed % SEEDS).to_bytes(8, "little") + produced.to_bytes(8, "little")
    digest = blake2b(pair, digest_size=6).digest()
    first, second = digest[:3], digest[3:]
    return int.from_bytes(first, "little") / STEPS, int.from_bytes(second, "little") / STEPS
