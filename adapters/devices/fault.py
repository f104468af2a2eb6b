"""What can be wrong with a device, told from the words of its library."""

from enum import Enum


class Fault(Enum):
    """A failure that says something about the device, not about the request."""

    OUT_OF_MEMORY = "its memory is full; smaller or later requests may go well"
    LOST = "it answers nothing more to this process; another process may find it again"
