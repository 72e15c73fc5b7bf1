/* The headers of core/ against the plainest code that says the same, over many random buffers of one seed. Prints what
 * differs and how much was compared; exit status 1 where anything differed. */
#include "bits.h"
#include "bytes.h"
#include "crc32c.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 20000, SIZE = 512 };

static uint64_t state;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* RFC 1071: 16-bit words in network order, carries added back at the end. */
static uint16_t plain_sum(const uint8_t *at, size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += (uint64_t)at[i] << (i & 1 ? 0 : 8);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* RFC 9260 appendix A: bit by bit. */
static uint32_t plain_crc(const uint8_t *at, size_t size) {
    uint32_t value = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        value ^= at[i];
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
    }
    return value;
}

static int failed(const char *what, size_t offset, size_t size) {
    printf("%s differs: offset %zu, size %zu\n", what, offset, size);
    return 1;
}

int main(int argc, char **argv) {
    static _Alignas(64) uint8_t data[2 * SIZE];
    state = argc > 1 ? strtoull(argv[1], NULL, 10) * 2 + 1 : 1;
#ifdef FASTFW_PORTABLE
    common_word_choose(0);
    if (crc32c_choose(0) || common_word != common_word_by_steps || common_words != common_words_by_steps) {
        printf("a portable build uses the processor's own instructions\n");
        return 1;
    }
#endif
    for (int round = 0; round < ROUNDS; round++) {
        size_t offset = next() % 16, size = next() % SIZE;
        for (size_t i = 0; i < sizeof(data); i += 8) {
            uint64_t word = round % 5 == 0 ? ~(uint64_t)0 : next();
            memcpy(data + i, &word, 8);
        }
        const uint8_t *at = data + offset;
        if (sum_fold(sum_bytes(at, size)) != bswap16(plain_sum(at, size))) return failed("sum_bytes", offset, size);
        for (int portable = 0; portable < 2; portable++) {
            crc32c_choose(portable);
            if (crc32c(0xffffffffu, at, size) != plain_crc(at, size)) return failed("crc32c", offset, size);
        }
        uint32_t hits = 0, count = 0;
        for (int i = 0; i < 16; i++) data[i] &= 3;
        for (int i = 0; i < 12; i++) hits |= (uint32_t)(data[i] == 2) << i;
        if (tags_equal(data, 2) != hits) return failed("tags_equal", 0, 12);
        uint64_t bits = next() & next();
        for (int i = 0; i < 64; i++) count += bits >> i & 1;
        if (count_bits(bits) != count) return failed("count_bits", 0, 8);
        /* two sets of one block: its summary, where its words begin, its words */
        uint64_t sets[2][66], *both[2] = {sets[0], sets[1]}, here = bits & 63, word[2];
        for (int i = 0; i < 2; i++) {
            sets[i][0] = (next() & next()) | (uint64_t)1 << here;
            sets[i][1] = 2;
            for (uint64_t bit = 0, at = 2; bit < 64; bit++) {
                if (!(sets[i][0] >> bit & 1)) continue;
                sets[i][at] = next();
                if (bit == here) word[i] = sets[i][at];
                at++;
            }
        }
        for (int portable = 0; portable < 2; portable++) {
            common_word_choose(portable);
            if (common_word((const uint64_t *const *)both, 2, 1, 0, (uint32_t)here) != (word[0] & word[1]))
                return failed("common_word", here, 2);
        }
        /* dense sets of one block: sparse words, so that some of the AND are empty and some are not */
        uint64_t dense[5][66], common[64], many = 1 + next() % 5, words = 8 * (1 + next() % 8), filled = 0, want[64];
        const uint64_t *all[5];
        for (uint64_t i = 0; i < many; i++) {
            all[i] = dense[i];
            for (uint64_t w = 0; w < words; w++) dense[i][2 + w] = next() % 3 ? next() : 0;
        }
        for (uint64_t w = 0; w < words; w++) {
            want[w] = ~(uint64_t)0;
            for (uint64_t i = 0; i < many; i++) want[w] &= dense[i][2 + w];
            filled |= (uint64_t)(want[w] != 0) << w;
        }
        for (int portable = 0; portable < 2; portable++) {
            common_word_choose(portable);
            memset(common, 0xff, sizeof(common));
            if (common_words(all, (uint32_t)many, 2, (uint32_t)words, common) != filled
                || memcmp(common, want, words * 8))
                return failed("common_words", many, words);
        }
    }
    printf("%d rounds\n", ROUNDS);
    return 0;
}
