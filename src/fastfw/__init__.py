"""Linux's stateful firewall as a library: iptables rules, connection tracking and decisions."""

from fastfw._version import __version__
from fastfw.connection import Connection
from fastfw.engine import Engine, SettingError, Settings

__all__ = ["Connection", "Engine", "SettingError", "Settings", "__version__"]
