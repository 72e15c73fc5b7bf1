"""Unaligned loads, the Internet checksum and tag comparison, as bytes.h has them."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "bytes.h" nogil:
    uint16_t be16(const uint8_t *at)
    uint16_t bswap16(uint16_t value)
    uint32_t be32(const uint8_t *at)
    uint16_t raw16(const void *at)
    uint32_t raw32(const void *at)
    uint64_t raw64(const void *at)
    void put64(void *at, uint64_t value)
    void prefetch(const void *at)
    void prefetch_read(const void *at)
    uint64_t sum_bytes(const uint8_t *at, size_t size)
    uint64_t sum_add(uint64_t sum, uint64_t word)
    uint16_t sum_fold(uint64_t sum)
    bint sum_right(uint64_t sum)
    uint32_t tags_equal(const uint8_t *tags, uint8_t tag)
    int lowest_bit(uint32_t bits)
    bint likely(bint)
    bint unlikely(bint)
