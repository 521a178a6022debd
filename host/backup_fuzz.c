/* SPDX-License-Identifier: MIT
 *
 * Fuzz target for a backup that is put back: backup_read. Whatever the bytes, what the sink is given is within the bounds
 * that a store relies on, and only a whole one is believed. */
#include "backup_form.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t rooms, entries, top, last;
};

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static wr_err room(void *ctx, struct wr_slice name, const struct wr_store_top *top,
                   struct wr_errmsg *err)
{
    struct seen *s = ctx;
    (void)err;
    expect(wr_name_valid(name));
    s->rooms++;
    s->top = top->offset;
    s->last = 0;
    return WR_OK;
}

static wr_err entry(void *ctx, const struct wr_store_entry *e, struct wr_errmsg *err)
{
    struct seen *s = ctx;
    (void)err;
    expect(e->offset > s->last && e->offset <= s->top && e->data.n > 0);
    expect(e->data.n <= BACKUP_MAX_DATA_BYTES);
    s->last = e->offset;
    s->entries++;
    return WR_OK;
}

static wr_err from_memory(void *ctx, void *p, size_t n, size_t *got, struct wr_errmsg *err)
{
    struct wr_slice *left = ctx;
    (void)err;
    *got = WR_MIN(n, left->n);
    if (*got)
        memcpy(p, left->p, *got);
    left->p += *got;
    left->n -= *got;
    return WR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct backup_sink sink = {.room = room, .entry = entry};
    struct wr_slice left = wr_slice_of(data, size);
    struct seen s = {0};
    struct backup_facts facts;
    struct wr_errmsg err;
    wr_err e = backup_read(from_memory, &left, &sink, &s, &facts, &err);
    expect(facts.bytes <= size && facts.rooms == s.rooms && facts.entries == s.entries);
    expect(e == WR_OK ? left.n == 0 : err.text[0] != '\0');
    return 0;
}
