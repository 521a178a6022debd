/* SPDX-License-Identifier: MIT
 *
 * What the files of live share. Threads:
 *
 *     bus        a stream's events, answers of Watch       -> intake.c: gaps, epochs, the group; output.c: muxing
 *     plane      a viewer's callbacks                      -> viewer.c: joins and leaves
 *     control    one thread, "live"                        -> control.c: leases, subscriptions, the table of streams
 *
 * A stream's lock is taken by all three for short, and held while frames are handed to the plane (which never blocks), so
 * that a viewer who joins gets the group and then every later frame, none twice. Nothing that waits runs under it. */
#ifndef WR_GATEWAY_LIVE_PRIV_H
#define WR_GATEWAY_LIVE_PRIV_H

#include "wr_buf.h"
#include "wr_live.h"
#include "wr_map.h"
#include "wr_media.h"
#include "wr_muxer.h"

#include <pthread.h>
#include <stdatomic.h>

#define LIVE_MAX_MUXERS 8
#define LIVE_LEASE_MS 6000u
#define LIVE_RENEW_US (2 * 1000000)
#define LIVE_POLL_US (2 * 1000000)
#define LIVE_RESYNC_US (500 * 1000) /* between requests for the group, after two at once */
#define LIVE_START_MS 5000u         /* a viewer waits so long for a source that starts */
#define LIVE_KEY_MS \
    12000u /* and so long for one that tells what it waits for: its first keyframe */
#define LIVE_GROUP_BYTES \
    (3500u << 10) /* below the viewers' queue bound, so that a group always fits it */
#define LIVE_GROUP_FRAMES 4096u
#define LIVE_HELD_FRAMES 512u
#define LIVE_SOUND_US (120 * 1000) /* sound waits at most so long for a picture to ride with */

/* Classes of the members of a group. */
enum live_class { LIVE_WS = 1, LIVE_RAW = 2 };

enum live_state {
    LIVE_UNKNOWN = 0,
    LIVE_IDLE,
    LIVE_STARTING,
    LIVE_LIVE,
    LIVE_RETRYING
}; /* 1.. as in the proto */

/* ---- a frame that came ------------------------------------------------------------------------------------------- */

struct live_item {
    struct wr_msg *msg;      /* reference; f.data lies in it */
    struct wr_media_frame f; /* f.stream is not valid */
};
struct live_items {
    struct live_item *v;
    size_t n, cap, bytes;
};
bool items__add(struct live_items *l, const struct wr_media_frame *f, struct wr_msg *msg);
void items__clear(struct live_items *l);
void items__free(struct live_items *l);

/* ---- one format of a stream -------------------------------------------------------------------------------------- */

struct live_stream;
struct viewer;

#define OUTPUT_PARTS 64
/* A frame for viewers while it is being put together. */
struct live_build {
    struct wr_mux_sink sink; /* first */
    struct wr_buf bytes;
    struct {
        size_t at, n; /* in bytes, when msg is NULL */
        const uint8_t *p;
        struct wr_msg *msg; /* reference */
    } parts[OUTPUT_PARTS];
    size_t n;
    struct wr_msg *msg; /* behind the payload that is muxed now */
    bool failed, key;
    int64_t first_us, arrival_us; /* of the first frame in it; n == 0: none */
};

struct live_output {
    struct live_stream *stream;
    const struct wr_muxer_plugin *plugin;
    bool picture_only; /* the door with ?tracks=video */
    void *state;
    bool open;                /* the muxer is open for the stream's epoch */
    bool unfit;               /* the muxer refused the tracks of this epoch */
    struct wr_errmsg why;     /* then: its sentence */
    struct wr_fanout *fanout; /* joined viewers */
    struct live_build build;
    struct wr_frame *mime, *init; /* mime: NULL when the format tells none */
    struct wr_frame **frames;     /* the current group, muxed; begins with a key frame */
    size_t num_frames, cap_frames;
    bool whole; /* frames may be sent to one who joins */
    bool lost;  /* the plane did not take a frame: nothing goes out before the next key frame */
    struct viewer *waiting; /* who joins with the next frame at which one can begin */
    size_t viewers;         /* joined and waiting */
};

/* False when memory is out. */
bool output__init(struct live_output *o, struct live_stream *s,
                  const struct wr_muxer_plugin *plugin, bool picture_only);
void output__fini(struct live_output *o);
/* First viewer: opens the muxer and muxes the stream's current group. */
void output__activate(struct live_output *o);
/* Last viewer gone. */
void output__deactivate(struct live_output *o);
/* A new epoch began (the stream's tracks are set): new init for who is joined. */
void output__new_epoch(struct live_output *o);
/* The epoch is over; nothing can be joined until the next. */
void output__forget(struct live_output *o);
/* Muxes one frame and sends it, or keeps it for the next one to ride with. */
void output__frame(struct live_output *o, const struct wr_media_frame *f, struct wr_msg *msg,
                   bool begins);
/* Lets a waiting viewer in when there is something to begin with. */
void output__join_waiting(struct live_output *o);
/* Ends every RAW viewer that still waits: 503 with the sentence. */
void output__refuse_waiting(struct live_output *o, const char *why);

/* ---- viewers ------------------------------------------------------------------------------------------------------ */

enum viewer_place { VIEWER_NEW = 0, VIEWER_WAITING, VIEWER_JOINED, VIEWER_REFUSED };

struct viewer {
    struct live_output *out;
    struct wr_conn_id id;
    enum live_class transport;
    char *cors; /* head lines for a page of an allowed foreign origin (wr_http_cors), or NULL */
    /* the stream's lock: */
    enum viewer_place place;
    struct viewer *next, **at; /* in out->waiting */
    bool attached;             /* counted in viewers */
    bool is_patient;           /* LIVE_START_MS are over */
};

/* What one who joins gets at once; shared by all who join at the same moment. */
struct live_burst {
    atomic_uint refs;
    struct wr_fanout *fanout;
    struct wr_frame *mime; /* for WebSockets; may be NULL */
    size_t n;
    struct wr_frame *frames[]; /* init first */
};
void burst__unref(struct live_burst *b);
/* Under the stream's lock: posts the join to the viewer's connection. */
void viewer__join(struct viewer *v, struct live_burst *b);
void viewer__refuse(struct viewer *v, const char *why);
/* {"state":...,"reason":...}; NULL when memory is out. */
struct wr_frame *viewer__state_frame(const struct live_stream *s);

/* ---- a stream ----------------------------------------------------------------------------------------------------- */

struct live_track {
    struct wr_track t;
    struct wr_buf config;
};

struct live_stream {
    struct wr_live *live;
    char *name;

    pthread_mutex_t lock; /* guards what follows */
    struct live_output
        *outs; /* num_outputs: for each muxer one with all tracks, one with the picture alone */
    struct wr_fanout *tell; /* WebSocket viewers that take states as text */
    size_t viewers;

    /* what ingest says */
    enum live_state state;
    bool told_retrying; /* viewers were told */
    char reason[200];
    struct live_track told_tracks[2]; /* of told_epoch */
    size_t num_told_tracks;
    uint64_t told_epoch;
    char video[32], audio[32];
    uint32_t width, height, fps_milli;

    /* what plays */
    uint64_t epoch; /* 0 = nothing */
    struct live_track tracks[2];
    size_t num_tracks;
    uint64_t next_seq;
    bool
        synced; /* the frame next_seq - 1 was played, or nothing yet and it begins at a key frame */
    struct live_items group; /* since the newest key frame; empty when it is not whole */
    bool group_whole;
    struct live_items held; /* came after a gap, waiting for the group that fills it */
    int64_t base_us;        /* epoch time 0 in the viewers' time, which never steps back */
    int64_t end_us;         /* of the newest frame in the viewers' time */

    /* control */
    bool watched;     /* ingest may hold a lease of ours */
    unsigned session; /* counts up each time that a first viewer comes; part of the lease's id */
    bool in_flight;   /* a Watch call */
    bool want_group;
    int64_t watch_at_us; /* next call */
    int64_t group_asked_us;
    unsigned quick_asks; /* left before LIVE_RESYNC_US counts */
    char event_url[512]; /* resolved; "" = not known */
    /* control thread only */
    struct wr_bus_sub *sub;
    char sub_url[512];
};

static inline bool live__has_video(const struct live_stream *s)
{
    for (size_t i = 0; i < s->num_tracks; i++)
        if (s->tracks[i].t.track == WR_TRACK_VIDEO)
            return true;
    return false;
}

/* intake.c; all under the stream's lock. */
void intake__frame(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg);
void intake__set_state(struct live_stream *s, enum live_state state, const char *reason);
/* Forgets what plays (no viewers any more, or the source ended). */
void intake__forget(struct live_stream *s);
/* Callbacks of the bus, without the lock: ctx is the stream, for poll_answer the wr_live. */
void intake__watch_answer(void *ctx, const struct wr_answer *a);
void intake__poll_answer(void *ctx, const struct wr_answer *a);
void intake__handle_event(void *ctx, struct wr_slice topic, struct wr_slice event,
                          struct wr_msg *msg);

/* ---- live --------------------------------------------------------------------------------------------------------- */

struct wr_live {
    struct wr_gateway_env env;
    const struct wr_muxer_plugin *muxers[LIVE_MAX_MUXERS];
    size_t num_muxers, num_outputs;

    pthread_mutex_t lock; /* guards streams (entries are never removed), poked, stopping, calls */
    pthread_cond_t wake;
    struct wr_map streams; /* name -> live_stream */
    bool poked, stopping;
    size_t calls;  /* in flight */
    bool was_told; /* ingest answered Streams once */
    atomic_bool poll_in_flight;
    int64_t poll_at_us; /* control thread only */
    pthread_t thread;
    bool has_thread;
};
struct live_stream *live__find(struct wr_live *l, struct wr_slice name);
/* Adds a stream of that name when it is new. NULL when memory is out. */
struct live_stream *live__add(struct wr_live *l, struct wr_slice name);
/* All streams; free() it. NULL and *n == 0 when memory is out. */
struct live_stream **live__all(struct wr_live *l, size_t *n);
/* The control thread looks at everything now. */
void live__poke(struct wr_live *l);
wr_err control__start(struct wr_live *l);
void control__stop(struct wr_live *l);
/* A call of live's ended (from its done callback). */
void control__call_ended(struct wr_live *l);

/* doors.c */
wr_err doors__add(struct wr_live *l);
/* viewer.c */
extern const struct wr_conn_ops viewer__ops;

#endif
