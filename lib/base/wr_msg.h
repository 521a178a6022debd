/* SPDX-License-Identifier: MIT
 *
 * A message: one contiguous run of bytes with headroom in front, shared by reference count. It is what the bus carries,
 * what a room's frame points into, and what a viewer's socket is fed from, so that bytes are written into memory once.
 *
 * Bytes may be changed only while there is a single reference. Counting is thread-safe. */
#ifndef WR_BASE_WR_MSG_H
#define WR_BASE_WR_MSG_H

#include "wr_err.h"
#include <stdatomic.h>

struct wr_msg {
    uint8_t *data; /* first byte of the content */
    size_t len;    /* bytes of content */
    /* private: */
    uint8_t *base; /* start of the memory */
    size_t cap;    /* bytes from base */
    atomic_uint refs;
    void (*release)(
        struct wr_msg *m); /* frees foreign memory behind base; NULL when base follows the struct */
    void *foreign;
};

/* Headroom for whoever puts a head in front of a body without a copy (a MediaFrame's fields, a Files/Write's). The bus needs none:
 * inproc:// has no envelope, and NNG's messages are built beside the body. */
#define WR_MSG_HEADROOM 320

/* `len` bytes of unset content after `headroom`. NULL only when memory is out. */
WR_API struct wr_msg *wr_msg_new(size_t headroom, size_t len);
/* Content copied from `bytes`, with WR_MSG_HEADROOM. */
WR_API struct wr_msg *wr_msg_copy(struct wr_slice bytes);
/* Wraps foreign memory; `release` is called once, at the last unref, and frees it (the struct itself is ours). */
WR_API struct wr_msg *wr_msg_wrap(uint8_t *data, size_t len, void (*release)(struct wr_msg *m),
                                  void *foreign);

WR_API struct wr_msg *wr_msg_ref(struct wr_msg *m);
/* Accepts NULL. */
WR_API void wr_msg_unref(struct wr_msg *m);
static inline bool wr_msg_is_only(struct wr_msg *m)
{
    return atomic_load_explicit(&m->refs, memory_order_acquire) == 1;
}

static inline struct wr_slice wr_msg_slice(const struct wr_msg *m)
{
    return (struct wr_slice){m->data, m->len};
}
/* What it costs in memory, for bounds: all of it, whoever else has a reference, and whatever part of it is of use. 0 for NULL. */
static inline size_t wr_msg_memory(const struct wr_msg *m)
{
    return m ? sizeof *m + m->cap : 0;
}
static inline size_t wr_msg_headroom(const struct wr_msg *m)
{
    return (size_t)(m->data - m->base);
}
/* Opens n bytes in front of the content and returns them; NULL when the headroom is too small. Single reference only. */
WR_API uint8_t *wr_msg_push(struct wr_msg *m, size_t n);
/* Drops n bytes from the front. Single reference only. */
WR_API void wr_msg_pull(struct wr_msg *m, size_t n);

struct ProtobufCMessage;
/* Encodes a protobuf-c message with WR_MSG_HEADROOM in front. NULL only when memory is out. */
WR_API struct wr_msg *wr_msg_pack(const struct ProtobufCMessage *pb);

#endif
