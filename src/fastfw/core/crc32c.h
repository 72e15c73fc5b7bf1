/* CRC-32C (Castagnoli), the checksum of SCTP (RFC 9260 section 6.8 and appendix A), by the processor's own instruction
 * where it has one: SSE4.2 on x86-64 and the CRC extension on arm64, found out when the module is loaded; eight bytes
 * a step by tables elsewhere.
 *
 * A value is carried from piece to piece: begin with ~0 and complement at the end. */
#ifndef FASTFW_CRC32C_H
#define FASTFW_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

#if defined(FASTFW_PORTABLE)
/* tables alone */
#elif defined(__x86_64__) && defined(__GNUC__)
#define FASTFW_CRC32C_SSE42 1
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__) && defined(__GNUC__)
#define FASTFW_CRC32C_ARM 1
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

/* crc32c_table[k][b]: byte b followed by k zero bytes. */
static uint32_t crc32c_table[8][256];

static void crc32c_fill_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
        crc32c_table[0][byte] = value;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = crc32c_table[k - 1][byte];
            crc32c_table[k][byte] = before >> 8 ^ crc32c_table[0][before & 0xff];
        }
}

static uint32_t crc32c_by_table(uint32_t value, const uint8_t *at, size_t size) {
    for (; size >= 8; at += 8, size -= 8) {
        uint32_t low = value ^ raw32(at), high = raw32(at + 4);
        value = crc32c_table[7][low & 0xff] ^ crc32c_table[6][low >> 8 & 0xff] ^ crc32c_table[5][low >> 16 & 0xff] ^
                crc32c_table[4][low >> 24] ^ crc32c_table[3][high & 0xff] ^ crc32c_table[2][high >> 8 & 0xff] ^
                crc32c_table[1][high >> 16 & 0xff] ^ crc32c_table[0][high >> 24];
    }
    for (; size; at++, size--) value = value >> 8 ^ crc32c_table[0][(value ^ *at) & 0xff];
    return value;
}

#if defined(FASTFW_CRC32C_SSE42)
__attribute__((target("sse4.2"))) static uint32_t crc32c_by_instruction(uint32_t value, const uint8_t *at, size_t size) {
    uint64_t wide = value;
    for (; size >= 8; at += 8, size -= 8) wide = _mm_crc32_u64(wide, raw64(at));
    value = (uint32_t)wide;
    for (; size; at++, size--) value = _mm_crc32_u8(value, *at);
    return value;
}

static int crc32c_has_instruction(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(FASTFW_CRC32C_ARM)
__attribute__((target("+crc"))) static uint32_t crc32c_by_instruction(uint32_t value, const uint8_t *at, size_t size) {
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t eight = raw64(at);
        __asm__("crc32cx %w0, %w0, %x1" : "+r"(value) : "r"(eight));
    }
    for (; size; at++, size--) {
        uint32_t one = *at;
        __asm__("crc32cb %w0, %w0, %w1" : "+r"(value) : "r"(one));
    }
    return value;
}

static int crc32c_has_instruction(void) { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
#else
static uint32_t crc32c_by_instruction(uint32_t value, const uint8_t *at, size_t size) {
    return crc32c_by_table(value, at, size);
}

static int crc32c_has_instruction(void) { return 0; }
#endif

static uint32_t (*crc32c)(uint32_t value, const uint8_t *at, size_t size) = crc32c_by_table;

/* Once, before the first use. `portable` leaves the processor's instruction alone. Returns whether it is used. */
static int crc32c_choose(int portable) {
    crc32c_fill_table();
    int chosen = !portable && crc32c_has_instruction();
    crc32c = chosen ? crc32c_by_instruction : crc32c_by_table;
    return chosen;
}

#endif
