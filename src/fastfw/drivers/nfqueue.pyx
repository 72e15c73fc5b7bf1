"""The kernel's packet queue as a source of packets: NFQUEUE, by netlink, without a system library.

A thread waits in `run`, or an event loop calls `poll` when `fileno()` is readable. Packets are received up to 64 at a
time, judged in one batch and answered with one system call; system calls are made without the engine's lock and
without the GIL.

The kernel vouches for checksums it has verified, hands over super-packets whose checksums are yet to be written, and
cuts packets at the copy range: none of the three is held against a packet.
"""
import errno
import os
import socket as sockets
import time

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from fastfw.core.bytes cimport be16, be32, raw32, raw64
from fastfw.core.engine cimport Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.terms cimport (
    HOOK_FORWARD, HOOK_INPUT, HOOK_OUTPUT, VERDICT_DROP, VERDICT_HOLD, VERDICT_REJECT,
)
from fastfw.core.wire cimport KIND_FRAGMENT, Packet

from fastfw.drivers.rejected import Rejected

cdef extern from "netlink.h" nogil:
    struct netlink_message:
        uint32_t length
        uint16_t type
        uint16_t flags
        uint32_t sequence
        uint32_t port
        uint8_t family
        uint8_t version
        uint16_t resource
    enum:
        MESSAGE_ERROR
        FLAG_REQUEST
        QUEUE_PACKET
        QUEUE_VERDICT
        QUEUE_VERDICT_BATCH
        ATTR_PACKET_HEADER
        ATTR_VERDICT
        ATTR_MARK
        ATTR_IN
        ATTR_OUT
        ATTR_PAYLOAD
        ATTR_CAPTURED
        ATTR_SKB
        SKB_CHECKSUM_NOT_VERIFIED
        NF_DROP_VERDICT
        NF_ACCEPT_VERDICT
        AT_INPUT
        AT_OUTPUT
    int QUEUE_CONFIG
    int FLAG_ACK
    int CONFIG_COMMAND
    int CONFIG_COPY
    int CONFIG_LENGTH
    int CONFIG_MASK
    int CONFIG_FLAGS
    int COMMAND_BIND
    int COPY_PACKET
    int QUEUE_FAIL_OPEN
    int QUEUE_GSO
    int NETLINK_NETFILTER_PROTOCOL
    int NETLINK_LEVEL
    int NETLINK_OPTION_NO_ENOBUFS

cdef extern from "<errno.h>" nogil:
    int error "errno"
    int EAGAIN
    int EINTR
    int ENOBUFS

cdef extern from "<sys/socket.h>" nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/uio.h>
    """
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int socket, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    ssize_t send(int socket, const void *data, size_t size, int flags)
    int MSG_DONTWAIT

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout)
    short POLLIN

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *into)
    int CLOCK_BOOTTIME

cdef extern from "<arpa/inet.h>" nogil:
    uint32_t htonl(uint32_t)
    uint16_t htons(uint16_t)

cdef enum:
    VERDICT_ROOM = 64 * 1024
    REASSEMBLY_SECONDS = 60      # after which a held fragment is dropped whatever happened to its datagram


class QueueError(OSError):
    """The kernel would not do what was asked of its queue."""


cdef inline int64_t boot_clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_BOOTTIME, &now)
    return <int64_t> now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef uint64_t datagram_of(const Packet *p) noexcept nogil:
    """Which datagram a fragment belongs to: a hash of what reassembly goes by. A clash joins two datagrams' fates for
    the moment both are held."""
    cdef uint64_t a, b
    if p.family == 4:
        a = raw64(p.data + 12)
        b = <uint64_t> be16(p.data + 4) << 8 | p.data[9]
    else:
        a = raw64(p.data + 8) ^ raw64(p.data + 16) * 3 ^ raw64(p.data + 24) * 5 ^ raw64(p.data + 32) * 7
        b = raw32(p.data + p.l4 + 4) if p.l4 + 8 <= p.have else 0
    return (a ^ (a >> 29)) * <uint64_t> 0x9e3779b97f4a7c15 ^ b * <uint64_t> 0xbf58476d1ce4e5b9 ^ 1


def queue_line(number):
    """The fields of a queue that some program has, as /proc/net/netfilter/nfnetlink_queue prints them; None without
    one."""
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


cdef class Queue:
    """One NFQUEUE queue and the engine that judges its packets.

    `length` is how many packets the kernel holds for us, `copy_range` how many bytes of each it copies (helpers and
    payload matches need 65535), `fail_open` lets packets through where the queue is full, `gso` takes super-packets.
    `on_reject(rejected)` is called with a Rejected for packets that a REJECT rule drops. PermissionError without
    CAP_NET_ADMIN; QueueError where the kernel refuses, as when another program has the queue.
    """

    def __cinit__(self):
        self.socket = -1
        self.wakeup = -1

    def __init__(self, Core engine, int number=0, *, int copy_range=128, int length=4096, bint fail_open=False,
                 bint gso=True, int receive_buffer=16 << 20, on_reject=None):
        if not 0 <= number <= 65535:
            raise ValueError(f"number: a queue from 0 to 65535 expected, not {number}")
        if not 68 <= copy_range <= 65535:
            raise ValueError(f"copy_range: 68 to 65535 bytes expected, not {copy_range}")
        if length < 1:
            raise ValueError(f"length: at least one packet expected, not {length}")
        self.core = engine
        self.number = number
        self.copy_range = copy_range
        self.on_reject = on_reject
        # the engine's clock is the wall clock as it was now, carried on by one that never jumps
        self.clock_offset = time.time_ns() - boot_clock()
        self.buffer_size = (copy_range + 512 + 63) // 64 * 64
        self.buffers = <uint8_t *> malloc(<size_t> RECEIVE * self.buffer_size)
        self.verdicts = <uint8_t *> malloc(VERDICT_ROOM)
        if self.buffers == NULL or self.verdicts == NULL:
            raise MemoryError("no memory for the queue's buffers")
        self.wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.open(length, fail_open, gso, receive_buffer)

    def open(self, length, fail_open, gso, receive_buffer):
        """Bind the queue, each request acknowledged by the kernel."""
        kind = sockets.SOCK_RAW | sockets.SOCK_CLOEXEC
        netlink = sockets.socket(sockets.AF_NETLINK, kind, NETLINK_NETFILTER_PROTOCOL)
        try:
            netlink.bind((0, 0))
            netlink.settimeout(5)
            flags = (QUEUE_FAIL_OPEN if fail_open else 0) | (QUEUE_GSO if gso else 0)
            self.ask(netlink, "bind", (CONFIG_COMMAND, bytes([COMMAND_BIND, 0, 0, 0])))
            self.ask(netlink, "set the copy range of",
                     (CONFIG_COPY, self.copy_range.to_bytes(4, "big") + bytes([COPY_PACKET])))
            self.ask(netlink, "set the length of", (CONFIG_LENGTH, length.to_bytes(4, "big")))
            self.ask(netlink, "set the flags of", (CONFIG_FLAGS, flags.to_bytes(4, "big")),
                     (CONFIG_MASK, (QUEUE_FAIL_OPEN | QUEUE_GSO).to_bytes(4, "big")))
            for option in (33, sockets.SO_RCVBUF):       # SO_RCVBUFFORCE, which needs CAP_NET_ADMIN
                try:
                    netlink.setsockopt(sockets.SOL_SOCKET, option, receive_buffer)
                    break
                except OSError:
                    continue
            netlink.setsockopt(NETLINK_LEVEL, NETLINK_OPTION_NO_ENOBUFS, 1)
        except BaseException:
            netlink.close()
            raise
        netlink.setblocking(False)
        self.socket = netlink.detach()

    def ask(self, netlink, what, *attributes):
        """Send one configuration request and wait for the kernel's word on it."""
        netlink.send(config_message(self.number, *attributes))
        while True:
            answer = netlink.recv(65536)
            if int.from_bytes(answer[4:6], "little") == MESSAGE_ERROR:
                break
        code = -int.from_bytes(answer[16:20], "little", signed=True)
        if code in (errno.EPERM, errno.EBUSY) and queue_line(self.number) is not None:
            raise QueueError(errno.EBUSY, f"queue {self.number}: another program has it")
        if code == errno.EPERM:
            raise PermissionError(code, f"queue {self.number}: not allowed to {what} it: CAP_NET_ADMIN is needed")
        if code:
            raise QueueError(code, f"queue {self.number}: the kernel would not {what} it: {os.strerror(code)}")

    def __dealloc__(self):
        free(self.buffers)
        free(self.verdicts)
        free(self.held)

    def close(self):
        """Give the queue back; the kernel drops what it still holds for it (or lets it through: --queue-bypass)."""
        if self.socket >= 0:
            os.close(self.socket)
            self.socket = -1
        if self.wakeup >= 0:
            os.close(self.wakeup)
            self.wakeup = -1

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def fileno(self):
        """The socket, for select and event loops."""
        return self.socket

    @property
    def clock(self):
        """What the engine's clock reads now, ns."""
        return boot_clock() + self.clock_offset

    def stop(self):
        """End `run`, from any thread or signal handler."""
        self.stopping = True
        if self.wakeup >= 0:
            os.eventfd_write(self.wakeup, 1)

    def poll(self):
        """Judge what has come, without waiting; how many packets that was."""
        cdef int done, total = 0
        if self.socket < 0:
            raise ValueError("the queue is closed")
        with nogil:
            while True:
                done = self.serve()
                if done <= 0:
                    break
                total += done
            self.drop_overdue(boot_clock() + self.clock_offset)
        if done < 0:
            raise QueueError(-done, f"queue {self.number}: {os.strerror(-done)}")
        return total

    def run(self):
        """Judge packets until `stop` is called."""
        cdef pollfd fds[2]
        cdef int done = 0
        if self.socket < 0:
            raise ValueError("the queue is closed")
        fds[0].fd = self.socket
        fds[1].fd = self.wakeup
        fds[0].events = POLLIN
        fds[1].events = POLLIN
        while not self.stopping:
            with nogil:
                if poll(fds, 2, 1000) >= 0 and fds[0].revents:
                    while not self.stopping:
                        done = self.serve()
                        if done <= 0:
                            break
                self.drop_overdue(boot_clock() + self.clock_offset)
            if done < 0:
                raise QueueError(-done, f"queue {self.number}: {os.strerror(-done)}")
        self.stopping = False
        os.eventfd_read(self.wakeup)

    def statistics(self):
        """Counts of this queue: received, accepted, dropped, overruns, refused_verdicts, and the kernel's own
        queue_dropped (the queue was full) and user_dropped (the socket was)."""
        counts = {
            "received": self.received, "accepted": self.accepted, "dropped": self.dropped,
            "overruns": self.overruns, "refused_verdicts": self.refused_verdicts, "held": self.held_count,
            "queue_dropped": 0, "user_dropped": 0,
        }
        fields = queue_line(self.number)
        if fields is not None:
            counts["queue_dropped"] = int(fields[5])
            counts["user_dropped"] = int(fields[6])
        return counts

    cdef int serve(self) noexcept nogil:
        """Receive, judge and answer one batch; how many messages it had, 0 for none, -errno where the socket failed."""
        cdef mmsghdr messages[RECEIVE]
        cdef iovec vectors[RECEIVE]
        cdef int i, came
        cdef uint32_t n = 0
        cdef const uint8_t *at
        cdef const netlink_message *head
        cdef uint32_t left
        memset(messages, 0, sizeof(messages))
        for i in range(RECEIVE):
            vectors[i].iov_base = self.buffers + <size_t> i * self.buffer_size
            vectors[i].iov_len = self.buffer_size
            messages[i].msg_hdr.msg_iov = &vectors[i]
            messages[i].msg_hdr.msg_iovlen = 1
        came = recvmmsg(self.socket, messages, RECEIVE, MSG_DONTWAIT, NULL)
        if came < 0:
            if error == ENOBUFS:
                self.overruns += 1
                return 1
            return 0 if error == EAGAIN or error == EINTR else -error
        for i in range(came):
            at = <const uint8_t *> vectors[i].iov_base
            left = messages[i].msg_len
            if left < sizeof(netlink_message):
                continue
            head = <const netlink_message *> at
            if head.length < left:
                left = head.length
            if head.type == MESSAGE_ERROR:
                self.refused_verdicts += 1
            elif head.type == QUEUE_PACKET and self.read_packet(at, left, n):
                n += 1
        if n:
            self.received += n
            pthread_mutex_lock(&self.core.lock)
            self.core.run(self.packets, n)
            pthread_mutex_unlock(&self.core.lock)
            self.answer(n)
        return came

    cdef bint read_packet(self, const uint8_t *message, uint32_t size, uint32_t at) noexcept nogil:
        """Read one queued packet's attributes into place `at` of the batch; False where it names no packet."""
        cdef Packet *p = &self.packets[at]
        cdef uint32_t here = sizeof(netlink_message), length, body
        cdef uint16_t kind
        cdef uint32_t skb = 0, whole = 0
        cdef uint8_t hook = 0
        cdef bint named = False
        cdef const uint8_t *data
        p.data = message
        p.have = 0
        p.mark = 0
        p.iif = 0
        p.oif = 0
        p.helper = 0
        while here + 4 <= size:
            length = (<const uint16_t *> (message + here))[0]
            kind = (<const uint16_t *> (message + here))[1] & 0x3fff
            if length < 4 or here + length > size:
                break
            data = message + here + 4
            body = length - 4
            if kind == ATTR_PAYLOAD:
                p.data = data
                p.have = body
            elif kind == ATTR_PACKET_HEADER and body >= 7:
                self.ids[at] = be32(data)
                hook = data[6]
                named = True
            elif body >= 4:
                if kind == ATTR_MARK:
                    p.mark = be32(data)
                elif kind == ATTR_IN:
                    p.iif = self.interface_number(be32(data))
                elif kind == ATTR_OUT:
                    p.oif = self.interface_number(be32(data))
                elif kind == ATTR_CAPTURED:
                    whole = be32(data)
                elif kind == ATTR_SKB:
                    skb = be32(data)
            here += (length + 3) & ~(<uint32_t> 3)
        p.length = whole if whole > p.have else p.have
        p.hook = HOOK_INPUT if hook == AT_INPUT else (HOOK_OUTPUT if hook == AT_OUTPUT else HOOK_FORWARD)
        p.no_verify = not skb & SKB_CHECKSUM_NOT_VERIFIED
        p.now = boot_clock() + self.clock_offset
        self.marks[at] = p.mark
        return named

    cdef uint16_t interface_number(self, uint32_t index) noexcept nogil:
        """The engine's number of an interface; names are asked for anew every second, since interfaces come and go."""
        cdef int64_t now
        if index >= INTERFACES:
            return self.ask_interface(index)
        if self.interface_of[index] == 0:
            self.interface_of[index] = self.ask_interface(index) + 1
        now = boot_clock()
        if now > self.interfaces_until:
            memset(self.interface_of, 0, sizeof(self.interface_of))
            self.interfaces_until = now + 1_000_000_000
            self.interface_of[index] = self.ask_interface(index) + 1
        return self.interface_of[index] - 1

    cdef uint16_t ask_interface(self, uint32_t index) noexcept with gil:
        try:
            return self.core.interface(sockets.if_indextoname(index))
        except (OSError, ValueError):
            return 0

    cdef void answer(self, uint32_t n) noexcept nogil:
        """Give the kernel its verdicts. Where nothing is held and no mark changed, whatever is accepted goes in one
        message: it speaks for all packets up to its number that have had none yet, so the others are answered before
        it."""
        cdef uint32_t i, last = 0, verdict
        cdef bint batch = self.held_count == 0, any_accepted = False, marked
        cdef Packet *p
        for i in range(n):
            if self.packets[i].verdict == VERDICT_HOLD or self.packets[i].mark != self.marks[i]:
                batch = False
        for i in range(n):
            p = &self.packets[i]
            if p.verdict == VERDICT_HOLD:
                self.hold(datagram_of(p), self.ids[i], p.now + <int64_t> REASSEMBLY_SECONDS * 1_000_000_000)
                continue
            if p.verdict == VERDICT_REJECT and self.on_reject is not None:
                self.tell_reject(p)
            # what is no IP packet is none of a firewall's business
            verdict = NF_DROP_VERDICT if p.verdict == VERDICT_DROP or p.verdict == VERDICT_REJECT else NF_ACCEPT_VERDICT
            if verdict == NF_ACCEPT_VERDICT:
                self.accepted += 1
            else:
                self.dropped += 1
            if self.held_count and p.frag_off and p.kind != KIND_FRAGMENT:
                # it completed its datagram: all its pieces share the decision
                self.release(datagram_of(p), verdict)
            if batch and verdict == NF_ACCEPT_VERDICT:
                any_accepted = True
                last = self.ids[i]
                continue
            marked = p.mark != self.marks[i]
            self.say(QUEUE_VERDICT, self.ids[i], verdict, marked, p.mark)
        if any_accepted:
            self.say(QUEUE_VERDICT_BATCH, last, NF_ACCEPT_VERDICT, False, 0)
        self.flush()

    cdef void say(self, uint16_t kind, uint32_t id, uint32_t verdict, bint with_mark, uint32_t mark) noexcept nogil:
        cdef uint8_t *at
        cdef netlink_message *head
        cdef uint32_t *words
        if self.verdict_bytes + 40 > VERDICT_ROOM:
            self.flush()
        at = self.verdicts + self.verdict_bytes
        head = <netlink_message *> at
        memset(head, 0, sizeof(netlink_message))
        head.length = 40 if with_mark else 32
        head.type = kind
        head.flags = FLAG_REQUEST
        head.resource = htons(<uint16_t> self.number)
        words = <uint32_t *> (at + sizeof(netlink_message))
        words[0] = 12 | <uint32_t> ATTR_VERDICT << 16
        words[1] = htonl(verdict)
        words[2] = htonl(id)
        if with_mark:
            words[3] = 8 | <uint32_t> ATTR_MARK << 16
            words[4] = htonl(mark)
        self.verdict_bytes += head.length

    cdef void flush(self) noexcept nogil:
        if self.verdict_bytes and send(self.socket, self.verdicts, self.verdict_bytes, 0) < 0:
            self.refused_verdicts += 1
        self.verdict_bytes = 0

    cdef void hold(self, uint64_t datagram, uint32_t id, int64_t until) noexcept nogil:
        cdef Held *grown
        if self.held_count == self.held_room:
            grown = <Held *> realloc(self.held, (self.held_room * 2 + 64) * sizeof(Held))
            if grown == NULL:
                self.say(QUEUE_VERDICT, id, NF_DROP_VERDICT, False, 0)
                return
            self.held = grown
            self.held_room = self.held_room * 2 + 64
        self.held[self.held_count].datagram = datagram
        self.held[self.held_count].id = id
        self.held[self.held_count].until = until
        self.held_count += 1

    cdef void release(self, uint64_t datagram, uint32_t verdict) noexcept nogil:
        """Give the held pieces of a datagram the verdict of the whole, in the order they came."""
        cdef uint32_t i, kept = 0
        for i in range(self.held_count):
            if self.held[i].datagram == datagram:
                self.say(QUEUE_VERDICT, self.held[i].id, verdict, False, 0)
            else:
                self.held[kept] = self.held[i]
                kept += 1
        self.held_count = kept

    cdef void drop_overdue(self, int64_t now) noexcept nogil:
        """Drop the held pieces whose datagram never became whole."""
        cdef uint32_t i, kept = 0
        if not self.held_count:
            return
        for i in range(self.held_count):
            if self.held[i].until <= now:
                self.say(QUEUE_VERDICT, self.held[i].id, NF_DROP_VERDICT, False, 0)
                self.dropped += 1
            else:
                self.held[kept] = self.held[i]
                kept += 1
        self.held_count = kept
        self.flush()

    cdef void tell_reject(self, const Packet *p) noexcept with gil:
        try:
            self.on_reject(Rejected((<const char *> p.data)[:p.have], p.family, p.hook, p.rule,
                                    list(self.core.interfaces)[p.iif], bool(p.no_verify)))
        except Exception:
            import logging

            logging.getLogger("fastfw.drivers").exception("queue %d: on_reject failed", self.number)
