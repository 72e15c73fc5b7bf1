"""`fastfw conntrack`: conntrack(8)'s words for the daemon's connections."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastfw._version import __version__
from fastfw.cli.ctwords import Words, parse
from fastfw.cli.daemonclient import check_layout, connect, take_socket
from fastfw.cli.errors import CliError
from fastfw.connection import (
    SCTP,
    TCP,
    Connection,
    Expectation,
    from_entry,
    from_event,
    from_expect,
    from_expectation_event,
)
from fastfw.core.reasons import SCTP_STATES, TCP_STATES
from fastfw.core.snapshot import ENTRY, EVENT, EXPECT, EXPECTATION_EVENT, EXTRA, entry_of
from fastfw.listing import (
    SAVED_STATUS,
    SaveLineError,
    address,
    event_line,
    expectation_event_line,
    expectation_line,
    line,
    read_save,
    save_line,
    tag_number,
)

USAGE = """usage: fastfw conntrack [--control SOCKET] COMMAND [OPTION]...

Lists and changes the connections of a running daemon, in the words of conntrack(8).

  -L [conntrack|expect]  list          -G  one connection      -D  delete
  -I  create                           -A  create if absent    -R FILE  enter what -L -o save printed
  -U  update                           -E [expect]  follow events
  -F [conntrack|expect]  forget all    -C [expect]  count      -S  statistics
which:  -s -d -r -q ADDRESS[/LENGTH]  -p PROTOCOL  -f ipv4|ipv6  --sport --dport PORT  --state STATE
        -m MARK[/MASK]  -u STATUS,...  -w ZONE
how:    -o extended,id,save,timestamp,ktimestamp,xml   -e NEW,UPDATES,DESTROY   -t SECONDS
"""
AT_ONCE = 20_000
"""Connections that one request enters."""

STATE_NUMBERS = {
    protocol: {name: number for number, name in enumerate(states)}
    for protocol, states in ((TCP, TCP_STATES), (SCTP, SCTP_STATES))
}
FULL = "the table is full"
PROGRAM = f"conntrack v{__version__} (fastfw)"

Row = tuple[Any, int, Connection]


def main(prog: str, argv: Sequence[str]) -> int:
    """0 done, 1 the answer is no, 2 unusable."""
    socket, rest = take_socket(argv)
    if not rest:
        raise CliError(f"a command is expected, such as -L; see `{prog} --help'")
    if rest in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if rest in (["-V"], ["--version"]):
        print(PROGRAM)
        return 0
    words = parse(rest)
    with connect(socket) as client:
        check_layout(client)
        if words.table == "expect":
            return EXPECT_COMMANDS[words.command](client, words)
        return COMMANDS[words.command](client, words)


def tell(text: str) -> None:
    """What conntrack(8) says on standard error."""
    sys.stdout.flush()
    print(f"{PROGRAM}: {text}", file=sys.stderr)


def answered(client: Any, verb: str, **fields: Any) -> list[Any]:
    """All replies to a request that succeeded. CliError with the daemon's words otherwise."""
    replies = list(client.ask(verb, **fields))
    if replies[-1].status:
        raise CliError(replies[-1].err.removeprefix("fastfw: ").strip())
    return replies


def table(client: Any) -> Iterator[Row]:
    """The table, record by record, as it comes."""
    now, helpers = 0, [""]
    for reply in client.ask("table"):
        if reply.data:
            now, helpers = reply.data["now"], reply.data["helpers"]
        if not reply.rows:
            continue
        rows = np.frombuffer(reply.rows, ENTRY)
        extras = np.frombuffer(reply.extras, EXTRA).tolist() if reply.extras else [None] * len(rows)
        numbers = np.frombuffer(reply.numbers, np.uint32).tolist()
        for record, row, index, extra in zip(rows, rows.tolist(), numbers, extras, strict=True):
            yield record, index, from_entry(row, index, now, helpers, extra)


def shown(connection: Connection, words: Words) -> str:
    """A connection in the form that -o asks for."""
    if "xml" in words.output:
        return xml(connection)
    if "save" in words.output:
        return save_line(connection)
    return line(connection, extended="extended" in words.output, with_id="id" in words.output)


def xml(c: Connection) -> str:
    """A connection as `-o xml` has it."""
    names = ("ipv4", "2") if c.family == 4 else ("ipv6", "10")
    from fastfw.connection import ICMP, ICMP_REPLIES, ICMPV6, IP_PROTOCOL_NAMES

    parts = []
    for way, reply in (("original", False), ("reply", True)):
        ends = (c.destination, c.source) if reply else (c.source, c.destination)
        ports = (c.destination_port, c.source_port) if reply else (c.source_port, c.destination_port)
        if c.protocol in (ICMP, ICMPV6):
            kind = c.destination_port >> 8
            kind = ICMP_REPLIES[c.family][kind] if reply else kind
            inner = f"<type>{kind}</type><code>{c.destination_port & 0xFF}</code><id>{c.source_port}</id>"
        elif c.source_port or c.destination_port:
            inner = f"<sport>{ports[0]}</sport><dport>{ports[1]}</dport>"
        else:
            inner = ""
        counted = ""
        if c.accounting is not None:
            packets, size = c.accounting[reply]
            counted = f"<counters><packets>{packets}</packets><bytes>{size}</bytes></counters>"
        parts.append(
            f'<meta direction="{way}"><layer3 protonum="{names[1]}" protoname="{names[0]}">'
            f'<src>{address(ends[0])}</src><dst>{address(ends[1])}</dst></layer3><layer4 protonum="{c.protocol}" '
            f'protoname="{IP_PROTOCOL_NAMES.get(c.protocol, "unknown")}">{inner}</layer4>{counted}</meta>'
        )
    state = f"<state>{c.state}</state>" if c.state else ""
    zone = f"<zone>{c.zone}</zone>" if c.zone else ""
    flags = ("" if c.seen_reply else "<unreplied/>") + ("<assured/>" if c.assured else "")
    parts.append(
        f'<meta direction="independent">{state}<timeout>{c.timeout}</timeout><mark>{c.mark}</mark>{zone}<use>1</use>'
        f"<id>{c.index}</id>{flags}</meta>"
    )
    return f"<flow>{''.join(parts)}</flow>"


def list_connections(client: Any, words: Words) -> int:
    """-L"""
    count = 0
    if "xml" in words.output:
        print('<?xml version="1.0" encoding="utf-8"?>\n<conntrack>')
    for _, _, connection in table(client):
        if words.wants(connection):
            print(shown(connection, words))
            count += 1
    if "xml" in words.output:
        print("</conntrack>")
    tell(f"{count} flow entries have been shown.")
    return 0


def get(client: Any, words: Words) -> int:
    """-G"""
    for _, _, connection in table(client):
        if words.wants(connection):
            print(shown(connection, words))
            tell("1 flow entries have been shown.")
            return 0
    tell("Operation failed: such conntrack doesn't exist")
    return 1


def chosen(client: Any, words: Words, *, marked: bool = True) -> tuple[list[Row], dict[str, bytes]]:
    """The connections that are meant, and their records for a request."""
    rows = [row for row in table(client) if words.wants(row[2], marked=marked)]
    numbers = np.array([index for _, index, _ in rows], np.uint32).tobytes()
    return rows, {"rows": b"".join(record.tobytes() for record, _, _ in rows), "numbers": numbers}


def delete(client: Any, words: Words) -> int:
    """-D"""
    rows, records = chosen(client, words)
    gone = answered(client, "delete", **records)[-1].data if rows else 0
    for _, _, connection in rows:
        print(shown(connection, words))
    tell(f"{gone} flow entries have been deleted.")
    return 0 if gone else 1


def update(client: Any, words: Words) -> int:
    """-U"""
    rows, records = chosen(client, words, marked=False)
    options: dict[str, int] = {}
    if words.mark is not None:
        options |= {"mark": words.mark, "mark_mask": words.mask}
    if "timeout" in words.numbers:
        options["timeout"] = words.numbers["timeout"]
    if words.status:
        options["status"] = int(sum(SAVED_STATUS.get(name, 0) for name in set(words.status)))
    changed = answered(client, "change", options=options, **records)[-1].data if rows else 0
    numbers = {index for _, index, _ in rows}
    for _, index, connection in table(client) if rows else ():
        if index in numbers and words.wants(connection, marked=False):
            print(shown(connection, words))
    tell(f"{changed} flow entries have been updated.")
    return 0 if changed else 1


def engine_time(client: Any) -> int:
    """The daemon's clock, ns."""
    replies = list(client.ask("table"))
    return int(replies[0].data["now"])


def enter(client: Any, made: Sequence[Connection]) -> tuple[int, int]:
    """Enter connections; how many were, and how many found no room."""
    now, entered, refused = engine_time(client), 0, 0
    for at in range(0, len(made), AT_ONCE):
        some = made[at : at + AT_ONCE]
        rows = b"".join(entry_of(each, now, STATE_NUMBERS.get(each.protocol, {})).tobytes() for each in some)
        done = answered(client, "insert", rows=rows, numbers=np.zeros(len(some), np.uint32).tobytes())[-1].data
        entered, refused = entered + done["entered"], refused + done["refused"]
    return entered, refused


def create(client: Any, words: Words) -> int:
    """-I, and -A, to which it is no failure that the connection exists"""
    ends = [words.networks[name].network_address for name in ("source", "destination")]
    numbers = words.numbers
    sport, dport = numbers.get("sport", 0), numbers.get("dport", 0)
    if "type" in numbers:
        sport, dport = numbers.get("id", 0), numbers["type"] << 8 | numbers.get("code", 0)
    if words.protocol in STATE_NUMBERS and words.state is None:
        raise CliError(f"-{words.command}: --state expected")
    made = Connection(
        family=ends[0].version, protocol=words.protocol or 0, source=ends[0].packed, destination=ends[1].packed,
        source_port=sport, destination_port=dport, state=words.state or "",
        status=int(sum(SAVED_STATUS.get(name, 0) for name in set(words.status))),
        timeout=numbers["timeout"], mark=words.mark or 0, zone=numbers.get("zone", 0), helper="", index=0,
        tags=(tag_number(numbers.get("tag", 0)), tag_number(numbers.get("reply_tag", 0))),
    )  # fmt: skip
    entered, refused = enter(client, [made])
    if entered:
        tell("1 flow entries have been created.")
        return 0
    if words.command == "A" and not refused:
        return 0
    tell(f"Operation failed: {FULL if refused else 'Such conntrack exists, try -U to update'}")
    return 1


def load(client: Any, words: Words) -> int:
    """-R"""
    name = "standard input" if words.file == "-" else words.file
    try:
        data = sys.stdin.buffer.read() if words.file == "-" else Path(words.file).read_bytes()
        made = read_save(data.decode("ascii").splitlines())
    except OSError as error:
        raise CliError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CliError(f"{name}: text of `conntrack -o save' expected") from None
    except SaveLineError as error:
        raise CliError(f"{name}: {error}") from None
    refused = enter(client, made)[1] if made else 0
    if refused:
        tell(f"Operation failed: {FULL} for {refused} of {len(made)} connections")
    return 1 if refused else 0


def flush(client: Any, words: Words) -> int:
    """-F"""
    answered(client, "flush")
    tell("connection tracking table has been emptied.")
    return 0


def count(client: Any, words: Words) -> int:
    """-C"""
    print(answered(client, "status")[-1].data["connections"])
    return 0


def statistics(client: Any, words: Words) -> int:
    """-S: one line, since one table serves every queue."""
    counts = answered(client, "status")[-1].data["counters"]
    names = ("found", "invalid", "insert", "insert_failed", "drop", "early_drop")
    text = "".join(f"{name}={counts[name]} " for name in names)
    print(f"cpu=0   \t{text}error={counts['icmp_error']} search_restart=0 clash_resolve=0 chaintoolong=0 ")
    return 0


def told(client: Any, table: str, kind: np.dtype[Any]) -> Iterator[tuple[Any, Any]]:
    """What the daemon tells of a table, record by record, with what it last said of itself, until interrupted."""
    client.wait(None)
    known: dict[str, Any] = {"helpers": [""], "classes": [[]]}
    try:
        for reply in client.ask("events", options={"table": table}):
            known |= reply.data or {}
            if lost := (reply.data or {}).get("lost"):
                tell(f"{lost} events are lost: they came faster than they were read")
            for row in np.frombuffer(reply.rows, kind).tolist():
                yield row, known
    except KeyboardInterrupt:
        pass


def stamped(time_ns: int, text: str, words: Words) -> str:
    """An event's line, with its time in front where that is asked for."""
    if "timestamp" not in words.output:
        return text
    return f"[{time_ns // 10**9:<8}.{time_ns // 1000 % 10**6:<6}]\t{text}"


def follow(client: Any, words: Words) -> int:
    """-E, until interrupted."""
    seen = 0
    for row, known in told(client, "conntrack", EVENT):
        event = from_event(row, known["helpers"])
        if event.kind in words.events and words.wants(event.connection):
            print(stamped(event.time, event_line(event), words), flush=True)
            seen += 1
    tell(f"{seen} flow events have been shown.")
    return 0


def follow_expectations(client: Any, words: Words) -> int:
    """-E expect, until interrupted."""
    seen = 0
    for row, known in told(client, "expect", EXPECTATION_EVENT):
        event = from_expectation_event(row, known["helpers"], known["classes"])
        print(stamped(event.time, expectation_event_line(event), words), flush=True)
        seen += 1
    tell(f"{seen} expectation events have been shown.")
    return 0


def waiting(client: Any) -> Iterator[tuple[Expectation, Connection | None]]:
    """What helpers announced, with the connection that announced it."""
    replies = answered(client, "expectations")
    data, last = replies[0].data, replies[-1]
    numbers = np.frombuffer(last.numbers, np.uint32).tolist()
    rows = np.frombuffer(last.extras, ENTRY).tolist()
    masters = {
        index: from_entry(row, index, data["now"], data["helpers"]) for index, row in zip(numbers, rows, strict=True)
    }
    for reply in replies:
        for row in np.frombuffer(reply.rows, EXPECT).tolist():
            expectation = from_expect(row, data["now"], data["helpers"], data["classes"])
            yield expectation, masters.get(expectation.master)


def list_expectations(client: Any, words: Words) -> int:
    """-L expect"""
    shown_count = 0
    for e, master in waiting(client):
        if words.family not in (None, e.family) or words.protocol not in (None, e.protocol):
            continue
        print(expectation_line(e, master))
        shown_count += 1
    tell(f"{shown_count} expectations have been shown.")
    return 0


def flush_expectations(client: Any, words: Words) -> int:
    """-F expect"""
    answered(client, "flush-expectations")
    tell("expectation table has been emptied.")
    return 0


def count_expectations(client: Any, words: Words) -> int:
    """-C expect"""
    print(answered(client, "status")[-1].data["expectations"])
    return 0


COMMANDS = {
    "L": list_connections, "G": get, "D": delete, "I": create, "A": create, "R": load, "U": update, "E": follow,
    "F": flush, "C": count, "S": statistics,
}  # fmt: skip

EXPECT_COMMANDS = {
    "L": list_expectations, "F": flush_expectations, "C": count_expectations, "E": follow_expectations,
}  # fmt: skip
