/* What is spoken with the kernel's packet queue (nfnetlink_queue) over a netlink socket. Written down here so that
 * building needs the C library's headers alone. Numbers are the kernel's ABI; be: network byte order. */
#ifndef FASTFW_NETLINK_H
#define FASTFW_NETLINK_H

#include <stdint.h>

enum { NETLINK_NETFILTER_PROTOCOL = 12, NETLINK_LEVEL = 270, NETLINK_OPTION_NO_ENOBUFS = 5 };

/* socket options that Python does not name, and where the second one's numbers count what found no room */
enum { SOCKET_BUFFER_FORCE = 33, SOCKET_MEMORY = 55, SOCKET_MEMORY_DROPS = 8 };

struct netlink_message { /* nlmsghdr and nfgenmsg */
    uint32_t length;
    uint16_t type, flags;
    uint32_t sequence, port;
    uint8_t family, version;
    uint16_t resource; /* be: the queue's number */
};

enum { MESSAGE_ERROR = 2, FLAG_REQUEST = 1, FLAG_ACK = 4 };

enum { QUEUE_PACKET = 0x300, QUEUE_VERDICT = 0x301, QUEUE_CONFIG = 0x302, QUEUE_VERDICT_BATCH = 0x303 };

/* attributes of a packet and of a verdict */
enum {
    ATTR_PACKET_HEADER = 1, /* be32 id, be16 link protocol, u8 hook */
    ATTR_VERDICT = 2,       /* be32 verdict, be32 id */
    ATTR_MARK = 3,
    ATTR_IN = 5,
    ATTR_OUT = 6,
    ATTR_HARDWARE = 9,      /* be16 size, 2 unused bytes, the sender's address in 8 */
    ATTR_PAYLOAD = 10,
    ATTR_CAPTURED = 13,     /* be32 the packet's whole length, if it was cut */
    ATTR_SKB = 14,
};

/* what is said of a packet's checksum */
enum { SKB_CHECKSUM_NOT_READY = 1, SKB_GSO = 2, SKB_CHECKSUM_NOT_VERIFIED = 4 };

/* attributes of a configuration */
enum { CONFIG_COMMAND = 1, CONFIG_COPY = 2, CONFIG_LENGTH = 3, CONFIG_MASK = 4, CONFIG_FLAGS = 5 };
enum { COMMAND_BIND = 1, COPY_PACKET = 2, COPY_MOST = 65531 /* an attribute's longest */ };
enum { QUEUE_FAIL_OPEN = 1, QUEUE_GSO = 4 };

enum { NF_DROP_VERDICT = 0, NF_ACCEPT_VERDICT = 1, NF_REPEAT_VERDICT = 4 };

/* where in the stack a packet was queued */
enum { AT_PREROUTING = 0, AT_INPUT = 1, AT_FORWARD = 2, AT_OUTPUT = 3, AT_POSTROUTING = 4 };

_Static_assert(sizeof(struct netlink_message) == 20, "nlmsghdr and nfgenmsg");

#endif
