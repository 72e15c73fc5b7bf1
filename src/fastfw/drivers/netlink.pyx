"""How a packet queue is asked for and set up. A queue belongs to the socket that bound it and goes with it."""
import errno
import os
import socket as sockets

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport be16, raw16, raw32
from fastfw.core.declared cimport LINK_BROADCAST, LINK_HOST, LINK_MULTICAST, LINK_SOURCE
from fastfw.core.terms cimport HOOK_OUTPUT
from fastfw.core.wire cimport Packet


class QueueError(OSError):
    """The kernel would not do what was asked of its queue."""


cdef uint64_t datagram_of(const Packet *p, const uint64_t *secret) noexcept nogil:
    cdef uint32_t[10] word
    cdef uint64_t one = secret[10], other = 0
    cdef uint32_t i, count
    cdef uint32_t way = <uint32_t> (p.hook == HOOK_OUTPUT)
    if p.family == 4:
        word[0] = raw32(p.data + 12)
        word[1] = raw32(p.data + 16)
        word[2] = <uint32_t> be16(p.data + 4) << 8 | p.data[9]
        word[3] = way
        count = 4
    else:
        for i in range(8):
            word[i] = raw32(p.data + 8 + 4 * i)
        word[8] = raw32(p.data + p.l4 + 4) if p.l4 + 8 <= p.have else 0
        if p.data[24] == 0xff or (p.data[24] == 0xfe and p.data[25] & 0xc0 == 0x80):
            way |= <uint32_t> p.iif << 1
        word[9] = way
        count = 10
    for i in range(count):
        one += secret[i] * word[i]
        other += secret[i + 1] * word[i]
    return (one & <uint64_t> 0xffffffff00000000) | other >> 32 | 1


cdef inline uint8_t cast_of(const Packet *p) noexcept nogil:
    """The packet type that a frame to such a destination has (RFC 1112 section 6.4, RFC 2464 section 7)."""
    if p.have >= 20 and p.data[0] >> 4 == 4:
        if raw32(p.data + 16) == 0xffffffffu:
            return LINK_BROADCAST
        return LINK_MULTICAST if p.data[16] >> 4 == 14 else LINK_HOST
    return LINK_MULTICAST if p.have >= 40 and p.data[24] == 0xff else LINK_HOST


cdef void tell_link(Packet *p, const uint8_t *address, uint8_t *into) noexcept nogil:
    memset(into, 0, 16)
    memcpy(into + 6, address, 6)
    into[12] = cast_of(p)
    if raw32(address) or raw16(address + 4):        # all zeros: the loopback device, which is no Ethernet
        into[13] = LINK_SOURCE
    p.link = into


def queue_line(number):
    """The fields of a queue that some program has, as /proc/net/netfilter/nfnetlink_queue prints them; None without
    one, or without the right to read it."""
    try:
        with open("/proc/net/netfilter/nfnetlink_queue") as file:
            for line in file:
                fields = line.split()
                if int(fields[0]) == number:
                    return fields
    except OSError:
        pass
    return None


def config_message(number, *attributes):
    """One NFQNL_MSG_CONFIG request; attributes are (type, bytes)."""
    body = b"".join(
        (len(data) + 4).to_bytes(2, "little") + kind.to_bytes(2, "little") + data + bytes(3 - (len(data) + 3) % 4)
        for kind, data in attributes
    )
    return (
        (20 + len(body)).to_bytes(4, "little") + QUEUE_CONFIG.to_bytes(2, "little")
        + (FLAG_REQUEST | FLAG_ACK).to_bytes(2, "little") + bytes(8)
        + bytes([0, 0]) + number.to_bytes(2, "big") + body
    )


def copy_attribute(size):
    """The attribute that asks for `size` bytes of each packet."""
    return CONFIG_COPY, size.to_bytes(4, "big") + bytes([COPY_PACKET])


def ask(netlink, number, what, *attributes):
    """Send one configuration request and wait for the kernel's word on it."""
    netlink.send(config_message(number, *attributes))
    while True:
        answer = netlink.recv(65536)
        if int.from_bytes(answer[4:6], "little") == MESSAGE_ERROR:
            break
    code = -int.from_bytes(answer[16:20], "little", signed=True)
    if code in (errno.EPERM, errno.EBUSY) and queue_line(number) is not None:
        raise QueueError(errno.EBUSY, f"queue {number}: another program has it")
    if code == errno.EPERM:
        raise PermissionError(code, f"queue {number}: not allowed to {what} it: CAP_NET_ADMIN is needed")
    if code:
        raise QueueError(code, f"queue {number}: the kernel would not {what} it: {os.strerror(code)}")


def open_queue(number, copy_range, length, fail_open, gso, receive_buffer):
    """Bind a queue, each request acknowledged by the kernel; returns the socket, which does not block."""
    kind = sockets.SOCK_RAW | sockets.SOCK_CLOEXEC
    netlink = sockets.socket(sockets.AF_NETLINK, kind, NETLINK_NETFILTER_PROTOCOL)
    try:
        netlink.bind((0, 0))
        netlink.settimeout(5)
        flags = (QUEUE_FAIL_OPEN if fail_open else 0) | (QUEUE_GSO if gso else 0)
        ask(netlink, number, "bind", (CONFIG_COMMAND, bytes([COMMAND_BIND, 0, 0, 0])))
        ask(netlink, number, "set the length of", (CONFIG_LENGTH, length.to_bytes(4, "big")))
        ask(netlink, number, "set the flags of", (CONFIG_FLAGS, flags.to_bytes(4, "big")),
            (CONFIG_MASK, (QUEUE_FAIL_OPEN | QUEUE_GSO).to_bytes(4, "big")))
        for option in (SOCKET_BUFFER_FORCE, sockets.SO_RCVBUF):       # the first needs CAP_NET_ADMIN
            try:
                netlink.setsockopt(sockets.SOL_SOCKET, option, receive_buffer)
                break
            except OSError:
                continue
        # what finds no room is counted (overruns); told, it would cost a system call that brings nothing
        netlink.setsockopt(NETLINK_LEVEL, NETLINK_OPTION_NO_ENOBUFS, 1)
        # packets come from here on
        ask(netlink, number, "set the copy range of", copy_attribute(copy_range))
        netlink.setblocking(False)
        return netlink
    except TimeoutError:
        netlink.close()
        raise QueueError(errno.ETIMEDOUT, f"queue {number}: the kernel does not answer") from None
    except BaseException:
        netlink.close()
        raise


def overruns(netlink):
    """How many messages found no room in a netlink socket."""
    words = netlink.getsockopt(sockets.SOL_SOCKET, SOCKET_MEMORY, 4 * (SOCKET_MEMORY_DROPS + 1))
    return int.from_bytes(words[4 * SOCKET_MEMORY_DROPS:][:4], "little")
