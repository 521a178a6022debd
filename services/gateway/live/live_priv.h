/* SPDX-License-Identifier: MIT
 *
 * What the files of live share. Threads:
 *
 *     bus        a stream's events, answers of calls       -> told.c: what ingest says; intake.c: gaps, epochs, the group;
 *                                                             output.c: muxing
 *     plane      a viewer's callbacks                      -> viewer.c: joins and leaves
 *     workers    a request at a door                       -> doors.c: finds the stream, finds or makes the output
 *     control    one thread, "live"                        -> control.c: leases, subscriptions, the table of streams
 *
 * A stream's lock is taken by all four for short, and held while frames are handed to the plane (which never blocks), so
 * that a viewer who joins gets the group and then every later frame, none twice. Nothing that waits runs under it.
 *
 * Who keeps what: the table of streams, each viewer, each call under way and whoever walks the table have a reference to
 * the stream (live__find, live__release); each viewer has one to his output (output__get, output__release). */
#ifndef WR_GATEWAY_LIVE_PRIV_H
#define WR_GATEWAY_LIVE_PRIV_H

#include "want.h"
#include "wr_buf.h"
#include "wr_live.h"
#include "wr_map.h"
#include "wr_media.h"
#include "wr_muxer.h"

#include <pthread.h>
#include <stdatomic.h>

#define LIVE_MAX_MUXERS 8
#define LIVE_MAX_OUTPUTS \
    64u /* of one stream: beyond them wishes for ids or renditions are refused */
#define LIVE_LEASE_MS 6000u
#define LIVE_RENEW_US (2 * 1000000)
#define LIVE_POLL_US (2 * 1000000)
#define LIVE_RESYNC_US (500 * 1000) /* between requests for what is missing, after two at once */
#define LIVE_START_MS 5000u         /* a viewer waits so long for a source that starts */
#define LIVE_KEY_MS \
    12000u /* and so long for one that tells what it waits for: its first keyframe */
#define LIVE_GROUP_BYTES \
    (3500u << 10) /* below the viewers' queue bound, so that a group always fits it */
#define LIVE_GROUP_FRAMES 4096u
#define LIVE_HELD_FRAMES 512u
#define LIVE_SOUND_US (120 * 1000) /* sound waits at most so long for a picture to ride with */

/* Classes of the members of a fanout. */
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

/* ---- who takes frames -------------------------------------------------------------------------------------------- */

struct live_stream;

/* What intake feeds: the outputs of the doors, and whatever else cuts or keeps frames (by `gop`). All under the stream's
 * lock, in the order of the stream. A consumer that comes later begins with s->group. */
struct live_consumer;
struct live_consumer_ops {
    /* s->tracks are those of a new epoch. What is made of the one before is over. */
    void (*epoch)(struct live_consumer *c);
    /* One frame, whose data lies in msg. begins: the first of a group of pictures; whoever keeps the newest one starts over. */
    void (*frame)(struct live_consumer *c, const struct wr_media_frame *f, struct wr_msg *msg,
                  bool begins);
    /* Frames were lost: what follows begins a group, but not the next one. */
    void (*gap)(struct live_consumer *c);
    /* The epoch is over (the source is gone, or nobody watches): nothing can be begun until the next. */
    void (*end)(struct live_consumer *c);
    /* The source cannot be had: whoever waits for it is told why. status: as of HTTP, 503 or 404 (there is none any more). */
    void (*down)(struct live_consumer *c, int status, const char *why);
};
struct live_consumer {
    const struct live_consumer_ops *ops;
    struct live_consumer *next;
};

/* ---- one format of a stream -------------------------------------------------------------------------------------- */

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
    int64_t first_us; /* of the first frame in it; n == 0: none */
};

/* One wish at one door, muxed once for all who have it. Made when the first comes, freed when the last is gone. */
struct live_output {
    struct live_consumer consumer; /* first */
    struct live_stream *stream;
    const struct wr_muxer_plugin *plugin;
    struct live_want want;
    size_t refs; /* viewers, also those whose socket is on its way to the plane */
    void *state;
    struct {
        uint32_t id;
        bool video;
        int64_t origin;       /* in the track's ticks */
    } carried[WR_TRACKS_MAX]; /* the tracks that it carries in this epoch */
    size_t num_carried;
    bool has_video;    /* one of them is a picture */
    int64_t origin_us; /* of the time that viewers get; 0 = they got none yet */
    bool open;         /* the muxer is open for the stream's epoch */
    int unfit; /* the status (404, 415) with which it refused this epoch's tracks; 0 = it did not */
    struct wr_errmsg why;     /* then: its sentence */
    struct wr_fanout *fanout; /* joined viewers */
    struct live_build build;
    struct wr_frame *mime, *init; /* mime: NULL when the format tells none */
    struct wr_frame
        *again; /* the init within a byte stream; NULL when it is `init`, or cannot be */
    struct wr_frame **frames; /* the current group, muxed; begins with a key frame */
    size_t num_frames, cap_frames;
    bool
        begun; /* the stream's group began, and this output's own begins with its next frame that can be begun with */
    bool whole; /* frames may be sent to one who joins */
    bool
        lost; /* frames were lost, or not taken by the plane: nothing goes out before the next key frame */
    uint32_t
        owed; /* classes whose init of this epoch was not taken either: it goes out before that key frame */
    struct viewer *waiting; /* who joins with the next frame at which one can begin */
};

/* The output for a wish, made when there is none yet: muxes the stream's current group then. Gives a reference. NULL when
 * memory is out or the stream has LIVE_MAX_OUTPUTS and the wish is a strange one. Under the stream's lock, like all of these. */
struct live_output *output__get(struct live_stream *s, const struct wr_muxer_plugin *plugin,
                                const struct live_want *want);
void output__release(struct live_output *o);
/* Lets a waiting viewer in when there is something to begin with. */
void output__join_waiting(struct live_output *o);
/* The viewers of all outputs of the stream are asked about again. */
void output__ask_again(struct live_stream *s);

/* ---- viewers ------------------------------------------------------------------------------------------------------ */

enum viewer_place { VIEWER_NEW = 0, VIEWER_WAITING, VIEWER_JOINED, VIEWER_REFUSED };

struct viewer {
    struct live_output *out; /* reference, and one to its stream */
    struct wr_identity
        *identity; /* reference: whom the policy is asked about, at the door and after it */
    struct wr_conn_id id;
    enum live_class transport;
    bool began; /* the connection's thread: he is in the fanout, and his answer has begun */
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
/* Ends one who waits: an HTTP answer with the status and the sentence, or a WebSocket's close with the sentence. */
void viewer__refuse(struct viewer *v, int status, const char *why);
/* Rights changed: each who waits at the output or is a member of it is asked about again, on his connection's thread. */
void viewer__ask_all(struct live_output *o);
/* {"state":...,"reason":...}; NULL when memory is out. */
struct wr_frame *viewer__state_frame(const struct live_stream *s);

/* ---- a stream ----------------------------------------------------------------------------------------------------- */

/* Tracks with what they borrow. */
struct live_tracks {
    struct wr_track v[WR_TRACKS_MAX];
    struct wr_buf config[WR_TRACKS_MAX];
    size_t n;
};
void tracks__free(struct live_tracks *t);

struct live_stream {
    struct wr_live *live;
    char *name;
    size_t refs; /* live's lock */

    pthread_mutex_t lock; /* guards what follows */
    struct live_consumer *consumers;
    size_t num_outputs;     /* of them are outputs */
    struct wr_fanout *tell; /* WebSocket viewers that take states as text */
    size_t viewers;

    /* what ingest says */
    bool unlisted;      /* it has no such stream (any more) */
    char listed_by[64]; /* the instance that listed it; "" = none yet */
    unsigned listed_at; /* the count of the poll that did */
    enum live_state state;
    bool told_retrying; /* viewers were told */
    char reason[200];
    struct live_tracks told; /* of told_epoch */
    uint64_t told_epoch;
    int64_t told_origin_us;

    /* what plays */
    uint64_t epoch; /* 0 = nothing */
    struct live_tracks tracks;
    uint32_t lead;     /* the track whose key frames begin groups (wr_media_lead); 0 = none */
    int64_t origin_us; /* of the stream's time line: where containers begin to count */
    uint64_t next_seq;
    uint64_t gop; /* of the newest frame that was played in this epoch; 0 = none was */
    bool
        synced; /* the frame next_seq - 1 was played, or nothing yet and it begins at a key frame */
    struct live_items group; /* since the newest key frame; empty when it is not whole */
    bool group_whole;
    struct live_items held; /* came after a gap, waiting for the groups that fill it */

    /* control */
    bool watched;      /* ingest may hold a lease of ours */
    unsigned session;  /* counts up each time that a first viewer comes; part of the lease's id */
    bool in_flight;    /* a Watch call */
    bool asking;       /* a Groups call */
    bool want_group;   /* Watch is to bring the current group */
    bool want_missing; /* frames of this epoch are missing: Groups is to bring them, */
    uint64_t missing_from; /* from this group on */
    int64_t watch_at_us;   /* next call */
    int64_t group_asked_us;
    unsigned quick_asks; /* left before LIVE_RESYNC_US counts */
    char event_url[512]; /* resolved; "" = not known */
    /* control thread only */
    struct wr_bus_sub *sub;
    char sub_url[512];
};

/* intake.c; all under the stream's lock. */
void intake__add(struct live_stream *s, struct live_consumer *c);
void intake__remove(struct live_stream *s, struct live_consumer *c);
/* A frame of an event. */
void intake__frame(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg);
/* A frame of an answer with groups, in their order; those that are known are passed over. */
void intake__group_frame(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg);
/* After the last of them: what was held goes on. */
void intake__group_end(struct live_stream *s);
/* told_epoch and told are new: what plays is over. */
void intake__begin_epoch(struct live_stream *s);
/* The source is gone: who joins now waits for the next epoch; who watches keeps what is queued. */
void intake__end_epoch(struct live_stream *s);
/* Forgets what plays (no viewers any more). */
void intake__forget(struct live_stream *s);

/* told.c. Under the stream's lock. */
void told__set_state(struct live_stream *s, enum live_state state, const char *reason);
/* Callbacks of the bus, without the lock: ctx is the stream, for poll_answer the wr_live. The answers of Watch and Groups
 * give up their call's reference to the stream. */
void told__watch_answer(void *ctx, const struct wr_answer *a);
void told__groups_answer(void *ctx, const struct wr_answer *a);
void told__poll_answer(void *ctx, const struct wr_answer *a);
void told__handle_event(void *ctx, struct wr_slice topic, struct wr_slice event,
                        struct wr_msg *msg);

/* ---- live --------------------------------------------------------------------------------------------------------- */

struct wr_live {
    struct wr_gateway_env env;
    const struct wr_muxer_plugin *muxers[LIVE_MAX_MUXERS];
    size_t num_muxers;

    pthread_mutex_t lock; /* guards streams and their refs, poked, stopping, calls, was_told */
    pthread_cond_t wake;
    struct wr_map streams; /* name -> live_stream */
    bool poked, stopping;
    size_t calls;  /* in flight */
    bool was_told; /* ingest answered Streams once */
    atomic_bool poll_in_flight;
    atomic_bool rights_changed; /* since the control thread asked about everybody again */
    unsigned polls;     /* answers to Streams; the callback of the only call in flight alone */
    int64_t poll_at_us; /* control thread only */
    pthread_t thread;
    bool has_thread;
};
/* These give a reference. NULL when there is none of that name (find) or memory is out (add, which makes a new one). */
struct live_stream *live__find(struct wr_live *l, struct wr_slice name);
struct live_stream *live__add(struct wr_live *l, struct wr_slice name);
void live__keep(struct live_stream *s);
/* Not under a lock. The last one frees. */
void live__release(struct live_stream *s);
/* All streams, each with a reference; live__release_all them. NULL and *n == 0 when memory is out. */
struct live_stream **live__all(struct wr_live *l, size_t *n);
void live__release_all(struct live_stream **all, size_t n);
/* Takes a stream that ingest no longer has out of the table, when the caller's reference and the table's are the only ones.
 * True: the caller's is the last. */
bool live__drop_unused(struct live_stream *s);
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
