"""Fragments are held, joined, dropped and forgotten as the kernel does it: each test is a question it answered."""

from __future__ import annotations

from random import Random

import pytest
from tests.core.talk import Talk
from tests.traffic import packets as p

ENDS = {4: (p.address("10.1.0.1"), p.address("10.2.0.1")), 6: (p.address("fd00:1::1"), p.address("fd00:2::1"))}
UDP = {family: p.udp(*ends, 1000, 2000, bytes(range(256))) for family, ends in ENDS.items()}
SIZE = 264
HELD, NEW = "HOLD - (FRAGMENT)", "NEW"
BAD, OVERLAP, TWICE = "DROP - (FRAGMENT_BAD)", "DROP - (FRAGMENT_OVERLAP)", "DROP - (FRAGMENT_DUPLICATE)"
FULL = "DROP - (FRAGMENT_LIMIT)"
DESTINATION = (p.DESTINATION, p.extension(b""))

FAMILIES = pytest.mark.parametrize("family", [4, 6])


def piece(
    family: int,
    start: int,
    end: int,
    *,
    of: bytes | None = None,
    more: bool | None = None,
    number: int = 1,
    protocol: int = p.UDP,
    ends: tuple[bytes, bytes] | None = None,
    **header: object,
) -> bytes:
    """Bytes ``start`` to ``end`` of a datagram's payload as a fragment; more follow unless they reach its end."""
    payload = UDP[family] if of is None else of
    more = end < len(payload) if more is None else more
    source, destination = ends or ENDS[family]
    body = payload[start:end]
    if family == 4:
        field = start // 8 | more << 13 | header.pop("flags", 0)  # type: ignore[operator]
        return p.ipv4(source, destination, protocol, body, identification=number, fragment=field, **header)  # type: ignore[arg-type]
    before = header.pop("before", ())
    extensions = [*before, (p.FRAGMENT, p.fragment_header(start, more, number))]  # type: ignore[misc]
    return p.ipv6(source, destination, protocol, body, extensions=extensions, **header)  # type: ignore[arg-type]


def told(family: int, *spans: tuple[int, int]) -> list[str]:
    """What becomes of fragments with these spans of one datagram."""
    talk = Talk()
    return [talk.say(piece(family, *span)) for span in spans]


@FAMILIES
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_last_to_come_decides_for_all(family: int, order: tuple[int, ...]) -> None:
    """In any order all but the last are held, and the last carries the whole datagram's answer."""
    spans = ((0, 88), (88, 176), (176, SIZE))
    assert told(family, *(spans[index] for index in order)) == [HELD, HELD, NEW]


@FAMILIES
def test_the_whole_is_checked_and_tracked(family: int) -> None:
    """The joined datagram's checksum counts, ports come from its start, and nothing stays behind."""
    talk = Talk()
    assert talk.all(piece(family, *span) for span in ((88, SIZE), (0, 88))) == [HELD, NEW]
    assert "sport=1000 dport=2000" in talk.table()[0]
    assert talk.engine.fragments == ((0, 0), (0, 0))
    broken = UDP[family][:-1] + b"\x00"
    assert talk.all(piece(family, *span, of=broken) for span in ((0, 88), (88, SIZE)))[1] == "INVALID (UDP_CHECKSUM)"


@FAMILIES
def test_a_fragment_within_a_run_is_a_duplicate(family: int) -> None:
    """What lies within bytes that came one behind the other changes nothing."""
    assert told(family, (0, 88), (0, 88), (88, SIZE)) == [HELD, TWICE, NEW]
    assert told(family, (0, 88), (8, 80), (88, SIZE)) == [HELD, TWICE, NEW]
    assert told(family, (0, 88), (88, 176), (0, 176), (176, SIZE)) == [HELD, HELD, TWICE, NEW]
    assert told(family, (176, SIZE), (176, SIZE), (0, 176)) == [HELD, TWICE, NEW]


@FAMILIES
def test_any_other_overlap_gives_the_datagram_up(family: int) -> None:
    """Overlapping fragments end the datagram, and what comes later begins another."""
    assert told(family, (0, 88), (80, 176), (176, SIZE)) == [HELD, OVERLAP, HELD]
    assert told(family, (0, 88), (80, 176), (0, 88), (88, SIZE)) == [HELD, OVERLAP, HELD, NEW]
    # the same bytes as a run above, but they came the other way round and are two runs
    assert told(family, (88, 176), (0, 88), (0, 176), (176, SIZE)) == [HELD, HELD, OVERLAP, HELD]


def test_ends_that_disagree() -> None:
    """An IPv4 datagram does not survive a second end or bytes behind its end; an IPv6 one drops only that fragment."""
    for family, rest in ((4, [BAD, HELD]), (6, [BAD, NEW])):
        talk = Talk()
        shorter = piece(family, 88, SIZE - 8, more=False)
        behind = piece(family, 88, SIZE, of=UDP[family] * 2, more=True)
        assert [talk.say(packet) for packet in (piece(family, 88, SIZE), shorter, piece(family, 0, 88))] == [
            HELD,
            *rest,
        ]
        talk = Talk()
        assert talk.say(piece(family, 88, 176, more=False)) == HELD
        assert talk.say(behind) == BAD


def test_fragments_without_bytes() -> None:
    """An empty IPv4 fragment ends its datagram; an empty last one of IPv6 tells its length, an empty first one is
    judged as it is, for it lacks its header."""
    talk = Talk()
    assert [talk.say(piece(4, 0, 88)), talk.say(piece(4, 88, 88, more=False)), talk.say(piece(4, 88, SIZE))] == [
        HELD,
        BAD,
        HELD,
    ]
    talk = Talk()
    assert talk.say(piece(6, 88, 88, more=False)) == BAD
    assert talk.say(piece(6, 0, 88)) == "INVALID (UDP_LENGTH)"
    assert Talk().say(piece(6, 0, 0, more=True)) == "INVALID (TRANSPORT_TRUNCATED)"


def test_lengths_that_are_no_multiple_of_eight() -> None:
    """IPv4 forgets the odd bytes of a fragment that is not the last; IPv6 gives the datagram up and lets others judge
    the fragment."""
    assert told(4, (0, 92), (88, SIZE)) == [HELD, NEW]
    talk = Talk()
    assert talk.say(piece(6, 0, 90)) == "INVALID (UDP_LENGTH)"
    assert talk.say(piece(6, 0, 88)) == HELD
    assert talk.say(piece(6, 88, 100)) == "INVALID (FRAGMENT_BAD)"
    assert talk.say(piece(6, 88, SIZE)) == HELD


def test_an_atomic_fragment_is_a_datagram_of_its_own() -> None:
    """A fragment that is all of its datagram passes at once, but not through the middle of another (RFC 6946 differs,
    Linux's connection tracking does not)."""
    assert Talk().say(piece(6, 0, SIZE)) == NEW
    assert told(6, (0, 88), (0, SIZE), (88, SIZE)) == [HELD, OVERLAP, HELD]


def test_the_first_fragments_headers_are_the_datagrams() -> None:
    """What stands before the fragment header, and what it announces, count in the first fragment only."""
    for first, second in (([DESTINATION], []), ([], [DESTINATION])):
        talk = Talk()
        assert talk.say(piece(6, 0, 88, before=first)) == HELD
        assert talk.say(piece(6, 88, SIZE, before=second, protocol=p.TCP)) == NEW


def test_a_first_fragment_reaches_to_the_end_of_its_headers() -> None:
    """An IPv6 chain of headers that breaks off in the first fragment is not joined (RFC 8200 section 4.5)."""
    chain = bytes([p.UDP, 1, 1, 12]) + bytes(12) + UDP[6]
    assert Talk().say(piece(6, 0, 8, of=chain, protocol=p.DESTINATION)) == "INVALID (TRANSPORT_TRUNCATED)"
    assert (
        Talk().say(piece(6, 0, 16, of=p.tcp(*ENDS[6], 1, 2, p.SYN), protocol=p.TCP)) == "INVALID (TRANSPORT_TRUNCATED)"
    )


@pytest.mark.parametrize(("length", "answer"), [(65535, "INVALID (UDP_LENGTH)"), (65536, BAD)])
def test_nothing_longer_than_a_datagram_is_joined(length: int, answer: str) -> None:
    """65535 bytes with the header pass to be judged, one more is dropped."""
    payload = bytes(length - 20)
    spans = [(start, min(start + 8000, len(payload))) for start in range(0, len(payload), 8000)]
    talk = Talk()
    said = [talk.say(piece(4, *span, of=payload)) for span in spans]
    assert said[:-1] == [HELD] * (len(spans) - 1)
    assert said[-1] == answer
    assert talk.engine.fragments == ((0, 0), (0, 0))


def test_ipv6_drops_what_ends_past_the_longest_payload() -> None:
    """Only the fragment that oversteps is dropped."""
    talk = Talk()
    assert talk.say(piece(6, 65528, 65536, of=bytes(65536), more=False)) == BAD
    assert talk.engine.fragments[1][0] == 1


@FAMILIES
def test_ecn_must_agree(family: int) -> None:
    """Fragments that know ECN and fragments that do not are of no one datagram (RFC 3168 section 5.3)."""
    field = "tos" if family == 4 else "traffic_class"
    for first in range(4):
        for second in range(4):
            talk = Talk()
            talk.say(piece(family, 0, 88, **{field: first}))
            joined = (first == 0) == (second == 0)
            assert talk.say(piece(family, 88, SIZE, **{field: second})) == (NEW if joined else BAD)


@FAMILIES
def test_fragments_wait_no_longer_than_they_may(family: int) -> None:
    """After ipfrag_time, or nf_conntrack_frag6_timeout, from its first fragment a datagram is forgotten."""
    name, seconds = ("ipfrag_time", 30) if family == 4 else ("nf_conntrack_frag6_timeout", 60)
    for wait, answer in ((seconds - 1, NEW), (seconds, HELD)):
        talk = Talk()
        talk.say(piece(family, 0, 88))
        assert talk.say(piece(family, 88, SIZE), wait=wait) == answer
    talk = Talk(**{name: 5})
    talk.say(piece(family, 0, 88))
    talk.engine.expire(talk.now + 5_000_000_000)
    assert talk.engine.fragments == ((0, 0), (0, 0))


@FAMILIES
def test_a_shorter_time_is_of_what_comes_then(family: int) -> None:
    """A datagram that waits behind one of a longer time is over in its own time."""
    name = "ipfrag_time" if family == 4 else "nf_conntrack_frag6_timeout"
    talk = Talk(**{name: 30})
    talk.say(piece(family, 0, 88, number=1))
    talk.engine.settings[name] = 5
    talk.say(piece(family, 0, 88, number=2))
    assert talk.say(piece(family, 88, SIZE, number=2), wait=6) == HELD
    assert talk.say(piece(family, 0, 88, number=2)) == NEW
    assert talk.say(piece(family, 88, SIZE, number=1)) == NEW


def test_datagrams_of_one_link_stay_on_it() -> None:
    """To a link-local address or group fragments of two interfaces are of two datagrams; elsewhere of one."""
    for target, answer in (("fe80::1", "HOLD"), ("ff02::5", "HOLD"), ("fd00:2::1", "ACCEPT")):
        ends = (ENDS[6][0], p.address(target))
        payload = p.udp(*ends, 1000, 2000, bytes(range(256)))
        talk = Talk()
        pieces = [piece(6, *span, of=payload, ends=ends) for span in ((0, 88), (88, SIZE))]
        assert talk.engine.decide(pieces[0], hook="INPUT", iif="eth0", now=talk.now).verdict == "HOLD"
        assert talk.engine.decide(pieces[1], hook="INPUT", iif="eth1", now=talk.now).verdict == answer
        assert talk.engine.decide(pieces[1], hook="INPUT", iif="eth0", now=talk.now).verdict == (
            "ACCEPT" if answer == "HOLD" else "HOLD"
        )


def test_memory_is_bounded_and_comes_back() -> None:
    """Past the threshold every fragment is dropped; when the waiting ones' time is up there is room again."""
    for family, setting, empty in (
        (4, "ipfrag_high_thresh", 200),
        (6, "nf_conntrack_frag6_high_thresh", 184),
    ):
        index = 0 if family == 4 else 1
        talk = Talk(**{setting: 3000})
        assert talk.say(piece(family, 0, 88, number=1)) == HELD
        assert talk.engine.fragments[index] == (1, empty + 832)
        assert talk.say(piece(family, 0, 88, number=2)) == HELD
        assert talk.say(piece(family, 0, 88, number=3)) == HELD
        assert talk.say(piece(family, 88, SIZE, number=1)) == FULL
        assert talk.say(piece(family, 0, 88, number=4), wait=60) == HELD
        talk.engine.settings[setting] = 0
        assert talk.say(piece(family, 88, SIZE, number=4)) == FULL


@pytest.mark.parametrize(
    ("length", "charge"),
    [
        *((28, 832), (192, 832), (196, 1280), (640, 1280), (644, 2304), (1664, 2304), (1668, 4352), (3764, 8448)),
        *((7860, 12544), (32436, 37120), (65204, 69888)),
    ],
)
def test_fragments_are_charged_as_socket_buffers(length: int, charge: int) -> None:
    """The bytes counted for a fragment are those /proc/net/sockstat shows for one that came through a TUN device."""
    talk = Talk()
    talk.say(piece(4, 8, 8 + length - 20, of=bytes(70000)[: length + 100], more=True))
    assert talk.engine.fragments[0] == (1, 200 + charge)


@pytest.mark.parametrize(("others", "answer"), [(63, NEW), (64, HELD)])
def test_ids_that_have_come_round(others: int, answer: str) -> None:
    """After more than ipfrag_max_dist fragments of its sender's a datagram's are taken for those of a new one."""
    talk = Talk()
    talk.say(piece(4, 0, 88))
    for number in range(others):
        talk.say(piece(4, 0, 88, number=1000 + number))
    assert talk.say(piece(4, 88, SIZE)) == answer


@FAMILIES
def test_whose_fragments_join(family: int) -> None:
    """Fragments of other addresses, ids, and in IPv4 protocols wait apart."""
    one, two = ENDS[family]
    others = [
        piece(family, 88, SIZE, number=2),
        piece(family, 88, SIZE, ends=(two, one)),
        piece(family, 88, SIZE, ends=(one, one)),
    ]
    if family == 4:
        others.append(piece(family, 88, SIZE, protocol=p.TCP))
    talk = Talk()
    assert talk.all([piece(family, 0, 88), *others]) == [HELD] * (len(others) + 1)
    assert talk.say(piece(family, 88, SIZE), hook="OUTPUT") == HELD
    assert talk.say(piece(family, 88, SIZE)) == NEW


def test_a_capture_that_kept_only_heads() -> None:
    """Fragments cut short by their capture join too; what is missing is not blamed on the sender."""
    talk = Talk()
    assert talk.say(piece(4, 0, 88), have=60) == HELD
    assert talk.say(piece(4, 88, SIZE), have=60) == NEW
    talk = Talk()
    assert talk.say(piece(4, 88, SIZE), have=24) == HELD
    assert talk.say(piece(4, 0, 88), have=22) == "INVALID (CAPTURE_CUT)"


@FAMILIES
def test_any_fragments_in_any_order_are_safe(family: int, seed: int) -> None:
    """However fragments lie, the account of what waits is right, and all of it is forgotten in time."""
    random = Random(seed)
    talk = Talk(ipfrag_high_thresh=200_000, nf_conntrack_frag6_high_thresh=200_000)
    payload = random.randbytes(70_000)
    for _ in range(3000):
        start = random.choice((0, 0, 8, 64, 512, 8000, 60_000, 65_528)) + 8 * random.randrange(9)
        start = min(start, 65_528)
        end = start + random.choice((0, 1, 7, 8, 9, 64, 512, 1480, 4000))
        number = random.randrange(40)
        talk.say(piece(family, start, end, of=payload, more=random.random() < 0.8, number=number), wait=0.01)
        queues, charged = talk.engine.fragments[0 if family == 4 else 1]
        assert queues <= 40
        assert charged >= 184 * queues
    talk.engine.expire(talk.now + 60_000_000_000)
    assert talk.engine.fragments == ((0, 0), (0, 0))
