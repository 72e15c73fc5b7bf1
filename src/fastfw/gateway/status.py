"""How the daemon stands, as plain values: what `fastfw top` shows and the metrics export."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from fastfw._version import __version__
from fastfw.engine import COUNTERS

if TYPE_CHECKING:
    from fastfw.gateway.daemon import Daemon


def status(daemon: Daemon) -> dict[str, Any]:
    """Counts since the start; times in seconds."""
    engine = daemon.engine
    counters = engine.counters
    control = daemon.control
    skipping = daemon.skipping
    return {
        "release": __version__,
        "pid": os.getpid(),
        "uptime": time.time() - daemon.started if daemon.started else 0.0,
        "healthy": daemon.healthy,
        "fail_open": daemon.config.queue.fail_open,
        "connections": engine.conntrack_count,
        "connections_max": engine.settings["nf_conntrack_max"],
        "expectations": sum(1 for _ in engine.expectations()),
        "fragments": [list(pair) for pair in engine.fragments],
        "counters": {name: counters[name] for name in COUNTERS},
        "reasons": {name: value for name, value in counters.items() if name not in COUNTERS},
        "queues": {str(worker.number): {**worker.statistics(), "serving": worker.serving} for worker in daemon.workers},
        "answers": dict(daemon.answerer.sent),
        "silences": dict(daemon.answerer.silent),
        "packet_log": dict(daemon.packet_log.counts),
        "bypass_granted": skipping.driver.granted if skipping is not None else 0,
        "bypass_revoked": skipping.revoked if skipping is not None else 0,
        "reloads": daemon.reloads,
        "reloads_failed": daemon.reloads_failed,
        "state_saved": daemon.state_saved,
        "state_failures": daemon.state_failures,
        "log_suppressed": daemon.log.suppressed_total,
        "log_lost": daemon.log.lost,
        "control_clients": len(control.clients) if control is not None else 0,
        "control_requests": control.requests if control is not None else 0,
        "control_refused": control.refused if control is not None else 0,
    }
