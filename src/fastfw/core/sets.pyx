"""Sets asked and changed by packets, as ipset's kernel side does; see sets.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

from fastfw.core.bytes cimport be16, be32, raw32
from fastfw.core.declared cimport LINK_SOURCE, LINK_TARGET
from fastfw.core.maps cimport map_add, map_delete, map_find, map_free, map_has, map_init
from fastfw.core.program cimport (
    POINT_FORWARD, POINT_INPUT, POINT_OUTPUT, POINT_POSTROUTING, POINT_PREROUTING, Look, Predicate,
)
from fastfw.core.wire cimport (
    PROTO_ICMP, PROTO_ICMPV6, PROTO_NONE, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE,
)

cdef enum:
    TICK_NS = 4000000            # the kernel's clock tick where it runs at 250 Hz
    TICKS = 250                  # a second

cdef enum Answer:
    ANSWER_NO = 0
    ANSWER_YES = 1
    ANSWER_EXCEPT = 2            # an element that says nomatch


cdef int set_init(Set *s, uint64_t seed) noexcept nogil:
    """An empty set without a type; -1 without memory."""
    memset(s, 0, sizeof(Set))
    memset(s.lengths, NO_LENGTH, sizeof(s.lengths))
    memset(s.mask, 0xff, sizeof(s.mask))
    s.mark_mask = <uint32_t> 0xffffffff
    if map_init(&s.map, sizeof(Element), sizeof(Stored), seed) < 0:
        return -1
    return map_init(&s.networks, sizeof(Element), sizeof(Stored), ~seed)


cdef void set_free(Set *s) noexcept nogil:
    map_free(&s.map)
    map_free(&s.networks)
    free(s.members)


# -- networks ---------------------------------------------------------------------------------------------------------

cdef void mask_to(uint32_t *address, uint8_t length) noexcept nogil:
    """Clear what lies behind a prefix, in an address as it stands in packets."""
    cdef uint8_t *bytes = <uint8_t *> address
    cdef uint32_t whole = length >> 3
    if length & 7:
        bytes[whole] &= <uint8_t> (0xff00 >> (length & 7))
        whole += 1
    if whole < 16:
        memset(bytes + whole, 0, 16 - whole)


cdef void list_lengths(Set *s, int side) noexcept nogil:
    cdef int length, count = 0
    for length in range(LENGTHS - 1, -1, -1):
        if s.with_length[side][length]:
            s.lengths[side][count] = <uint8_t> length
            count += 1
    s.lengths[side][count] = NO_LENGTH


cdef void length_counts(Set *s, int side, uint8_t length, int by) noexcept nogil:
    s.with_length[side][length] += by
    if s.with_length[side][length] == (1 if by > 0 else 0):
        list_lengths(s, side)


cdef void lengths_count(Set *s, const Element *element, int by) noexcept nogil:
    """An element comes (1) or goes (-1)."""
    cdef Element network
    cdef Stored *counted
    if s.bits & SET_FIRST_NET:
        length_counts(s, 0, element.first_length, by)
    if s.bits & SET_SECOND_NET:
        length_counts(s, 1, element.second_length, by)
    if s.bits & SET_INTERFACE:
        network_of(element, &network)
        counted = <Stored *> map_find(&s.networks, &network)
        if counted == NULL and by > 0:
            counted = <Stored *> map_add(&s.networks, &network)
        if counted != NULL:
            counted.packets += by
            if by > 0:
                counted.bytes = element.interface
            elif counted.bytes == element.interface:
                counted.bytes = 0
            if counted.packets == 0:
                map_delete(&s.networks, counted)


cdef inline void network_of(const Element *element, Element *network) noexcept nogil:
    memset(network, 0, sizeof(Element))
    memcpy(network.first, element.first, 16)
    network.first_length = element.first_length


# -- elements ---------------------------------------------------------------------------------------------------------

cdef Stored *set_find(Set *s, const Element *element) noexcept nogil:
    return <Stored *> map_find(&s.map, element)


cdef void set_remove(Set *s, Stored *stored) noexcept nogil:
    lengths_count(s, &stored.element, -1)
    map_delete(&s.map, stored)


cdef inline bint expired(const Stored *stored, int64_t tick) noexcept nogil:
    return stored.expires != 0 and tick > stored.expires


cdef void expire(Set *s, int64_t tick) noexcept nogil:
    """Take out what is over: once a tick, for nothing more ends in it. A flood of new elements at a full set would walk
    all of it with every packet otherwise."""
    cdef uint32_t i
    cdef Stored *stored
    if s.expired_at == tick:
        return
    s.expired_at = tick
    for i in range(s.map.used):
        if map_has(&s.map, i):
            stored = <Stored *> (s.map.records + <size_t> i * s.map.size)
            if expired(stored, tick):
                set_remove(s, stored)


cdef void force_out(Set *s) noexcept nogil:
    """Take out one element, each in its turn."""
    cdef uint32_t _i
    for _i in range(s.map.used):
        s.turn = s.turn + 1 if s.turn + 1 < s.map.used else 0
        if map_has(&s.map, s.turn):
            set_remove(s, <Stored *> (s.map.records + <size_t> s.turn * s.map.size))
            return


cdef bint set_enter(Set *s, const Stored *stored) noexcept nogil:
    cdef Stored *place = set_find(s, &stored.element)
    if place == NULL:
        if s.map.count >= s.most:
            return False
        place = <Stored *> map_add(&s.map, &stored.element)
        if place == NULL:
            return False
        lengths_count(s, &stored.element, 1)
    place[0] = stored[0]
    return True


# -- what a packet is in a set's terms --------------------------------------------------------------------------------

cdef inline bint side_of(uint32_t bits, int part) noexcept nogil:
    """1: the source."""
    return bits >> part & 1


cdef void address_of(const Look *look, bint source, uint32_t *address) noexcept nogil:
    cdef const uint8_t *ip = look.p.data
    memset(address, 0, 16)
    if look.p.family == 4:
        address[0] = raw32(ip + (12 if source else 16))
    else:
        memcpy(address, ip + (8 if source else 24), 16)


cdef bint port_of(const Look *look, bint source, Element *e) noexcept nogil:
    """Protocol and port; 0 of a protocol without ports. False: a header that cannot be read."""
    cdef uint32_t need = 0
    if look.broken or look.fragment or (look.p.family == 6 and look.proto == PROTO_NONE):
        return False
    if look.p.family == 4 and look.proto == 0:
        return False
    e.proto = look.proto
    if look.proto == PROTO_TCP:
        need = 20
    elif look.proto == PROTO_SCTP:
        need = 12
    elif (look.proto == PROTO_UDP or look.proto == PROTO_UDPLITE or look.proto == PROTO_ICMP
            or look.proto == PROTO_ICMPV6):
        need = 8
    if look.room < need:
        return False
    if look.proto == PROTO_ICMP or look.proto == PROTO_ICMPV6:
        e.port = be16(look.l4)
    elif need:
        e.port = be16(look.l4 + (0 if source else 2))
    return True


cdef bint mac_of(const Look *look, bint source, uint8_t *mac) noexcept nogil:
    """An address of the frame that came in; all zeros is none."""
    cdef const uint8_t *link = look.p.link
    if (link == NULL or not link[13] & (LINK_SOURCE if source else LINK_TARGET)
            or look.point == POINT_OUTPUT or (look.point == POINT_POSTROUTING)):
        return False
    memcpy(mac, link + (6 if source else 0), 6)
    return mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5] != 0


cdef uint32_t interface_of(const Sets *sets, const Look *look, bint incoming) noexcept nogil:
    """Its number here; 0: there is none at this point of the way."""
    if incoming:
        if look.point == POINT_PREROUTING or look.point == POINT_INPUT or look.point == POINT_FORWARD:
            return sets.interfaces[look.p.iif]
    elif look.point == POINT_FORWARD or look.point == POINT_OUTPUT or look.point == POINT_POSTROUTING:
        return sets.interfaces[look.p.oif]
    return 0


cdef bint element_of(const Sets *sets, const Set *s, const Look *look, uint32_t bits, Element *e) noexcept nogil:
    """The packet as an element; prefixes are left open. False: it is none."""
    cdef int part = 0, i
    cdef uint32_t host
    memset(e, 0, sizeof(Element))
    if s.bits & (SET_FIRST | SET_FIRST_NET):
        address_of(look, side_of(bits, part), e.first)
        for i in range(4):
            e.first[i] &= s.mask[i]
        if s.bits & SET_BITMAP:
            host = be32(<const uint8_t *> e.first)
            if host < s.low or host > s.high:
                return False
        elif (s.bits & SET_FIRST and (s.parts == 1 or (s.parts == 2 and s.bits & SET_PORT))
                and not (e.first[0] | e.first[1] | e.first[2] | e.first[3])):
            return False
        part += 1
    if s.bits & (SET_PORT | SET_BARE_PORT):
        if not port_of(look, side_of(bits, part), e):
            return False
        if s.bits & SET_BARE_PORT:
            if e.proto != PROTO_TCP and e.proto != PROTO_UDP or e.port < s.low or e.port > s.high:
                return False
            e.proto = 0
        part += 1
    if s.bits & SET_MARK:
        e.mark = look.p.mark & s.mark_mask
        part += 1
    if s.bits & SET_MAC:
        if not mac_of(look, side_of(bits, part), e.mac):
            return False
        part += 1
    if s.bits & SET_INTERFACE:
        e.interface = interface_of(sets, look, side_of(bits, part))
        if e.interface == 0:
            return False
        part += 1
    if s.bits & (SET_SECOND | SET_SECOND_NET):
        address_of(look, side_of(bits, part), e.second)
        if s.bits & SET_FIRST_NET:
            for i in range(4):
                e.second[i] &= s.mask[i]
    return True


# -- asking -----------------------------------------------------------------------------------------------------------

cdef inline bint compares(uint64_t value, uint32_t how, uint64_t want) noexcept nogil:
    if how == COMPARE_EQUAL:
        return value == want
    if how == COMPARE_OTHER:
        return value != want
    if how == COMPARE_LESS:
        return value < want
    if how == COMPARE_MORE:
        return value > want
    return True


cdef bint extension_holds(const Set *s, Stored *stored, const Look *look, Asking *asking, int64_t tick) noexcept nogil:
    """Whether an element that was found counts: it is not over, and its counters compare as asked, this packet
    included."""
    if expired(stored, tick):
        return False
    if s.bits & SET_COUNTERS:
        if not asking.bits & ASK_STILL:
            stored.packets += 1
            stored.bytes += look.p.length
        if not (compares(stored.packets, (asking.bits & ASK_PACKETS_MASK) / ASK_PACKETS, asking.packets)
                and compares(stored.bytes, (asking.bits & ASK_BYTES_MASK) / ASK_BYTES, asking.bytes)):
            return False
    if s.bits & SET_INFO:
        asking.mark = stored.mark
        asking.mark_mask = stored.mark_mask
    return True


cdef Answer answer(Set *s, Stored *stored, const Look *look, Asking *asking, int64_t tick) noexcept nogil:
    if not extension_holds(s, stored, look, asking, tick):
        return ANSWER_NO
    return ANSWER_EXCEPT if stored.nomatch else ANSWER_YES


cdef Answer ask_interface(const Sets *sets, Set *s, Element *e, const Look *look, Asking *asking, int64_t tick,
                          bint *more) noexcept nogil:
    """One network's elements, by interface. No shorter prefix is looked for where there are some but none of the
    packet's, nor where the packet's do not count and the last that came is none of them."""
    cdef Element network
    cdef Stored *stored
    cdef const Stored *known
    cdef Answer said
    cdef const uint64_t *row = sets.wildcards[e.interface]
    cdef uint64_t interface = e.interface
    cdef uint32_t i
    network_of(e, &network)
    known = <const Stored *> map_find(&s.networks, &network)
    if known == NULL:
        return ANSWER_NO
    more[0] = False
    stored = set_find(s, e)
    if stored != NULL:
        said = answer(s, stored, look, asking, tick)
        if said != ANSWER_NO:
            return said
        more[0] |= known.bytes == 0 or known.bytes == interface
    for i in range(sets.wildcard_count):
        if row[i >> 6] >> (i & 63) & 1:
            e.interface = <uint32_t> WILDCARD + i
            stored = set_find(s, e)
            e.interface = interface
            if stored != NULL:
                said = answer(s, stored, look, asking, tick)
                if said != ANSWER_NO:
                    return said
                more[0] |= known.bytes == 0 or known.bytes == <uint32_t> WILDCARD + i
    return ANSWER_NO


cdef Answer ask_once(const Sets *sets, Set *s, Element *e, const Look *look, Asking *asking, int64_t tick,
                     bint *more) noexcept nogil:
    cdef Stored *stored
    if s.bits & SET_INTERFACE:
        return ask_interface(sets, s, e, look, asking, tick, more)
    stored = set_find(s, e)
    return answer(s, stored, look, asking, tick) if stored != NULL else ANSWER_NO


cdef Answer ask_second(const Sets *sets, Set *s, Element *e, const Look *look, Asking *asking, int64_t tick,
                       bint *more) noexcept nogil:
    """Every prefix of the second address, the longest first, if it has any."""
    cdef Element under
    cdef const uint8_t *length = s.lengths[1]
    cdef Answer said
    if not s.bits & SET_SECOND_NET:
        return ask_once(sets, s, e, look, asking, tick, more)
    while length[0] != NO_LENGTH:
        under = e[0]
        under.second_length = length[0]
        mask_to(under.second, length[0])
        said = ask_once(sets, s, &under, look, asking, tick, more)
        if said != ANSWER_NO or not more[0]:
            return said
        length += 1
    return ANSWER_NO


cdef Answer ask_element(const Sets *sets, Set *s, Element *e, const Look *look, Asking *asking,
                        int64_t tick) noexcept nogil:
    cdef Element under
    cdef const uint8_t *length = s.lengths[0]
    cdef Answer said
    cdef bint more = True
    if not s.bits & SET_FIRST_NET:
        return ask_second(sets, s, e, look, asking, tick, &more)
    while length[0] != NO_LENGTH:
        under = e[0]
        under.first_length = length[0]
        mask_to(under.first, length[0])
        said = ask_second(sets, s, &under, look, asking, tick, &more)
        if said != ANSWER_NO or not more:
            return said
        length += 1
    return ANSWER_NO


cdef Answer ask_bitmap_mac(Set *s, Element *e, const Look *look, Asking *asking, int64_t tick) noexcept nogil:
    """bitmap:ip,mac: an address whose MAC is not known takes the packet's; its time begins then."""
    cdef Element bare = e[0]
    cdef Stored *stored
    memset(bare.mac, 0, 6)
    stored = set_find(s, &bare)
    if stored == NULL:
        return ANSWER_NO
    if stored.pending:
        stored.pending = 0
        memcpy(stored.mac, e.mac, 6)
        if stored.expires:
            stored.expires += tick
        return ANSWER_YES
    if memcmp(stored.mac, e.mac, 6) != 0:
        return ANSWER_NO
    return answer(s, stored, look, asking, tick)


cdef bint takes(const Set *s, const Look *look, uint32_t bits) noexcept nogil:
    """Whether a set's type can be asked so."""
    return ((bits & ASK_PARTS_MASK) / ASK_PARTS >= s.parts
            and (s.family == 0 or s.family == look.p.family))


cdef bint ask(Sets *sets, uint32_t number, const Look *look, Asking *asking, int64_t tick) noexcept nogil:
    cdef Set *s = sets.all + number
    cdef Element e
    cdef Answer said
    cdef Asking below
    cdef uint32_t i
    if not takes(s, look, asking.bits):
        return False
    if s.bits & SET_LIST:
        below = asking[0]
        below.bits &= ~<uint32_t> (ASK_PACKETS_MASK | ASK_BYTES_MASK)
        if below.bits & ASK_STILL_BELOW:
            below.bits |= ASK_STILL
        for i in range(s.member_count):
            if ask(sets, <uint32_t> s.members[i].element.interface, look, &below, tick):
                asking.mark = below.mark
                asking.mark_mask = below.mark_mask
                if extension_holds(s, s.members + i, look, asking, tick):
                    return True
        return False
    if not element_of(sets, s, look, asking.bits, &e):
        return False
    if s.bits & SET_BITMAP and s.bits & SET_MAC:
        said = ask_bitmap_mac(s, &e, look, asking, tick)
    else:
        said = ask_element(sets, s, &e, look, asking, tick)
    if asking.bits & ASK_NOMATCH and s.bits & (SET_FIRST_NET | SET_SECOND_NET):
        return said == ANSWER_EXCEPT
    return said == ANSWER_YES


cdef int64_t begin(Sets *sets, const Look *look) noexcept nogil:
    """The tick it is. What is to be over some time after the first packet gets its time."""
    cdef int64_t tick = look.p.now / TICK_NS
    cdef Stored *stored
    cdef Set *s
    cdef uint32_t i, k
    if sets.begun:
        return tick
    sets.begun = 1
    for i in range(sets.count):
        s = sets.all + i
        for k in range(s.map.used):
            stored = <Stored *> (s.map.records + <size_t> k * s.map.size)
            if map_has(&s.map, k) and stored.expires and not stored.pending:
                stored.expires += tick
        for k in range(s.member_count):
            if s.members[k].expires:
                s.members[k].expires += tick
    return tick


cdef int set_holds(Sets *sets, const Predicate *q, Look *look) noexcept nogil:
    cdef Asking asking
    asking.bits = q.b
    asking.mark = asking.mark_mask = 0
    asking.packets = look.program.words[q.c]
    asking.bytes = look.program.words[q.c + 1]
    return ask(sets, q.a, look, &asking, begin(sets, look))


# -- changing ---------------------------------------------------------------------------------------------------------

cdef void take_prefixes(const Set *s, const Look *look, Element *e) noexcept nogil:
    """A packet's network is that of the longest prefix there is, or its host."""
    cdef uint8_t host = 32 if look.p.family == 4 else 128
    if s.bits & SET_FIRST_NET:
        e.first_length = s.lengths[0][0] if s.lengths[0][0] != NO_LENGTH else host
        mask_to(e.first, e.first_length)
    if s.bits & SET_SECOND_NET:
        e.second_length = s.lengths[1][0] if s.lengths[1][0] != NO_LENGTH else host
        mask_to(e.second, e.second_length)


cdef Stored *same(const Sets *sets, Set *s, const Element *e) noexcept nogil:
    """The element that a set takes for one and the same, or NULL. An interface is that whose beginning another element
    of its network has."""
    cdef Element other
    cdef Stored *stored = set_find(s, e)
    cdef const uint64_t *row
    cdef uint32_t i
    if stored != NULL or not s.bits & SET_INTERFACE:
        return stored
    other = e[0]
    row = sets.wildcards[e.interface]
    for i in range(sets.wildcard_count):
        if row[i >> 6] >> (i & 63) & 1:
            other.interface = <uint32_t> WILDCARD + i
            stored = set_find(s, &other)
            if stored != NULL:
                return stored
    return NULL


cdef bint add_element(const Sets *sets, Set *s, const Element *e, const Look *look, uint32_t bits, uint32_t timeout,
                      int64_t tick) noexcept nogil:
    """False: it is there already, or there is no room."""
    cdef Stored made
    cdef Stored *there
    memset(&made, 0, sizeof(Stored))
    made.element = e[0]
    if s.bits & SET_BITMAP and s.bits & SET_MAC:
        memcpy(made.mac, e.mac, 6)
        memset(made.element.mac, 0, 6)
    there = same(sets, s, &made.element)
    if there != NULL and not there.pending and not expired(there, tick) and not bits & ASK_EXIST:
        return False
    if there != NULL:
        made.element = there.element
        made.comment = there.comment
    if there == NULL and s.map.count >= s.most:
        expire(s, tick)
        if s.map.count >= s.most and s.bits & SET_FORCE:
            force_out(s)
    if s.bits & SET_TIMEOUT:
        timeout = s.timeout if timeout == <uint32_t> USUAL_TIMEOUT else timeout
        if timeout:
            made.expires = tick + <int64_t> timeout * TICKS
    if s.bits & SET_COUNTERS:
        made.packets = 1
        made.bytes = look.p.length
    return set_enter(s, &made)


cdef bint delete_element(const Sets *sets, Set *s, const Element *e, int64_t tick) noexcept nogil:
    cdef Element bare = e[0]
    cdef Stored *there
    cdef bint was
    if s.bits & SET_BITMAP:
        memset(bare.mac, 0, 6)
    there = same(sets, s, &bare)
    if there == NULL:
        return False
    was = not expired(there, tick)
    set_remove(s, there)
    return was


cdef bint change(Sets *sets, uint32_t number, const Look *look, uint32_t bits, uint32_t timeout, bint adds,
                 int64_t tick) noexcept nogil:
    """Add or delete; in a list, in the first set that lets it."""
    cdef Set *s = sets.all + number
    cdef Element e
    cdef uint32_t i
    if not takes(s, look, bits):
        return False
    if s.bits & SET_LIST:
        for i in range(s.member_count):
            if not expired(s.members + i, tick) and change(
                    sets, <uint32_t> s.members[i].element.interface, look, bits, timeout, adds, tick):
                return True
        return False
    if not element_of(sets, s, look, bits, &e):
        return False
    take_prefixes(s, look, &e)
    if adds:
        return add_element(sets, s, &e, look, bits, timeout, tick)
    return delete_element(sets, s, &e, tick)


cdef void set_change(Sets *sets, const uint32_t *numbers, Look *look) noexcept nogil:
    cdef int64_t tick = begin(sets, look)
    cdef Asking asking
    if numbers[0] != <uint32_t> NO_SET:
        change(sets, numbers[0], look, numbers[1], numbers[6], True, tick)
    if numbers[2] != <uint32_t> NO_SET:
        change(sets, numbers[2], look, numbers[3], 0, False, tick)
    if numbers[4] != <uint32_t> NO_SET:
        asking.bits = numbers[5]
        asking.mark = asking.mark_mask = 0
        if ask(sets, numbers[4], look, &asking, tick) and numbers[7]:
            look.p.mark = (look.p.mark & ~asking.mark_mask) ^ asking.mark
