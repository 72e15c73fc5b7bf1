/* Bits of 64-bit words: the lowest one, how many there are, and what sparse sets have in common. */
#ifndef FASTFW_BITS_H
#define FASTFW_BITS_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FASTFW_PORTABLE)
#define FASTFW_WIDER
#if !defined(__POPCNT__)
#define FASTFW_POPCNT
#endif
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

/* The AND of all words of several dense sets, behind the `skip` words that precede them, to `common`; a bit for each
 * that is not zero. A multiple of eight words, at most 64. No branch depends on what the sets hold. */
typedef uint64_t fastfw_four __attribute__((vector_size(32), aligned(8), may_alias));

#define FASTFW_COMMON_WORDS(name)                                                                                    \
    static uint64_t name(const uint64_t *const *sets, uint32_t many, uint32_t skip, uint32_t words, uint64_t *common) { \
        fastfw_four low = {1, 2, 4, 8}, filled = {0, 0, 0, 0};                                                        \
        for (uint32_t i = 0; i < words; i += 8) {                                                                     \
            const fastfw_four *of = (const fastfw_four *)(sets[0] + skip + i);                                        \
            fastfw_four one = of[0], other = of[1];                                                                   \
            for (uint32_t k = 1; k < many; k++) {                                                                     \
                of = (const fastfw_four *)(sets[k] + skip + i);                                                       \
                one &= of[0];                                                                                         \
                other &= of[1];                                                                                       \
            }                                                                                                         \
            ((fastfw_four *)(common + i))[0] = one;                                                                   \
            ((fastfw_four *)(common + i))[1] = other;                                                                 \
            filled |= ((fastfw_four)(one != 0) & low) | ((fastfw_four)(other != 0) & low << 4);                       \
            low <<= 8;                                                                                                \
        }                                                                                                             \
        return filled[0] | filled[1] | filled[2] | filled[3];                                                         \
    }

FASTFW_COMMON_WORDS(common_words_by_steps)

static uint64_t (*common_words)(const uint64_t *const *, uint32_t, uint32_t, uint32_t, uint64_t *) =
    common_words_by_steps;

#if defined(FASTFW_WIDER)
__attribute__((target("avx2"))) FASTFW_COMMON_WORDS(common_words_by_avx2)
#endif

/* Once, before the first use. `portable` leaves the processor's own instructions alone. */
static void common_word_choose(int portable) {
    common_word = common_word_by_steps;
    common_words = common_words_by_steps;
#if defined(FASTFW_WIDER)
    __builtin_cpu_init();
    if (!portable && __builtin_cpu_supports("avx2")) common_words = common_words_by_avx2;
#endif
#if defined(FASTFW_POPCNT)
    if (!portable && __builtin_cpu_supports("popcnt")) common_word = common_word_by_instruction;
#endif
    (void)portable;
}

#endif
