/* SPDX-License-Identifier: MIT
 *
 * The bytes of the files that are sent and read back: byte `at` of file `index` is pattern[(at + index * 4099) % size], so no two
 * files are the same and none has to be kept. */
#ifndef WATCHROOM_BENCH_PATTERN_H
#define WATCHROOM_BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Call first, once. */
void bench_pattern_init(void);
/* The bytes of file `index` from `at` on that lie together; how many in *run, `most` at most. */
const uint8_t *bench_pattern(unsigned index, uint64_t at, size_t most, size_t *run);
/* Exits when `data` is not what file `index` has from `at` on; `what` names it. */
void bench_pattern_check(const char *what, unsigned index, uint64_t at, const uint8_t *data,
                         size_t size);

#endif
