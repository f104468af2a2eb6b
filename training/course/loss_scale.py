"""By how much a loss is multiplied so that float16 can hold its gradients. Pure."""

from dataclasses import dataclass

FIRST = 2.0**16
LEAST = 2.0**-10  # far below 1 the loss itself is what is not finite
GROWS_AFTER = 2000  # steps; torch's and Apex's number, too


@dataclass(frozen=True, slots=True)
class LossScale:
    """`good` steps were finite since `scale` changed last."""

    scale: float = FIRST
    good: int = 0

    def after(self, finite: bool) -> "LossScale":
        """Half, as soon as a gradient is not finite; twice, after many that were."""
        if not finite:
            return LossScale(self.scale / 2)
        if self.good + 1 < GROWS_AFTER:
            return LossScale(self.scale, self.good + 1)
        return LossScale(self.scale * 2)

    @property
    def lost(self) -> bool:
        return self.scale < LEAST
