"""The connection table; flows.pxd says how it is laid out."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport lowest_bit, prefetch_read, tags_equal
from fastfw.core.wire cimport NO_FLOW

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *at, size_t size, int protection, int flags, int fd, long offset)
    void *mremap(void *at, size_t old_size, size_t new_size, int flags)
    int munmap(void *at, size_t size)
    int madvise(void *at, size_t size, int advice)
    int PROT_READ
    int PROT_WRITE
    int MAP_PRIVATE
    int MAP_ANONYMOUS
    int MAP_NORESERVE
    int MREMAP_MAYMOVE
    int MADV_HUGEPAGE
    int MADV_DONTNEED
    void *MAP_FAILED

if sizeof(Entry) != 128 or sizeof(Extra) != 64 or sizeof(Bucket) != 64 or sizeof(ProtoFlow) != 56:
    raise ImportError("fastfw.core.flows: entries are two cache lines and buckets one")

cdef enum:
    # A full table fills seven tenths of the slots: one entry in fifty then lives in its other bucket, and a
    # connection costs 128 + 64 / (12 * 0.7) = 135.6 bytes.
    FILL_NUMERATOR = 7
    FILL_DENOMINATOR = 10
    MOST = 0x7fffffff        # entries; the highest nf_conntrack_max


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """The finisher of splitmix64 (Steele, Lea and Flood 2014): spreads a seed over the hash's multipliers."""
    x = (x ^ (x >> 30)) * <uint64_t> 0xbf58476d1ce4e5b9
    x = (x ^ (x >> 27)) * <uint64_t> 0x94d049bb133111eb
    return x ^ (x >> 31)


cdef inline uint32_t buckets_for(uint32_t capacity) noexcept nogil:
    return <uint32_t> ((<uint64_t> capacity * FILL_DENOMINATOR / FILL_NUMERATOR + SLOTS - 1) / SLOTS + 1)


cdef void *map_zeroed(size_t size) noexcept nogil:
    cdef void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if at == MAP_FAILED:
        return NULL
    madvise(at, size, MADV_HUGEPAGE)
    return at


cdef int flows_init(Flows *f, uint32_t capacity, const uint8_t *seed) noexcept nogil:
    """Make an empty table for `capacity` connections; `seed` is 88 random bytes. 0, or -1 without memory."""
    cdef int i
    cdef uint64_t word
    memset(f, 0, sizeof(Flows))
    for i in range(11):
        memcpy(&word, seed + 8 * i, 8)
        f.secret[i] = mix(word + (i + 1) * <uint64_t> 0x9e3779b97f4a7c15) | 1
    f.used = 1
    f.hand = 1
    f.capacity = capacity
    f.bucket_count = buckets_for(capacity)
    f.buckets = <Bucket *> map_zeroed(<size_t> f.bucket_count * sizeof(Bucket))
    f.entries = <Entry *> map_zeroed((<size_t> capacity + 1) * sizeof(Entry))
    if f.buckets == NULL or f.entries == NULL:
        flows_free(f)
        return -1
    return 0


cdef void flows_free(Flows *f) noexcept nogil:
    if f.buckets != NULL:
        munmap(f.buckets, <size_t> f.bucket_count * sizeof(Bucket))
    if f.entries != NULL:
        munmap(f.entries, (<size_t> f.capacity + 1) * sizeof(Entry))
    if f.extras != NULL:
        munmap(f.extras, (<size_t> f.capacity + 1) * sizeof(Extra))
    f.buckets = NULL
    f.entries = NULL
    f.extras = NULL


cdef int flows_want_extras(Flows *f) noexcept nogil:
    """Map an Extra for every entry there is room for. 0, or -1 without memory."""
    if f.extras == NULL:
        f.extras = <Extra *> map_zeroed((<size_t> f.capacity + 1) * sizeof(Extra))
    return 0 if f.extras != NULL else -1


cdef inline void put(Bucket *bucket, int slot, uint8_t tag, uint32_t index) noexcept nogil:
    bucket.tag[slot] = tag
    bucket.slot[slot] = index
    bucket.assured &= <uint16_t> ~(1 << slot)


cdef bint push_aside(Flows *f, Bucket *bucket) noexcept nogil:
    """Free a slot of a full bucket by moving one of its entries to the entry's other bucket; False where all are
    full."""
    cdef int slot, free
    cdef uint32_t hash, holes
    cdef Bucket *home
    cdef Bucket *other
    cdef Bucket *target
    for slot in range(SLOTS):
        hash = flows_hash(f, &f.entries[bucket.slot[slot]].key)
        home = flows_home(f, hash)
        other = flows_other(f, hash)
        target = other if home == bucket else home
        holes = tags_equal(target.tag, 0)
        if holes:
            free = lowest_bit(holes)
            put(target, free, bucket.tag[slot], bucket.slot[slot])
            bucket.tag[slot] = 0
            if home == bucket:
                home.spill += 1
            else:
                home.spill -= 1
            return True
    return False


cdef bint place(Flows *f, uint32_t index, uint32_t hash) noexcept nogil:
    cdef Bucket *home = flows_home(f, hash)
    cdef Bucket *other
    cdef uint8_t tag = flows_tag(hash)
    cdef uint32_t holes = tags_equal(home.tag, 0)
    if not holes:
        other = flows_other(f, hash)
        holes = tags_equal(other.tag, 0)
        if holes:
            home.spill += 1
            put(other, lowest_bit(holes), tag, index)
            return True
        if not push_aside(f, home):
            if not push_aside(f, other):
                return False
            home.spill += 1
            home = other
        holes = tags_equal(home.tag, 0)
    put(home, lowest_bit(holes), tag, index)
    return True


cdef uint32_t flows_insert(Flows *f, const Entry *made, uint32_t hash) noexcept nogil:
    """Copy `made` into the table; its index, or NO_FLOW where there is no room. The key must not be there yet."""
    cdef uint32_t index = f.free
    if index:
        f.free = f.entries[index].master
    elif f.used <= f.capacity:
        index = f.used
        f.used += 1
    else:
        return NO_FLOW
    if not place(f, index, hash):
        f.entries[index].key.family = 0
        f.entries[index].master = f.free
        f.free = index
        return NO_FLOW
    f.entries[index] = made[0]
    f.count += 1
    return index


cdef bint take_from(Bucket *bucket, uint32_t index) noexcept nogil:
    cdef int slot
    for slot in range(SLOTS):
        if bucket.tag[slot] and bucket.slot[slot] == index:
            bucket.tag[slot] = 0
            return True
    return False


cdef void flows_delete(Flows *f, uint32_t index) noexcept nogil:
    """Take a connection out; its index may be handed out again at once."""
    cdef Entry *entry = f.entries + index
    cdef uint32_t hash = flows_hash(f, &entry.key)
    cdef Bucket *home = flows_home(f, hash)
    if not take_from(home, index):
        take_from(flows_other(f, hash), index)
        home.spill -= 1
    entry.key.family = 0
    entry.master = f.free
    f.free = index
    f.count -= 1


cdef void forget(void *at, size_t size) noexcept nogil:
    """Zero whole mappings by returning their pages; locked pages stay and are overwritten."""
    if madvise(at, size, MADV_DONTNEED) != 0:
        memset(at, 0, size)


cdef void flows_clear(Flows *f) noexcept nogil:
    """Forget every connection and give the memory back."""
    forget(f.buckets, <size_t> f.bucket_count * sizeof(Bucket))
    forget(f.entries, <size_t> f.used * sizeof(Entry))
    f.used = 1
    f.hand = 1
    f.free = 0
    f.count = 0


cdef int flows_reserve(Flows *f, uint32_t capacity) noexcept nogil:
    """Make room for `capacity` connections; indices stay. 0, or -1 without memory (the table is then as it was)."""
    cdef Entry *entries
    cdef Extra *extras
    cdef Bucket *buckets
    cdef Bucket *old_buckets = f.buckets
    cdef uint32_t old_count = f.bucket_count, index
    if capacity <= f.capacity:
        return 0
    buckets = <Bucket *> map_zeroed(<size_t> buckets_for(capacity) * sizeof(Bucket))
    if buckets == NULL:
        return -1
    if f.extras != NULL:
        extras = <Extra *> mremap(f.extras, (<size_t> f.capacity + 1) * sizeof(Extra),
                                  (<size_t> capacity + 1) * sizeof(Extra), MREMAP_MAYMOVE)
        if extras == MAP_FAILED:
            munmap(buckets, <size_t> buckets_for(capacity) * sizeof(Bucket))
            return -1
        f.extras = extras
    entries = <Entry *> mremap(f.entries, (<size_t> f.capacity + 1) * sizeof(Entry),
                               (<size_t> capacity + 1) * sizeof(Entry), MREMAP_MAYMOVE)
    if entries == MAP_FAILED:
        munmap(buckets, <size_t> buckets_for(capacity) * sizeof(Bucket))
        if f.extras != NULL:
            # shrinking a mapping cannot fail
            mremap(f.extras, (<size_t> capacity + 1) * sizeof(Extra), (<size_t> f.capacity + 1) * sizeof(Extra), 0)
        return -1
    f.entries = entries
    f.capacity = capacity
    f.buckets = buckets
    f.bucket_count = buckets_for(capacity)
    for index in range(1, f.used):
        if f.entries[index].key.family:
            place(f, index, flows_hash(f, &f.entries[index].key))
    munmap(old_buckets, <size_t> old_count * sizeof(Bucket))
    return 0


cdef int flows_grow(Flows *f) noexcept nogil:
    """Double the room; 0, or -1 without memory or at the most a table can hold. Doubling keeps the cost of moving the
    index in proportion to the insertions that led to it."""
    if f.capacity >= MOST:
        return -1
    return flows_reserve(f, f.capacity * 2 if f.capacity <= MOST / 2 else MOST)


cdef void flows_crowding(const Flows *f, uint32_t *spilled, uint32_t *fullest) noexcept nogil:
    """How well the index is spread: entries outside their home bucket, and the slots taken in the fullest bucket."""
    cdef uint32_t number
    cdef int slot, taken
    spilled[0] = 0
    fullest[0] = 0
    for number in range(f.bucket_count):
        spilled[0] += f.buckets[number].spill
        taken = 0
        for slot in range(SLOTS):
            taken += f.buckets[number].tag[slot] != 0
        if <uint32_t> taken > fullest[0]:
            fullest[0] = <uint32_t> taken


cdef uint32_t flows_next(Flows *f) noexcept nogil:
    """Move the hand over one entry, free ones too; its index. One was handed out at least."""
    if f.hand >= f.used:
        f.hand = 1
    f.hand += 1
    return f.hand - 1


cdef uint32_t flows_elsewhere(const Flows *f, uint32_t hash) noexcept nogil:
    if flows_home(f, hash).spill == 0:
        return NO_FLOW
    prefetch_read(flows_other(f, hash))
    return ELSEWHERE


cdef uint32_t flows_guess_other(const Flows *f, uint32_t hash) noexcept nogil:
    cdef const Bucket *other = flows_other(f, hash)
    cdef uint32_t hits = tags_equal(other.tag, flows_tag(hash))
    return flows_first_hit(f, other, hits) if hits else NO_FLOW


cdef void flows_send_for_next(const Flows *f, uint32_t count) noexcept nogil:
    cdef uint32_t index
    for index in range(f.hand, min(f.hand + count, f.used)):
        prefetch_read(&f.entries[index].expires)


cdef uint32_t flows_expired(Flows *f, int64_t now, uint32_t *budget) noexcept nogil:
    """Move the hand over at most `budget` entries, which is counted down, and stop at one whose time is up; NO_FLOW
    when the budget is spent. The caller deletes it and asks again."""
    cdef Entry *entry
    cdef uint32_t index
    while budget[0]:
        budget[0] -= 1
        if f.hand >= f.used:
            f.hand = 1
            if f.used == 1:
                break
        index = f.hand
        f.hand += 1
        entry = f.entries + index
        # in this order: of an entry that lives one line is read
        if entry.expires <= now and entry.key.family:
            return index
    budget[0] = 0
    return NO_FLOW
