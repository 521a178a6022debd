/* SPDX-License-Identifier: MIT
 *
 * A stream: who watches it, its state, its one source thread, its time line, its sinks: the pub socket and the kept groups.
 *
 * The source thread lives as long as the service and sleeps while nobody watches. It alone reads the source, so two reads
 * of one camera never overlap; it alone publishes, so a StreamEvent comes before the frames that it announces. */
#ifndef WR_INGEST_STREAM_H
#define WR_INGEST_STREAM_H

#include "clock.h"
#include "kept.h"
#include "sink.h"
#include "wr_buf.h"
#include "wr_bus.h"
#include "wr_config.h"
#include "wr_media.h"

#include <pthread.h>
#include <stdatomic.h>

#define STREAM_MAX_LEASES 256 /* gateways, not viewers */
#define STREAM_MAX_SINKS 8

enum stream_state {
    STREAM_IDLE = 1,
    STREAM_STARTING,
    STREAM_LIVE,
    STREAM_RETRYING
}; /* values of the proto */

/* Why a source ended, and how soon another try makes sense. */
struct source_end {
    char text[200];  /* a sentence without the source's address or credentials */
    bool is_lasting; /* refused, not found, wrong codec: another try soon cannot help */
};

struct source_kind;

struct stream_lease {
    char id[112];
    int64_t until_us;
};

struct stream_track {
    struct wr_track t;
    struct wr_buf config; /* behind t.config */
};

struct stream {
    char *name, *url,
        *transport; /* url holds credentials: never logged, told or copied into errors */
    bool always;
    int64_t linger_us;
    int64_t no_packet_us;
    const char *instance;    /* of the bus */
    struct wr_bus_pub *lane; /* the instance's socket; borrowed */
    struct wr_bus_pub *pub;  /* the stream's own */
    char event_url[300];
    char media_topic[280], state_topic[280];
    unsigned slot; /* of the pub socket's address */
    const struct source_kind *kind;

    pthread_t thread;
    bool has_thread;
    atomic_bool stopping;
    /* The source runs while the monotonic clock is below it: the last lease's end and the linger. */
    _Atomic int64_t want_until_us;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;  /* wanted or stopping */
    void *publisher;      /* of a source that is pushed: came, and is not served yet */
    bool has_publisher;   /* came, or is being served */
    struct stream_lease leases[STREAM_MAX_LEASES];
    size_t num_leases;
    enum stream_state state;
    char reason[200];
    int64_t since_ms;
    uint64_t epoch; /* 0 = not live */
    struct stream_track tracks[WR_TRACKS_MAX];
    size_t num_tracks;
    struct kept kept;
    int64_t origin_us; /* the clock's, for whoever asks */

    /* the source thread's */
    struct stream_clock clock;
    struct stream_sink {
        const struct sink *sink;
        void *ctx;
    } sinks[STREAM_MAX_SINKS];
    size_t num_sinks;
};

/* What all streams of a service have in common. */
struct stream_env {
    const char *instance;    /* of the bus; borrowed for the stream's life */
    struct wr_bus_pub *lane; /* likewise */
    const char *folder;      /* for clocks; NULL = none. Borrowed for the call */
    int64_t no_packet_us;
    int64_t keep_us; /* bounds of kept groups */
    size_t keep_bytes;
};

/* Errors with text: INVALID (address of a kind we do not take), CONFLICT (port in use). */
WR_MUST_USE wr_err stream__init(struct stream *s, const struct wr_config_stream *c,
                                const struct stream_env *env, struct wr_errmsg *err);
/* Before stream__start: frames go there too. The table and ctx outlive the stream. BUSY when there are too many. */
WR_MUST_USE wr_err stream__add_sink(struct stream *s, const struct sink *sink, void *ctx);
WR_MUST_USE wr_err stream__start(struct stream *s);
/* Asks the source to end; does not wait. */
void stream__stop(struct stream *s);
/* Waits for the thread and frees. Zeroed memory is fine. */
void stream__fini(struct stream *s);

/* ---- for calls, any thread ---------------------------------------------------------------------------------------- */

/* A lease from now on. BUSY when too many gateways watch, INVALID for a lease id that is empty or too long. */
WR_MUST_USE wr_err stream__watch(struct stream *s, struct wr_slice lease, uint32_t lease_ms);
void stream__unwatch(struct stream *s, struct wr_slice lease);
/* A publisher of a stream whose source is pushed. On WR_OK the stream's thread serves it: the kind's `accept` gets it and frees it.
 * Errors, and it stays the caller's: CONFLICT (somebody publishes already), INVALID (the source is one that is pulled), CLOSED
 * (the stream ends). */
WR_MUST_USE wr_err stream__push(struct stream *s, void *publisher);
/* Encoded StreamInfo; NULL when memory is out. When current is not NULL it becomes the current group, matching the info; free it
 * with kept__page_free. */
struct wr_msg *stream__info(struct stream *s, struct kept_page *current);
/* The same with a page of kept groups. */
struct wr_msg *stream__groups(struct stream *s, uint64_t from_gop, size_t max_groups,
                              size_t max_bytes, struct kept_page *page);

/* ---- for the source thread ---------------------------------------------------------------------------------------- */

bool stream__is_wanted(struct stream *s);
/* The reason while STARTING, once the camera's packets come. */
#define STREAM_AWAITS_KEY "connected, waits for the camera's next keyframe"
/* Sets the state and publishes it when anything changed. reason may be "". */
void stream__set_state(struct stream *s, enum stream_state state, const char *reason);
/* Where on the stream's time line what begins now begins; microseconds. Once a connection. */
int64_t stream__time(struct stream *s);
/* A new epoch with these tracks (copied), and LIVE. Returns its number. */
uint64_t stream__begin_epoch(struct stream *s, const struct wr_track *tracks, size_t n,
                             const char *note);
/* The epoch is over: the source ended. */
void stream__end_epoch(struct stream *s);
/* Gives a frame its group and sends it to all sinks. begins: the first of a new group. Moves payload (its content is the frame's
 * data, with the headroom of wr_media_headroom). */
void stream__publish(struct stream *s, struct wr_media_frame *f, bool begins, int64_t duration_us,
                     struct wr_msg *payload);
/* Waits until at_us (monotonic), or until the stream is not wanted any more; false then. */
bool stream__sleep_until(struct stream *s, int64_t at_us);

#endif
