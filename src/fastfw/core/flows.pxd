"""The connection table: a slab of fixed entries and an open-addressing index over it. Knows no protocol and no clock
but the one it is handed.

Index. Buckets of one cache line: twelve tags compared at once, and the slab indices beside them. A key has a home
bucket and one other; `spill` counts the entries whose home a bucket is but which had to live in their other one, so a
miss reads a second line only where that can matter. Insertion may push one entry from its home to its other bucket;
there are no tombstones, and no probe ever reads more than two buckets.

Hash. Multilinear over the key's 32-bit words modulo 2^64 with random odd 64-bit multipliers, high half taken: a
strongly universal family (Lemire and Kaser, "Strongly universal string hashing is fast", 2014), so that without the
seed no pair of keys is worse than another. It maps a run of ports or addresses to another arithmetic progression, which
for some seeds piles up in few buckets; a bijection of its 32 bits, which keeps the universality, breaks the
progressions.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport likely, lowest_bit, prefetch, prefetch_read, raw32, raw64, tags_equal, unlikely
from fastfw.core.wire cimport NO_FLOW, Key


# One direction of a TCP connection as its receiver's peer sees it: sequence numbers, host byte order.
ctypedef struct TcpSide:
    uint32_t end         # highest sequence number sent, plus one
    uint32_t max_end     # highest the other side's window allows
    uint32_t max_win     # largest window this side announced, scaled
    uint32_t max_ack     # highest acknowledgement this side sent


ctypedef struct TcpFlow:            # 56 bytes
    TcpSide side[2]                 # by Direction
    uint32_t last_seq               # of the last packet, for retransmissions: 16 bytes, read and written at once
    uint32_t last_ack
    uint32_t last_end
    uint16_t last_win
    uint8_t last_direction
    uint8_t last_index              # TcpSegment of the last packet
    uint8_t scale[2]                # window shift, by Direction
    uint8_t flags[2]                # TcpFlag bits, by Direction
    uint8_t pending_scale           # of a SYN let through unjudged
    uint8_t pending_flags
    uint8_t retrans                 # the last packet's retransmissions seen
    uint8_t behind                  # segments that may still teach it windows anew: it was taken over late


ctypedef struct UdpFlow:
    int64_t stream_at               # ns; traffic both ways after it makes a stream


ctypedef struct SctpFlow:
    uint32_t tag[2]                 # verification tags, network byte order
    uint8_t init[2]                 # an INIT was seen, by Direction
    uint8_t flags
    uint8_t last_direction


ctypedef struct GreFlow:            # as the first packet found them set, s
    uint32_t timeout
    uint32_t stream_timeout


ctypedef union ProtoFlow:
    TcpFlow tcp
    UdpFlow udp
    SctpFlow sctp
    GreFlow gre


# 128 bytes: the first line names a connection and what it is, the second holds what every packet changes. A line that
# is only read need not be written back to memory, and a busy table is bound by that.
ctypedef struct Entry:
    Key key                         # family 0: a free entry
    uint32_t status                 # Status bits
    uint32_t mark                   # connmark
    uint32_t path[2]                # remembered rule path by direction, 0: none
    uint32_t master                 # slab index of the connection that expected this one, NO_FLOW: none
    uint8_t state                   # the protocol's state
    uint8_t helper                  # index of the attached helper, 0: none
    uint16_t template               # what a CT rule asked for it (conntrack.pxd), 0: nothing
    int64_t expires                 # ns on the engine's clock; before confirmation: ns from confirmation
    ProtoFlow proto


# 64 bytes beside an entry, there only once a setting asks for them.
ctypedef struct Extra:
    uint64_t packets[2]             # by Direction
    uint64_t bytes[2]               # of whole IP packets
    int64_t started                 # ns, when it was confirmed
    uint64_t labels[2]              # connlabel's, a bit each
    uint64_t untold                 # while somebody watches: what packets that were dropped changed, TELL_... bits


cdef enum:
    SLOTS = 12                      # of a bucket
    ELSEWHERE = 0xfffffffd          # no slab index


ctypedef struct Bucket:
    uint8_t tag[12]                 # 0: free slot
    uint16_t spill
    uint16_t assured                # a bit a slot: its connection was seen to be ASSURED, which none ceases to be
    uint32_t slot[12]               # slab indices


ctypedef struct Flows:
    Bucket *buckets                 # mapped, 64-byte aligned
    Entry *entries                  # mapped; entry 0 is never used, so that index 0 can mean none
    Extra *extras                   # mapped, one an entry; NULL until flows_want_extras
    uint32_t bucket_count
    uint32_t capacity               # entries there is room for
    uint32_t used                   # entries ever handed out, entry 0 included
    uint32_t free                   # head of the list of returned entries, linked by `master`; 0: empty
    uint32_t count                  # entries in the table
    uint32_t hand                   # where the expiry sweep stands
    uint64_t secret[11]


cdef int flows_init(Flows *f, uint32_t capacity, const uint8_t *seed) noexcept nogil
cdef void flows_free(Flows *f) noexcept nogil
cdef int flows_want_extras(Flows *f) noexcept nogil
cdef int flows_reserve(Flows *f, uint32_t capacity) noexcept nogil
cdef int flows_grow(Flows *f) noexcept nogil
cdef void flows_crowding(const Flows *f, uint32_t *spilled, uint32_t *fullest) noexcept nogil
cdef uint32_t flows_insert(Flows *f, const Entry *made, uint32_t hash) noexcept nogil
cdef void flows_delete(Flows *f, uint32_t index) noexcept nogil
cdef void flows_clear(Flows *f) noexcept nogil
# What flows_guess comes to where no tag of the home bucket agrees: NO_FLOW, or ELSEWHERE where the entry may live in
# its other bucket, whose line is on its way to the cache then.
cdef uint32_t flows_elsewhere(const Flows *f, uint32_t hash) noexcept nogil
# As flows_guess, of that other bucket; NO_FLOW where no tag agrees there either.
cdef uint32_t flows_guess_other(const Flows *f, uint32_t hash) noexcept nogil
cdef uint32_t flows_next(Flows *f) noexcept nogil
# Put on the way to the cache what flows_expired will read of the next `count` entries.
cdef void flows_send_for_next(const Flows *f, uint32_t count) noexcept nogil
cdef uint32_t flows_expired(Flows *f, int64_t now, uint32_t *budget) noexcept nogil


cdef inline uint32_t flows_hash(const Flows *f, const Key *key) noexcept nogil:
    cdef const uint64_t *k = &f.secret[0]
    cdef uint64_t ends = raw64(&key.lo_port)
    cdef uint64_t h = (k[10] + k[0] * <uint32_t> key.lo[0] + k[4] * <uint32_t> key.hi[0] + k[8] * <uint32_t> ends
                       + k[9] * (ends >> 32))
    if key.family == 6:
        h += (k[1] * (key.lo[0] >> 32) + k[2] * <uint32_t> key.lo[1] + k[3] * (key.lo[1] >> 32)
              + k[5] * (key.hi[0] >> 32) + k[6] * <uint32_t> key.hi[1] + k[7] * (key.hi[1] >> 32))
    cdef uint32_t high = <uint32_t> (h >> 32)
    return (high ^ high >> 16) * 0x9e3779b1u


cdef inline uint8_t flows_tag(uint32_t hash) noexcept nogil:
    cdef uint8_t tag = <uint8_t> hash
    return tag + (tag == 0)


cdef inline Bucket *flows_home(const Flows *f, uint32_t hash) noexcept nogil:
    return f.buckets + (<uint64_t> hash * f.bucket_count >> 32)


cdef inline Bucket *flows_other(const Flows *f, uint32_t hash) noexcept nogil:
    cdef uint64_t home = <uint64_t> hash * f.bucket_count >> 32
    cdef uint64_t other = <uint64_t> (<uint32_t> (hash * 0x9e3779b1u) ^ 0x5bd1e995u) * f.bucket_count >> 32
    if other == home:
        other = 0 if home + 1 == f.bucket_count else home + 1
    return f.buckets + other


cdef inline bint key_equal(const Key *a, const Key *b) noexcept nogil:
    cdef const uint64_t *x = <const uint64_t *> a
    cdef const uint64_t *y = <const uint64_t *> b
    if unlikely(((x[0] ^ y[0]) | (x[2] ^ y[2]) | (x[4] ^ y[4])) != 0):
        return False
    # an IPv4 key has nothing there
    return a.family == 4 or ((x[1] ^ y[1]) | (x[3] ^ y[3])) == 0


cdef inline uint32_t flows_first_hit(const Flows *f, const Bucket *bucket, uint32_t hits) noexcept nogil:
    """The slab index of the first tag of `hits`, its lines on their way to the cache."""
    cdef uint32_t index = bucket.slot[lowest_bit(hits)]
    prefetch(f.entries + index)
    prefetch(<const uint8_t *> (f.entries + index) + 64)
    return index


cdef inline uint32_t flows_guess(const Flows *f, uint32_t hash) noexcept nogil:
    """The first slab index in the home bucket whose tag agrees, its lines on their way to the cache; where none does,
    flows_elsewhere."""
    cdef const Bucket *home = flows_home(f, hash)
    cdef uint32_t hits = tags_equal(home.tag, flows_tag(hash))
    return flows_first_hit(f, home, hits) if likely(hits != 0) else flows_elsewhere(f, hash)


cdef inline uint32_t flows_in_bucket(const Flows *f, const Bucket *bucket, const Key *key, uint8_t tag) noexcept nogil:
    cdef uint32_t hits = tags_equal(bucket.tag, tag)
    cdef uint32_t index
    while hits:
        index = bucket.slot[lowest_bit(hits)]
        if key_equal(&f.entries[index].key, key):
            return index
        hits &= hits - 1
    return NO_FLOW


cdef inline uint32_t flows_find(const Flows *f, const Key *key, uint32_t hash) noexcept nogil:
    """The slab index of `key`, or NO_FLOW. Expired entries are found too: the caller knows the time."""
    cdef Bucket *home = flows_home(f, hash)
    cdef uint32_t index = flows_in_bucket(f, home, key, flows_tag(hash))
    if index == NO_FLOW and unlikely(home.spill != 0):
        index = flows_in_bucket(f, flows_other(f, hash), key, flows_tag(hash))
    return index
