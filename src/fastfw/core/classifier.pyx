"""Looking up a packet's candidates; see classifier.pxd. Building is classifier_build.pyx's."""
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "bits.h" nogil:
    uint32_t first_bit(uint64_t bits)
    uint64_t common_word(const uint64_t **sets, uint32_t many, uint32_t blocks, uint32_t block, uint32_t place)
    void common_word_choose(int portable)

common_word_choose(0)


cdef inline uint64_t block_of(const Candidates *s, uint32_t block) noexcept nogil:
    """Which words of a block have a bit in every summary."""
    cdef uint64_t bits = s.sets[0][block]
    cdef uint32_t i
    for i in range(1, s.count):
        bits &= s.sets[i][block]
    return bits


cdef inline uint64_t word_of(const Classifier *c, Candidates *s, uint32_t block, uint32_t place) noexcept nogil:
    """The candidates in one word of a block. Every summary has its bit."""
    cdef uint64_t bits
    cdef uint32_t i = 1
    if not c.dense:
        return common_word(s.sets, s.count, c.blocks, block, place)
    place += 2 * c.blocks + (block << 6)
    bits = s.sets[0][place]
    while bits and i < s.count:
        bits &= s.sets[i][place]
        i += 1
    return bits


cdef uint32_t candidates_next(const Classifier *c, Candidates *s, uint32_t first, uint32_t end) noexcept nogil:
    """The first candidate from `first` on and before `end`, or `end`. What is at hand is kept for the next question."""
    cdef uint32_t word = first >> 6
    cdef uint32_t block = word >> 6
    cdef uint32_t last = (end - 1) >> 6
    cdef uint64_t bits
    cdef uint32_t place
    if first >= end:
        return end
    if s.word == word:
        bits = s.rules_left >> (first & 63)
        if bits:
            first += first_bit(bits)
            return first if first < end else end
        word += 1
        if word > last:
            return end
        first = word << 6
        block = word >> 6
    if s.block != block:
        s.block = block
        s.words_left = block_of(s, block)
    bits = s.words_left >> (word & 63) << (word & 63)
    while True:
        while bits:
            place = first_bit(bits)
            bits &= bits - 1
            word = s.block << 6 | place
            if word > last:
                return end
            s.word = word
            s.rules_left = word_of(c, s, s.block, place)
            if word == first >> 6:
                if s.rules_left >> (first & 63):
                    first += first_bit(s.rules_left >> (first & 63))
                    return first if first < end else end
            elif s.rules_left:
                first = word << 6 | first_bit(s.rules_left)
                return first if first < end else end
        if s.block >= last >> 6:
            return end
        s.block += 1
        bits = s.words_left = block_of(s, s.block)
