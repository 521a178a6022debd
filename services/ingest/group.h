/* SPDX-License-Identifier: MIT
 *
 * The current group of pictures of a stream: the newest keyframe and all that came after it, both tracks, so that a
 * gateway that begins to watch has a picture at once. Bounded: a group that outgrows the bounds is forgotten until the
 * next keyframe. Sound alone keeps its last second. Not thread-safe: the stream locks. */
#ifndef WR_INGEST_GROUP_H
#define WR_INGEST_GROUP_H

#include "wr_msg.h"

/* The whole answer must fit one bus message, and what is kept costs memory for every running stream. */
#define GROUP_MAX_BYTES (3500u << 10)
#define GROUP_MAX_US (12 * 1000000)

struct group_item {
    struct wr_msg *msg;    /* the event as it was published */
    struct wr_slice media; /* the encoded MediaFrame in it */
    int64_t at_us;         /* monotonic arrival */
};

/* Zeroed memory is an empty group. */
struct group {
    struct group_item *items;
    size_t n, cap;
    size_t bytes;
    bool whole; /* begins with a keyframe and nothing is missing since */
};

void group__free(struct group *g);
/* Takes a reference of its own. begins: decoding can begin here (a video keyframe). */
void group__add(struct group *g, struct wr_msg *msg, struct wr_slice media, bool begins,
                int64_t at_us);
/* The same for a stream without a picture: everything is a beginning; what is older than 1 s goes. */
void group__add_sound(struct group *g, struct wr_msg *msg, struct wr_slice media, int64_t at_us);
void group__clear(struct group *g);
/* References to all items, to be read without the lock; {0} when the group is not whole. Free with group__free. */
struct group group__copy(const struct group *g);

#endif
