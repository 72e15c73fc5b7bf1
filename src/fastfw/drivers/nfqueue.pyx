"""The kernel's packet queue as a source of packets: NFQUEUE, by netlink, without a system library.

A thread waits in `run`, or an event loop calls `poll` when `fileno()` is readable and once a second. Packets are
received up to 64 at a time, judged in one batch and answered with one system call; system calls are made without the
engine's lock and without the GIL. Several queues, a thread each, may share one engine.

The kernel vouches for checksums it has verified, hands over super-packets whose checksums are yet to be written, and
cuts packets at the copy range: none of the three is held against a packet. While somebody reads payload, a helper or a
rule, whole packets are asked for; what had been queued cut before is asked for once more (NF_REPEAT).
"""
import contextlib
import logging
import os
import threading
import time

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastfw.core.bytes cimport be16, be32
from fastfw.core.engine cimport Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.terms cimport VERDICT_DROP, VERDICT_HOLD, VERDICT_REJECT
from fastfw.core.wire cimport KIND_FRAGMENT, Packet
from fastfw.drivers.bypass cimport Bypass, bypass_read
from fastfw.drivers.held cimport held_add, held_free, held_take
from fastfw.drivers.netlink cimport (
    ATTR_CAPTURED, ATTR_HARDWARE, ATTR_IN, ATTR_MARK, ATTR_OUT, ATTR_PACKET_HEADER, ATTR_PAYLOAD, ATTR_SKB,
    ATTR_VERDICT, CONFIG_COPY, COPY_MOST, COPY_PACKET, EAGAIN, EINTR, ENOBUFS, FLAG_REQUEST, MESSAGE_ERROR,
    MSG_DONTWAIT, NF_ACCEPT_VERDICT, NF_DROP_VERDICT, NF_REPEAT_VERDICT, POLLIN, QUEUE_CONFIG, QUEUE_PACKET,
    QUEUE_VERDICT, QUEUE_VERDICT_BATCH, SKB_CHECKSUM_NOT_VERIFIED, boot_clock, datagram_of, error, hook_of, htonl,
    htons, iovec, mmsghdr, netlink_message, poll, pollfd, recvmmsg, send, tell_link,
)

from socket import if_indextoname

from fastfw.drivers.netlink import QueueError, open_queue, overruns, queue_line
from fastfw.drivers.rejected import Rejected

cdef enum:
    VERDICT_ROOM = 64 * 1024
    VERDICT_SIZE = 40            # the longest message that is said
    MESSAGE_ROOM = 512           # what a message has besides the packet's bytes
    REASSEMBLY_SECONDS = 60      # after which a held fragment is dropped whatever happened to its datagram
    OUT_OF_MEMORY = 12           # ENOMEM

cdef int64_t SECOND = 1_000_000_000
LOG_SECONDS = 10                 # between two lines about losses

LOSSES = {
    "queue_dropped": "the queue was full",
    "user_dropped": "the socket was full",
    "refused_verdicts": "verdicts on packets that the kernel no longer had",
}


cdef class Queue:
    """One NFQUEUE queue and the engine that judges its packets.

    `length` is how many packets the kernel holds for us, `copy_range` how many bytes of each it copies while nobody
    reads payload, `fail_open` lets packets through where the queue is full, `gso` takes super-packets.
    `on_reject(rejected)` is called with a Rejected for packets that a REJECT rule drops. `bypass` lets connections skip
    the queue, where the kernel's rules know of it (gateway/steer.py). PermissionError without CAP_NET_ADMIN;
    QueueError where the kernel refuses, as when another program has the queue.
    """

    def __cinit__(self):
        self.socket = -1
        self.wakeup = -1

    def __init__(self, Core engine, int number=0, *, int copy_range=128, int length=4096, bint fail_open=False,
                 bint gso=True, int receive_buffer=16 << 20, on_reject=None, Bypass bypass=None):
        if not 0 <= number <= 65535:
            raise ValueError(f"number: a queue from 0 to 65535 expected, not {number}")
        if not 68 <= copy_range <= 65535:
            raise ValueError(f"copy_range: 68 to 65535 bytes expected, not {copy_range}")
        if length < 1:
            raise ValueError(f"length: at least one packet expected, not {length}")
        self.core = engine
        self.number = number
        self.copy_range = min(copy_range, COPY_MOST)
        self.copying = COPY_MOST if engine.wants_payload() else self.copy_range
        self.length = length
        self.most_held = <uint32_t> length // 2
        self.on_reject = on_reject
        self.bypass = bypass
        self.busy = threading.RLock()
        self.log = logging.getLogger("fastfw.drivers")
        self.told = {"at": -LOG_SECONDS}
        # the engine's clock is the wall clock as it was now, carried on by one that never jumps
        self.clock_offset = time.time_ns() - boot_clock()
        self.verdicts = <uint8_t *> malloc(VERDICT_ROOM)
        if self.verdicts == NULL:
            raise MemoryError("no memory for the queue's buffers")
        self.netlink = open_queue(number, self.copying, length, fail_open, gso, receive_buffer)
        self.socket = self.netlink.fileno()
        self.wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __dealloc__(self):
        free(self.buffers)
        free(self.verdicts)
        held_free(&self.held)
        if self.wakeup >= 0:
            os.close(self.wakeup)

    # -- who serves it ------------------------------------------------------------------------------------------------

    def close(self):
        """Give the queue back, once `run` has ended if a thread is in it; the kernel drops what it still holds for it
        (or lets it through: --queue-bypass)."""
        self.closing = True
        self.stop()
        with self.busy:
            self.shut()

    def shut(self):
        """Close what is open. Nobody else serves the queue."""
        if self.socket >= 0:
            self.socket = -1
            self.netlink.close()
        if self.wakeup >= 0:
            os.close(self.wakeup)
            self.wakeup = -1

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def fileno(self):
        """The socket, for select and event loops; -1 once closed."""
        return self.socket

    @property
    def clock(self):
        """What the engine's clock reads now, ns."""
        return boot_clock() + self.clock_offset

    def stop(self):
        """End `run`, from any thread or signal handler; one that has not begun ends at once."""
        # woken first: `run` may end as soon as it reads the flag, and takes the wakeup with it
        if self.wakeup >= 0:
            os.eventfd_write(self.wakeup, 1)
        self.stopping = True

    def poll(self):
        """Judge what has come, without waiting; how many packets that was."""
        cdef int done = 0, total = 0
        with self.busy:
            if self.socket < 0:
                raise ValueError("the queue is closed")
            with nogil:
                while self.socket >= 0:
                    done = self.serve()
                    if done <= 0:
                        break
                    total += done
            self.tend(done)
        return total

    def run(self):
        """Judge packets until `stop` is called. QueueError where the socket fails."""
        cdef pollfd fds[2]
        cdef int done = 0
        if not self.busy.acquire(blocking=False):
            raise RuntimeError(f"queue {self.number}: another thread serves it")
        try:
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
                            # where fewer came than may, asking once more would find nothing
                            if done < RECEIVE or boot_clock() >= self.tend_at:
                                break
                self.tend(done)
            self.stopping = False
            if self.wakeup >= 0:
                with contextlib.suppress(BlockingIOError):     # another `stop` came while this one was obeyed
                    os.eventfd_read(self.wakeup)
        finally:
            if self.closing:
                self.shut()
            self.busy.release()

    def tend(self, int done):
        """What is not for every packet: raise what the socket said; once a second drop overdue fragments, forget
        interfaces' names, ask for whole packets no longer than they are needed, and log losses."""
        cdef int64_t now = boot_clock()
        if done < 0:
            raise QueueError(-done, f"queue {self.number}: {os.strerror(-done)}")
        if now < self.tend_at or self.socket < 0:
            return
        self.tend_at = now + SECOND
        memset(self.interface_of, 0, sizeof(self.interface_of))
        with nogil:
            self.release(0, now + self.clock_offset, NF_DROP_VERDICT)
            if self.core.wants_payload():
                self.copy_whole()
            elif self.copying > self.copy_range:
                self.copying = self.copy_range
                self.ask_copies()
            self.flush()
        if now // SECOND - self.told["at"] >= LOG_SECONDS:
            counts = self.statistics()
            lines = [f"{counts[name] - self.told.get(name, 0)}: {what}" for name, what in LOSSES.items()
                     if counts[name] > self.told.get(name, 0)]
            if lines:
                self.log.warning("queue %d: lost packets (%s)", self.number, "; ".join(lines))
                self.told = {**counts, "at": now // SECOND}

    def statistics(self):
        """Counts of this queue: received, accepted, dropped, repeated, refused_verdicts; held: fragments that wait now;
        and the kernel's own queue_dropped (the queue was full) and user_dropped (the socket was)."""
        counts = {
            "received": self.received, "accepted": self.accepted, "dropped": self.dropped, "repeated": self.repeated,
            "refused_verdicts": self.refused_verdicts, "held": self.held.count, "queue_dropped": 0, "user_dropped": 0,
        }
        fields = queue_line(self.number)
        if fields is not None:
            counts["queue_dropped"] = int(fields[5])
            counts["user_dropped"] = int(fields[6])
        elif self.socket >= 0:
            with contextlib.suppress(OSError):  # the socket has failed, which `run` tells
                counts["user_dropped"] = overruns(self.netlink)
        return counts

    # -- packets ------------------------------------------------------------------------------------------------------

    cdef int serve(self) noexcept nogil:
        """Receive, judge and answer one batch; how many messages it had, 0 for none, -errno where the socket failed."""
        cdef mmsghdr messages[RECEIVE]
        cdef iovec vectors[RECEIVE]
        cdef int i, came
        cdef uint32_t n = 0, at_packet
        cdef const uint8_t *at
        cdef const netlink_message *head
        cdef uint32_t left
        if self.buffer_size < <uint32_t> self.copying + MESSAGE_ROOM:
            free(self.buffers)
            self.buffer_size = (<uint32_t> self.copying + MESSAGE_ROOM + 63) // 64 * 64
            self.buffers = <uint8_t *> malloc(<size_t> RECEIVE * self.buffer_size)
            if self.buffers == NULL:
                self.buffer_size = 0
                return -OUT_OF_MEMORY
        memset(messages, 0, sizeof(messages))
        for i in range(RECEIVE):
            vectors[i].iov_base = self.buffers + <size_t> i * self.buffer_size
            vectors[i].iov_len = self.buffer_size
            messages[i].msg_hdr.msg_iov = &vectors[i]
            messages[i].msg_hdr.msg_iovlen = 1
        came = recvmmsg(self.socket, messages, RECEIVE, MSG_DONTWAIT, NULL)
        if came < 0:
            if error == ENOBUFS:
                return 1
            return 0 if error == EAGAIN or error == EINTR else -error
        if self.core.wants_payload():
            self.copy_whole()
        self.now = boot_clock() + self.clock_offset
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
            if self.bypass is not None:
                for at_packet in range(n):
                    self.grants[at_packet] = self.bypass.offer(&self.packets[at_packet], &self.lifetimes[at_packet])
            pthread_mutex_unlock(&self.core.lock)
            if self.bypass is not None and self.bypass.maps[0] >= 0:
                for at_packet in range(n):
                    if self.grants[at_packet]:
                        self.bypass.enter(&self.packets[at_packet], self.grants[at_packet], self.lifetimes[at_packet])
                        self.grants[at_packet] = 0
            self.answer(n)
        self.flush()
        return came

    cdef void copy_whole(self) noexcept nogil:
        """Let whole packets come from now on."""
        if self.copying < COPY_MOST:
            self.copying = COPY_MOST
            self.ask_copies()

    cdef void ask_copies(self) noexcept nogil:
        """Tell the kernel how many bytes of each packet are wanted."""
        cdef uint32_t message[8]
        cdef netlink_message *head = <netlink_message *> message
        memset(message, 0, sizeof(message))
        head.length = sizeof(message)
        head.type = QUEUE_CONFIG
        head.flags = FLAG_REQUEST
        head.resource = htons(<uint16_t> self.number)
        message[5] = 9 | <uint32_t> CONFIG_COPY << 16
        message[6] = htonl(<uint32_t> self.copying)
        message[7] = COPY_PACKET
        if send(self.socket, message, sizeof(message), 0) < 0:
            self.refused_verdicts += 1

    cdef bint read_packet(self, const uint8_t *message, uint32_t size, uint32_t at) noexcept nogil:
        """Read one queued packet's attributes into place `at` of the batch; False where there is nothing to judge."""
        cdef Packet *p = &self.packets[at]
        cdef uint32_t here = sizeof(netlink_message), length, body
        cdef uint16_t kind
        cdef uint32_t skb = 0, whole = 0
        cdef uint8_t hook = 0
        cdef bint named = False, came_in = False
        cdef const uint8_t *data
        cdef const uint8_t *hardware = NULL
        p.data = message
        p.have = 0
        p.mark = 0
        p.iif = 0
        p.oif = 0
        p.link = NULL
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
            elif kind == ATTR_HARDWARE and body >= 10 and be16(data) == 6:
                hardware = data + 4
            elif body >= 4:
                if kind == ATTR_MARK:
                    p.mark = be32(data)
                elif kind == ATTR_IN:
                    p.iif = self.interface_number(be32(data))
                    came_in = True
                elif kind == ATTR_OUT:
                    p.oif = self.interface_number(be32(data))
                elif kind == ATTR_CAPTURED:
                    whole = be32(data)
                elif kind == ATTR_SKB:
                    skb = be32(data)
            here += (length + 3) & ~(<uint32_t> 3)
        p.length = whole if whole > p.have else p.have
        if named and p.have < p.length and p.have < <uint32_t> self.copying:
            # it was queued before whole packets were asked for
            self.repeated += 1
            self.say(QUEUE_VERDICT, self.ids[at], NF_REPEAT_VERDICT, False, 0)
            return False
        if hardware != NULL:
            tell_link(p, hardware, self.links[at])
        p.hook = hook_of(hook, came_in)
        p.no_verify = not skb & SKB_CHECKSUM_NOT_VERIFIED
        p.now = self.now
        self.marks[at] = p.mark
        p.stray = 0
        if self.bypass is not None:
            bypass_read(self.bypass.mask, self.bypass.shift, p)
        return named

    cdef uint16_t interface_number(self, uint32_t index) noexcept nogil:
        """The engine's number of an interface; `tend` has names asked for anew, since interfaces come and go."""
        if index >= INTERFACES:
            return self.ask_interface(index)
        if self.interface_of[index] == 0:
            self.interface_of[index] = self.ask_interface(index) + 1
        return self.interface_of[index] - 1

    cdef uint16_t ask_interface(self, uint32_t index) noexcept with gil:
        try:
            return self.core.interface(if_indextoname(index))
        except (OSError, ValueError):
            return 0

    cdef void answer(self, uint32_t n) noexcept nogil:
        """Give the kernel its verdicts, in the order the packets came. A run of one verdict is one message: it speaks
        for all packets up to its number that have had none yet, so not while some of them are held."""
        cdef uint32_t i, verdict, run = 0, run_verdict = 0, run_mark = 0, last = 0, mark
        cdef bint batch = self.held.count == 0, marked, run_marked = False
        cdef const uint64_t *secret = self.core.tracker.flows.secret
        cdef Packet *p
        for i in range(n):
            if self.packets[i].verdict == VERDICT_HOLD:
                batch = False
        for i in range(n):
            p = &self.packets[i]
            if p.verdict == VERDICT_HOLD:
                self.hold(datagram_of(p, secret), self.ids[i], p.now + REASSEMBLY_SECONDS * SECOND)
                continue
            if p.verdict == VERDICT_REJECT and self.on_reject is not None:
                self.tell_reject(p)
            # what is no IP packet is none of a firewall's business
            verdict = NF_DROP_VERDICT if p.verdict == VERDICT_DROP or p.verdict == VERDICT_REJECT else NF_ACCEPT_VERDICT
            if verdict == NF_ACCEPT_VERDICT:
                self.accepted += 1
            else:
                self.dropped += 1
            if self.held.count and p.frag_off and p.kind != KIND_FRAGMENT:
                # it completed its datagram: all its pieces share the decision
                self.release(datagram_of(p, secret), 0, verdict)
            marked = verdict == NF_ACCEPT_VERDICT and p.mark != self.marks[i]
            mark = p.mark
            if self.bypass is not None and self.grants[i]:
                # once more through the kernel's rules, which save the mark with the connection and let it pass
                verdict = NF_REPEAT_VERDICT
                marked = True
                mark = self.grants[i]
            if run and not (batch and verdict == run_verdict and marked == run_marked
                            and (not marked or mark == run_mark)):
                self.say(QUEUE_VERDICT_BATCH if run > 1 else QUEUE_VERDICT, last, run_verdict, run_marked, run_mark)
                run = 0
            run += 1
            run_verdict = verdict
            run_marked = marked
            run_mark = mark
            last = self.ids[i]
        if run:
            self.say(QUEUE_VERDICT_BATCH if run > 1 else QUEUE_VERDICT, last, run_verdict, run_marked, run_mark)

    cdef void say(self, uint16_t kind, uint32_t id, uint32_t verdict, bint with_mark, uint32_t mark) noexcept nogil:
        cdef uint8_t *at
        cdef netlink_message *head
        cdef uint32_t *words
        if self.verdict_bytes + VERDICT_SIZE > VERDICT_ROOM:
            self.flush()
        at = self.verdicts + self.verdict_bytes
        head = <netlink_message *> at
        memset(head, 0, sizeof(netlink_message))
        head.length = VERDICT_SIZE if with_mark else VERDICT_SIZE - 8
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
        """Let a fragment wait. Half the queue may: where more would, the datagram that began first goes."""
        if self.held.count >= self.most_held and self.held.count:
            self.release(self.held.items[0].datagram, 0, NF_DROP_VERDICT)
        if not held_add(&self.held, datagram, id, until):
            self.dropped += 1
            self.say(QUEUE_VERDICT, id, NF_DROP_VERDICT, False, 0)

    cdef void release(self, uint64_t datagram, int64_t now, uint32_t verdict) noexcept nogil:
        """Give the held pieces of a datagram, or with 0 those that have waited until `now`, a verdict, in the order
        they came."""
        cdef uint32_t i, count
        if not self.held.count:
            return
        count = held_take(&self.held, datagram, now)
        for i in range(count):
            self.say(QUEUE_VERDICT, self.held.taken[i], verdict, False, 0)
        if verdict == NF_ACCEPT_VERDICT:
            self.accepted += count
        else:
            self.dropped += count

    cdef void tell_reject(self, const Packet *p) noexcept with gil:
        try:
            self.on_reject(Rejected((<const char *> p.data)[:p.have], p.family, p.hook, p.rule,
                                    list(self.core.interfaces)[p.iif], bool(p.no_verify)))
        except Exception:
            self.log.exception("queue %d: on_reject failed", self.number)
