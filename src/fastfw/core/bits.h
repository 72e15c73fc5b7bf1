/* Bits of 64-bit words: the lowest one, how many there are, and what sparse sets have in common. */
#ifndef FASTFW_BITS_H
#define FASTFW_BITS_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__POPCNT__) && !defined(FASTFW_PORTABLE)
#define FASTFW_POPCNT
#endif

static inline uint32_t first_bit(uint64_t bits) { return (uint32_t)__builtin_ctzll(bits); }

/* Without an instruction of its own, which baseline x86-64 lacks, this is quicker than the compiler's table. */
static inline uint32_t count_bits(uint64_t bits) {
#if defined(__POPCNT__) || defined(__aarch64__)
    return (uint32_t)__builtin_popcountll(bits);
#else
    bits -= (bits >> 1) & 0x5555555555555555u;
    bits = (bits & 0x3333333333333333u) + ((bits >> 2) & 0x3333333333333333u);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (uint32_t)((bits * 0x0101010101010101u) >> 56);
#endif
}

/* The AND of one word of several sparse sets: a set has a summary of `blocks` words, the places of each block's first
 * word, then the words that are not zero. All summaries have the bit `place` of `block`. Sets that leave the most out
 * come first, so that most words are known to be empty after two. */
#define FASTFW_COMMON_WORD(name, count)                                                                              \
    static uint64_t name(const uint64_t *const *sets, uint32_t many, uint32_t blocks, uint32_t block, uint32_t place) { \
        uint64_t before = ((uint64_t)1 << place) - 1, bits = ~(uint64_t)0;                                            \
        for (uint32_t i = 0; i < many; i++) {                                                                         \
            const uint64_t *of = sets[i];                                                                             \
            bits &= of[of[blocks + block] + (uint32_t)count(of[block] & before)];                                     \
            if (!bits) break;                                                                                         \
        }                                                                                                             \
        return bits;                                                                                                  \
    }

FASTFW_COMMON_WORD(common_word_by_steps, count_bits)

static uint64_t (*common_word)(const uint64_t *const *, uint32_t, uint32_t, uint32_t, uint32_t) = common_word_by_steps;

#if defined(FASTFW_POPCNT)
__attribute__((target("popcnt"))) FASTFW_COMMON_WORD(common_word_by_instruction, __builtin_popcountll)
#endif

/* Once, before the first use. `portable` leaves the processor's own instruction alone. */
static void common_word_choose(int portable) {
    common_word = common_word_by_steps;
#if defined(FASTFW_POPCNT)
    __builtin_cpu_init();
    if (!portable && __builtin_cpu_supports("popcnt")) common_word = common_word_by_instruction;
#endif
    (void)portable;
}

#endif
