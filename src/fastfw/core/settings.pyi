"""The settings' names, defaults and ranges: the sysctls of /proc/sys/net/netfilter, without prefix."""

from typing import Final

SECOND: Final = 1_000_000_000
INT_MAX: Final = 2147483647

LOWEST: Final[dict[str, int]]

# name: (slot, default, highest value, nanoseconds a unit or 0)
SYN_SENT2: Final[int]
TABLE: Final[dict[str, tuple[int, int, int, int]]]
