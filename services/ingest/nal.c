/* SPDX-License-Identifier: MIT
 *
 * See nal.h. */
#include "nal.h"

#include "wr_cursor.h"

/* ---- NAL units ---------------------------------------------------------------------------------------------------- */

/* The first 00 00 01 at or after p, or end. */
static const uint8_t *start_code(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *at = p + 2;
    while (at < end && (at = memchr(at, 1, (size_t)(end - at)))) {
        if (at[-1] == 0 && at[-2] == 0)
            return at - 2;
        at++;
    }
    return end;
}

void nal__iter(struct nal_iter *it, struct wr_slice data, enum nal_framing framing)
{
    *it = (struct nal_iter){.p = data.p, .end = data.p + data.n, .framing = framing};
    if (framing == NAL_ANNEXB && data.n > 0)
        it->p = start_code(it->p, it->end);
}

static bool next_annexb(struct nal_iter *it, struct wr_slice *nal)
{
    while (it->end - it->p > 3) {
        const uint8_t *begin = it->p + 3, *stop = start_code(begin, it->end);
        it->p = stop;
        while (stop > begin && stop[-1] == 0)
            stop--;
        if (stop > begin) {
            *nal = wr_slice_of(begin, (size_t)(stop - begin));
            return true;
        }
    }
    return false;
}

static bool next_length(struct nal_iter *it, struct wr_slice *nal)
{
    unsigned bytes = (unsigned)it->framing;
    while ((size_t)(it->end - it->p) > bytes) {
        size_t n = 0;
        for (unsigned i = 0; i < bytes; i++)
            n = n << 8 | *it->p++;
        if (n > (size_t)(it->end - it->p))
            break;
        *nal = wr_slice_of(it->p, n);
        it->p += n;
        if (n > 0)
            return true;
    }
    it->p = it->end;
    return false;
}

bool nal__next(struct nal_iter *it, struct wr_slice *nal)
{
    return it->framing == NAL_ANNEXB ? next_annexb(it, nal) : next_length(it, nal);
}

uint8_t *nal__put(uint8_t *to, struct wr_slice nal)
{
    for (unsigned i = 0; i < 4; i++)
        *to++ = (uint8_t)(nal.n >> (24 - 8 * i));
    memcpy(to, nal.p, nal.n);
    return to + nal.n;
}

/* ---- parameter sets ----------------------------------------------------------------------------------------------- */

const struct nal_set *nal__set_find(const struct nal_set *all, size_t n, uint32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (all[i].bytes.n > 0 && all[i].id == id)
            return &all[i];
    return NULL;
}

/* The slot of an id, else an empty one; NULL when all are taken. */
static struct nal_set *slot_for(struct nal_set *all, size_t n, uint32_t id)
{
    struct nal_set *empty = NULL;
    for (size_t i = n; i-- > 0;) {
        if (all[i].bytes.n == 0)
            empty = &all[i];
        else if (all[i].id == id)
            return &all[i];
    }
    return empty;
}

bool nal__set_keep(struct nal_set *all, size_t n, uint32_t id, uint32_t refers, struct wr_slice nal)
{
    struct nal_set *slot = slot_for(all, n, id);
    if (!slot)
        return false; /* more ids than any camera uses */
    if (slot->bytes.n > 0 && wr_slice_eq(nal__set_bytes(slot), nal))
        return false;
    slot->id = id;
    slot->refers = refers;
    wr_buf_clear(&slot->bytes);
    wr_buf_slice(&slot->bytes, nal);
    if (slot->bytes.failed)
        wr_buf_clear(&slot->bytes);
    return true;
}

void nal__sets_free(struct nal_set *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        wr_buf_free(&all[i].bytes);
    memset(all, 0, n * sizeof *all);
}

/* ---- SEI ---------------------------------------------------------------------------------------------------------- */

/* A number in bytes of 255 and a last one below. */
static uint32_t sei_number(struct wr_cursor *c)
{
    uint32_t v = 0, byte;
    do
        v += byte = wr_cursor_bits(c, 8);
    while (byte == 255 && !c->failed);
    return v;
}

bool nal__has_recovery_point(struct wr_slice sei, size_t head)
{
    struct wr_cursor c = wr_cursor_rbsp(sei, head);
    while (!c.failed && wr_cursor_left(&c) > 1) {
        uint32_t type = sei_number(&c), n = sei_number(&c);
        if (c.failed)
            return false;
        if (type == 6)
            return true;
        wr_cursor_skip_bits(&c, (size_t)n * 8);
    }
    return false;
}
