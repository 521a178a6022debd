/* SPDX-License-Identifier: MIT
 *
 * Tracks as protobuf: from struct wr_track to the generated code's Track, which borrows everything. */
#ifndef WR_INGEST_TRACK_PB_H
#define WR_INGEST_TRACK_PB_H

#include "watchroom/v1/ingest.pb-c.h"
#include "wr_buf.h"
#include "wr_media.h"

/* *out points into *t: it must not outlive it. */
void track_pb__fill(Watchroom__V1__Track *out, const struct wr_track *t);
/* Appends an encoded watchroom.v1.Epoch. */
void track_pb__epoch(struct wr_buf *out, uint64_t epoch, const struct wr_track *tracks, size_t n);

#endif
