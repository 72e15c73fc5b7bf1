"""ipset's sets: elements, each the parts of a packet that a set's type names, with what is kept of it.

A set is a hash table whatever its type is called; a bitmap's range is a condition on what may enter. Networks are
looked for by every prefix length there is in the set, the longest first. One Sets belongs to one engine, and is shared
by the rulesets of both families; whoever looks or changes holds the engine's lock.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.maps cimport Map
from fastfw.core.program cimport Look, Predicate


# What an element is made of, in the order in which a reference's sides are taken, and what a set keeps of each.
cpdef enum SetBit:
    SET_FIRST = 1           # an address
    SET_FIRST_NET = 2       # of a network
    SET_PORT = 4            # protocol and port
    SET_BARE_PORT = 8       # a port of TCP or UDP
    SET_MARK = 16
    SET_MAC = 32
    SET_INTERFACE = 64
    SET_SECOND = 128
    SET_SECOND_NET = 256
    SET_BITMAP = 512        # within a range
    SET_LIST = 1024         # of sets
    SET_TIMEOUT = 2048
    SET_COUNTERS = 4096
    SET_INFO = 8192         # a mark to map
    SET_FORCE = 16384       # a full set gives up an element for a new one


# How a rule asks; the lowest bits are the sides, 1 the packet's source, by part.
cpdef enum AskBit:
    ASK_SIDES = 63
    ASK_PARTS = 64          # times the number of sides, 1 to 6
    ASK_PARTS_MASK = 448
    ASK_NOMATCH = 512       # --return-nomatch
    ASK_STILL = 1024        # ! --update-counters
    ASK_STILL_BELOW = 2048  # ! --update-subcounters
    ASK_PACKETS = 4096      # times a SetCompare
    ASK_PACKETS_MASK = 28672
    ASK_BYTES = 32768
    ASK_BYTES_MASK = 229376
    ASK_EXIST = 262144      # --exist


cpdef enum SetCompare:
    COMPARE_NONE = 0
    COMPARE_EQUAL = 1
    COMPARE_OTHER = 2
    COMPARE_LESS = 3
    COMPARE_MORE = 4


cdef enum:
    LENGTHS = 129
    NO_LENGTH = 255
    NO_SET = 0xffffffff
    USUAL_TIMEOUT = 0xffffffff


ctypedef struct Element:    # 56 bytes; the parts a type does not have are zero
    uint32_t first[4]       # as they stand in packets, under their prefix; IPv4: the first word
    uint32_t second[4]
    uint8_t mac[6]
    uint16_t port           # host order; ICMP: the type in the high byte, the code in the low one
    uint32_t mark
    uint8_t first_length    # prefixes, of networks alone
    uint8_t second_length
    uint8_t proto
    uint8_t physdev         # the interface is a bridge's port
    uint64_t interface      # its number; from WILDCARD on a beginning's


ctypedef struct Stored:     # 112 bytes
    Element element
    int64_t expires         # the last tick at which it is there, 0: always. Before the first packet: ticks from it on
    uint64_t packets
    uint64_t bytes
    uint32_t mark           # what is mapped
    uint32_t mark_mask
    uint32_t priority
    uint32_t comment        # number of a text that others keep, 0: none
    uint16_t queue
    uint8_t nomatch
    uint8_t pending         # bitmap:ip,mac: its address is not known yet
    uint8_t mac[6]          # and what it is, if it is
    uint8_t unused[6]


ctypedef struct Set:
    Map map
    Map networks            # SET_INTERFACE: in `packets` how many elements a network has, in `bytes` the last's number
    Stored *members         # SET_LIST: in order; `interface` is the number of the set
    uint32_t member_count
    uint32_t bits           # SetBits
    uint8_t family          # 4, 6, 0: both
    uint8_t parts
    uint32_t most           # elements
    uint32_t timeout        # usual, seconds; 0: for ever
    uint32_t mask[4]        # of addresses
    uint32_t mark_mask
    uint32_t low            # of a range, host order
    uint32_t high
    uint32_t turn           # record that had to go last
    int64_t expired_at      # the tick in which what was over was last taken out
    uint32_t with_length[2][LENGTHS]     # elements by prefix length
    uint8_t lengths[2][LENGTHS + 1]      # those there are, longest first, NO_LENGTH behind them


ctypedef struct Sets:
    Set *all
    uint32_t count
    uint8_t begun           # the first packet has come
    uint32_t *interfaces    # by the engine's number of an interface: its number here
    uint64_t **wildcards    # by the number here: the beginnings it meets, a bit each
    uint32_t named          # names there are
    uint32_t wildcard_words
    uint32_t wildcard_count


# What a rule wants to know, and what it learns.
ctypedef struct Asking:
    uint32_t bits
    uint64_t packets
    uint64_t bytes
    uint32_t mark           # what the element that was found maps; of a list, what its member has unless it has its own
    uint32_t mark_mask


cdef enum:
    WILDCARD = 0x80000000

# Whether a rule's question is answered with yes: q.a is the set, q.b AskBits, q.c the place of what counters are
# compared with.
cdef int set_holds(Sets *sets, const Predicate *q, Look *look) noexcept nogil
# The target SET. `numbers` are, for adding, deleting and mapping in turn, the set (NO_SET: none) and AskBits, then the
# seconds an added element stays (USUAL_TIMEOUT: the set's own) and whether the mark is mapped.
cdef void set_change(Sets *sets, const uint32_t *numbers, Look *look) noexcept nogil

# For whoever fills a set: enter an element with all that is kept of it (False: no memory, or the set is full), take one
# out (False: it was not there), find one.
cdef bint set_enter(Set *s, const Stored *stored) noexcept nogil
cdef Stored *set_find(Set *s, const Element *element) noexcept nogil
cdef void set_remove(Set *s, Stored *stored) noexcept nogil
cdef int set_init(Set *s, uint64_t seed) noexcept nogil
cdef void set_free(Set *s) noexcept nogil
