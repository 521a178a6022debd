/* SPDX-License-Identifier: MIT
 *
 * See stream.h. The thread's life: wait until wanted, run the source until it ends, wait the back-off, again. */
#include "stream.h"

#include "source.h"
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
    return s->always ||
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

static void fill_track(Watchroom__V1__Track *out, struct stream_track *k)
{
    watchroom__v1__track__init(out);
    out->track = k->t.id;
    out->kind = (Watchroom__V1__TrackKind)k->t.kind;
    out->codec = (Watchroom__V1__Codec)k->t.codec;
    out->config = (ProtobufCBinaryData){.len = k->config.n, .data = k->config.p};
    out->timescale = k->t.timescale;
    out->width = k->t.width;
    out->height = k->t.height;
    out->fps_milli = k->t.fps_milli;
    out->sample_rate = k->t.sample_rate;
    out->channels = k->t.channels;
    out->codec_string = k->t.codec_string;
}

/* Everything the struct points to is the stream's: the lock is held until it is packed. */
struct info_pack {
    Watchroom__V1__StreamInfo info;
    Watchroom__V1__Track tracks[2];
    Watchroom__V1__Track *refs[2];
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
    for (size_t i = 0; i < s->num_tracks; i++) {
        fill_track(&p->tracks[i], &s->tracks[i]);
        p->refs[i] = &p->tracks[i];
    }
    p->info.tracks = p->refs;
    p->info.n_tracks = s->num_tracks;
}

struct wr_msg *stream__info(struct stream *s, struct group *group)
{
    struct info_pack p;
    pthread_mutex_lock(&s->lock);
    fill_info(s, &p);
    struct wr_msg *m = wr_msg_pack(&p.info.base);
    if (group)
        *group = group__copy(&s->group);
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

/* ---- frames ------------------------------------------------------------------------------------------------------- */

uint64_t stream__begin_epoch(struct stream *s, const struct wr_track *tracks, size_t n,
                             const char *note)
{
    assert(n <= 2);
    /* The wall clock keeps numbers apart across restarts; last + 1 when it stands still or was set back. */
    uint64_t epoch = WR_MAX((uint64_t)wr_wall_ms(), s->last_epoch + 1);
    s->last_epoch = epoch;
    pthread_mutex_lock(&s->lock);
    group__clear(&s->group);
    for (size_t i = 0; i < n; i++) {
        struct stream_track *k = &s->tracks[i];
        k->t = tracks[i];
        wr_buf_clear(&k->config);
        wr_buf_slice(&k->config, tracks[i].config);
        k->t.config = wr_slice_of(k->config.p, k->config.n);
    }
    s->num_tracks = n;
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
    pthread_mutex_lock(&s->lock);
    group__clear(&s->group);
    s->epoch = 0;
    s->num_tracks = 0;
    pthread_mutex_unlock(&s->lock);
}

void stream__publish(struct stream *s, struct wr_media_frame *f, struct wr_msg *payload)
{
    struct wr_slice media;
    f->stream = wr_slice_str(s->name);
    size_t n = payload->len;
    if (wr_media_event_write(payload, f, s->instance, wr_wall_ms(), &media) != WR_OK) {
        assert(!"headroom of wr_media_headroom");
        wr_msg_unref(payload);
        return;
    }
    int64_t now = wr_mono_us();
    pthread_mutex_lock(&s->lock);
    bool has_video = s->num_tracks > 0 && s->tracks[0].t.id == WR_TRACK_VIDEO;
    if (has_video)
        group__add(&s->group, payload, media, f->key && f->track == WR_TRACK_VIDEO, now);
    else
        group__add_sound(&s->group, payload, media, now);
    pthread_mutex_unlock(&s->lock);
    wr_count(&frames, 1);
    wr_count(&frame_bytes, n);
    wr_bus_publish(s->pub, s->media_topic, payload);
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
    source__run(s, &end);
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
    while (wait_wanted(s)) {
        unsigned failures = 0;
        while (run_once(s, &failures))
            ;
        stream__set_state(s, STREAM_IDLE, "");
        wr_info("ingest.idle", "stream=%s", s->name);
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

wr_err stream__init(struct stream *s, const struct wr_config_stream *c, const char *instance,
                    struct wr_errmsg *err)
{
    pthread_mutex_init(&s->lock, NULL);
    wr_cond_init(&s->wake);
    s->state = STREAM_IDLE;
    s->since_ms = wr_wall_ms();
    s->instance = instance;
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
    return source__check(s, err);
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
    wr_bus_pub_close(&s->pub);
    group__free(&s->group);
    for (size_t i = 0; i < WR_ARRAY_LEN(s->tracks); i++)
        wr_buf_free(&s->tracks[i].config);
    free(s->name);
    free(s->url);
    free(s->transport);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    *s = (struct stream){.name = NULL};
}
