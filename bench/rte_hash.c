/* DPDK's hash table as a yardstick: a million keys of 16 bytes, looked up 64 at a time in random order. Prints lookups a
 * second of CPU time, the median of seven rounds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

enum { KEYS = 1000000, LOOKUPS = 64 * 15625, AT_ONCE = 64, ROUNDS = 7 };

struct key {
    uint32_t word[4];
};

static struct key keys[KEYS], asked[LOOKUPS];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_size(const void *one, const void *two) {
    double a = *(const double *)one, b = *(const double *)two;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    char *options[] = {arguments[0], "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "512", "-l", "0",
                       "--log-level", "error", NULL};
    (void)count;
    if (rte_eal_init(11, options) < 0) {
        fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
        return 1;
    }
    struct rte_hash_parameters parameters = {
        .name = "keys", .entries = KEYS + KEYS / 8, .key_len = sizeof(struct key), .hash_func = rte_hash_crc};
    struct rte_hash *table = rte_hash_create(&parameters);
    if (table == NULL) {
        fprintf(stderr, "rte_hash_create: %s\n", rte_strerror(rte_errno));
        return 1;
    }
    uint64_t x = 88172645463325252ull;
    for (uint32_t i = 0; i < KEYS; i++) {
        keys[i] = (struct key){{0x0a000000u + i * 2654435761u % (1u << 24), 0xc0a80000u + i % 250, (i >> 8) << 16 | 443, 6}};
        if (rte_hash_add_key(table, &keys[i]) < 0) return 1;
    }
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        asked[i] = keys[x % KEYS];
    }
    double rates[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t found = 0;
        double began = now();
        for (uint32_t i = 0; i < LOOKUPS; i += AT_ONCE) {
            const void *pointers[AT_ONCE];
            int32_t places[AT_ONCE];
            for (uint32_t k = 0; k < AT_ONCE; k++) pointers[k] = &asked[i + k];
            rte_hash_lookup_bulk(table, pointers, AT_ONCE, places);
            for (uint32_t k = 0; k < AT_ONCE; k++) found += places[k] >= 0;
        }
        rates[round] = LOOKUPS / (now() - began);
        if (found != LOOKUPS) return 1;
    }
    qsort(rates, ROUNDS, sizeof *rates, by_size);
    printf("%.0f\n", rates[ROUNDS / 2]);
    return 0;
}
