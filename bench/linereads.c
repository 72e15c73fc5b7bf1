/* The yardstick of this machine: independent reads of random cache lines. Every figure of the table's speed is also
 * given as a ratio to it, so that figures of different machines can be held side by side. */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

/* Reads `count` random lines of `lines` 64-byte lines; seconds taken, or -1 without memory. */
double line_reads(size_t lines, size_t count) {
    size_t size = lines * 64;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -1;
    madvise(memory, size, MADV_HUGEPAGE);
    for (size_t i = 0; i < size; i += 64) memory[i] = (uint8_t)i;
    struct timespec from, to;
    uint64_t x = 88172645463325252ull, sum = 0;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (size_t i = 0; i < count; i++) {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        sum += memory[(uint64_t)(((unsigned __int128)x * lines) >> 64) * 64];
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    munmap(memory, size);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
    return seconds + (sum == 1 ? 1e-12 : 0); /* the sum is used, so the reads are made */
}
