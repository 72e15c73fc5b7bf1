/* What each ICMP type means to connection tracking (RFC 792, RFC 950; RFC 4443, RFC 4620, RFC 4861, RFC 2710, RFC 3810, RFC 4286).
 *
 * A query has a request type and a reply type; both name one connection by the request's type. Only those marked may begin one.
 * An error quotes the packet it complains about. The UNTRACKED of IPv6 keep a link alive and never belong to a
 * connection. */
#ifndef FASTFW_ICMP_TYPES_H
#define FASTFW_ICMP_TYPES_H

#include <stdint.h>

#define ICMP_IS_ERROR 0x100
#define ICMP_IS_UNTRACKED 0x200
#define ICMP_IS_QUERY 0x400 /* low byte: the request's type */

static const uint16_t icmp4_types[256] = {
    /* replies            requests */
    [0] = ICMP_IS_QUERY | 8,   [8] = ICMP_IS_QUERY | 8,    /* echo */
    [14] = ICMP_IS_QUERY | 13, [13] = ICMP_IS_QUERY | 13,  /* timestamp */
    [16] = ICMP_IS_QUERY | 15, [15] = ICMP_IS_QUERY | 15,  /* information */
    [18] = ICMP_IS_QUERY | 17, [17] = ICMP_IS_QUERY | 17,  /* address mask */
    [3] = ICMP_IS_ERROR,  /* destination unreachable */
    [4] = ICMP_IS_ERROR,  /* source quench */
    [5] = ICMP_IS_ERROR,  /* redirect */
    [11] = ICMP_IS_ERROR, /* time exceeded */
    [12] = ICMP_IS_ERROR, /* parameter problem */
};

/* Of ICMPv6 every type below 128 is an error (RFC 4443 section 2.1). */
static const uint16_t icmp6_types[256] = {
    [129] = ICMP_IS_QUERY | 128, [128] = ICMP_IS_QUERY | 128, /* echo */
    [140] = ICMP_IS_QUERY | 139, [139] = ICMP_IS_QUERY | 139, /* node information */
    [130] = ICMP_IS_UNTRACKED, /* multicast listener query, report, done */
    [131] = ICMP_IS_UNTRACKED,
    [132] = ICMP_IS_UNTRACKED,
    [133] = ICMP_IS_UNTRACKED, /* router solicitation, advertisement */
    [134] = ICMP_IS_UNTRACKED,
    [135] = ICMP_IS_UNTRACKED, /* neighbour solicitation, advertisement */
    [136] = ICMP_IS_UNTRACKED,
    [143] = ICMP_IS_UNTRACKED, /* multicast listener report, version 2 */
    [151] = ICMP_IS_UNTRACKED, /* multicast router advertisement, solicitation */
    [152] = ICMP_IS_UNTRACKED,
};

static inline uint16_t icmp_class(uint8_t family, uint8_t type) {
    if (family == 4) return icmp4_types[type];
    return type < 128 ? ICMP_IS_ERROR : icmp6_types[type];
}

static inline int icmp_is_error(uint8_t family, uint8_t type) {
    return (icmp_class(family, type) & ICMP_IS_ERROR) != 0;
}

static inline int icmp_is_untracked(uint8_t family, uint8_t type) {
    return (icmp_class(family, type) & ICMP_IS_UNTRACKED) != 0;
}

/* The type of the request that a query type belongs to, -1 for no query. */
static inline int icmp_request_of(uint8_t family, uint8_t type) {
    uint16_t class = icmp_class(family, type);
    return class & ICMP_IS_QUERY ? class & 0xff : -1;
}

#endif
