"""Looking up a packet's candidates; see classifier.pxd. Building is classifier_build.pyx's."""
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "bits.h" nogil:
    uint32_t first_bit(uint64_t bits)
    uint64_t common_word(const uint64_t **sets, uint32_t many, uint32_t blocks, uint32_t block, uint32_t place)
    uint64_t common_words(const uint64_t **sets, uint32_t many, uint32_t skip, uint32_t words, uint64_t *common)
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


cdef inline uint32_t next_of_few(const Classifier *c, Candidates *s, uint32_t first) noexcept nogil:
    """As candidates_next, of sets that are ANDed at once."""
    cdef uint32_t word = first >> 6
    cdef uint64_t bits, rules
    cdef uint32_t place
    if s.block == UNREAD:
        s.block = 0
        s.words_left = common_words(s.sets, s.count, 2, c.words, s.common)
    bits = s.words_left >> word << word
    place = first_bit(bits)
    rules = s.common[place] & ~<uint64_t> 0 << ((first & 63) & (0 - <uint32_t> (place == word)))
    if rules == 0:
        bits &= bits - 1
        place = first_bit(bits)
        rules = s.common[place]
    return place << 6 | first_bit(rules)


cdef uint32_t candidates_next(const Classifier *c, Candidates *s, uint32_t first, uint32_t end) noexcept nogil:
    """The first candidate from `first` on; at the latest `end`, a chain's last row, which asks for nothing. What is at
    hand is kept for the next question."""
    cdef uint32_t word = first >> 6
    cdef uint32_t block = word >> 6
    cdef uint64_t bits
    cdef uint32_t place
    if first >= end:
        return end
    if c.at_once:
        return next_of_few(c, s, first)
    if s.word == word:
        bits = s.rules_left >> (first & 63)
        if bits:
            return first + first_bit(bits)
        word += 1
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
            s.word = word
            s.rules_left = word_of(c, s, s.block, place)
            if word == first >> 6:
                if s.rules_left >> (first & 63):
                    return first + first_bit(s.rules_left >> (first & 63))
            elif s.rules_left:
                return word << 6 | first_bit(s.rules_left)
        s.block += 1
        bits = s.words_left = block_of(s, s.block)
