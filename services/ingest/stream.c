/* SPDX-License-Identifier: MIT
 *
 * See stream.h. The thread's life: wait until wanted, run the source until it ends, wait the back-off, again. */
#include "stream.h"

#include "source.h"
#include "track_pb.h"
#include "watchroom/v1/bus.pb-c.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_thread.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(retries, "watchroom_ingest_retries_total", NULL,
           "Times that a source ended and is dialled again");
WR_COUNTER(frames, "watchroom_ingest_frames_total", NULL, "Coded frames published");
WR_COUNTER(frame_bytes, "watchroom_ingest_bytes_total", NULL, "Bytes of coded frames published");
WR_COUNTER(epochs, "watchroom_ingest_epochs_total", NULL,
           "Epochs begun: connections and changes of parameter sets");
WR_GAUGE(running, "watchroom_ingest_sources", NULL, "Sources that run now");

#define GOOD_US (30 * 1000000) /* a source that ran so long begins its back-off anew */
#define LASTING_MS 30000

/* ---- leases ------------------------------------------------------------------------------------------------------- */

bool stream__is_wanted(struct stream *s)
{
    if (atomic_load_explicit(&s->stopping, memory_order_relaxed))
        return false;
    return s->always || s->kind->accept /* it lasts as long as its publisher does */ ||
           wr_mono_us() < atomic_load_explicit(&s->want_until_us, memory_order_relaxed);
}

static void drop_expired(struct stream *s, int64_t now)
{
    for (size_t i = 0; i < s->num_leases;) {
        if (s->leases[i].until_us <= now)
            s->leases[i] = s->leases[--s->num_leases];
        else
            i++;
    }
}

static struct stream_lease *find_lease(struct stream *s, struct wr_slice id)
{
    for (size_t i = 0; i < s->num_leases; i++)
        if (wr_slice_is(id, s->leases[i].id))
            return &s->leases[i];
    return NULL;
}

/* The end of the longest lease and the linger; after the last Unwatch the linger alone. */
static void set_want(struct stream *s, int64_t now)
{
    int64_t until = s->num_leases ? 0 : now;
    for (size_t i = 0; i < s->num_leases; i++)
        until = WR_MAX(until, s->leases[i].until_us);
    atomic_store(&s->want_until_us, until + s->linger_us);
    pthread_cond_broadcast(&s->wake);
}

wr_err stream__watch(struct stream *s, struct wr_slice id, uint32_t lease_ms)
{
    if (id.n == 0 || id.n >= sizeof s->leases[0].id || memchr(id.p, 0, id.n))
        return WR_ERR_INVALID;
    int64_t now = wr_mono_us();
    wr_err e = WR_OK;
    pthread_mutex_lock(&s->lock);
    drop_expired(s, now);
    struct stream_lease *l = find_lease(s, id);
    if (!l && s->num_leases == STREAM_MAX_LEASES) {
        e = WR_ERR_BUSY;
    } else {
        if (!l) {
            l = &s->leases[s->num_leases++];
            memcpy(l->id, id.p, id.n);
            l->id[id.n] = 0;
        }
        l->until_us = now + (int64_t)WR_MIN(WR_MAX(lease_ms, 1000u), 60000u) * 1000;
        set_want(s, now);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

void stream__unwatch(struct stream *s, struct wr_slice id)
{
    int64_t now = wr_mono_us();
    pthread_mutex_lock(&s->lock);
    drop_expired(s, now);
    struct stream_lease *l = find_lease(s, id);
    if (l) {
        *l = s->leases[--s->num_leases];
        set_want(s, now);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- what is told ------------------------------------------------------------------------------------------------- */

/* Everything the struct points to is the stream's: the lock is held until it is packed. */
struct info_pack {
    Watchroom__V1__StreamInfo info;
    Watchroom__V1__Track tracks[WR_TRACKS_MAX];
    Watchroom__V1__Track *refs[WR_TRACKS_MAX];
};

static void fill_info(struct stream *s, struct info_pack *p)
{
    watchroom__v1__stream_info__init(&p->info);
    drop_expired(s, wr_mono_us());
    p->info.stream = s->name;
    p->info.state = (Watchroom__V1__StreamState)s->state;
    p->info.reason = s->reason;
    p->info.epoch = s->epoch;
    p->info.watchers = (uint32_t)s->num_leases;
    p->info.event_url = s->event_url;
    p->info.since_ms = s->since_ms;
    p->info.origin_us = s->origin_us;
    for (size_t i = 0; i < s->num_tracks; i++) {
        track_pb__fill(&p->tracks[i], &s->tracks[i].t);
        p->refs[i] = &p->tracks[i];
    }
    p->info.tracks = p->refs;
    p->info.n_tracks = s->num_tracks;
}

struct wr_msg *stream__info(struct stream *s, struct kept_page *current)
{
    struct info_pack p;
    pthread_mutex_lock(&s->lock);
    fill_info(s, &p);
    struct wr_msg *m = wr_msg_pack(&p.info.base);
    if (current)
        *current = kept__current(&s->kept);
    pthread_mutex_unlock(&s->lock);
    return m;
}

struct wr_msg *stream__groups(struct stream *s, uint64_t from_gop, size_t max_groups,
                              size_t max_bytes, struct kept_page *page)
{
    struct info_pack p;
    pthread_mutex_lock(&s->lock);
    fill_info(s, &p);
    struct wr_msg *m = wr_msg_pack(&p.info.base);
    *page = kept__page(&s->kept, from_gop, max_groups, max_bytes);
    pthread_mutex_unlock(&s->lock);
    return m;
}

/* Source thread, without the lock held. */
static void publish_info(struct stream *s)
{
    struct info_pack p;
    Watchroom__V1__StreamEvent stream_event = WATCHROOM__V1__STREAM_EVENT__INIT;
    Watchroom__V1__Event event = WATCHROOM__V1__EVENT__INIT;
    char instance[80];
    snprintf(instance, sizeof instance, "%s", s->instance);
    event.instance = instance;
    event.time_ms = wr_wall_ms();
    event.stream = &stream_event;
    pthread_mutex_lock(&s->lock);
    fill_info(s, &p);
    stream_event.info = &p.info;
    struct wr_msg *own = wr_msg_pack(&event.base), *lane = wr_msg_pack(&event.base);
    pthread_mutex_unlock(&s->lock);
    if (own)
        wr_bus_publish(s->pub, s->state_topic, own);
    if (lane)
        wr_bus_publish(s->lane, s->state_topic, lane);
}

void stream__set_state(struct stream *s, enum stream_state state, const char *reason)
{
    pthread_mutex_lock(&s->lock);
    bool changed = s->state != state || strcmp(s->reason, reason) != 0;
    if (changed) {
        s->state = state;
        s->since_ms = wr_wall_ms();
        snprintf(s->reason, sizeof s->reason, "%s", reason);
    }
    pthread_mutex_unlock(&s->lock);
    if (changed)
        publish_info(s);
}

/* ---- sinks -------------------------------------------------------------------------------------------------------- */

/* The pub socket. Epochs and ends go there as StreamEvents, with the state. */
static void publish_frame(void *ctx, const struct sink_frame *f)
{
    struct stream *s = ctx;
    wr_count(&frames, 1);
    wr_count(&frame_bytes, f->f.data.n);
    wr_bus_publish(s->pub, s->media_topic, wr_msg_ref(f->msg));
}

static const struct sink publishing = {.frame = publish_frame};

/* The kept groups are asked for by other threads. */
static void keep_epoch(void *ctx, uint64_t epoch, const struct wr_track *tracks, size_t n)
{
    struct stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    kept__sink.epoch(&s->kept, epoch, tracks, n);
    pthread_mutex_unlock(&s->lock);
}

static void keep_frame(void *ctx, const struct sink_frame *f)
{
    struct stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    kept__sink.frame(&s->kept, f);
    pthread_mutex_unlock(&s->lock);
}

static void keep_end(void *ctx)
{
    struct stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    kept__sink.end(&s->kept);
    pthread_mutex_unlock(&s->lock);
}

static const struct sink keeper = {.epoch = keep_epoch, .frame = keep_frame, .end = keep_end};

wr_err stream__add_sink(struct stream *s, const struct sink *sink, void *ctx)
{
    if (s->num_sinks == STREAM_MAX_SINKS)
        return WR_ERR_BUSY;
    s->sinks[s->num_sinks++] = (struct stream_sink){sink, ctx};
    return WR_OK;
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

int64_t stream__time(struct stream *s)
{
    return clock__begin(&s->clock, wr_mono_us());
}

static void set_tracks(struct stream *s, const struct wr_track *tracks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct stream_track *k = &s->tracks[i];
        k->t = tracks[i];
        wr_buf_clear(&k->config);
        wr_buf_slice(&k->config, tracks[i].config);
        k->t.config = wr_slice_of(k->config.p, k->config.n);
    }
    s->num_tracks = n;
}

uint64_t stream__begin_epoch(struct stream *s, const struct wr_track *tracks, size_t n,
                             const char *note)
{
    assert(n <= WR_TRACKS_MAX);
    uint64_t epoch = clock__next_epoch(&s->clock, wr_wall_us());
    /* First what answers come from, then what makes others ask. */
    for (size_t i = 0; i < s->num_sinks; i++)
        if (s->sinks[i].sink->epoch)
            s->sinks[i].sink->epoch(s->sinks[i].ctx, epoch, tracks, n);
    pthread_mutex_lock(&s->lock);
    set_tracks(s, tracks, n);
    s->epoch = epoch;
    s->state = STREAM_LIVE;
    s->since_ms = wr_wall_ms();
    snprintf(s->reason, sizeof s->reason, "%s", note);
    pthread_mutex_unlock(&s->lock);
    publish_info(s);
    wr_count(&epochs, 1);
    for (size_t i = 0; i < n; i++)
        wr_info("ingest.live", "stream=%s epoch=%llu track=%u codec=%s %ux%u rate=%u", s->name,
                (unsigned long long)epoch, tracks[i].id, tracks[i].codec_string, tracks[i].width,
                tracks[i].height, tracks[i].sample_rate);
    return epoch;
}

void stream__end_epoch(struct stream *s)
{
    for (size_t i = 0; i < s->num_sinks; i++)
        if (s->sinks[i].sink->end)
            s->sinks[i].sink->end(s->sinks[i].ctx);
    pthread_mutex_lock(&s->lock);
    s->epoch = 0;
    s->num_tracks = 0;
    pthread_mutex_unlock(&s->lock);
}

void stream__publish(struct stream *s, struct wr_media_frame *f, bool begins, int64_t duration_us,
                     struct wr_msg *payload)
{
    struct sink_frame sf = {.msg = payload, .begins = begins, .now_us = wr_mono_us()};
    f->gop = begins ? clock__next_gop(&s->clock) : s->clock.gop;
    f->stream = wr_slice_str(s->name);
    f->data.n = payload->len;
    if (wr_media_event_write(payload, f, s->instance, wr_wall_ms(), &sf.media) != WR_OK) {
        assert(!"headroom of wr_media_headroom");
        wr_msg_unref(payload);
        return;
    }
    f->data = wr_slice_of(payload->data + payload->len - f->data.n, f->data.n);
    sf.f = *f;
    clock__reach(&s->clock, f->time_us + duration_us);
    for (size_t i = 0; i < s->num_sinks; i++)
        s->sinks[i].sink->frame(s->sinks[i].ctx, &sf);
    wr_msg_unref(payload);
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

bool stream__sleep_until(struct stream *s, int64_t at_us)
{
    pthread_mutex_lock(&s->lock);
    while (stream__is_wanted(s) && wr_mono_us() < at_us) {
        int64_t want = atomic_load(&s->want_until_us);
        wr_cond_wait_until(&s->wake, &s->lock, s->always ? at_us : WR_MIN(at_us, want));
    }
    pthread_mutex_unlock(&s->lock);
    return stream__is_wanted(s);
}

wr_err stream__push(struct stream *s, void *publisher)
{
    wr_err e = WR_OK;
    if (!s->kind->accept)
        return WR_ERR_INVALID;
    pthread_mutex_lock(&s->lock);
    if (atomic_load(&s->stopping)) {
        e = WR_ERR_CLOSED;
    } else if (s->has_publisher) {
        e = WR_ERR_CONFLICT;
    } else {
        s->publisher = publisher;
        s->has_publisher = true;
        pthread_cond_broadcast(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

static void end_publisher(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->has_publisher = false;
    pthread_mutex_unlock(&s->lock);
}

/* The one who came; NULL when there is none. */
static void *take_publisher(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    void *p = s->publisher;
    s->publisher = NULL;
    pthread_mutex_unlock(&s->lock);
    return p;
}

/* Publishers one after the other; between them the stream rests. One that came as the stream ends is served too: it sees that at
 * once, and is freed. */
static void serve_publishers(struct stream *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!atomic_load(&s->stopping) && !s->publisher)
            pthread_cond_wait(&s->wake, &s->lock);
        pthread_mutex_unlock(&s->lock);
        void *publisher = take_publisher(s);
        if (!publisher)
            return;
        struct source_end end = {.text = ""};
        stream__set_state(s, STREAM_STARTING, "");
        wr_gauge_add(&running, 1);
        s->kind->accept(s, publisher, &end);
        wr_gauge_add(&running, -1);
        stream__end_epoch(s);
        end_publisher(s);
        stream__set_state(s, STREAM_IDLE, end.text);
        wr_info("ingest.published", "stream=%s ended reason=\"%s\"", s->name, end.text);
    }
}

static bool wait_wanted(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stopping) && !stream__is_wanted(s))
        pthread_cond_wait(&s->wake, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return !atomic_load(&s->stopping);
}

/* 1, 2, 5, 10 s, a fifth more or less, so that a hundred cameras behind one switch do not come back in step. */
static int64_t back_off_us(unsigned failures, const struct source_end *end)
{
    static const int64_t ms[] = {1000, 2000, 5000, 10000};
    uint32_t r;
    wr_random(&r, sizeof r);
    int64_t base = end->is_lasting ? LASTING_MS : ms[WR_MIN(failures, WR_ARRAY_LEN(ms) - 1)];
    return base * (int64_t)(800 + r % 400);
}

/* One connection from dial to end; false when the stream is not wanted any more. */
static bool run_once(struct stream *s, unsigned *failures)
{
    struct source_end end = {.text = ""};
    int64_t began = wr_mono_us();
    stream__set_state(s, STREAM_STARTING, "");
    wr_gauge_add(&running, 1);
    s->kind->run(s, &end);
    wr_gauge_add(&running, -1);
    stream__end_epoch(s);
    /* Without a reason it ended because nobody wanted it. Who came meanwhile does not wait as after a failure. */
    if (!stream__is_wanted(s) || !end.text[0])
        return stream__is_wanted(s);
    if (wr_mono_us() - began >= GOOD_US)
        *failures = 0;
    int64_t wait = back_off_us((*failures)++, &end);
    wr_count(&retries, 1);
    wr_warn("ingest.retry", "stream=%s in_ms=%lld reason=\"%s\"", s->name, (long long)(wait / 1000),
            end.text);
    stream__set_state(s, STREAM_RETRYING, end.text);
    return stream__sleep_until(s, wr_mono_us() + wait);
}

static void *thread_main(void *arg)
{
    struct stream *s = arg;
    if (s->kind->accept)
        serve_publishers(s);
    while (wait_wanted(s)) {
        unsigned failures = 0;
        while (run_once(s, &failures))
            ;
        pthread_mutex_lock(&s->lock);
        kept__clear(&s->kept);
        pthread_mutex_unlock(&s->lock);
        stream__set_state(s, STREAM_IDLE, "");
        wr_info("ingest.idle", "stream=%s", s->name);
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

wr_err stream__init(struct stream *s, const struct wr_config_stream *c,
                    const struct stream_env *env, struct wr_errmsg *err)
{
    pthread_mutex_init(&s->lock, NULL);
    wr_cond_init(&s->wake);
    s->state = STREAM_IDLE;
    s->since_ms = wr_wall_ms();
    s->instance = env->instance;
    s->lane = env->lane;
    s->no_packet_us = env->no_packet_us;
    s->kept.max_us = env->keep_us;
    s->kept.max_bytes = env->keep_bytes;
    s->always = c->always;
    s->linger_us = (int64_t)c->linger_ms * 1000;
    s->name = strdup(c->name);
    s->url = strdup(c->url);
    s->transport = strdup(c->transport ? c->transport : "tcp");
    if (!s->name || !s->url || !s->transport) {
        wr_errmsg_set(err, "out of memory");
        return WR_ERR_BUSY;
    }
    snprintf(s->media_topic, sizeof s->media_topic, "media/%s", s->name);
    snprintf(s->state_topic, sizeof s->state_topic, "stream/%s", s->name);
    wr_err e = source__check(s, err);
    if (e != WR_OK)
        return e;
    s->kind = source__kind(s->url);
    clock__open(&s->clock, env->folder, s->name, wr_wall_us(), wr_mono_us());
    s->origin_us = s->clock.origin_us;
    e = stream__add_sink(s, &keeper, s);
    return e == WR_OK ? stream__add_sink(s, &publishing, s) : e;
}

wr_err stream__start(struct stream *s)
{
    char name[16];
    snprintf(name, sizeof name, "src-%s", s->name);
    wr_err e = wr_thread_start(&s->thread, name, thread_main, s);
    s->has_thread = e == WR_OK;
    return e;
}

void stream__stop(struct stream *s)
{
    if (!s->name)
        return;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stopping, true);
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void stream__fini(struct stream *s)
{
    if (!s->instance)
        return;
    stream__stop(s);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    clock__close(&s->clock);
    wr_bus_pub_close(&s->pub);
    kept__free(&s->kept);
    for (size_t i = 0; i < WR_ARRAY_LEN(s->tracks); i++)
        wr_buf_free(&s->tracks[i].config);
    free(s->name);
    free(s->url);
    free(s->transport);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    *s = (struct stream){.name = NULL};
}
