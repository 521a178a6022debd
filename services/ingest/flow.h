/* SPDX-License-Identifier: MIT
 *
 * The way of a coded frame through ingest, from what a source read to the stream's sinks: see the table of steps in
 * ingest_flow.c. One flow a connection to a source; used on the stream's thread alone. It knows no codec by name. */
#ifndef WR_INGEST_FLOW_H
#define WR_INGEST_FLOW_H

#include "codec.h"
#include "stream.h"
#include "timeline.h"
#include "units.h"

/* What a source says of a track before its first frame. Strings and config are copied. */
struct flow_spec {
    const struct codec *codec;
    struct codec_hint hint;
    uint32_t clock;     /* ticks a second of the samples' times; 0 = the track's own timescale */
    uint32_t fps_milli; /* 0 = not told */
    const char *label, *language; /* NULL = none */
    const char *rendition;        /* made here from the track made_from; NULL = the source's own */
    uint32_t made_from;
};

/* One coded frame as a source has it; times in the track's clock. */
struct flow_sample {
    struct wr_slice data; /* an access unit or packet; borrowed */
    int64_t dts, pts;     /* TIMELINE_NONE = not told */
    uint32_t duration;    /* 0 = not told */
    bool key;             /* the source says that decoding can begin here */
    int64_t camera_us;    /* 0 = unknown */
};

struct flow_track {
    const struct codec *codec;
    void *state; /* the codec's */
    uint32_t clock, fps_milli, made_from;
    char label[64], language[36], rendition[32];
    struct wr_buf config, next; /* of the epoch; of the newest key */
    struct codec_facts facts;
    struct units_order order; /* for sources that tell no dts */
    bool configured;          /* next and facts are known */
    bool changed;             /* next is other than the epoch's */
    bool ready;               /* frames come: it is listed from the next epoch on */
    bool listed;              /* in the epoch */
    uint32_t listed_scale;    /* its timescale there */
    int64_t silent_us;        /* how long others went on since its last frame */
};

#define FLOW_MAX_HELD 256

struct flow {
    struct stream *stream;
    struct flow_track tracks[WR_TRACKS_MAX]; /* the id of a track is its place + 1 */
    size_t n;
    char note[200]; /* told with LIVE: what is left out, and why */

    struct timeline time;
    int64_t base_us; /* time 0 of the timeline on the stream's own */
    int64_t last_us; /* monotonic, when the newest frame came; 0 = none did */
    int64_t key_pts; /* of the newest group's first frame */
    int64_t second;  /* sound alone: which second of it the newest group is */
    uint64_t epoch;  /* 0 = none yet */
    uint64_t seq;
    size_t lead; /* index of the track that leads the epoch */

    /* The first key is there, and a promised track is waited for: at most 500 ms. */
    struct flow_held {
        size_t track;
        struct wr_media_frame frame;
        struct wr_msg *msg;
    } held[FLOW_MAX_HELD];
    size_t num_held;
    int64_t held_since_us;
};

void flow__init(struct flow *f, struct stream *s);
/* A track that the source promises. Returns its id; 0 when there are too many or its configuration makes no sense. */
uint32_t flow__add(struct flow *f, const struct flow_spec *spec);
/* One frame of a track that was added. */
void flow__take(struct flow *f, uint32_t id, const struct flow_sample *sample);
void flow__fini(struct flow *f);

#endif
