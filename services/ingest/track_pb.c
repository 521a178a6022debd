/* SPDX-License-Identifier: MIT
 *
 * See track_pb.h. protobuf-c's strings and bytes are not const, and it writes to none of them while it packs. */
#include "track_pb.h"

#include <assert.h>

void track_pb__fill(Watchroom__V1__Track *out, const struct wr_track *t)
{
    watchroom__v1__track__init(out);
    out->track = t->id;
    out->kind = (Watchroom__V1__TrackKind)t->kind;
    out->codec = (Watchroom__V1__Codec)t->codec;
    out->config = (ProtobufCBinaryData){.len = t->config.n,
                                        .data = (uint8_t *)(uintptr_t)t->config.p};
    out->timescale = t->timescale;
    out->width = t->width;
    out->height = t->height;
    out->fps_milli = t->fps_milli;
    out->sample_rate = t->sample_rate;
    out->channels = t->channels;
    out->codec_string = (char *)(uintptr_t)t->codec_string;
    out->label = (char *)(uintptr_t)t->label;
    out->language = (char *)(uintptr_t)t->language;
    out->rendition = (char *)(uintptr_t)t->rendition;
    out->made_from = t->made_from;
}

void track_pb__epoch(struct wr_buf *out, uint64_t epoch, const struct wr_track *tracks, size_t n)
{
    Watchroom__V1__Epoch e = WATCHROOM__V1__EPOCH__INIT;
    Watchroom__V1__Track t[WR_TRACKS_MAX], *refs[WR_TRACKS_MAX];
    assert(n <= WR_TRACKS_MAX);
    for (size_t i = 0; i < n; i++) {
        track_pb__fill(&t[i], &tracks[i]);
        refs[i] = &t[i];
    }
    e.epoch = epoch;
    e.tracks = refs;
    e.n_tracks = n;
    uint8_t *to = wr_buf_reserve(out, watchroom__v1__epoch__get_packed_size(&e));
    if (to)
        out->n += watchroom__v1__epoch__pack(&e, to);
}
