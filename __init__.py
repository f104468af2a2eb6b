"""danlu 丹炉: a FastChat-compatible serving stack for Ascend NPUs, CUDA cards and CPUs."""

__version__ = "0.1.0"
