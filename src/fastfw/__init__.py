"""Linux's stateful firewall as a library: iptables rules, connection tracking and decisions."""

from fastfw._version import __version__
from fastfw.connection import Connection
from fastfw.core.decision import Decision
from fastfw.drivers.capture import Capture, CaptureError
from fastfw.engine import Engine, SettingError, Settings
from fastfw.logs import LogRecord
from fastfw.ruleset import Chain, Rule, Ruleset, RulesetError, RulesetNotice, Table
from fastfw.timeouts import TimeoutPolicy

__all__ = [
    "Capture",
    "CaptureError",
    "Chain",
    "Connection",
    "Decision",
    "Engine",
    "LogRecord",
    "Rule",
    "Ruleset",
    "RulesetError",
    "RulesetNotice",
    "SettingError",
    "Settings",
    "Table",
    "TimeoutPolicy",
    "__version__",
]
