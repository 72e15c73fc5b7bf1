"""Questions about TCP: states, flags, windows, resets, retransmissions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from tests.kernel.facts.asking import FA, OPEN, PATHS, RA, SA, A, Asker, Connection, R, S, Table
from tests.traffic import packets as p

CLASSES = (("SYN", S), ("SYN-ACK", SA), ("FIN-ACK", FA), ("ACK", A), ("RST", R), ("RST-ACK", RA))


def steady(entry: str) -> str:
    """A state and its time left, the second that may have passed put back."""
    state, _, left = entry.partition(" ")
    return f"{state} {int(left) + 1}" if left and left[-1] == "9" else entry


def transitions() -> Table:
    ports, rows = count(1000), []
    with Asker() as kernel:
        for state, path in PATHS.items():
            for end in (0, 1):
                row = [state, "original" if end == 0 else "reply"]
                for _, flags in CLASSES:
                    connection = Connection(kernel, next(ports))
                    connection.follow(path)
                    before = steady(connection.entry())
                    answer = connection.send(end, flags)
                    after = steady(connection.entry())
                    if answer == "INVALID":
                        row.append("INVALID" if after == before else f"INVALID, {after}")
                    else:
                        new = "NEW, " if answer == "NEW" else ""
                        row.append(f"{new}{'same' if after == before else after}")
                rows.append(row)
    about = (
        "The state and timeout after one segment with right numbers. `same`: it passes as ESTABLISHED and nothing "
        "shows in the table; INVALID alone: the entry stays as it was. NONE: the first packet of all."
    )
    return Table("TCP: what follows what", about, ["state", "from", *(name for name, _ in CLASSES)], rows)


FLAG_NAMES = ((p.FIN, "FIN"), (p.SYN, "SYN"), (p.RST, "RST"), (p.PSH, "PSH"), (p.ACK, "ACK"), (p.URG, "URG"))


def flags() -> Table:
    ports, valid = count(1000), []
    with Asker() as kernel:
        for combination in range(64):
            connection = Connection(kernel, next(ports))
            connection.follow(OPEN)
            reply = connection.send(1, combination)
            first = Connection(kernel, next(ports)).send(0, combination)
            if reply != "INVALID" or first != "INVALID":
                names = " ".join(name for bit, name in FLAG_NAMES if combination & bit) or "none"
                valid.append([names, first, reply.split()[0]])
    about = "Every combination of the six flags that is not INVALID somewhere: as a first packet, and as a reply."
    return Table("TCP: flags that mean something", about, ["flags", "first packet", "reply on ESTABLISHED"], valid)


def edges(kernel: Asker, ports: Iterator[int], make: str, scale: bytes, window: int) -> list[tuple[str, str]]:
    """Where the answer changes as one number of a segment moves away from the right one."""

    def outcome(distance: int) -> str:
        connection = Connection(kernel, next(ports), [1 << 30, 1 << 31], [65535, 65535], (scale, scale))
        kernel.set("nf_conntrack_tcp_timeout_established", 432000)
        connection.follow(OPEN)
        connection.windows = [window, window]
        connection.send(0, A, 1000)
        connection.send(1, A, 1000)
        connection.send(0, A)
        kernel.set("nf_conntrack_tcp_timeout_established", 1000)
        place = {make: distance}
        answer = connection.send(0, A, **place)  # type: ignore[arg-type]
        refreshed = int(connection.entry().split()[1]) <= 1000
        return "INVALID" if answer == "INVALID" else "passes" if refreshed else "passes, timeout stays"

    places = sorted(
        {sign * value for sign in (1, -1) for value in (0, 1, 2, 500, 999, 1000, 1001, 65535, 66000, 1 << 20)}
    )
    found: list[tuple[str, str]] = []
    limit = (1 << 31) - 1
    places = [-limit, *places, limit]
    outcomes = [outcome(place) for place in places]
    low = places[0]
    for left, right, before, after in zip(places, places[1:], outcomes, outcomes[1:], strict=False):
        if before != after:
            while right - left > 1:
                middle = (left + right) // 2
                if outcome(middle) == before:
                    left = middle
                else:
                    right = middle
            found.append((f"{low} … {left}", before))
            low = right
    found.append((f"{low} … {places[-1]}", outcomes[-1]))
    return found


def windows() -> Table:
    ports, rows = count(1000), []
    with Asker() as kernel:
        for make in ("seq", "ack"):
            for shift, window in ((None, 3000), (4, 3000)):
                scale = b"" if shift is None else p.window_scale(shift)
                for distances, answer in edges(kernel, ports, make, scale, window):
                    rows.append([make, "none" if shift is None else str(shift), str(window), distances, answer])
    about = (
        "An empty ACK of the client on an ESTABLISHED connection on which each end sent 1000 bytes, its sequence or "
        "acknowledgement number moved by so much. Both SYNs offered the shift; both ends now offer the window field."
    )
    return Table("TCP: the window's edges", about, ["number", "shift", "window", "moved by", "answer"], rows)


def resets() -> Table:
    ports, rows = count(1000), []
    distances = (0, 1, -1, 2000, -2000, 100_000, -100_000, 1 << 30)
    with Asker() as kernel:
        for state in (
            "SYN_SENT",
            "SYN_RECV",
            "ESTABLISHED",
            "FIN_WAIT",
            "CLOSE_WAIT",
            "LAST_ACK",
            "TIME_WAIT",
            "CLOSE",
        ):
            for end in (0, 1):
                row = [state, "original" if end == 0 else "reply"]
                for distance in distances:
                    connection = Connection(kernel, next(ports))
                    connection.follow(PATHS[state])
                    before = steady(connection.entry())
                    answer = connection.send(end, R, seq=distance)
                    after = steady(connection.entry())
                    row.append(answer if answer == "INVALID" else "same" if after == before else after)
                rows.append(row)
    about = "A bare RST whose sequence number is so far from the next one expected."
    return Table("TCP: resets", about, ["state", "from", *(f"{distance:+d}" for distance in distances)], rows)


Step = tuple[int, int, int, int, int]  # end, flags, payload size, shift of seq, shift of ack
STORIES: dict[str, list[Step]] = {
    "SYN on a live connection, challenge ACK, RST, SYN": [
        *((end, flags, 0, 0, 0) for end, flags in OPEN),
        (0, S, 0, 90_000, 0),
        (1, A, 0, 0, 0),
        (0, R, 0, 0, 0),
        (0, S, 0, 90_000, 0),
    ],
    "SYN on a live connection answered by a RST": [
        *((end, flags, 0, 0, 0) for end, flags in OPEN),
        (0, S, 0, 90_000, 0),
        (1, RA, 0, 0, 90_001),
        (0, S, 0, 90_000, 0),
    ],
    "SYN on a live connection answered by a SYN-ACK": [
        *((end, flags, 0, 0, 0) for end, flags in OPEN),
        (0, S, 0, 90_000, 0),
        (1, SA, 0, 70_000, 90_001),
        (0, A, 0, 90_001, 70_001),
    ],
    "stale SYN-ACK to a SYN": [(0, S, 0, 0, 0), (1, SA, 0, 500, 500), (1, SA, 0, 500, 500), (0, R, 0, 500, 0)],
    "picked up mid-stream and answered": [(0, A, 100, 0, 0), (1, A, 0, 0, 0), (0, A, 0, 0, 0)],
    "picked up mid-stream, answered out of window": [(0, A, 100, 0, 0), (1, A, 0, 0, 200_000), (1, A, 0, 0, 0)],
    "picked up mid-stream by the same end twice": [(0, A, 100, 0, 0), (0, A, 100, 0, 0)],
    "data retransmitted four times": [
        *((end, flags, 0, 0, 0) for end, flags in OPEN),
        (0, A, 100, 0, 0),
        *[(0, A, 100, -100, 0)] * 5,
        (1, A, 0, 0, 0),
    ],
    "data unacknowledged": [*((end, flags, 0, 0, 0) for end, flags in OPEN), (0, A, 100, 0, 0)],
    "simultaneous open": [(0, S, 0, 0, 0), (1, S, 0, 0, 0), (1, SA, 0, -1, 0), (0, SA, 0, -1, 0), (0, A, 0, 0, 0)],
    "SYN again and again": [(0, S, 0, 0, 0), *[(0, S, 0, -1, 0)] * 5],
    "SYN-ACK again and again": [(0, S, 0, 0, 0), (1, SA, 0, 0, 0), *[(1, SA, 0, -1, 0)] * 4],
    "lone RST in reply to SYN": [(0, S, 0, 0, 0), (1, R, 0, 0, 0)],
    "RST-ACK to SYN that acknowledges something else": [(0, S, 0, 0, 0), (1, RA, 0, 0, 5)],
    "FIN, then RST in and out of place": [
        *((end, flags, 0, 0, 0) for end, flags in OPEN),
        (0, FA, 0, 0, 0),
        (1, R, 0, 50, 0),
    ],
    "SYN in TIME_WAIT with a lower number": [*((e, f, 0, 0, 0) for e, f in PATHS["TIME_WAIT"]), (0, S, 0, -900, 0)],
    "SYN in TIME_WAIT from the other end": [*((e, f, 0, 0, 0) for e, f in PATHS["TIME_WAIT"]), (1, S, 0, 900, 0)],
    "SYN in CLOSE from the other end": [*((e, f, 0, 0, 0) for e, f in PATHS["CLOSE"]), (1, S, 0, 900, 0)],
}


def stories() -> Table:
    ports, rows = count(1000), []
    with Asker() as kernel:
        for name, steps in STORIES.items():
            connection = Connection(kernel, next(ports))
            for number, (end, bits, size, seq, ack) in enumerate(steps):
                answer = connection.send(end, bits, size, seq, ack)
                label = " ".join(text for bit, text in FLAG_NAMES if bits & bit)
                moved = f" seq{seq:+d}" * bool(seq) + f" ack{ack:+d}" * bool(ack) + f" {size} bytes" * bool(size)
                rows.append(
                    [
                        name if number == 0 else "",
                        "→" if end == 0 else "←",
                        label + moved,
                        answer,
                        steady(connection.entry()),
                    ]
                )
    about = "Each step is one segment: who sent it, what it was, the answer, and the entry afterwards."
    return Table("TCP: stories", about, ["story", "", "segment", "answer", "entry"], rows)


ALL = (transitions, flags, windows, resets, stories)
