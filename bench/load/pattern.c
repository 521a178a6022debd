/* SPDX-License-Identifier: MIT
 *
 * The bytes of the files that are sent and read back; see pattern.h. */
#include "pattern.h"

#include "load.h"

#include <string.h>

#define PATTERN_BYTES (4u << 20)

static uint8_t *pattern;

void bench_pattern_init(void)
{
    pattern = bench_calloc(1, PATTERN_BYTES);
    uint64_t state = 88172645463325252ULL;
    for (size_t i = 0; i < PATTERN_BYTES; i += sizeof(state)) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(pattern + i, &state, sizeof(state));
    }
}

const uint8_t *bench_pattern(unsigned index, uint64_t at, size_t most, size_t *run)
{
    size_t from = (size_t)((at + (uint64_t)index * 4099) % PATTERN_BYTES);
    *run = PATTERN_BYTES - from < most ? PATTERN_BYTES - from : most;
    return pattern + from;
}

void bench_pattern_check(const char *what, unsigned index, uint64_t at, const uint8_t *data,
                         size_t size)
{
    for (size_t done = 0, run; done < size; done += run) {
        const uint8_t *right = bench_pattern(index, at + done, size - done, &run);
        if (memcmp(data + done, right, run) != 0)
            bench_die("%s: other bytes came back near %llu", what, (unsigned long long)(at + done));
    }
}
