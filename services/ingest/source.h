/* SPDX-License-Identifier: MIT
 *
 * Kinds of sources, by the stream's address. Each reads (or makes) coded frames on the stream's thread and gives them to
 * a flow (flow.h) until it ends. */
#ifndef WR_INGEST_SOURCE_H
#define WR_INGEST_SOURCE_H

#include "stream.h"

/* INVALID with a sentence when no kind takes the address. */
WR_MUST_USE wr_err source__check(const struct stream *s, struct wr_errmsg *err);
/* Runs the stream's source until it fails or the stream is not wanted any more. */
void source__run(struct stream *s, struct source_end *end);

/* The kinds. */
void source__run_rtsp(struct stream *s, struct source_end *end);
void source__run_av(struct stream *s, struct source_end *end);
void source__run_synthetic(struct stream *s, struct source_end *end);

/* Once a process, before any source: libavformat's log lines hold addresses with passwords, so none gets out. */
void source__init_av(void);

#endif
