/* SPDX-License-Identifier: MIT
 *
 * Kinds of sources, by the stream's address. Each reads (or makes) coded frames on the stream's thread and gives them to
 * a flow (flow.h) until it ends. */
#ifndef WR_INGEST_SOURCE_H
#define WR_INGEST_SOURCE_H

#include "stream.h"

/* One of `run` and `accept`. Both read (or make) on the stream's thread until the source fails or the stream is not wanted any
 * more; then *end says why, "" when nobody wants it. */
struct source_kind {
    const char *prefix;             /* of the address, any case */
    bool (*check)(const char *url); /* of what follows the prefix; NULL = anything goes */
    /* Pull: dials, on the stream's thread, while somebody watches. */
    void (*run)(struct stream *s, struct source_end *end);
    /* Push: a publisher came by a listener of ours, which gave it to stream__push; runs whether somebody watches or not. */
    void (*accept)(struct stream *s, void *publisher, struct source_end *end);
};

/* NULL when no kind takes the address. */
const struct source_kind *source__kind(const char *url);
/* INVALID with a sentence when no kind takes the address. */
WR_MUST_USE wr_err source__check(const struct stream *s, struct wr_errmsg *err);

/* The kinds. */
void source__run_rtsp(struct stream *s, struct source_end *end);
void source__run_av(struct stream *s, struct source_end *end);
void source__run_synthetic(struct stream *s, struct source_end *end);
bool source__check_synthetic(const char *url);

/* The sentence about a track in a codec that is none of ours, by its name. Whole sentences: the page has them in Chinese. */
void source__say_foreign(const char *codec, bool is_video, struct wr_errmsg *out);

/* Once a process, before any source: libavformat's log lines hold addresses with passwords, so none gets out. */
void source__init_av(void);

#endif
