/* SPDX-License-Identifier: MIT
 *
 * The suite that every store passes. A store's test is a main() that calls it; a store with tests of its own uses the
 * helpers as well. */
#ifndef WR_STORE_CONFORMANCE_H
#define WR_STORE_CONFORMANCE_H

#include "wr_store.h"

enum {
    STORE_KEEPS = 1,   /* entries can be read back, keys are known again */
    STORE_DURABLE = 2, /* after close and open as well */
};

/* Runs the suite on <plugin folder>/<file>.so; the exit status of the test program. */
int store_conformance(const char *file, unsigned can);

/* ---- helpers ---- */

/* The table of <plugin folder>/<file>.so. */
const void *test_plugin(const char *file);

struct test_store {
    const struct wr_store_plugin *plugin;
    void *state;
    char folder[64];
    struct wr_store_opts opts; /* path = folder; set the rest before test_store_open */
};
void test_store_init(struct test_store *t,
                     const struct wr_store_plugin *plugin); /* makes the folder */
void test_store_open(struct test_store *t);                 /* must succeed */
wr_err test_store_try(struct test_store *t,
                      struct wr_errmsg *err); /* may fail: then it is closed */
void test_store_close(struct test_store *t);
void test_store_fini(struct test_store *t); /* closes, removes the folder */

/* An item of kind chat; key and data are NUL-ended text. */
struct wr_store_item test_item(const char *room, const char *key, const char *data);
/* Appends one, which must succeed; its offset. */
uint64_t test_append(struct test_store *t, const char *room, const char *key, const char *data);
struct wr_store_top test_top(struct test_store *t, const char *room);
/* Reads a page; how many entries came, their offsets checked to be dense. first and last may be NULL. */
size_t test_page(struct test_store *t, const char *room, const struct wr_store_range *range,
                 uint64_t *first, uint64_t *last);
void test_trim_all(struct test_store *t);

#endif
