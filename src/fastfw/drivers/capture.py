"""Capture files: pcap and pcapng, memory-mapped, as arrays that address the IP packets in place.

Sources: draft-ietf-opsawg-pcap (file header, record header), draft-ietf-opsawg-pcapng (blocks and options),
draft-ietf-opsawg-pcaplinktype (link types).
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastfw.core.engine import LINK
from fastfw.drivers import capscan
from fastfw.drivers.mapping import Mapping

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["LINK_REASONS", "LINK_TYPES", "Capture", "CaptureError", "Interface"]

#: Names of the values of `Capture.link_reason`; 0, the empty name, is an IP packet.
LINK_REASONS = (
    "",
    "arp",
    "not_ip",
    "link_truncated",
    "link_type_unsupported",
    "interface_unknown",
    "record_damaged",
    "too_many_vlan_tags",
    "ip_version_mismatch",
)

#: Link types that can be read, and a few that are commonly met and cannot.
LINK_TYPES = {
    0: "BSD loopback",
    1: "Ethernet",
    12: "raw IP",
    14: "raw IP",
    101: "raw IP",
    105: "IEEE 802.11",
    108: "OpenBSD loopback",
    113: "Linux cooked v1",
    127: "IEEE 802.11 radiotap",
    187: "Bluetooth HCI",
    189: "USB",
    220: "USB",
    228: "IPv4",
    229: "IPv6",
    239: "NFLOG",
    253: "netlink",
    276: "Linux cooked v2",
}
_SUPPORTED = ", ".join(f"{number} {LINK_TYPES[number]}" for number in sorted(capscan.LINK_KINDS))

#: Those whose records begin with a frame's addresses or what became of them.
FRAMED = frozenset({1, 113, 276})

_ALL = slice(None)

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
}
# First four bytes as a little-endian number -> big-endian fields?, power of ten of a second's fraction, record header.
_PCAP_MAGIC = {
    0xA1B2C3D4: (False, 6, 16),
    0xD4C3B2A1: (True, 6, 16),
    0xA1B23C4D: (False, 9, 16),
    0x4D3CB2A1: (True, 9, 16),
    0xA1B2CD34: (False, 6, 24),
    0x34CDB2A1: (True, 6, 24),
}
_NATIVE = "<" if sys.byteorder == "little" else ">"
_INT64_MAX = (1 << 63) - 1
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14

# Records between two calls of `progress`, and between two looks for Ctrl-C.
_STEP = 1 << 20


class CaptureError(ValueError):
    """The file cannot be used as a capture; the message is one line."""


class Interface(NamedTuple):
    """Where records were taken: one for a pcap file, one per Interface Description Block for pcapng."""

    name: str
    """if_name, or "" where the file has none"""
    link_type: int
    """registered LINKTYPE number"""
    tsresol: int
    """resolution of its clock: n for 10^-n seconds, 128 + n for 2^-n seconds"""
    snaplen: int
    """bytes kept of each packet, counted from the link header; 0 for no limit"""


class Capture:
    """The records of a capture file, one entry each, in the file's order.

    Reads pcap (either byte order; microseconds, nanoseconds and the "modified" record header) and pcapng (any number of
    sections in either byte order; every kind of packet block; other blocks are stepped over). Regular files are mapped
    into memory and nothing is copied; a pipe is read to its end first. The size is that of the moment of opening; if
    the file is cut afterwards, what is lost reads as zeros and `lost` turns true.

    Parameters
    ----------
    path : the file, or the descriptor of one that is open for reading, which stays open.
    progress : called as progress(bytes_indexed, bytes_in_all) after every 2**20 records and at the end.

    Raises
    ------
    OSError : the file cannot be opened (missing, a directory, no permission).
    CaptureError : it is no capture, is compressed, or a pcap's link type is not supported.
    """

    source: str
    """the path, "<descriptor N>" or "<bytes>\""""
    data: npt.NDArray[np.uint8]
    """the whole file, read-only; `offset` counts from its first byte"""
    offset: npt.NDArray[np.uint64]
    """where each record's IP packet begins; for a record without one, where the record's data begins"""
    length: npt.NDArray[np.uint32]
    """bytes held of the IP packet, link-level padding included; 0 where the record holds no IP packet"""
    wire_length: npt.NDArray[np.uint32]
    """bytes the packet had on the wire from the IP header on; more than `length` if the record was cut"""
    time_ns: npt.NDArray[np.int64]
    """nanoseconds since 1970-01-01 UTC, saturating; 0 for pcapng's Simple Packet Blocks, which carry no time"""
    link_reason: npt.NDArray[np.uint8]
    """why a record holds no IP packet: an index into LINK_REASONS; 0 for IP packets"""
    link_size: npt.NDArray[np.uint8]
    """bytes of the record in front of the IP packet: its link-level header; 0 where the record holds no IP packet"""
    interface: npt.NDArray[np.uint16]
    """index into `interfaces`; 0 where the file names none that exists"""
    interfaces: list[Interface]
    """all interfaces of all sections, in the file's order"""
    warnings: list[str]
    """what is odd about the file, one clear line each"""

    def __init__(
        self, path: str | os.PathLike[str] | int, *, progress: Callable[[int, int], object] | None = None
    ) -> None:
        self.source = f"<descriptor {path}>" if isinstance(path, int) else os.fspath(path)
        self._mapping: Mapping | None = None
        with open(path, "rb", buffering=0, closefd=not isinstance(path, int)) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size:
                self._mapping = Mapping(file.fileno(), status.st_size)
                buffer: Any = self._mapping
            elif stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
                buffer = file.readall()
            else:
                raise CaptureError("neither a regular file nor a pipe")
        self._index(buffer, progress)

    @classmethod
    def from_bytes(
        cls, buffer: Buffer, *, source: str = "<bytes>", progress: Callable[[int, int], object] | None = None
    ) -> Capture:
        """The capture held in any contiguous bytes-like object, which must not change while it is used."""
        self = cls.__new__(cls)
        self.source = source
        self._mapping = None
        self._index(buffer, progress)
        return self

    def __len__(self) -> int:
        return len(self.offset)

    def __repr__(self) -> str:
        return f"<Capture {self.source!r}: {len(self)} records>" if hasattr(self, "data") else "<Capture, closed>"

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the arrays; the file is unmapped when no array of it is in use any more. Closing twice is fine."""
        for name in ("data", "offset", "length", "wire_length", "time_ns", "link_reason", "link_size", "interface"):
            self.__dict__.pop(name, None)
        self._mapping = None

    @property
    def framed(self) -> bool:
        """Whether the records of all its interfaces hold frames, so that `links` has something to say of them."""
        return all(interface.link_type in FRAMED for interface in self.interfaces)

    def links(self, part: slice = _ALL) -> npt.NDArray[np.void]:
        """What the frames of some of the records say, for `Engine.process`: an array of fastfw.core.engine.LINK.

        Ethernet has both addresses, and by its destination the packet type: broadcast, multicast or for the host.
        Linux's cooked records have the packet type as the kernel had it and the source; those that the host sent came
        in no frame. Others (raw IP, loopback) say nothing: no address is known, and the packet was for the host.
        """
        offset = np.ascontiguousarray(self.offset[part])
        link_size, interface = np.ascontiguousarray(self.link_size[part]), np.ascontiguousarray(self.interface[part])
        out = np.empty(len(offset), LINK)
        raw = out.view(np.uint8).reshape(-1, LINK.itemsize) if len(out) else np.empty((0, LINK.itemsize), np.uint8)
        kinds = np.array([capscan.LINK_KINDS.get(port.link_type, 0) for port in self.interfaces], np.uint8)
        capscan.links(self.data, offset, link_size, interface, kinds, raw)
        return out

    @property
    def lost(self) -> bool:
        """The file was cut while it was in use; what is gone reads as zeros."""
        return self._mapping is not None and self._mapping.lost

    def _index(self, buffer: Any, progress: Callable[[int, int], object] | None) -> None:
        data = _array(buffer, np.uint8)
        data.flags.writeable = False
        self.interfaces = []
        self.warnings = []
        self._order = _NATIVE
        scanner = capscan.Scanner(data)
        self._start(data[:24].tobytes(), scanner)
        status = capscan.MORE
        fault = ""
        while status == capscan.MORE and not fault:
            status = scanner.step(_STEP)
            if status == capscan.SECTION:
                fault = self._section(data, scanner)
                status = capscan.MORE
            elif status == capscan.INTERFACE:
                fault = self._interface(data, scanner)
                status = capscan.MORE
            elif progress is not None:
                progress(scanner.position, len(data))
        self._warn(data, scanner, status, fault)
        offset, length, wire_length, time_ns, reason, link_size, interface = scanner.take()
        self.data = data
        self.offset = _array(offset, np.uint64)
        self.length = _array(length, np.uint32)
        self.wire_length = _array(wire_length, np.uint32)
        self.time_ns = _array(time_ns, np.int64)
        self.link_reason = _array(reason, np.uint8)
        self.link_size = _array(link_size, np.uint8)
        self.interface = _array(interface, np.uint16)

    def _start(self, head: bytes, scanner: capscan.Scanner) -> None:
        """Tells the formats apart and reads the header of a pcap file."""
        if not head:
            raise CaptureError("empty file: no capture header")
        for magic, name in _COMPRESSED.items():
            if head.startswith(magic):
                raise CaptureError(f"compressed capture ({name}): decompress it first")
        if head.startswith(_SECTION_MAGIC):
            if len(head) < 12:
                raise CaptureError("the file ends inside its section header")
            scanner.start_section(False, 0)
            return
        magic_number = int.from_bytes(head[:4], "little")
        if len(head) < 4 or magic_number not in _PCAP_MAGIC:
            raise CaptureError(f"neither pcap nor pcapng: begins with the bytes {head[:4].hex(' ')}")
        if len(head) < 24:
            raise CaptureError(f"the file ends inside its header: {len(head)} of 24 bytes")
        swapped_from_little, tsresol, header = _PCAP_MAGIC[magic_number]
        order = ">" if swapped_from_little else "<"
        major, minor, _, _, snaplen, link = struct.unpack_from(order + "HHIIII", head, 4)
        if major != 2:
            raise CaptureError(f"pcap version {major}.{minor}: only version 2 is known")
        # The upper half may tell how long the frames' check sequence is.
        link &= 0xFFFF
        if link not in capscan.LINK_KINDS:
            raise CaptureError(f"unsupported link type {_link_name(link)}; supported are {_SUPPORTED}")
        self.interfaces.append(Interface("", link, tsresol, snaplen))
        scanner.add_interface(capscan.LINK_KINDS[link], snaplen, tsresol, 0)
        # Before version 2.4 the two lengths stood in the other order, with 2.3 written either way.
        scanner.start_pcap(order != _NATIVE, header, minor < 4)

    def _section(self, data: npt.NDArray[np.uint8], scanner: capscan.Scanner) -> str:
        """Reads a Section Header Block and makes its byte order the scanner's. Returns what is wrong with it."""
        head = data[scanner.position : scanner.position + 16].tobytes()
        if len(head) < 16:
            return "the file ends inside a section header"
        for order in "<>":
            size, magic, major, minor = struct.unpack_from(order + "IIHH", head, 4)
            if magic == _BYTE_ORDER_MAGIC:
                break
        else:
            return "section header without a byte-order magic"
        if major != 1:
            return f"pcapng version {major}.{minor}: only version 1 is known"
        if size < 28 or size & 3:
            return f"section header with an impossible length of {size} bytes"
        if size > len(data) - scanner.position:
            return "the file ends inside a section header"
        scanner.start_section(order != _NATIVE, scanner.position + size)
        self._order = order
        return ""

    def _interface(self, data: npt.NDArray[np.uint8], scanner: capscan.Scanner) -> str:
        """Reads the Interface Description Block at the scanner's position, whose framing the scanner has checked."""
        order = self._order
        size = struct.unpack(order + "I", data[scanner.position + 4 : scanner.position + 8].tobytes())[0]
        body = data[scanner.position + 8 : scanner.position + size - 4].tobytes()
        if len(body) < 8:
            return f"interface description with an impossible length of {size} bytes"
        link, snaplen = struct.unpack_from(order + "HxxI", body)
        name, tsresol, tsoffset = "", 6, 0
        at = 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(order + "HH", body, at)
            value = body[at + 4 : at + 4 + length]
            at += 4 + (length + 3 & ~3)
            if code == 0 or len(value) < length:
                break
            if code == _IF_NAME:
                name = value.rstrip(b"\0").decode("utf-8", "replace")
            elif code == _IF_TSRESOL and length == 1:
                tsresol = value[0]
            elif code == _IF_TSOFFSET and length == 8:
                tsoffset = struct.unpack(order + "q", value)[0]
        kind = capscan.LINK_KINDS.get(link, 0)
        offset_ns = max(-_INT64_MAX, min(tsoffset * 1_000_000_000, _INT64_MAX))
        try:
            scanner.add_interface(kind, snaplen, tsresol, offset_ns)
        except OverflowError as error:
            return str(error)
        self.interfaces.append(Interface(name, link, tsresol, snaplen))
        scanner.skip(size)
        return ""

    def _warn(self, data: npt.NDArray[np.uint8], scanner: capscan.Scanner, status: int, fault: str) -> None:
        """Says once each what is odd, and raises if a pcapng file was broken before it could hold anything."""
        rest = len(data) - scanner.position
        read = f"{scanner.count} records read"
        pcapng = data[0] == _SECTION_MAGIC[0]
        if self.lost:
            self.warnings.append(f"the file was cut while it was read; {read}")
        elif rest >= 4 and status != capscan.DONE and not data[scanner.position :].any():
            self.warnings.append(f"trailing garbage: {rest} zero bytes after the last record; {read}")
        elif fault:
            if scanner.position == 0:
                raise CaptureError(fault)
            self.warnings.append(f"{fault} at byte {scanner.position}; reading stops there, {read}")
        elif status == capscan.CUT:
            self.warnings.append(
                f"the file ends inside {'a block' if pcapng else 'a record'}, at byte {scanner.position}: it is still "
                f"being written or was cut; {read}"
            )
        elif status == capscan.BROKEN:
            self.warnings.append(
                f"no {'block' if pcapng else 'record'} at byte {scanner.position}: its length is impossible; the last "
                f"{rest} bytes are not read, {read}"
            )
        if scanner.shortened:
            self.warnings.append(f"{scanner.shortened} of {scanner.count} records were cut by the snap length")
        if scanner.damaged:
            self.warnings.append(f"{scanner.damaged} records claim more bytes than their block holds")
        if scanner.strays:
            self.warnings.append(f"{scanner.strays} records name an interface that the file does not describe")
        unsupported = sorted({i.link_type for i in self.interfaces if i.link_type not in capscan.LINK_KINDS})
        if unsupported:
            names = ", ".join(_link_name(link) for link in unsupported)
            self.warnings.append(f"unsupported link type {names}: its records are left out; supported are {_SUPPORTED}")


def _array(buffer: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.frombuffer(buffer, dtype) if memoryview(buffer).nbytes else np.empty(0, dtype)


def _link_name(number: int) -> str:
    return f"{number} ({LINK_TYPES[number]})" if number in LINK_TYPES else str(number)
