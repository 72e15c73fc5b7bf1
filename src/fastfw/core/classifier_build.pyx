"""Building a classifier: every rule's ranges of every fact, swept from the lowest value to the highest.

What a rule says of a fact is taken from its first predicate about it, and from those alone that stand before any which
remembers being asked: a rule that would have to be asked is always a candidate.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset

from fastfw.core.bytes cimport be32
from fastfw.core.classifier cimport (
    AT_ONCE, FACT_DPORT, FACT_IIF, FACT_OIF, FACT_PROTOCOL, FACT_SOURCE, FACT_SPORT, FACT_STATE, FACT_TARGET, FACTS,
    PAGES, WHOLE, Classifier, Edge, Fact, Side,
)
from fastfw.core.classifier_rest cimport classifier_find_rest
from fastfw.core.program cimport (
    OP_DPORT, OP_HEADER, OP_IIF, OP_OIF, OP_PORTS, OP_PROTOCOL, OP_SOURCE4, OP_SOURCE6, OP_SOURCE_RANGE4,
    OP_SOURCE_RANGE6, OP_SPORT, OP_STATE, OP_STATEFUL, OP_TARGET4, OP_TARGET6, OP_TARGET_RANGE4, OP_TARGET_RANGE6,
    SIDE_SOURCE, SIDE_TARGET, Predicate, Program,
)

cdef enum:
    INTERFACES = 65536
    FEWEST_RULES = 16            # for fewer, asking them all is quicker
    MOST_WORDS = 1 << 23         # of all sets of one fact
    MOST_DENSE = 1 << 22         # of all sets, for them to keep all their words

cdef uint32_t[8] VALUES
VALUES[:] = [0, 0, 0, 0, 256, 8, 0, 0]


# Edges of one fact, and which rules say something of it.
ctypedef struct Sweep:
    Edge *edges
    size_t count
    size_t room
    uint64_t *asks               # a bit a rule


cdef int add_edge(Sweep *w, uint64_t high, uint64_t low, uint32_t rule) noexcept nogil:
    cdef Edge *more
    if w.count == w.room:
        w.room = w.room * 2 + 1024
        more = <Edge *> realloc(w.edges, w.room * sizeof(Edge))
        if more == NULL:
            return -1
        w.edges = more
    w.edges[w.count] = Edge(high, low, rule, 0)
    w.count += 1
    return 0


cdef int add_range(Sweep *w, uint32_t rule, const uint64_t *first, const uint64_t *last, uint64_t top_high,
                   uint64_t top_low, bint invert) noexcept nogil:
    """The rule is possible from first to last, or with `invert` everywhere else; the fact's highest value is top."""
    cdef bint empty = first[0] > last[0] or (first[0] == last[0] and first[1] > last[1])
    if invert and add_edge(w, 0, 0, rule) < 0:
        return -1
    if empty:
        return 0
    if add_edge(w, first[0], first[1], rule) < 0:
        return -1
    if last[0] == top_high and last[1] == top_low:
        return 0
    return add_edge(w, last[0] + (last[1] == ~<uint64_t> 0), last[1] + 1, rule)


cdef int add_narrow(Sweep *w, uint32_t rule, uint64_t first, uint64_t last, uint64_t top, bint invert) noexcept nogil:
    cdef uint64_t one[2]
    cdef uint64_t other[2]
    one[0] = other[0] = 0
    one[1] = first
    other[1] = last
    return add_range(w, rule, one, other, 0, top, invert)


cdef inline uint64_t swapped(uint64_t word) noexcept nogil:
    return <uint64_t> be32(<const uint8_t *> &word) << 32 | be32(<const uint8_t *> &word + 4)


cdef int add_network4(Sweep *w, uint32_t rule, const Predicate *q) noexcept nogil:
    """1: the mask's ones are not contiguous, and the fact stays open."""
    cdef uint32_t value = be32(<const uint8_t *> &q.a)
    cdef uint32_t rest = ~be32(<const uint8_t *> &q.b)
    if rest & (rest + 1):
        return 1
    return add_narrow(w, rule, value, value | rest, 0xffffffff, q.invert)


cdef int add_network6(Sweep *w, uint32_t rule, const Predicate *q, const uint64_t *words) noexcept nogil:
    cdef uint64_t first[2]
    cdef uint64_t last[2]
    cdef uint64_t high = ~swapped(words[2]), low = ~swapped(words[3])
    if (low & (low + 1)) or (high & (high + 1)) or (high and ~low):
        return 1
    first[0] = swapped(words[0])
    first[1] = swapped(words[1])
    last[0] = first[0] | high
    last[1] = first[1] | low
    return add_range(w, rule, first, last, ~<uint64_t> 0, ~<uint64_t> 0, q.invert)


cdef int add_ports(Sweep *w, uint32_t rule, const Predicate *q, const uint32_t *ranges) noexcept nogil:
    """Ports of a list, overlapping ones as one; 1: they cannot be told as ranges in order."""
    cdef uint8_t[8192] seen
    cdef uint32_t i, port
    cdef bint inside, before = False
    memset(seen, 0, sizeof(seen))
    for i in range(q.size):
        for port in range(ranges[i] >> 16, (ranges[i] & 0xffff) + 1):
            seen[port >> 3] |= <uint8_t> (1 << (port & 7))
    for port in range(65536):
        inside = (seen[port >> 3] >> (port & 7) & 1) ^ q.invert
        if inside != before and add_edge(w, 0, port, rule) < 0:
            return -1
        before = inside
    return 0


cdef int add_state(Sweep *w, uint32_t rule, const Predicate *q) noexcept nogil:
    cdef uint32_t state
    cdef bint inside, before = False
    for state in range(8):
        inside = (q.a >> state & 1) ^ q.invert
        if inside != before and add_edge(w, 0, state, rule) < 0:
            return -1
        before = inside
    return 0


cdef int fact_of(const Predicate *q) noexcept nogil:
    """The fact a predicate asks for, or -1."""
    if q.op == OP_SOURCE4 or q.op == OP_SOURCE6 or q.op == OP_SOURCE_RANGE4 or q.op == OP_SOURCE_RANGE6:
        return FACT_SOURCE
    if q.op == OP_TARGET4 or q.op == OP_TARGET6 or q.op == OP_TARGET_RANGE4 or q.op == OP_TARGET_RANGE6:
        return FACT_TARGET
    if q.op == OP_SPORT or (q.op == OP_PORTS and q.b == SIDE_SOURCE):
        return FACT_SPORT
    if q.op == OP_DPORT or (q.op == OP_PORTS and q.b == SIDE_TARGET):
        return FACT_DPORT
    if q.op == OP_PROTOCOL:
        return FACT_PROTOCOL
    if q.op == OP_STATE:
        return FACT_STATE
    if q.op == OP_IIF:
        return FACT_IIF
    if q.op == OP_OIF:
        return FACT_OIF
    return -1


cdef int add_predicate(const Program *program, Sweep *w, uint32_t rule, const Predicate *q) noexcept nogil:
    """0: its edges are there; 1: it cannot be told in ranges; -1: no memory."""
    if q.op == OP_SOURCE4 or q.op == OP_TARGET4:
        return add_network4(w, rule, q)
    if q.op == OP_SOURCE6 or q.op == OP_TARGET6:
        return add_network6(w, rule, q, program.words + q.a)
    if q.op == OP_SOURCE_RANGE4 or q.op == OP_TARGET_RANGE4:
        return add_narrow(w, rule, q.a, q.b, 0xffffffff, q.invert)
    if q.op == OP_SOURCE_RANGE6 or q.op == OP_TARGET_RANGE6:
        return add_range(w, rule, program.words + q.a, program.words + q.a + 2, ~<uint64_t> 0, ~<uint64_t> 0, q.invert)
    if q.op == OP_PORTS:
        return add_ports(w, rule, q, program.numbers + q.a)
    if q.op == OP_STATE:
        return add_state(w, rule, q)
    if q.op == OP_PROTOCOL:
        return add_narrow(w, rule, q.a, q.a, 255, q.invert)
    return add_narrow(w, rule, q.a, q.b, 65535, q.invert)


cdef int by_value(const void *one, const void *other) noexcept nogil:
    cdef const Edge *a = <const Edge *> one
    cdef const Edge *b = <const Edge *> other
    if a.high != b.high:
        return -1 if a.high < b.high else 1
    return (a.low > b.low) - (a.low < b.low)


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    x = (x + <uint64_t> 0x9e3779b97f4a7c15) * <uint64_t> 0xbf58476d1ce4e5b9
    x = (x ^ x >> 27) * <uint64_t> 0x94d049bb133111eb
    return x ^ x >> 31


# Sets as they are written, and where equal ones are found again.
ctypedef struct Writer:
    const Classifier *c
    uint64_t *current            # the set at hand, none of its words left out
    uint64_t *summary
    uint64_t hash
    uint64_t *sets
    uint32_t used
    uint32_t room
    uint32_t *index              # places + 1 by hash
    uint64_t *hashes             # beside them
    uint32_t known
    uint32_t mask


cdef int writer_init(Writer *w, const Classifier *c) noexcept nogil:
    memset(w, 0, sizeof(Writer))
    w.c = c
    w.mask = 1023
    w.room = 4096 + c.words + 2 * c.blocks
    w.current = <uint64_t *> calloc(c.words, 8)
    w.summary = <uint64_t *> calloc(c.blocks, 8)
    w.sets = <uint64_t *> malloc(<size_t> w.room * 8)
    w.index = <uint32_t *> calloc(w.mask + 1, 4)
    w.hashes = <uint64_t *> calloc(w.mask + 1, 8)
    if w.current == NULL or w.summary == NULL or w.sets == NULL or w.index == NULL or w.hashes == NULL:
        writer_free(w)
        free(w.sets)
        return -1
    return 0


cdef void writer_free(Writer *w) noexcept nogil:
    """All but the sets."""
    free(w.current)
    free(w.summary)
    free(w.index)
    free(w.hashes)


cdef inline void turn(Writer *w, uint32_t rule) noexcept nogil:
    """Put a rule into the set at hand, or take it out."""
    cdef uint32_t word = rule >> 6
    w.current[word] ^= <uint64_t> 1 << (rule & 63)
    w.hash ^= mixed(rule)
    if w.current[word]:
        w.summary[word >> 6] |= <uint64_t> 1 << (word & 63)
    else:
        w.summary[word >> 6] &= ~(<uint64_t> 1 << (word & 63))


cdef uint32_t write_words(Writer *w, uint64_t *at) noexcept nogil:
    """The set at hand as it is kept; how many words it takes."""
    cdef uint32_t blocks = w.c.blocks
    cdef uint32_t size = 2 * blocks
    cdef uint32_t block, bit
    memcpy(at, w.summary, blocks * 8)
    if w.c.dense:
        for block in range(blocks):
            at[blocks + block] = size + (block << 6)
        memcpy(at + size, w.current, w.c.words * 8)
        return size + w.c.words
    for block in range(blocks):
        at[blocks + block] = size
        if w.summary[block]:
            for bit in range(64):
                if w.summary[block] >> bit & 1:
                    at[size] = w.current[block << 6 | bit]
                    size += 1
    return size


cdef int widen(Writer *w) noexcept nogil:
    """Twice the places for known sets."""
    cdef uint32_t old_mask = w.mask, i, place
    cdef uint32_t *old = w.index
    cdef uint64_t *old_hashes = w.hashes
    w.mask = w.mask * 2 + 1
    w.index = <uint32_t *> calloc(<size_t> w.mask + 1, 4)
    w.hashes = <uint64_t *> calloc(<size_t> w.mask + 1, 8)
    if w.index == NULL or w.hashes == NULL:
        free(old)
        free(old_hashes)
        return -1
    for i in range(old_mask + 1):
        if old[i]:
            place = <uint32_t> old_hashes[i] & w.mask
            while w.index[place]:
                place = (place + 1) & w.mask
            w.index[place] = old[i]
            w.hashes[place] = old_hashes[i]
    free(old)
    free(old_hashes)
    return 0


cdef int keep(Writer *w, uint32_t *result) noexcept nogil:
    """The place of the set at hand among the kept ones. 1: they have become too many; -1: no memory."""
    cdef uint32_t place = <uint32_t> w.hash & w.mask
    cdef uint32_t size, most = w.c.words + 2 * w.c.blocks
    cdef uint64_t *more
    if w.used + most > w.room:
        if w.used + most > MOST_WORDS:
            return 1
        w.room = w.room * 2 + most
        more = <uint64_t *> realloc(w.sets, <size_t> w.room * 8)
        if more == NULL:
            return -1
        w.sets = more
    size = 0
    while w.index[place]:
        if w.hashes[place] == w.hash:
            if not size:
                size = write_words(w, w.sets + w.used)
            if memcmp(w.sets + w.used, w.sets + w.index[place] - 1, size * 8) == 0:
                result[0] = w.index[place] - 1
                return 0
        place = (place + 1) & w.mask
    w.index[place] = w.used + 1
    w.hashes[place] = w.hash
    w.known += 1
    result[0] = w.used
    w.used += write_words(w, w.sets + w.used)
    return widen(w) if w.known * 2 > w.mask else 0


cdef void fact_free(Fact *f) noexcept nogil:
    cdef uint32_t i
    free(f.sets)
    free(f.set_of)
    free(f.wide)
    free(f.narrow)
    free(f.start)
    free(f.page)
    if f.by_interface != NULL:
        for i in range(<uint32_t> INTERFACES):
            free(f.by_interface[i])
    free(f.by_interface)
    memset(f, 0, sizeof(Fact))


cdef int place_values(Fact *f, uint32_t values, const Edge *bounds, const uint32_t *sets) noexcept nogil:
    """The set of each of a few values."""
    cdef uint32_t value, at = 0
    f.set_of = <uint32_t *> malloc(values * sizeof(uint32_t))
    if f.set_of == NULL:
        return -1
    for value in range(values):
        while at + 1 < f.ranges and bounds[at + 1].low <= value:
            at += 1
        f.set_of[value] = sets[at]
    return 0


cdef int place_pages(Fact *f, const Edge *bounds, const uint32_t *sets, int shift) noexcept nogil:
    """Pages of 1 << shift values, and of those that lie in several ranges the smaller steps. `sets` is what a range
    stands for."""
    cdef uint32_t page, step, at = 0, used = 0
    cdef uint64_t value
    f.page = <uint32_t *> malloc(PAGES * sizeof(uint32_t))
    f.start = <uint32_t *> malloc(PAGES * (PAGES + 1) * sizeof(uint32_t))
    if f.page == NULL or f.start == NULL:
        return -1
    for page in range(<uint32_t> PAGES):
        value = <uint64_t> page << shift
        while at + 1 < f.ranges and bounds[at + 1].low <= value:
            at += 1
        if at + 1 == f.ranges or bounds[at + 1].low >= <uint64_t> (page + 1) << shift:
            f.page[page] = <uint32_t> WHOLE | sets[at]
            continue
        f.page[page] = used
        for step in range(<uint32_t> PAGES + 1):
            value = (<uint64_t> page << shift) + (<uint64_t> step << (shift - 8))
            while at + 1 < f.ranges and bounds[at + 1].low <= value:
                at += 1
            f.start[used + step] = sets[at]
        used += PAGES + 1
    return 0


cdef int place_ranges(Fact *f, const Classifier *c, int fact, const Edge *bounds, uint32_t *sets) noexcept nogil:
    """From ranges in order, each with its set, to what lookups read."""
    cdef uint32_t *numbers
    cdef uint32_t i
    cdef int result
    if VALUES[fact]:
        return place_values(f, VALUES[fact], bounds, sets)
    if fact == FACT_SPORT or fact == FACT_DPORT:
        return place_pages(f, bounds, sets, 8)
    f.set_of = <uint32_t *> malloc(<size_t> f.ranges * 4)
    if f.set_of == NULL:
        return -1
    memcpy(f.set_of, sets, <size_t> f.ranges * 4)
    if c.family == 6:
        f.wide = <uint64_t *> malloc(<size_t> f.ranges * 16)
        if f.wide == NULL:
            return -1
        for i in range(f.ranges):
            f.wide[2 * i] = bounds[i].high
            f.wide[2 * i + 1] = bounds[i].low
        return 0
    f.narrow = <uint32_t *> malloc(<size_t> f.ranges * 4)
    numbers = <uint32_t *> malloc(<size_t> f.ranges * 4)
    result = -1
    if f.narrow != NULL and numbers != NULL:
        for i in range(f.ranges):
            f.narrow[i] = <uint32_t> bounds[i].low
            numbers[i] = i
        result = place_pages(f, bounds, numbers, 24)
    free(numbers)
    return result


cdef int sweep(const Classifier *c, Fact *f, int fact, Sweep *w) noexcept nogil:
    """Go through a fact's edges in order of value and keep each range's set."""
    cdef Writer writer
    cdef uint32_t *sets = NULL
    cdef Edge *bounds = NULL
    cdef uint32_t rule, ranges = 0
    cdef size_t i = 0
    cdef uint64_t high = 0, low = 0
    cdef int result = -1
    qsort(w.edges, w.count, sizeof(Edge), by_value)
    sets = <uint32_t *> malloc((w.count + 1) * sizeof(uint32_t))
    bounds = <Edge *> malloc((w.count + 1) * sizeof(Edge))
    if sets == NULL or bounds == NULL or writer_init(&writer, c) < 0:
        free(sets)
        free(bounds)
        return -1
    for rule in range(c.rules):
        if not w.asks[rule >> 6] >> (rule & 63) & 1:
            turn(&writer, rule)
    while True:
        while i < w.count and w.edges[i].high == high and w.edges[i].low == low:
            turn(&writer, w.edges[i].rule)
            i += 1
        result = keep(&writer, sets + ranges)
        if result:
            break
        bounds[ranges].high = high
        bounds[ranges].low = low
        ranges += 1
        if i == w.count:
            break
        high = w.edges[i].high
        low = w.edges[i].low
    writer_free(&writer)
    if result:
        free(sets)
        free(bounds)
        free(writer.sets)
        return 0 if result > 0 else -1
    f.sets = writer.sets
    f.ranges = ranges
    f.used = 1
    result = place_ranges(f, c, fact, bounds, sets)
    free(bounds)
    free(sets)
    return result


cdef int add_rules(Program *program, Sweep *sweeps, uint16_t *told) noexcept nogil:
    """`told` takes for every rule and fact which predicate stands for it, counted from 1; 0: none."""
    cdef Classifier *c = &program.classifier
    cdef const Predicate *q
    cdef const Predicate *end
    cdef Side *side
    cdef uint32_t i
    cdef int fact, result
    cdef bint late
    for i in range(program.rule_count):
        late = False
        q = program.predicates + program.rules[i].first
        end = q + program.rules[i].count
        while q < end and q.op < OP_STATEFUL:
            fact = fact_of(q)
            if fact >= 0 and not sweeps[fact].asks[i >> 6] >> (i & 63) & 1:
                result = 0
                if fact == FACT_IIF or fact == FACT_OIF:
                    side = c.sides[fact == FACT_OIF] + c.side_count[fact == FACT_OIF]
                    side.rule = i
                    side.pattern = q.a
                    side.invert = q.invert
                    c.side_count[fact == FACT_OIF] += 1
                else:
                    result = add_predicate(program, sweeps + fact, i, q)
                if result < 0:
                    return -1
                if result == 0:
                    told[i * FACTS + fact] = <uint16_t> (q - program.predicates - program.rules[i].first + 1)
                    sweeps[fact].asks[i >> 6] |= <uint64_t> 1 << (i & 63)
                    c.facts[fact].late |= late
            late |= q.op == OP_HEADER or (q.op == OP_PROTOCOL and program.family == 6)
            q += 1
    return 0


cdef int classifier_build(Program *program) noexcept nogil:
    cdef Classifier *c = &program.classifier
    cdef uint16_t *told
    cdef Sweep[FACTS] sweeps
    cdef uint64_t words = 0
    cdef int fact, result = 0
    if program.rule_count < FEWEST_RULES:
        return 0
    memset(sweeps, 0, sizeof(sweeps))
    c.family = program.family
    c.rules = program.rule_count
    c.words = (program.rule_count + 511) >> 9 << 3
    c.blocks = (c.words + 63) >> 6
    c.sides[0] = <Side *> malloc(<size_t> c.rules * sizeof(Side))
    c.sides[1] = <Side *> malloc(<size_t> c.rules * sizeof(Side))
    told = <uint16_t *> calloc(<size_t> c.rules * FACTS, sizeof(uint16_t))
    if c.sides[0] == NULL or c.sides[1] == NULL or told == NULL:
        free(told)
        return -1
    for fact in range(FACTS):
        sweeps[fact].asks = <uint64_t *> calloc(c.words, 8)
        if sweeps[fact].asks == NULL:
            result = -1
    if result == 0:
        result = add_rules(program, sweeps, told)
    for fact in range(FACT_IIF):
        words += (sweeps[fact].count + 1) * c.words
    c.dense = words <= MOST_DENSE
    c.at_once = c.dense and c.words <= AT_ONCE
    for fact in range(FACT_IIF):
        if result == 0 and sweeps[fact].count:
            result = sweep(c, &c.facts[fact], fact, &sweeps[fact])
    for fact in range(FACTS):
        free(sweeps[fact].asks)
        free(sweeps[fact].edges)
    for fact in range(FACT_IIF, FACTS):
        if result == 0 and c.side_count[fact == FACT_OIF]:
            c.facts[fact].by_interface = <uint64_t **> calloc(INTERFACES, sizeof(uint64_t *))
            c.facts[fact].used = 1
            if c.facts[fact].by_interface == NULL:
                result = -1
    if result == 0:
        result = classifier_find_rest(program, told)
    free(told)
    c.ready = result == 0
    return result


cdef int classifier_bind(Program *program, uint32_t number, const uint64_t *row) noexcept nogil:
    cdef Classifier *c = &program.classifier
    cdef Writer writer
    cdef const Side *side
    cdef uint32_t i
    cdef int which, fact
    for which in range(2):
        fact = FACT_OIF if which else FACT_IIF
        if not c.ready or not c.facts[fact].used or c.facts[fact].by_interface[number] != NULL:
            continue
        if writer_init(&writer, c) < 0:
            return -1
        for i in range(c.rules):
            turn(&writer, i)
        for i in range(c.side_count[which]):
            side = c.sides[which] + i
            if (row[side.pattern >> 6] >> (side.pattern & 63) & 1) == side.invert:
                turn(&writer, side.rule)
        write_words(&writer, writer.sets)
        writer_free(&writer)
        c.facts[fact].by_interface[number] = writer.sets
    return 0


cdef void classifier_unbind(Program *program, uint32_t number) noexcept nogil:
    cdef Classifier *c = &program.classifier
    cdef int which, fact
    for which in range(2):
        fact = FACT_OIF if which else FACT_IIF
        if c.ready and c.facts[fact].used:
            free(c.facts[fact].by_interface[number])
            c.facts[fact].by_interface[number] = NULL


cdef void classifier_free(Classifier *c) noexcept nogil:
    cdef int fact
    for fact in range(FACTS):
        fact_free(&c.facts[fact])
    free(c.sides[0])
    free(c.sides[1])
