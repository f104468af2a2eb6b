"""Tells systemd how a service is doing (sd_notify); silent where no systemd listens."""

import os
import socket


def notify(state: str) -> bool:
    """Send one state line, such as "READY=1" or "STOPPING=1"; False if nobody listens.

    Protocol: sd_notify(3), a datagram to the AF_UNIX socket that $NOTIFY_SOCKET names.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return False  # a service must not die of its supervisor's silence
    return True
