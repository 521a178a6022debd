/* SPDX-License-Identifier: MIT
 *
 * The way of a coded frame through ingest, from what a source read to the bus: see the table of steps in ingest_flow.c.
 * One flow a connection to a source; used on the stream's thread alone. */
#ifndef WR_INGEST_FLOW_H
#define WR_INGEST_FLOW_H

#include "access.h"
#include "h264.h"
#include "stream.h"
#include "timeline.h"

#define FLOW_VIDEO_SCALE 90000u

/* One coded frame as a source has it. Times in the track's timescale (90 kHz, or the sample rate). */
struct flow_sample {
    struct wr_slice
        data;          /* video: an access unit; audio: a raw AAC frame or one with an ADTS head */
    int64_t dts, pts;  /* TIMELINE_NONE = not told */
    uint32_t duration; /* 0 = not told */
    bool key;          /* video: the source says that decoding can begin here */
    int64_t camera_us; /* 0 = unknown */
};

struct flow {
    struct stream *stream;
    bool has_video, has_audio;
    /* video */
    struct h264_sets sets;
    enum h264_framing framing;
    struct wr_buf avcc, next_avcc; /* of the epoch; being built */
    struct h264_sps sps;
    uint32_t fps_milli; /* hint of the source, 0 = unknown */
    /* audio */
    struct wr_buf asc;
    uint32_t sample_rate, channels, object_type;
    char note[200]; /* told with LIVE: what is left out, and why */

    struct timeline time;
    struct access_order order; /* for sources that tell no dts */
    uint64_t epoch;            /* 0 = none yet */
    uint64_t seq;
};

/* Before the first sample: what the source will send. framing and config as h264__sets_learn_config takes them. */
void flow__init(struct flow *f, struct stream *s);
void flow__set_video(struct flow *f, struct wr_slice config, uint32_t fps_milli);
/* asc may be empty when samples have ADTS heads. False when the configuration cannot be read. */
bool flow__set_audio(struct flow *f, struct wr_slice asc, uint32_t sample_rate, uint32_t channels);
void flow__fini(struct flow *f);

void flow__video(struct flow *f, const struct flow_sample *sample);
void flow__audio(struct flow *f, const struct flow_sample *sample);

#endif
