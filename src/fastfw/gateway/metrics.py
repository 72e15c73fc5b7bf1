"""The daemon's figures for Prometheus, counted anew whenever somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fastfw.gateway.config import listen_address
from fastfw.gateway.status import status

if TYPE_CHECKING:
    from fastfw.gateway.daemon import Daemon

#: Key of status -> (metric, whether it only grows, what it says).
PLAIN = {
    "connections": ("fastfw_connections", False, "Connections in the table"),
    "connections_max": ("fastfw_connections_max", False, "nf_conntrack_max; 0: no limit"),
    "expectations": ("fastfw_expectations", False, "Connections that helpers announced and that have not come yet"),
    "uptime": ("fastfw_uptime_seconds", False, "Seconds since the start"),
    "healthy": ("fastfw_healthy", False, "1 while every queue gets on"),
    "reloads": ("fastfw_reloads", True, "Reloads that succeeded"),
    "reloads_failed": ("fastfw_reloads_failed", True, "Reloads after which the old configuration stayed in force"),
    "state_saved": ("fastfw_state_saved_timestamp_seconds", False, "When the connections were last written; 0: never"),
    "state_failures": ("fastfw_state_failures", True, "Times the connections could not be written"),
    "log_suppressed": ("fastfw_log_suppressed", True, "Log lines beyond their rate"),
    "log_lost": ("fastfw_log_lost", True, "Log lines that nobody took"),
    "bypass_granted": ("fastfw_bypass_granted", True, "Times a connection was let skip the queue"),
    "bypass_revoked": ("fastfw_bypass_revoked", True, "Times all connections were brought back to the queue"),
    "control_clients": ("fastfw_control_clients", False, "Clients of the control socket"),
    "control_requests": ("fastfw_control_requests", True, "Requests at the control socket"),
    "control_refused": ("fastfw_control_refused", True, "Clients turned away"),
}

#: Key of status -> (metric, label, what it says).
LABELLED = {
    "counters": ("fastfw_conntrack", "event", "What conntrack -S counts"),
    "reasons": ("fastfw_packets_by_reason", "reason", "Packets that connection tracking had something to say about"),
    "answers": ("fastfw_reject_answers", "kind", "Answers to refused packets"),
    "packet_log": ("fastfw_logged_packets", "outcome", "Packets that LOG, NFLOG and TRACE rules told of"),
    "silences": ("fastfw_reject_silences", "why", "Refused packets that got no answer"),
}

QUEUE = {
    "received": "Packets received",
    "accepted": "Packets accepted",
    "dropped": "Packets dropped",
    "repeated": "Packets asked for again because they had come cut",
    "refused_verdicts": "Verdicts the kernel refused",
    "queue_dropped": "Packets the kernel dropped because the queue was full",
    "user_dropped": "Packets the kernel dropped because the socket was full",
    "failures": "Times the queue failed and was opened anew",
}


class Collector:
    """Reads a daemon's status whenever Prometheus asks."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        now = status(self.daemon)
        for key, (name, grows, text) in PLAIN.items():
            kind = CounterMetricFamily if grows else GaugeMetricFamily
            yield kind(name, text, value=float(now[key]))
        for key, (name, label, text) in LABELLED.items():
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in now[key].items():
                family.add_metric([value], count)
            yield family
        for name, text in QUEUE.items():
            family = CounterMetricFamily(f"fastfw_queue_{name}", text, labels=["queue"])
            for queue, counts in now["queues"].items():
                family.add_metric([queue], counts.get(name, 0))
            yield family
        yield from self._gauges(now)

    def _gauges(self, now: dict[str, Any]) -> Iterator[Metric]:
        serving = GaugeMetricFamily("fastfw_queue_serving", "1 while the queue is open", labels=["queue"])
        for queue, counts in now["queues"].items():
            serving.add_metric([queue], float(counts["serving"]))
        yield serving
        waiting = GaugeMetricFamily("fastfw_fragments_bytes", "What waits for reassembly", labels=["family"])
        for family, (_datagrams, size) in zip(("ipv4", "ipv6"), now["fragments"], strict=True):
            waiting.add_metric([family], size)
        yield waiting


def serve(daemon: Daemon, listen: str) -> Callable[[], object]:
    """Serve the metrics at HOST:PORT; what ends that. OSError: the address cannot be had."""
    host, port = listen_address(listen)
    registry = CollectorRegistry()
    registry.register(Collector(daemon))
    server, thread = start_http_server(port, host, registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5)

    return close
