/* SPDX-License-Identifier: MIT
 *
 * Reference-counted messages: own memory in one allocation, or foreign memory with a release function. */
#include "wr_msg.h"

#include <assert.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

struct wr_msg *wr_msg_new(size_t headroom, size_t len)
{
    struct wr_msg *m = malloc(sizeof *m + headroom + len);
    if (!m)
        return NULL;
    m->base = (uint8_t *)(m + 1);
    m->cap = headroom + len;
    m->data = m->base + headroom;
    m->len = len;
    m->release = NULL;
    m->foreign = NULL;
    atomic_init(&m->refs, 1);
    return m;
}

struct wr_msg *wr_msg_copy(struct wr_slice bytes)
{
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, bytes.n);
    if (m && bytes.n)
        memcpy(m->data, bytes.p, bytes.n);
    return m;
}

struct wr_msg *wr_msg_wrap(uint8_t *data, size_t len, void (*release)(struct wr_msg *m),
                           void *foreign)
{
    struct wr_msg *m = malloc(sizeof *m);
    if (!m)
        return NULL;
    m->base = data;
    m->cap = len;
    m->data = data;
    m->len = len;
    m->release = release;
    m->foreign = foreign;
    atomic_init(&m->refs, 1);
    return m;
}

struct wr_msg *wr_msg_ref(struct wr_msg *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void wr_msg_unref(struct wr_msg *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (m->release)
        m->release(m);
    free(m);
}

uint8_t *wr_msg_push(struct wr_msg *m, size_t n)
{
    assert(wr_msg_is_only(m));
    if (wr_msg_headroom(m) < n)
        return NULL;
    m->data -= n;
    m->len += n;
    return m->data;
}

void wr_msg_pull(struct wr_msg *m, size_t n)
{
    assert(wr_msg_is_only(m) && n <= m->len);
    m->data += n;
    m->len -= n;
}

struct wr_msg *wr_msg_pack(const ProtobufCMessage *pb)
{
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, protobuf_c_message_get_packed_size(pb));
    if (m)
        protobuf_c_message_pack(pb, m->data);
    return m;
}
