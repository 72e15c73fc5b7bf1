"""Which rules can match a packet at all, found without asking them one by one.

For each of eight facts (addresses, ports, protocol, state, interfaces) the values fall into ranges within which the
same rules can match. Every such set of rules is kept as bits, words without any left out; a packet's candidates are the
AND of its facts' sets (after Baboescu and Varghese, "Scalable packet classification", 2001). Candidates come in the
rules' order and are then asked in full, so a fact that is not looked at costs time, never exactness.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    FACT_SOURCE = 0
    FACT_TARGET = 1
    FACT_SPORT = 2
    FACT_DPORT = 3
    FACT_PROTOCOL = 4
    FACT_STATE = 5
    FACT_IIF = 6
    FACT_OIF = 7
    FACTS = 8

cdef enum:
    WHOLE = 0x80000000      # a page's values all have what its entry says
    PAGES = 256
    AT_ONCE = 32            # words of sets so small that all are ANDed at once
    UNREAD = 0xffffffff     # no block, no word is at hand


# Where a rule begins or ceases to be possible as a fact's value grows. Values of one word are in `low`.
ctypedef struct Edge:
    uint64_t high
    uint64_t low
    uint32_t rule
    uint32_t unused


# Sets lie one after another in `sets`: a summary of `blocks` words with a bit for each word of the set that is not
# zero, then for each of these blocks the place of its first word, then the words; those that are zero too where the
# classifier is dense.
#
# Addresses and ports are looked up by page first, an address's or a port's first eight bits: most pages lie in one
# range.
ctypedef struct Fact:
    uint64_t *sets
    uint32_t *set_of        # place of the set in `sets`: by range; protocol, state: by value
    uint32_t *page          # IPv4: a range, ports: a place in `sets`; or without WHOLE, a place in `start`
    uint64_t *wide          # IPv6: first addresses of the ranges, two words each, host order
    uint32_t *narrow        # IPv4: first addresses of the ranges
    # IPv4: by the next eight bits, and one more, the last range that begins before them; ports: by the last eight bits,
    # the place in `sets`
    uint32_t *start
    uint32_t ranges
    uint8_t used            # 1: rules ask for it
    uint8_t late            # 1: some rule asks for it after what drops packets whose headers cannot be read
    uint64_t **by_interface  # interfaces: the set by number


# What a rule says of an interface.
ctypedef struct Side:
    uint32_t rule
    uint32_t pattern
    uint8_t invert


ctypedef struct Classifier:
    uint8_t ready           # 0: rules are asked one by one
    uint8_t dense           # 1: sets have all their words
    uint8_t at_once         # 1: and those are at most AT_ONCE
    uint8_t family
    uint32_t rules
    uint32_t words          # of a set of rules, none left out; a multiple of eight
    uint32_t blocks         # words of a summary
    Fact facts[FACTS]
    Side *sides[2]          # incoming, outgoing
    uint32_t side_count[2]


# The candidates of one packet.
ctypedef struct Candidates:
    const uint64_t *sets[FACTS]
    uint32_t count
    uint32_t fixed          # how many of `sets` hold for every chain on the way: all but the interfaces'
    uint32_t block          # the block of words at hand
    uint32_t word           # the word at hand
    uint64_t words_left     # AND of the summaries; of sets ANDed at once: which words of `common` are not zero
    uint64_t rules_left     # AND of the words
    uint64_t[AT_ONCE] common  # of sets ANDed at once: the AND of all their words


cdef uint32_t candidates_next(const Classifier *c, Candidates *s, uint32_t first, uint32_t end) noexcept nogil


cdef inline void candidates_rewind(Candidates *s) noexcept nogil:
    s.block = UNREAD
    s.word = UNREAD


cdef inline void candidates_add(Candidates *s, const uint64_t *of) noexcept nogil:
    s.sets[s.count] = of
    s.count += 1


cdef inline const uint64_t *fact_value(const Fact *f, uint32_t value) noexcept nogil:
    """The set of a protocol or state."""
    return f.sets + f.set_of[value]


cdef inline const uint64_t *fact_port(const Fact *f, uint32_t port) noexcept nogil:
    """The set of a port in host order."""
    cdef uint32_t page = f.page[port >> 8]
    return f.sets + (page & ~<uint32_t> WHOLE if page & WHOLE else f.start[page + (port & 0xff)])


cdef inline const uint64_t *fact_address4(const Fact *f, uint32_t address) noexcept nogil:
    """The set of an IPv4 address in host order. The search has no branch on the address: it would be mispredicted."""
    cdef uint32_t page = f.page[address >> 24]
    cdef uint32_t at, many, half
    if page & WHOLE:
        return f.sets + f.set_of[page & ~<uint32_t> WHOLE]
    page += address >> 16 & 0xff
    at = f.start[page]
    many = f.start[page + 1] - at + 1
    while many > 1:
        half = many >> 1
        at += half & (0 - <uint32_t> (f.narrow[at + half] <= address))
        many -= half
    return f.sets + f.set_of[at]


cdef inline const uint64_t *fact_address6(const Fact *f, uint64_t high, uint64_t low) noexcept nogil:
    """The set of an IPv6 address in host order."""
    cdef uint32_t at = 0
    cdef uint32_t many = f.ranges
    cdef uint32_t half
    cdef const uint64_t *bound
    while many > 1:
        half = many >> 1
        bound = f.wide + 2 * (at + half)
        at += half & (0 - <uint32_t> ((bound[0] < high) | ((bound[0] == high) & (bound[1] <= low))))
        many -= half
    return f.sets + f.set_of[at]
