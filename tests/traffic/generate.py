"""Seeded traffic: interleaved conversations with a rate of anomalies, as one list of IP packets.

``generate(seed, count)`` is a pure function of its arguments: the same ones give the same packets on every machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random

from . import announced, gre, sctp, tcp_anomalies
from . import fragments as fragments_of
from . import packets as p
from .anomalies import (
    Anomaly,
    Context,
    again,
    backwards,
    cut,
    edited_icmp,
    error_about,
    mutated,
    odd_address,
    odd_udp_length,
    of_protocol,
    refused,
    to_itself,
    used_up,
    with_ip_options,
    wrong_checksum,
)
from .conversations import (
    WORLDS,
    TcpConversation,
    World,
    discovery_conversation,
    icmp_conversation,
    udp_conversation,
)

LIVE = 48
"""Conversations that are interleaved at a time."""

REMEMBERED = 400
"""Packets that anomalies may pick up again, so that they meet both live and dead connections."""


def tcp_conversation(random: Random, world: World) -> Iterator[bytes]:
    return iter(TcpConversation(random, world))


def icmp_or_discovery(random: Random, world: World) -> Iterator[bytes]:
    return (discovery_conversation if random.random() < 0.15 else icmp_conversation)(random, world)


CONVERSATIONS: dict[str, Callable[[Random, World], Iterator[bytes]]] = {
    "tcp": tcp_conversation,
    "udp": udp_conversation,
    "icmp": icmp_or_discovery,
    "sctp": sctp.conversation,
    "gre": gre.conversation,
    "udplite": gre.udplite_conversation,
    "other": gre.other_conversation,
    "announced": announced.conversation,
}
"""A conversation of each protocol, by name."""


def conversation(random: Random, protocols: Sequence[str], families: Sequence[int]) -> Iterator[bytes]:
    """A new conversation of one of the protocols and families."""
    world: World = WORLDS[random.choice(families)]
    protocol = random.choice(protocols)
    if protocol not in CONVERSATIONS:
        raise ValueError(f"no conversation in {protocol!r}; there are {', '.join(CONVERSATIONS)}")
    return CONVERSATIONS[protocol](random, world)


def anomalies_of(protocols: Sequence[str]) -> list[Anomaly]:
    """The anomalies that make sense among conversations of the protocols; a frequent one stands more than once."""
    found: list[Anomaly] = [again, again, backwards, cut, wrong_checksum, refused, with_ip_options, to_itself]
    found += [error_about] * 3 + [mutated] * 3 + [used_up, odd_address]
    if "tcp" in protocols:
        found += [of_protocol(p.TCP, anomaly) for anomaly in tcp_anomalies.ALL]
    if "udp" in protocols:
        found += [of_protocol(p.UDP, odd_udp_length)]
    if "icmp" in protocols:
        found += [of_protocol(kind, edited_icmp) for kind in (p.ICMP, p.ICMPV6)]
    if "sctp" in protocols:
        found += [of_protocol(p.SCTP, anomaly) for anomaly in sctp.ANOMALIES]
    if "gre" in protocols:
        found += [of_protocol(p.GRE, anomaly) for anomaly in gre.ANOMALIES]
    return found


def generate(
    seed: int,
    count: int,
    anomalies: float = 0.25,
    protocols: Sequence[str] = ("tcp", "tcp", "udp", "icmp"),
    families: Sequence[int] = (4, 6),
    fragments: float = 0.0,
) -> list[bytes]:
    """``count`` packets, the share ``anomalies`` of which breaks some rule and ``fragments`` of which come in pieces.

    A protocol or family named twice is twice as frequent. Packets that come of themselves are valid to an IP stack;
    among the anomalies are some that no stack accepts.
    """
    random = Random(seed)
    live = [conversation(random, protocols, families) for _ in range(LIVE)]
    memory: deque[bytes] = deque(maxlen=REMEMBERED)
    queue: deque[bytes] = deque()
    anomalous = anomalies_of(protocols)
    context = Context(random, memory)
    out: list[bytes] = []
    while len(out) < count:
        if queue and random.random() < 0.5:
            out.append(queue.popleft())
            continue
        if memory and random.random() < anomalies:
            recent = memory[-1 - min(int(random.expovariate(0.04)), len(memory) - 1)]
            found = random.choice(anomalous)(context, recent)
            # The rest of a short exchange follows a little later, with other packets between.
            out.append(found[0])
            queue.extend(found[1:])
            continue
        index = random.randrange(LIVE)
        packet = next(live[index], None)
        while packet is None:
            live[index] = conversation(random, protocols, families)
            packet = next(live[index], None)
        memory.append(packet)
        if fragments and random.random() < fragments:
            pieces = fragments_of.in_pieces(random, packet, random.getrandbits(4 if random.random() < 0.1 else 16))
            out.extend(pieces[:1])
            queue.extend(pieces[1:])
            continue
        out.append(packet)
    return out[:count]
