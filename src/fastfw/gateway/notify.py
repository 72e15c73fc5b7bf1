"""systemd's service protocol: a datagram of KEY=VALUE lines to the socket that $NOTIFY_SOCKET names."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Tells the service manager how the daemon stands; without one, does nothing."""

    def __init__(self) -> None:
        self.address = os.environ.pop("NOTIFY_SOCKET", "")
        self.watchdog = 0.0
        """Seconds within which the service manager wants a sign of life; 0: none wanted."""
        period = os.environ.pop("WATCHDOG_USEC", "")
        owner = os.environ.pop("WATCHDOG_PID", "")
        if period.isdecimal() and owner in ("", str(os.getpid())):
            self.watchdog = int(period) / 1e6

    def __call__(self, *lines: str) -> bool:
        """Send lines such as READY=1 or STATUS=...; whether they went."""
        if not self.address.startswith(("/", "@")):
            return False
        where = "\0" + self.address[1:] if self.address[0] == "@" else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as made:
                made.setblocking(False)
                made.sendto("\n".join(lines).encode(), where)
        except OSError:
            return False
        return True
