"""The kernel's packet queue as C declares it, and the system calls a driver makes."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.terms cimport HOOK_FORWARD, HOOK_INPUT, HOOK_OUTPUT
from fastfw.core.wire cimport Packet


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
        FLAG_ACK
        QUEUE_PACKET
        QUEUE_VERDICT
        QUEUE_CONFIG
        QUEUE_VERDICT_BATCH
        ATTR_PACKET_HEADER
        ATTR_VERDICT
        ATTR_MARK
        ATTR_IN
        ATTR_OUT
        ATTR_HARDWARE
        ATTR_PAYLOAD
        ATTR_CAPTURED
        ATTR_SKB
        SKB_CHECKSUM_NOT_VERIFIED
        NF_DROP_VERDICT
        NF_ACCEPT_VERDICT
        NF_REPEAT_VERDICT
        AT_PREROUTING
        AT_INPUT
        AT_FORWARD
        AT_OUTPUT
        AT_POSTROUTING
        CONFIG_COMMAND
        CONFIG_COPY
        CONFIG_LENGTH
        CONFIG_MASK
        CONFIG_FLAGS
        COMMAND_BIND
        COPY_PACKET
        COPY_MOST
        QUEUE_FAIL_OPEN
        QUEUE_GSO
        NETLINK_NETFILTER_PROTOCOL
        NETLINK_LEVEL
        NETLINK_OPTION_NO_ENOBUFS
        SOCKET_BUFFER_FORCE
        SOCKET_MEMORY
        SOCKET_MEMORY_DROPS

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


cdef inline int64_t boot_clock() noexcept nogil:
    """Nanoseconds, sleep included, that never jump."""
    cdef timespec now
    clock_gettime(CLOCK_BOOTTIME, &now)
    return <int64_t> now.tv_sec * 1_000_000_000 + now.tv_nsec


# The hook whose chains a packet is to meet, by where the kernel queued it. Behind routing, what came in by no interface
# is the host's own.
cdef inline uint8_t hook_of(uint8_t at, bint came_in) noexcept nogil:
    if at == AT_INPUT:
        return HOOK_INPUT
    if at == AT_OUTPUT or (at == AT_POSTROUTING and not came_in):
        return HOOK_OUTPUT
    return HOOK_FORWARD


# Which datagram a fragment belongs to: 63 bits made of what reassembly goes by, strongly universal under the connection
# table's secret (flows.pxd). Two datagrams of one number would share a fate, so nobody outside may know which do.
cdef uint64_t datagram_of(const Packet *p, const uint64_t *secret) noexcept nogil


# What a queued packet's frame said, as far as the kernel tells: the source is `address`, six bytes, and whom it was for
# follows from the IP destination. Writes 16 bytes of LINK (engine.pxd) to `into` and hangs them on the packet.
cdef void tell_link(Packet *p, const uint8_t *address, uint8_t *into) noexcept nogil
