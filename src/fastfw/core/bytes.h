/* Bytes: unaligned big-endian loads, the Internet checksum (RFC 1071), tag comparison and prefetch.
 * Everything here is pure and bounds-free: callers have checked that the bytes exist. */
#ifndef FASTFW_BYTES_H
#define FASTFW_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fastfw's key layout is written for little-endian machines (x86-64, arm64)"
#endif

static inline uint16_t be16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static inline uint32_t be32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return __builtin_bswap32(value);
}

static inline uint16_t bswap16(uint16_t value) { return __builtin_bswap16(value); }

/* As they stand in memory: for keys, which are only ever compared and hashed. */
static inline uint16_t raw16(const void *at) { uint16_t value; memcpy(&value, at, 2); return value; }
static inline uint32_t raw32(const void *at) { uint32_t value; memcpy(&value, at, 4); return value; }
static inline uint64_t raw64(const void *at) { uint64_t value; memcpy(&value, at, 8); return value; }

static inline void put64(void *at, uint64_t value) { memcpy(at, &value, 8); }

static inline void prefetch(const void *at) { __builtin_prefetch(at, 1, 3); }
static inline void prefetch_read(const void *at) { __builtin_prefetch(at, 0, 3); }

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The one's complement sum of `size` bytes as 64 bits of it; the order of bytes within a word does not matter until the end
 * because one's complement addition is the same in either order, and carries may be added back at any time (RFC 1071
 * section 2). */
static inline uint64_t sum_bytes(const uint8_t *at, size_t size) {
    unsigned __int128 sum = 0;
    for (; size >= 32; at += 32, size -= 32) {
        sum += raw64(at);
        sum += raw64(at + 8);
        sum += raw64(at + 16);
        sum += raw64(at + 24);
    }
    if (size & 16) { sum += raw64(at); sum += raw64(at + 8); at += 16; }
    if (size & 8) { sum += raw64(at); at += 8; }
    if (size & 4) { sum += raw32(at); at += 4; }
    if (size & 2) { sum += raw16(at); at += 2; }
    if (size & 1) sum += *at;
    uint64_t low = (uint64_t)sum, high = (uint64_t)(sum >> 64);
    low += high;
    return low + (low < high);
}

/* Adds a word to such a sum. */
static inline uint64_t sum_add(uint64_t sum, uint64_t word) {
    sum += word;
    return sum + (sum < word);
}

/* Folded to 16 bits. A region that carries a correct checksum sums to 0xffff. */
static inline uint16_t sum_fold(uint64_t sum) {
    sum += sum << 32 | sum >> 32;
    uint32_t half = (uint32_t)(sum >> 32);
    half += half << 16 | half >> 16;
    return (uint16_t)(half >> 16);
}

/* Whether such a sum, not zero, folds to 0xffff: is a multiple of that. The product with what inverts 0xffff modulo 2^64
 * is the quotient then, and a larger number otherwise. */
static inline int sum_right(uint64_t sum) { return sum * 0xfffefffefffeffffull <= 0x0001000100010001ull; }

/* Which of the twelve tags at `tags` (sixteen readable bytes) equal `tag`: bit i for tag i. */
static inline uint32_t tags_equal(const uint8_t *tags, uint8_t tag) {
#if defined(__SSE2__) && !defined(FASTFW_PORTABLE)
    __m128i line = _mm_load_si128((const __m128i *)tags);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(line, _mm_set1_epi8((char)tag))) & 0xfffu;
#elif defined(__ARM_NEON) && !defined(FASTFW_PORTABLE)
    static const uint8_t bit_of[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 0, 0, 0, 0};
    uint8x16_t hit = vandq_u8(vceqq_u8(vld1q_u8(tags), vdupq_n_u8(tag)), vld1q_u8(bit_of));
    return (uint32_t)vaddv_u8(vget_low_u8(hit)) | (uint32_t)vaddv_u8(vget_high_u8(hit)) << 8;
#else
    uint32_t hits = 0;
    for (int i = 0; i < 12; i++) hits |= (uint32_t)(tags[i] == tag) << i;
    return hits;
#endif
}

static inline int lowest_bit(uint32_t bits) { return __builtin_ctz(bits); }

#endif
