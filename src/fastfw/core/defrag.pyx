"""Reassembly of IPv4 (RFC 791 section 3.2, RFC 815) and IPv6 fragments (RFC 8200 section 4.5, RFC 5722, RFC 6946).

Fragments that follow one another without a gap, in the order they came, form a run. One that lies within a run is a
duplicate and harmless; one that overlaps in any other way condemns its datagram (RFC 5722; Linux holds IPv4 to it too).
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport be16, raw32, raw64, sum_bytes, sum_fold
from fastfw.core.headers cimport headers_skip
from fastfw.core.settings cimport (
    SET_FRAG4_HIGH, SET_FRAG4_MAX_DIST, SET_FRAG4_TIMEOUT, SET_FRAG6_HIGH, SET_FRAG6_TIMEOUT, Settings,
)
from fastfw.core.terms cimport (
    FRAGMENT, FRAGMENT_BAD, FRAGMENT_DUPLICATE, FRAGMENT_LIMIT, FRAGMENT_OVERLAP, HOOK_OUTPUT,
)
from fastfw.core.wire cimport PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, Packet


cdef enum:
    BUCKETS = 4096           # a power of two; the thresholds allow for about as many queues
    LONGEST = 65535          # an IPv4 datagram, an IPv6 payload
    WHOLE = LONGEST + 40
    MORE = 1                 # the more-fragments flag as Packet.frag_off and Fragment have it

    FIRST_CAME = 1
    LAST_CAME = 2

    QUEUE4_CHARGE = 200      # as Linux 6.18 on a 64-bit machine charges
    QUEUE6_CHARGE = 184


# A fragment's place, as its header tells.
ctypedef struct Fragment:
    uint32_t header          # bytes before its payload
    uint32_t start
    uint32_t end
    bint more
    uint32_t id
    uint8_t ecn


cdef inline uint32_t charge_of(uint32_t length) noexcept nogil:
    """What a received IP packet of that length costs in memory: descriptor, headroom and tailroom included, in blocks
    as an allocator gives them; past a page in pages."""
    cdef uint32_t size = length + 384
    if size <= 576:
        return 256 + 576
    if size <= 1024:
        return 256 + 1024
    if size <= 2048:
        return 256 + 2048
    if size <= 4096:
        return 256 + 4096
    return 256 + 4096 + (size - 1) / 4096 * 4096


cdef inline Family *family_of(Defrag *d, uint8_t family) noexcept nogil:
    return &d.family[0 if family == 4 else 1]


# -- queues -----------------------------------------------------------------------------------------------------------

cdef void link_newest(Family *f, Queue *q) noexcept nogil:
    q.newer = NULL
    q.older = f.newest
    if f.newest != NULL:
        f.newest.newer = q
    else:
        f.oldest = q
    f.newest = q


cdef void unlink_age(Family *f, Queue *q) noexcept nogil:
    if q.older != NULL:
        q.older.newer = q.newer
    else:
        f.oldest = q.newer
    if q.newer != NULL:
        q.newer.older = q.older
    else:
        f.newest = q.older


cdef void drop_pieces(Defrag *d, Queue *q) noexcept nogil:
    cdef Piece *piece = q.pieces
    cdef Piece *following
    while piece != NULL:
        following = piece.next
        free(piece)
        piece = following
    family_of(d, q.family).charge -= q.charge
    q.charge = 0
    q.pieces = NULL
    q.first = NULL


cdef void leave_source(Defrag *d, Source *source) noexcept nogil:
    cdef Source **at
    source.waiting -= 1
    if source.waiting:
        return
    at = d.sources + source.bucket
    while at[0] != source:
        at = &at[0].chain
    at[0] = source.chain
    free(source)


cdef void remove(Defrag *d, Queue *q) noexcept nogil:
    """Forget a datagram and all that came of it."""
    cdef Family *f = family_of(d, q.family)
    cdef Queue **at = d.table + (q.hash & BUCKETS - 1)
    while at[0] != q:
        at = &at[0].chain
    at[0] = q.chain
    unlink_age(f, q)
    drop_pieces(d, q)
    f.charge -= QUEUE4_CHARGE if q.family == 4 else QUEUE6_CHARGE
    f.queues -= 1
    d.queues -= 1
    if q.sender != NULL:
        leave_source(d, q.sender)
    free(q.map)
    free(q)


cdef void defrag_expire(Defrag *d, int64_t now) noexcept nogil:
    """Forget every datagram whose time is up."""
    cdef int i
    for i in range(2):
        while d.family[i].oldest != NULL and d.family[i].oldest.expires <= now:
            remove(d, d.family[i].oldest)


cdef void defrag_free(Defrag *d) noexcept nogil:
    cdef int i
    for i in range(2):
        while d.family[i].oldest != NULL:
            remove(d, d.family[i].oldest)
    free(d.table)
    free(d.sources)
    free(d.whole)
    memset(d, 0, sizeof(Defrag))


cdef bint prepare(Defrag *d) noexcept nogil:
    if d.whole != NULL:
        return True
    if d.table == NULL:
        d.table = <Queue **> calloc(BUCKETS, sizeof(Queue *))
    if d.sources == NULL:
        d.sources = <Source **> calloc(BUCKETS, sizeof(Source *))
    if d.table == NULL or d.sources == NULL:
        return False
    d.whole = <uint8_t *> malloc(WHOLE)
    return d.whole != NULL


cdef Source *find_source(Defrag *d, uint32_t address, const uint64_t *secret) noexcept nogil:
    cdef uint32_t number = <uint32_t> (secret[10] + secret[0] * address >> 32) & BUCKETS - 1
    cdef Source **bucket = d.sources + number
    cdef Source *source = bucket[0]
    while source != NULL:
        if source.address == address:
            return source
        source = source.chain
    source = <Source *> calloc(1, sizeof(Source))
    if source != NULL:
        source.address = address
        source.bucket = number
        source.chain = bucket[0]
        bucket[0] = source
    return source


cdef inline bint on_one_link(const uint8_t *address) noexcept nogil:
    """fe80::/10 and multicast (RFC 4291): meant on the interface they came by only."""
    return address[0] == 0xff or (address[0] == 0xfe and address[1] & 0xc0 == 0x80)


cdef uint32_t hash_of(const Queue *k, const uint64_t *secret) noexcept nogil:
    """Multilinear with the connection table's secret (flows.pxd): nobody outside knows which ids share a bucket."""
    cdef uint64_t h = secret[10] + secret[8] * k.id
    cdef const uint32_t *source = <const uint32_t *> k.source
    cdef const uint32_t *target = <const uint32_t *> k.destination
    cdef int i
    for i in range(4):
        h += secret[i] * source[i] + secret[4 + i] * target[i]
    h += secret[9] * (<uint32_t> k.proto | <uint32_t> k.output << 8 | <uint32_t> k.interface << 16)
    return <uint32_t> (h >> 32)


cdef bint same_datagram(const Queue *a, const Queue *b) noexcept nogil:
    return (a.hash == b.hash and a.id == b.id and a.source[0] == b.source[0] and a.destination[0] == b.destination[0]
            and a.source[1] == b.source[1] and a.destination[1] == b.destination[1] and a.proto == b.proto
            and a.family == b.family and a.output == b.output and a.interface == b.interface)


cdef Queue *find_queue(Defrag *d, const Packet *p, const Fragment *frag, const uint64_t *secret,
                       const Settings *s) noexcept nogil:
    """The datagram a fragment belongs to, made if it is the first to come; NULL without memory."""
    cdef Queue wanted
    cdef Queue **bucket
    cdef Queue *q
    cdef Family *f = family_of(d, p.family)
    memset(&wanted, 0, sizeof(Queue))
    if p.family == 4:
        wanted.source[0] = raw32(p.data + 12)
        wanted.destination[0] = raw32(p.data + 16)
        wanted.proto = p.data[9]
    else:
        wanted.source[0] = raw64(p.data + 8)
        wanted.source[1] = raw64(p.data + 16)
        wanted.destination[0] = raw64(p.data + 24)
        wanted.destination[1] = raw64(p.data + 32)
        if on_one_link(p.data + 24):
            wanted.interface = p.iif
    wanted.id = frag.id
    wanted.family = p.family
    wanted.output = p.hook == HOOK_OUTPUT
    wanted.hash = hash_of(&wanted, secret)
    bucket = d.table + (wanted.hash & BUCKETS - 1)
    q = bucket[0]
    while q != NULL:
        if same_datagram(q, &wanted):
            if q.expires > p.now:
                return q
            remove(d, q)
            break
        q = q.chain
    q = <Queue *> malloc(sizeof(Queue))
    if q == NULL:
        return NULL
    q[0] = wanted
    if p.family == 4 and s.of[SET_FRAG4_MAX_DIST]:
        q.sender = find_source(d, <uint32_t> q.source[0], secret)
        if q.sender == NULL:
            free(q)
            return NULL
        q.sender.waiting += 1
    q.expires = p.now + s.of[SET_FRAG4_TIMEOUT if p.family == 4 else SET_FRAG6_TIMEOUT]
    q.chain = bucket[0]
    bucket[0] = q
    link_newest(f, q)
    f.charge += QUEUE4_CHARGE if q.family == 4 else QUEUE6_CHARGE
    f.queues += 1
    d.queues += 1
    return q


cdef void heed_distance(Defrag *d, Queue *q, const Packet *p, const Settings *s) noexcept nogil:
    """Where the sender has sent more than ipfrag_max_dist fragments since this datagram's last, its ids have come
    round: what waits is of an older datagram, and this fragment begins a new one."""
    cdef uint32_t before = q.sent
    q.sender.sent += 1
    q.sent = q.sender.sent
    if q.pieces == NULL or q.sent - before <= <uint64_t> s.of[SET_FRAG4_MAX_DIST]:
        return
    drop_pieces(d, q)
    memset(q.map, 0, 16 * <size_t> q.words)
    q.flags = 0
    q.ecn = 0
    q.length = 0
    q.meat = 0
    q.tail = 0
    q.expires = p.now + s.of[SET_FRAG4_TIMEOUT]
    unlink_age(&d.family[0], q)
    link_newest(&d.family[0], q)


# -- the map of what has come -----------------------------------------------------------------------------------------

cdef bint make_map(Queue *q, uint32_t end) noexcept nogil:
    """Make the maps reach to `end`; False without memory."""
    cdef uint32_t words = q.words if q.words else 4
    cdef uint64_t *grown
    while <uint64_t> words * 512 < end:
        words *= 2
    if words == q.words:
        return True
    grown = <uint64_t *> realloc(q.map, 16 * <size_t> words)
    if grown == NULL:
        return False
    # the second map moves up to make room for the first
    memcpy(grown + words, grown + q.words, 8 * <size_t> q.words)
    memset(grown + q.words, 0, 8 * <size_t> (words - q.words))
    memset(grown + words + q.words, 0, 8 * <size_t> (words - q.words))
    q.map = grown
    q.words = words
    return True


cdef inline uint64_t span(uint32_t word, uint32_t first, uint32_t past) noexcept nogil:
    """The bits of a word of the map that stand for blocks `first` to before `past`."""
    cdef uint64_t bits = ~<uint64_t> 0
    if first > word * 64:
        bits <<= first - word * 64
    if past < word * 64 + 64:
        bits &= ~<uint64_t> 0 >> (word * 64 + 64 - past)
    return bits


cdef uint16_t place(Queue *q, uint32_t start, uint32_t end) noexcept nogil:
    """Note that a fragment has come; the reason where it must not be kept, REASON_NONE where it may. The maps reach to
    `end`."""
    cdef uint32_t first = start / 8, past = (end + 7) / 8, word
    cdef uint64_t *came = q.map
    cdef uint64_t *begins = q.map + q.words
    cdef uint64_t bits
    cdef bint any_came = False, all_came = True, one_run = True
    if q.tail < end:
        if start < q.tail:
            return FRAGMENT_OVERLAP
        if start != q.tail or start == 0:
            begins[first / 64] |= <uint64_t> 1 << (first & 63)
        q.tail = end
    else:
        for word in range(first / 64, (past + 63) / 64):
            bits = span(word, first, past)
            if came[word] & bits:
                any_came = True
            if came[word] & bits != bits:
                all_came = False
            # a run may begin with the fragment's first block, but none behind it
            if word == first / 64:
                bits &= ~(<uint64_t> 1 << (first & 63))
            if begins[word] & bits:
                one_run = False
        if any_came:
            return FRAGMENT_DUPLICATE if all_came and one_run else FRAGMENT_OVERLAP
        begins[first / 64] |= <uint64_t> 1 << (first & 63)
    for word in range(first / 64, (past + 63) / 64):
        came[word] |= span(word, first, past)
    return 0


# -- joining ----------------------------------------------------------------------------------------------------------

cdef Joined refuse(Packet *p, uint16_t reason, const Fragment *frag) noexcept nogil:
    p.reason = reason
    p.detail[0] = frag.start
    p.detail[1] = frag.end
    return JOINED_DROPPED


cdef bint keep(Defrag *d, Queue *q, const Packet *p, const Fragment *frag) noexcept nogil:
    """Copy a fragment's payload, and the IP header of the one at the datagram's start; False without memory."""
    cdef uint32_t front = frag.header if frag.start == 0 else 0
    cdef uint32_t size = frag.end - frag.start
    cdef uint32_t have = p.have - frag.header if p.have > frag.header else 0
    cdef Piece *piece
    if have > size:
        have = size
    piece = <Piece *> malloc(sizeof(Piece) + front + have)
    if piece == NULL:
        return False
    piece.start = frag.start
    piece.size = size
    piece.have = have
    piece.next = q.pieces
    memcpy(<uint8_t *> (piece + 1), p.data, front)
    memcpy(<uint8_t *> (piece + 1) + front, p.data + frag.header, have)
    q.pieces = piece
    if front:
        q.first = piece
        q.header = front
    q.charge += charge_of(p.length)
    family_of(d, q.family).charge += charge_of(p.length)
    return True


cdef inline bint ecn_agree(uint8_t ecn) noexcept nogil:
    """Fragments of a transport that does not know ECN and of one that does are of no one datagram."""
    return ecn & 1 == 0 or ecn == 1


cdef inline uint8_t ecn_joined(uint8_t ecn) noexcept nogil:
    """What the datagram's ECN field gets on top of its first fragment's: congestion met by any of them."""
    return 3 if ecn & 8 and ecn != 8 else 0


cdef Joined join(Defrag *d, Queue *q, Packet *p, const Fragment *frag) noexcept nogil:
    """Make the datagram of its pieces; the queue is gone afterwards."""
    cdef uint8_t *whole = d.whole
    cdef uint32_t header = q.header if q.family == 4 else q.header - 8
    cdef uint32_t total = header + q.length, have = total
    cdef const uint8_t *at
    cdef Piece *piece = q.pieces
    cdef uint16_t sum
    if not ecn_agree(q.ecn) or total > (LONGEST if q.family == 4 else WHOLE):
        remove(d, q)
        return refuse(p, FRAGMENT_BAD, frag)
    memcpy(whole, <const uint8_t *> (q.first + 1), header)
    while piece != NULL:
        at = <const uint8_t *> (piece + 1)
        if piece == q.first:
            at += q.header
        memcpy(whole + header + piece.start, at, piece.have)
        if piece.have < piece.size and header + piece.start + piece.have < have:
            have = header + piece.start + piece.have
        piece = piece.next
    if q.family == 4:
        whole[1] |= ecn_joined(q.ecn)
        whole[2] = <uint8_t> (total >> 8)
        whole[3] = <uint8_t> total
        # the path's limit stays known where the largest fragment asked not to be cut
        whole[6] = 0x40 if q.largest_df == q.largest else 0
        whole[7] = 0
        memset(whole + 10, 0, 2)
        sum = <uint16_t> ~sum_fold(sum_bytes(whole, header))
        memcpy(whole + 10, &sum, 2)
    else:
        whole[1] |= ecn_joined(q.ecn) << 4
        whole[4] = <uint8_t> (total - 40 >> 8)
        whole[5] = <uint8_t> (total - 40)
        whole[q.next_at] = q.next_header
    p.data = whole
    p.length = total
    p.have = have
    remove(d, q)
    return JOINED_WHOLE


cdef Joined add(Defrag *d, Queue *q, Packet *p, const Fragment *frag, uint32_t measured) noexcept nogil:
    """Put a fragment that agrees with the datagram's length in its place; join them if it was the last."""
    cdef uint16_t reason
    if not make_map(q, frag.end):
        return refuse(p, FRAGMENT_LIMIT, frag)
    reason = place(q, frag.start, frag.end)
    if reason:
        if reason == FRAGMENT_OVERLAP:
            remove(d, q)
        return refuse(p, reason, frag)
    if not keep(d, q, p, frag):
        remove(d, q)
        return refuse(p, FRAGMENT_LIMIT, frag)
    q.meat += frag.end - frag.start
    q.ecn |= frag.ecn
    if measured > q.largest:
        q.largest = measured
    if frag.start == 0:
        q.flags |= FIRST_CAME
    if q.flags == FIRST_CAME | LAST_CAME and q.meat == q.length:
        return join(d, q, p, frag)
    p.reason = FRAGMENT
    p.detail[0] = frag.start
    p.detail[1] = frag.end
    return JOINED_HELD


cdef bint length_agrees(Queue *q, const Fragment *frag) noexcept nogil:
    """Whether a fragment's end fits what is known of the datagram's; learns from it if so."""
    if not frag.more:
        if frag.end < q.length or (q.flags & LAST_CAME and frag.end != q.length):
            return False
        q.flags |= LAST_CAME
        q.length = frag.end
    elif frag.end > q.length:
        if q.flags & LAST_CAME:
            return False
        q.length = frag.end
    return True


cdef Joined take4(Defrag *d, Packet *p, const uint64_t *secret, const Settings *s) noexcept nogil:
    cdef Fragment frag
    cdef Queue *q
    cdef uint32_t measured
    frag.header = (p.data[0] & 15) * 4
    frag.start = p.frag_off & 0xfff8
    frag.end = frag.start + p.length - frag.header
    frag.more = p.frag_off & MORE
    frag.id = <uint32_t> p.data[4] << 8 | p.data[5]
    frag.ecn = <uint8_t> (1 << (p.data[1] & 3))
    q = find_queue(d, p, &frag, secret, s)
    if q == NULL:
        return refuse(p, FRAGMENT_LIMIT, &frag)
    if q.sender != NULL:
        heed_distance(d, q, p, s)
    if frag.more:
        frag.end &= ~<uint32_t> 7
    if not length_agrees(q, &frag) or frag.end == frag.start:
        remove(d, q)
        return refuse(p, FRAGMENT_BAD, &frag)
    measured = frag.end - frag.start + frag.header
    if p.data[6] & 0x40 and measured > q.largest_df:
        q.largest_df = measured
    return add(d, q, p, &frag, measured)


cdef bint first_is_short(const Packet *p) noexcept nogil:
    """Whether a first fragment of IPv6 does not reach to the end of its headers (RFC 8200 section 4.5, RFC 7112)."""
    cdef uint8_t proto = 44
    cdef uint16_t frag
    cdef int l4 = headers_skip(p.data, p.l4, p.have, &proto, &frag)
    cdef uint32_t least = 1
    if l4 < 0 or frag & 0xfff8:
        return False
    if proto == PROTO_TCP:
        least = 20
    elif proto == PROTO_UDP or proto == PROTO_ICMPV6:
        least = 8
    return l4 + least > p.length


cdef inline bint stays_alone(const Packet *p) noexcept nogil:
    """Whether a fragment is judged as it is: a jumbogram has no pieces (RFC 2675 section 3)."""
    return be16(p.data + 4) == 0 or first_is_short(p)


cdef Joined take6(Defrag *d, Packet *p, const uint64_t *secret, const Settings *s) noexcept nogil:
    cdef const uint8_t *head = p.data + p.l4
    cdef Fragment frag
    cdef Queue *q
    frag.start = 0
    frag.end = p.length
    if stays_alone(p):
        return JOINED_ALONE
    if p.l4 + 8 > p.length:
        return refuse(p, FRAGMENT_BAD, &frag)
    frag.header = p.l4 + 8
    frag.start = be16(head + 2) & 0xfff8
    frag.end = frag.start + p.length - frag.header
    frag.more = head[3] & MORE
    frag.id = raw32(head + 4)
    frag.ecn = <uint8_t> (1 << (p.data[1] >> 4 & 3))
    q = find_queue(d, p, &frag, secret, s)
    if q == NULL:
        return refuse(p, FRAGMENT_LIMIT, &frag)
    if frag.end > LONGEST:
        return refuse(p, FRAGMENT_BAD, &frag)
    if frag.more and frag.end & 7:
        remove(d, q)
        return JOINED_ALONE
    if not length_agrees(q, &frag) or frag.end == frag.start:
        return refuse(p, FRAGMENT_BAD, &frag)
    if frag.start == 0 and not q.flags & FIRST_CAME:
        q.next_at = p.frag_off
        q.next_header = head[0]
    return add(d, q, p, &frag, p.length)


cdef Joined defrag_take(Defrag *d, Packet *p, const uint64_t *secret, const Settings *s) noexcept nogil:
    """Hold a fragment, or complete its datagram. `p` is as wire_parse left it, its kind KIND_FRAGMENT; `secret` is the
    connection table's. The datagram's bytes are valid until the next call."""
    cdef int64_t most = s.of[SET_FRAG4_HIGH if p.family == 4 else SET_FRAG6_HIGH]
    cdef Fragment nowhere
    defrag_expire(d, p.now)
    if most == 0 or family_of(d, p.family).charge > <uint64_t> most or not prepare(d):
        nowhere.start = 0
        nowhere.end = <uint32_t> family_of(d, p.family).charge
        if p.family == 6 and stays_alone(p):
            return JOINED_ALONE
        return refuse(p, FRAGMENT_LIMIT, &nowhere)
    if p.family == 4:
        return take4(d, p, secret, s)
    return take6(d, p, secret, s)
