/* SPDX-License-Identifier: MIT
 *
 * The newest groups of pictures of a stream, as Ingest/Groups and Ingest/Watch answer with them: the current one, so that a
 * gateway that begins to watch has a picture at once, and complete ones before it, for gateways that lost frames and for
 * playlists. A sink (sink.h).
 *
 * Bounds: all groups together in bytes and in seconds (the oldest go first), and a single group, which must fit one bus message:
 * one that outgrows it is forgotten, counted, until the next begins. Groups outlive the connection that brought them, not the
 * stream's rest: kept__clear. Not thread-safe: the stream locks. */
#ifndef WR_INGEST_KEPT_H
#define WR_INGEST_KEPT_H

#include "sink.h"
#include "wr_buf.h"

#define KEPT_GROUP_MAX_BYTES (3500u << 10)
#define KEPT_GROUP_MAX_US (12 * 1000000)

struct kept_item {
    struct wr_msg *msg;    /* the event as it was published */
    struct wr_slice media; /* the encoded MediaFrame in it */
};

struct kept_group {
    uint64_t gop, epoch;
    bool complete;
    struct kept_item *items;
    size_t n, cap, bytes;
    int64_t began_us, ended_us; /* monotonic */
};

/* Zeroed memory with bounds is a valid one. */
struct kept {
    size_t max_bytes;
    int64_t max_us;
    struct kept_group *groups; /* oldest first */
    size_t n, cap, bytes;
    struct kept_epoch {
        uint64_t epoch;
        struct wr_buf packed; /* an encoded watchroom.v1.Epoch */
    } * epochs;               /* of the groups and of now; oldest first */
    size_t num_epochs, cap_epochs;
    bool open; /* the newest group is the current one: it grows */
};

extern const struct sink kept__sink; /* ctx: a struct kept, under its owner's lock */

void kept__clear(struct kept *k);
void kept__free(struct kept *k);

/* A page of groups, to be read without the lock: references to messages, copies of the rest. Free with kept__page_free. */
struct kept_page {
    struct kept_group *groups;
    size_t n;
    struct kept_epoch *epochs;
    size_t num_epochs;
    uint64_t oldest_gop, newest_gop, next_gop;
    bool failed; /* memory is out */
};
/* Groups from from_gop on: at least one when there is one, as many more as fit. max_groups 0 = any number. */
struct kept_page kept__page(const struct kept *k, uint64_t from_gop, size_t max_groups,
                            size_t max_bytes);
/* The current group alone; empty when there is none or it was outgrown. */
struct kept_page kept__current(const struct kept *k);
void kept__page_free(struct kept_page *p);

#endif
