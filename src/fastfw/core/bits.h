/* Bits of 64-bit words: the lowest one, how many there are. */
#ifndef FASTFW_BITS_H
#define FASTFW_BITS_H

#include <stdint.h>

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

#endif
