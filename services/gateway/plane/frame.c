/* SPDX-License-Identifier: MIT
 *
 * Frames: one message to clients, encoded once, immutable, shared by reference. One allocation holds the struct, the
 * list of pieces, and the bytes that are the frame's own; the WebSocket head stands right before the first own bytes. */
#include "plane_priv.h"
#include <stdlib.h>

/* RFC 6455, 5.2: FIN, opcode, unmasked length. Returns its length. */
static size_t ws_head(uint8_t *to, enum wr_ws_op op, uint64_t n)
{
    to[0] = (uint8_t)(0x80u | (unsigned)op);
    if (n < 126) {
        to[1] = (uint8_t)n;
        return 2;
    }
    if (n <= 0xffff) {
        to[1] = 126;
        to[2] = (uint8_t)(n >> 8);
        to[3] = (uint8_t)n;
        return 4;
    }
    to[1] = 127;
    for (unsigned i = 0; i < 8; i++)
        to[2 + i] = (uint8_t)(n >> (8 * (7 - i)));
    return 10;
}

static struct wr_frame *frame_build(bool with_head, enum wr_ws_op op, unsigned flags,
                                    int64_t media_us, const struct wr_frame_part *parts, size_t n)
{
    size_t bytes = 0, own = 0, nmsgs = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += parts[i].bytes.n;
        if (parts[i].msg)
            nmsgs++;
        else
            own += parts[i].bytes.n;
    }
    uint8_t head[10];
    size_t nhead = with_head ? ws_head(head, op, bytes) : 0;
    if (n + 1 > UINT16_MAX)
        return NULL;
    size_t size = sizeof(struct wr_frame) + (n + 1) * sizeof(struct wr_slice) +
                  nmsgs * sizeof(struct wr_msg *);
    struct wr_frame *f = malloc(size + nhead + own);
    if (!f)
        return NULL;
    atomic_init(&f->refs, 1);
    f->flags = flags;
    f->media_us = media_us;
    f->bytes = bytes;
    f->head = (uint16_t)nhead;
    f->msgs = (struct wr_msg **)(void *)(f->segs + n + 1);
    f->nmsgs = 0;
    f->nsegs = 0;
    uint8_t *at = (uint8_t *)f + size;
    struct wr_slice *run = NULL; /* the own bytes that the next own bytes continue */
    if (nhead) {
        memcpy(at, head, nhead);
        run = &f->segs[f->nsegs++];
        *run = (struct wr_slice){at, nhead};
        at += nhead;
    }
    for (size_t i = 0; i < n; i++) {
        if (parts[i].bytes.n == 0)
            continue;
        if (parts[i].msg) {
            f->msgs[f->nmsgs++] = wr_msg_ref(parts[i].msg);
            f->segs[f->nsegs++] = parts[i].bytes;
            run = NULL;
            continue;
        }
        memcpy(at, parts[i].bytes.p, parts[i].bytes.n);
        if (!run) {
            run = &f->segs[f->nsegs++];
            *run = (struct wr_slice){at, 0};
        }
        run->n += parts[i].bytes.n;
        at += parts[i].bytes.n;
    }
    return f;
}

struct wr_frame *wr_frame_new(enum wr_ws_op op, unsigned flags, int64_t media_us,
                              const struct wr_frame_part *parts, size_t n)
{
    return frame_build(true, op, flags, media_us, parts, n);
}

struct wr_frame *wr_frame_copy(enum wr_ws_op op, struct wr_slice bytes)
{
    return frame_build(true, op, 0, 0, &(struct wr_frame_part){.bytes = bytes}, 1);
}

struct wr_frame *wr_frame_plain_of(const struct wr_frame_part *parts, size_t n)
{
    return frame_build(false, WR_WS_BINARY, WR_FRAME_KEEP, 0, parts, n);
}

struct wr_frame *wr_frame_plain(struct wr_slice bytes)
{
    return wr_frame_plain_of(&(struct wr_frame_part){.bytes = bytes}, 1);
}

struct wr_frame *wr_frame_ref(struct wr_frame *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void wr_frame_unref(struct wr_frame *f)
{
    if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < f->nmsgs; i++)
        wr_msg_unref(f->msgs[i]);
    free(f);
}

size_t wr_frame_bytes(const struct wr_frame *f)
{
    return f->bytes;
}
