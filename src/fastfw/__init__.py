"""Linux's stateful firewall as a library: iptables rules, connection tracking and decisions."""

from fastfw._version import __version__

__all__ = ["__version__"]
