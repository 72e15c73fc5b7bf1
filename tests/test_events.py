"""Events: what happened to connections, in order, as conntrack -E tells it."""

from __future__ import annotations

from fastfw import Engine
from fastfw.listing import event_line
from traffic.generate import generate
from traffic.packets import address, tcp_packet, udp_packet

NOW = 10**18
SECOND = 10**9
CLIENT, SERVER = address("10.0.0.1"), address("10.0.0.2")
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


def up(flags: int, seq: int, ack: int = 0) -> bytes:
    return tcp_packet(CLIENT, SERVER, 1000, 80, flags, seq, ack)


def down(flags: int, seq: int, ack: int = 0) -> bytes:
    return tcp_packet(SERVER, CLIENT, 80, 1000, flags, seq, ack)


def told(engine: Engine) -> list[str]:
    events, lost = engine.events()
    assert lost == 0
    return [f"{event_line(event)} {event.reason}".rstrip() for event in events]


def test_life_of_a_connection() -> None:
    """Beginning, every change of state and the end are told, with the reason of the end."""
    engine = Engine(settings={"nf_conntrack_max": 64})
    engine.watch()
    for packet in (
        up(SYN, 99),
        down(SYN | ACK, 499, 100),
        up(ACK, 100, 500),
        up(ACK, 100, 500),
        up(FIN | ACK, 100, 500),
    ):
        engine.decide(packet, now=NOW)
    engine.expire(NOW + 200 * SECOND)
    original = "src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80"
    reply = "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1000"
    assert told(engine) == [
        f"    [NEW] tcp      6 120 SYN_SENT {original} [UNREPLIED] {reply}",
        f" [UPDATE] tcp      6 60 SYN_RECV {original} {reply}",
        f" [UPDATE] tcp      6 432000 ESTABLISHED {original} {reply} [ASSURED]",
        f" [UPDATE] tcp      6 120 FIN_WAIT {original} {reply} [ASSURED]",
        f"[DESTROY] tcp      6 FIN_WAIT {original} {reply} [ASSURED] timeout",
    ]


def test_ends_have_reasons() -> None:
    """Refused, used again, evicted, deleted and flushed connections each end with their reason."""
    engine = Engine(settings={"nf_conntrack_max": 1})
    engine.watch()
    engine.decide(up(SYN, 99), now=NOW)
    engine.decide(down(RST | ACK, 0, 100), now=NOW)
    engine.decide(udp_packet(CLIENT, SERVER, 1, 2), now=NOW)
    engine.decide(udp_packet(CLIENT, SERVER, 3, 4), now=NOW)
    engine.delete(lambda connection: True)
    engine.decide(udp_packet(CLIENT, SERVER, 5, 6), now=NOW)
    engine.flush()
    ends = [event.reason for event in engine.events()[0] if event.kind == "DESTROY"]
    assert ends == ["closed", "evicted", "deleted", "deleted"]


def test_nobody_watches() -> None:
    """Without a watcher, and with nf_conntrack_events 0, nothing is kept."""
    engine = Engine(settings={"nf_conntrack_max": 64})
    engine.decide(up(SYN, 99), now=NOW)
    assert engine.events() == ([], 0)
    engine.watch()
    engine.settings["nf_conntrack_events"] = 0
    engine.decide(down(SYN | ACK, 499, 100), now=NOW)
    assert engine.events() == ([], 0)
    engine.settings["nf_conntrack_events"] = 1
    engine.watch(0)
    engine.flush()
    assert engine.events() == ([], 0)


def test_slow_readers_lose_the_oldest() -> None:
    """A reader that does not come in time is told how many events it missed; memory does not grow."""
    engine = Engine(settings={"nf_conntrack_max": 4096})
    engine.watch(10)
    for port in range(1, 101):
        engine.decide(udp_packet(CLIENT, SERVER, port, 9), now=NOW)
    events, lost = engine.events()
    assert (len(events), lost) == (10, 90)
    assert [event.connection.source_port for event in events] == list(range(91, 101))


def test_events_add_up_to_the_table() -> None:
    """What NEW brought and DESTROY has not taken is the table."""
    engine = Engine(settings={"nf_conntrack_max": 4096})
    engine.watch(1 << 17)
    for packet in generate(11, 5000):
        engine.decide(packet, now=NOW)
    live: dict[str, int] = {}
    for event in engine.events()[0]:
        connection = event.connection
        name = str((connection.protocol, connection.source, connection.destination, connection.source_port,
                    connection.destination_port))  # fmt: skip
        live[name] = live.get(name, 0) + {"NEW": 1, "UPDATE": 0, "DESTROY": -1}[event.kind]
    assert set(live.values()) <= {0, 1}
    assert sum(live.values()) == engine.conntrack_count
