"""Writers of pcap and pcapng in every flavour, for tests. Records are (time in ns, bytes, bytes on the wire)."""

import struct

Record = tuple[int, bytes, int]

# An IPv4 UDP packet and an IPv6 one, whole but without checksums: a capture reader does not judge them.
IPV4 = bytes.fromhex("4500001c00010000401100000a0000010a000002") + bytes.fromhex("0035003500080000")
IPV6_ENDS = b"\xfd" + bytes(14) + b"\1\xfd" + bytes(14) + b"\2"
IPV6 = bytes.fromhex("6000000000081140") + IPV6_ENDS + bytes.fromhex("0035003500080000")

MACS = bytes.fromhex("020000000001020000000002")


def record(data: bytes, time_ns: int = 1_700_000_000_123_456_000, wire: int | None = None) -> Record:
    return time_ns, data, len(data) if wire is None else wire


def pcap(
    records: list[Record],
    *,
    order: str = "<",
    nano: bool = False,
    linktype: int = 101,
    modified: bool = False,
    version: tuple[int, int] = (2, 4),
    snaplen: int = 262144,
) -> bytes:
    """A pcap file. `modified` writes the 24-byte record headers of magic 0xa1b2cd34."""
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(order + "IHHIIII", magic, *version, 0, 0, snaplen, linktype)]
    for time, data, wire in records:
        seconds, rest = divmod(time, 10**9)
        lengths = (len(data), wire) if version >= (2, 3) else (wire, len(data))
        out.append(struct.pack(order + "IIII", seconds, rest if nano else rest // 1000, *lengths))
        if modified:
            out.append(struct.pack(order + "IHBB", 1, 0x0800, 0, 0))
        out.append(data)
    return b"".join(out)


def pad4(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    size = 12 + len(pad4(body))
    return struct.pack(order + "II", kind, size) + pad4(body) + struct.pack(order + "I", size)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + pad4(value)


def section(order: str = "<", length: int = -1, options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, length) + options, order)


def interface(
    linktype: int = 101,
    *,
    order: str = "<",
    snaplen: int = 0,
    tsresol: int | None = None,
    tsoffset: int | None = None,
    name: str = "",
) -> bytes:
    options = b""
    if name:
        options += option(2, name.encode(), order)
    if tsresol is not None:
        options += option(9, bytes([tsresol]), order)
    if tsoffset is not None:
        options += option(14, struct.pack(order + "q", tsoffset), order)
    if options:
        options += option(0, b"", order)
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def enhanced(
    data: bytes, ticks: int, *, port: int = 0, wire: int | None = None, order: str = "<", options: bytes = b""
) -> bytes:
    wire = len(data) if wire is None else wire
    head = struct.pack(order + "IIIII", port, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
    return block(6, head + pad4(data) + options, order)


def simple(data: bytes, wire: int | None = None, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", len(data) if wire is None else wire) + data, order)


def obsolete(data: bytes, ticks: int, *, port: int = 0, wire: int | None = None, order: str = "<") -> bytes:
    wire = len(data) if wire is None else wire
    return block(
        2, struct.pack(order + "HHIIII", port, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire) + data, order
    )


def pcapng(records: list[Record], *, order: str = "<", linktype: int = 101) -> bytes:
    """One section, one interface with nanosecond times, Enhanced Packet Blocks."""
    out = [section(order), interface(linktype, order=order, tsresol=9)]
    out += [enhanced(data, time, wire=wire, order=order) for time, data, wire in records]
    return b"".join(out)


def ethernet(payload: bytes, ethertype: int | None = None, tags: tuple[int, ...] = ()) -> bytes:
    """A frame whose EtherType follows the payload's IP version unless given, behind `tags` of these TPIDs."""
    if ethertype is None:
        ethertype = 0x86DD if payload[0] >> 4 == 6 else 0x0800
    fields = [field for tpid in tags for field in (tpid, 5)]
    return MACS + struct.pack(f">{len(fields) + 1}H", *fields, ethertype) + payload


def snap(payload: bytes) -> bytes:
    body = bytes.fromhex("aaaa03000000") + struct.pack(">H", 0x86DD if payload[0] >> 4 == 6 else 0x0800) + payload
    return MACS + struct.pack(">H", len(body)) + body


def pppoe(payload: bytes) -> bytes:
    body = struct.pack(">H", 0x0057 if payload[0] >> 4 == 6 else 0x0021) + payload
    return MACS + struct.pack(">HBBHH", 0x8864, 0x11, 0, 7, len(body)) + body


def cooked(payload: bytes, protocol: int | None = None) -> bytes:
    if protocol is None:
        protocol = 0x86DD if payload[0] >> 4 == 6 else 0x0800
    return struct.pack(">HHH8sH", 0, 1, 6, b"\2\0\0\0\0\1\0\0", protocol) + payload


def cooked2(payload: bytes, protocol: int | None = None) -> bytes:
    if protocol is None:
        protocol = 0x86DD if payload[0] >> 4 == 6 else 0x0800
    return struct.pack(">HHIHBB8s", protocol, 0, 2, 1, 0, 6, b"\2\0\0\0\0\1\0\0") + payload
