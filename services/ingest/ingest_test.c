/* SPDX-License-Identifier: MIT
 *
 * The ingest service as its callers see it: over the bus, in one process, with the synthetic source. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <stdio.h>
#include <stdlib.h>

#include "h264.h"
#include "picture.h"
#include "watchroom/v1/bus.pb-c.h"
#include "wr_bus.h"
#include "wr_clock.h"
#include "wr_config.h"
#include "wr_media.h"
#include "wr_plugins.h"
#include "wr_service.h"
#include "wr_thread.h"

#define WAIT_US (45 * 1000000)

/* ---- a service under test, and a gateway's place ------------------------------------------------------------------ */

struct fixture {
    char data[64];  /* folder */
    bool keep_data; /* a second life of the service goes on with it */
    struct wr_config *config;
    struct wr_plugins *plugins;
    const struct wr_service_plugin *ingest;
    void *state;
    struct wr_bus *bus;
    struct wr_bus_service *service;
    struct wr_bus_sub *sub;
    /* what came in */
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct wr_msg *frames[2000];
    size_t n;
    Watchroom__V1__StreamInfo *info; /* of the newest StreamEvent */
    unsigned states_seen;            /* mask */
};

static void handle_event(void *ctx, struct wr_slice topic, struct wr_slice event,
                         struct wr_msg *msg)
{
    struct fixture *x = ctx;
    struct wr_media_frame f;
    (void)topic;
    pthread_mutex_lock(&x->lock);
    if (wr_media_event_read(event, &f) == WR_OK) {
        if (x->n < WR_ARRAY_LEN(x->frames))
            x->frames[x->n++] = wr_msg_copy(event);
    } else {
        Watchroom__V1__Event *e = watchroom__v1__event__unpack(NULL, event.n, event.p);
        if (e && e->stream) {
            if (x->info)
                watchroom__v1__stream_info__free_unpacked(x->info, NULL);
            x->info = e->stream->info;
            e->stream->info = NULL;
            x->states_seen |= 1u << x->info->state;
        }
        if (e)
            watchroom__v1__event__free_unpacked(e, NULL);
    }
    (void)msg;
    pthread_cond_broadcast(&x->came);
    pthread_mutex_unlock(&x->lock);
}

/* data: of an earlier life; NULL = a new folder. */
static struct fixture *start_in(const char *data, const char *yaml)
{
    struct fixture *x = calloc(1, sizeof *x);
    struct wr_errmsg err = {""};
    pthread_mutex_init(&x->lock, NULL);
    wr_cond_init(&x->came);
    if (wr_config_parse("test", wr_slice_str(yaml), WR_SHAPE_ALL_IN_ONE, &x->config, &err) != WR_OK)
        fail_msg("%s", err.text);
    if (data)
        snprintf(x->data, sizeof x->data, "%s", data);
    else
        assert_non_null(mkdtemp(strcpy(x->data, "/tmp/wr-ingest-XXXXXX")));
    assert_int_equal(wr_config_set(x->config, "data", x->data, &err), WR_OK);
    assert_int_equal(wr_plugins_load(WR_TEST_PLUGINS, &x->plugins), WR_OK);
    x->ingest = wr_plugins_find(x->plugins, WR_KIND_SERVICE, "ingest");
    assert_non_null(x->ingest);
    x->state = wr_plugin_state(&x->ingest->base);
    struct wr_service_env env = {x->config, x->plugins};
    if (x->ingest->start(x->state, &env, &err) != WR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){.service = NULL}, &x->bus), WR_OK);
    assert_int_equal(
        wr_bus_service_open(x->bus, "ingest", x->config->bus.ingest, &x->service, &err), WR_OK);
    return x;
}

static struct fixture *start_with(const char *yaml)
{
    return start_in(NULL, yaml);
}

static void forget_data(const char *folder)
{
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void end(struct fixture *x)
{
    wr_bus_sub_close(&x->sub);
    wr_bus_service_close(&x->service);
    x->ingest->drain(x->state);
    x->ingest->stop(x->state);
    wr_bus_close(&x->bus);
    free(x->state);
    wr_plugins_free(&x->plugins);
    wr_config_free(&x->config);
    for (size_t i = 0; i < x->n; i++)
        wr_msg_unref(x->frames[i]);
    if (x->info)
        watchroom__v1__stream_info__free_unpacked(x->info, NULL);
    if (!x->keep_data)
        forget_data(x->data);
    free(x);
}

static wr_err watch(struct fixture *x, const char *stream, bool group,
                    Watchroom__V1__WatchResponse **out)
{
    Watchroom__V1__WatchRequest q = WATCHROOM__V1__WATCH_REQUEST__INIT;
    char name[64], lease[] = "gateway-test";
    struct wr_msg *m = NULL;
    struct wr_slice body;
    struct wr_errmsg err = {""};
    snprintf(name, sizeof name, "%s", stream);
    q.stream = name;
    q.lease = lease;
    q.lease_ms = 6000;
    q.group = group;
    wr_err e = wr_bus_call_wait(x->service, stream, "watchroom.v1.Ingest/Watch",
                                wr_msg_pack(&q.base), 5000, &m, &body, &err);
    if (e != WR_OK)
        return e;
    Watchroom__V1__WatchResponse *r = watchroom__v1__watch_response__unpack(NULL, body.n, body.p);
    assert_non_null(r);
    wr_msg_unref(m);
    if (out)
        *out = r;
    else
        watchroom__v1__watch_response__free_unpacked(r, NULL);
    return WR_OK;
}

static void unwatch(struct fixture *x, const char *stream)
{
    Watchroom__V1__UnwatchRequest q = WATCHROOM__V1__UNWATCH_REQUEST__INIT;
    char name[64], lease[] = "gateway-test";
    struct wr_msg *m = NULL;
    struct wr_slice body;
    struct wr_errmsg err = {""};
    snprintf(name, sizeof name, "%s", stream);
    q.stream = name;
    q.lease = lease;
    assert_int_equal(wr_bus_call_wait(x->service, stream, "watchroom.v1.Ingest/Unwatch",
                                      wr_msg_pack(&q.base), 5000, &m, &body, &err),
                     WR_OK);
    wr_msg_unref(m);
}

static void subscribe(struct fixture *x, const char *stream)
{
    Watchroom__V1__WatchResponse *r = NULL;
    char media[80], state[80];
    snprintf(media, sizeof media, "media/%s\x01", stream);
    snprintf(state, sizeof state, "stream/%s\x01", stream);
    const char *prefixes[] = {media, state, NULL};
    struct wr_errmsg err = {""};
    assert_int_equal(watch(x, stream, false, &r), WR_OK);
    assert_int_equal(
        wr_bus_subscribe_url(x->bus, r->info->event_url, prefixes, handle_event, x, &x->sub, &err),
        WR_OK);
    watchroom__v1__watch_response__free_unpacked(r, NULL);
}

static void wait_frames(struct fixture *x, size_t n)
{
    int64_t until = wr_mono_us() + WAIT_US;
    pthread_mutex_lock(&x->lock);
    while (x->n < n)
        if (!wr_cond_wait_until(&x->came, &x->lock, until))
            fail_msg("%zu frames of %zu in time", x->n, n);
    pthread_mutex_unlock(&x->lock);
}

static void wait_state(struct fixture *x, Watchroom__V1__StreamState state)
{
    int64_t until = wr_mono_us() + WAIT_US;
    pthread_mutex_lock(&x->lock);
    while (!(x->states_seen & 1u << state))
        if (!wr_cond_wait_until(&x->came, &x->lock, until))
            fail_msg("state %d not seen (mask %x)", (int)state, x->states_seen);
    pthread_mutex_unlock(&x->lock);
}

#define DEMO "streams:\n  demo: { url: 'synthetic:', linger: 1s }\n"

/* The demo stream, subscribed to, after its first `n` frames. */
static struct fixture *start_and_wait(size_t n)
{
    struct fixture *x = start_with(DEMO);
    subscribe(x, "demo");
    wait_frames(x, n);
    return x;
}

static Watchroom__V1__WatchResponse *watched(struct fixture *x)
{
    Watchroom__V1__WatchResponse *r = NULL;
    assert_int_equal(watch(x, "demo", true, &r), WR_OK);
    return r;
}

/* ---- claims ------------------------------------------------------------------------------------------------------- */

static void test_unknown_stream_is_not_found(void **state)
{
    (void)state;
    struct fixture *x = start_with(DEMO);
    assert_int_equal(watch(x, "nobody", true, NULL), WR_ERR_NOT_FOUND);
    end(x);
}

/* 2.5 s of frames: dense numbers, times on the stream's line that never step back, the first a keyframe, and groups that begin at
 * keyframes. */
static void test_frames_are_numbered_and_timed(void **state)
{
    (void)state;
    struct fixture *x = start_and_wait(180);
    uint64_t epoch = 0, seq = 0, gop = 0;
    int64_t last[3] = {-1, -1, -1}, start_us = 0;
    unsigned keys = 0, pictures = 0;
    for (size_t i = 0; i < 180; i++) {
        struct wr_media_frame f;
        assert_int_equal(wr_media_event_read(wr_msg_slice(x->frames[i]), &f), WR_OK);
        if (i == 0) {
            epoch = f.epoch;
            seq = f.seq;
            gop = f.gop;
            start_us = f.time_us;
            assert_true(f.seq > 0 || (f.key && f.track == 1));
            assert_true(llabs(f.time_us - wr_wall_us()) < 60000000);
        }
        assert_true(f.epoch == epoch && f.seq == seq++);
        assert_true(f.track == 1 || f.track == 2);
        assert_true(f.dts > last[f.track] && f.pts >= f.dts);
        assert_true(f.time_us == wr_media_us(f.pts, f.track == 1 ? 90000 : 48000));
        assert_true(f.time_us >= start_us - 100000 && f.time_us < start_us + 30000000);
        if (f.track == 1) {
            /* A machine that is too slow (a sanitizer's) skips pictures, whole ones. */
            assert_true(last[1] < 0 || (f.dts - last[1]) % 3600 == 0);
            pictures++;
            keys += f.key;
            gop += f.key && i > 0;
        }
        assert_true(f.gop == gop);
        last[f.track] = f.dts;
        assert_true(llabs(f.arrival_us - wr_wall_us()) < 60000000);
    }
    assert_true(pictures >= 20 && pictures <= 80 && keys >= 1);
    assert_true(x->info == NULL ||
                x->info->state == WATCHROOM__V1__STREAM_STATE__STREAM_STATE_LIVE);
    end(x);
}

static void test_first_answer_has_tracks_and_the_current_group(void **state)
{
    (void)state;
    struct fixture *x = start_and_wait(20);
    Watchroom__V1__WatchResponse *r = watched(x);
    assert_int_equal(r->info->state, WATCHROOM__V1__STREAM_STATE__STREAM_STATE_LIVE);
    assert_int_equal(r->info->n_tracks, 2);
    assert_int_equal(r->info->tracks[0]->kind, WATCHROOM__V1__TRACK_KIND__TRACK_KIND_VIDEO);
    assert_int_equal(r->info->tracks[1]->kind, WATCHROOM__V1__TRACK_KIND__TRACK_KIND_AUDIO);
    assert_true(r->info->origin_us > 0 && r->info->origin_us <= r->group[0]->time_us);
    assert_int_equal(r->info->tracks[0]->width, 1280);
    assert_int_equal(r->info->tracks[0]->height, 720);
    assert_int_equal(r->info->tracks[0]->fps_milli, 25000);
    assert_string_equal(r->info->tracks[1]->codec_string, "mp4a.40.2");
    assert_int_equal(r->info->watchers, 1);
    assert_true(r->n_group >= 15);
    assert_true(r->group[0]->key && r->group[0]->track == 1);
    for (size_t i = 1; i < r->n_group; i++)
        assert_true(r->group[i]->seq == r->group[i - 1]->seq + 1 &&
                    r->group[i]->epoch == r->info->epoch);
    watchroom__v1__watch_response__free_unpacked(r, NULL);
    end(x);
}

/* Decodes with libavcodec and reads the blocks: the picture's clock is the time at which it was made. */
static void test_picture_shows_the_wall_clock_to_machines(void **state)
{
    (void)state;
    struct fixture *x = start_and_wait(30);
    Watchroom__V1__WatchResponse *r = watched(x);
    AVCodecContext *c = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_H264));
    const Watchroom__V1__Track *t = r->info->tracks[0];
    c->extradata = av_mallocz(t->config.len + AV_INPUT_BUFFER_PADDING_SIZE);
    memcpy(c->extradata, t->config.data, t->config.len);
    c->extradata_size = (int)t->config.len;
    c->flags |= AV_CODEC_FLAG_LOW_DELAY;
    c->thread_count = 1;
    assert_int_equal(avcodec_open2(c, NULL, NULL), 0);
    AVPacket *p = av_packet_alloc();
    AVFrame *f = av_frame_alloc();
    unsigned decoded = 0;
    for (size_t i = 0; i < r->n_group; i++) {
        const Watchroom__V1__MediaFrame *m = r->group[i];
        if (m->track != 1)
            continue;
        assert_int_equal(av_new_packet(p, (int)m->data.len), 0);
        memcpy(p->data, m->data.data, m->data.len);
        assert_int_equal(avcodec_send_packet(c, p), 0);
        av_packet_unref(p);
        assert_int_equal(avcodec_receive_frame(c, f), 0); /* no frame is held back */
        uint32_t clock = 0;
        for (int b = 0; b < 32; b++)
            clock = clock << 1 | (f->data[0][10 * f->linesize[0] + 20 * b + 10] > 128);
        int32_t age_ms = (int32_t)((uint32_t)(m->arrival_us / 1000) - clock);
        assert_in_range(age_ms + 5, 0,
                        10000); /* the clock of now; how fast it comes is the benchmark's to say */
        decoded++;
    }
    assert_true(decoded >= 10);
    av_packet_free(&p);
    av_frame_free(&f);
    avcodec_free_context(&c);
    watchroom__v1__watch_response__free_unpacked(r, NULL);
    end(x);
}

static void test_source_ends_after_the_linger_and_starts_again_with_a_new_epoch(void **state)
{
    (void)state;
    struct fixture *x = start_and_wait(5);
    struct wr_media_frame f;
    assert_int_equal(wr_media_event_read(wr_msg_slice(x->frames[0]), &f), WR_OK);
    uint64_t epoch = f.epoch, gop = f.gop;
    int64_t time_us = f.time_us;
    unwatch(x, "demo");
    wait_state(x, WATCHROOM__V1__STREAM_STATE__STREAM_STATE_IDLE);
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < x->n; i++)
        wr_msg_unref(x->frames[i]);
    x->n = 0;
    pthread_mutex_unlock(&x->lock);
    assert_int_equal(watch(x, "demo", false, NULL), WR_OK);
    wait_frames(x, 5);
    assert_int_equal(wr_media_event_read(wr_msg_slice(x->frames[0]), &f), WR_OK);
    assert_true(f.epoch > epoch && f.seq == 0 && f.key && f.gop > gop && f.time_us > time_us);
    end(x);
}

/* The data folder says where the line was: a wall clock that steps back (here: the line is ahead of it) changes nothing. */
static void test_a_restart_goes_on_where_the_line_was(void **state)
{
    (void)state;
    char data[64], path[100];
    struct wr_media_frame f;
    struct fixture *x = start_and_wait(5);
    snprintf(data, sizeof data, "%s", x->data);
    x->keep_data = true;
    end(x);
    snprintf(path, sizeof path, "%s/ingest/demo.clock", data);
    const int64_t ahead_us = wr_wall_us() + 86400 * (int64_t)1000000;
    FILE *file = fopen(path, "w");
    fprintf(file, "1 %lld %lld %lld 1000000\n", (long long)ahead_us, (long long)ahead_us,
            (long long)ahead_us);
    fclose(file);
    x = start_in(data, DEMO);
    subscribe(x, "demo");
    wait_frames(x, 5);
    assert_int_equal(wr_media_event_read(wr_msg_slice(x->frames[0]), &f), WR_OK);
    assert_true(f.time_us >= ahead_us - 100000 && f.time_us < ahead_us + 60000000);
    assert_true(f.gop > (uint64_t)ahead_us && f.epoch > (uint64_t)ahead_us);
    end(x);
}

static Watchroom__V1__GroupsResponse *groups(struct fixture *x, uint64_t from, uint32_t max_groups)
{
    Watchroom__V1__GroupsRequest q = WATCHROOM__V1__GROUPS_REQUEST__INIT;
    char name[] = "demo";
    struct wr_msg *m = NULL;
    struct wr_slice body;
    struct wr_errmsg err = {""};
    q.stream = name;
    q.from_gop = from;
    q.max_groups = max_groups;
    assert_int_equal(wr_bus_call_wait(x->service, "demo", "watchroom.v1.Ingest/Groups",
                                      wr_msg_pack(&q.base), 5000, &m, &body, &err),
                     WR_OK);
    Watchroom__V1__GroupsResponse *r = watchroom__v1__groups_response__unpack(NULL, body.n, body.p);
    assert_non_null(r);
    wr_msg_unref(m);
    return r;
}

static void test_groups_are_kept_and_come_in_pages(void **state)
{
    (void)state;
    struct fixture *x = start_and_wait(420); /* 6 s: three groups and a bit */
    Watchroom__V1__GroupsResponse *r = groups(x, 0, 2);
    assert_true(r->n_groups == 2 && r->n_epochs == 1 && r->epochs[0]->n_tracks == 2);
    assert_true(r->oldest_gop == r->groups[0]->gop && r->newest_gop > r->groups[1]->gop);
    assert_true(r->next_gop == r->groups[1]->gop + 1);
    uint64_t seq = 0;
    for (size_t g = 0; g < 2; g++) {
        const Watchroom__V1__Group *k = r->groups[g];
        assert_true(k->complete && k->epoch == r->epochs[0]->epoch && k->n_frames > 60);
        assert_true(k->frames[0]->key && k->frames[0]->track == 1);
        for (size_t i = 0; i < k->n_frames; i++)
            assert_true(k->frames[i]->gop == k->gop && k->frames[i]->seq == seq++);
    }
    uint64_t next = r->next_gop, newest = r->newest_gop;
    watchroom__v1__groups_response__free_unpacked(r, NULL);
    r = groups(x, next, 0);
    assert_true(r->n_groups >= 1 && r->groups[0]->gop == next && r->next_gop == 0);
    assert_true(r->newest_gop >= newest && !r->groups[r->n_groups - 1]->complete);
    assert_true(r->groups[0]->frames[0]->seq == seq);
    watchroom__v1__groups_response__free_unpacked(r, NULL);
    r = groups(x, newest + 1000000, 0);
    assert_true(r->n_groups == 0 && r->next_gop == 0 && r->oldest_gop != 0);
    watchroom__v1__groups_response__free_unpacked(r, NULL);
    end(x);
}

static wr_err add_stream(struct fixture *x, const char *name, const char *url)
{
    Watchroom__V1__AddStreamRequest q = WATCHROOM__V1__ADD_STREAM_REQUEST__INIT;
    char n[300], u[100];
    struct wr_msg *m = NULL;
    struct wr_slice body;
    struct wr_errmsg err = {""};
    snprintf(n, sizeof n, "%s", name);
    snprintf(u, sizeof u, "%s", url);
    q.stream = n;
    q.url = u;
    wr_err e = wr_bus_call_wait(x->service, name, "watchroom.v1.Ingest/AddStream",
                                wr_msg_pack(&q.base), 5000, &m, &body, &err);
    wr_msg_unref(m);
    return e;
}

static wr_err remove_stream(struct fixture *x, const char *name)
{
    Watchroom__V1__RemoveStreamRequest q = WATCHROOM__V1__REMOVE_STREAM_REQUEST__INIT;
    char n[64];
    struct wr_msg *m = NULL;
    struct wr_slice body;
    struct wr_errmsg err = {""};
    snprintf(n, sizeof n, "%s", name);
    q.stream = n;
    wr_err e = wr_bus_call_wait(x->service, name, "watchroom.v1.Ingest/RemoveStream",
                                wr_msg_pack(&q.base), 20000, &m, &body, &err);
    wr_msg_unref(m);
    return e;
}

static void test_streams_come_and_go_while_it_runs(void **state)
{
    (void)state;
    struct fixture *x = start_with(DEMO);
    assert_int_equal(watch(x, "late", false, NULL), WR_ERR_NOT_FOUND);
    assert_int_equal(add_stream(x, "late", "synthetic:"), WR_OK);
    assert_int_equal(add_stream(x, "late", "synthetic:"), WR_ERR_CONFLICT);
    assert_int_equal(add_stream(x, "bad", "file:///etc/passwd"), WR_ERR_INVALID);
    assert_int_equal(add_stream(x, "a/b", "synthetic:"), WR_ERR_INVALID);
    subscribe(x, "late");
    wait_frames(x, 5);
    assert_int_equal(remove_stream(x, "late"), WR_OK); /* while it is watched */
    assert_int_equal(remove_stream(x, "late"), WR_ERR_NOT_FOUND);
    assert_int_equal(watch(x, "late", false, NULL), WR_ERR_NOT_FOUND);
    assert_int_equal(watch(x, "demo", false, NULL), WR_OK);
    assert_int_equal(add_stream(x, "late", "synthetic:"), WR_OK);
    assert_int_equal(watch(x, "late", false, NULL), WR_OK);
    end(x);
}

/* What the demo can be asked for: each kind of track that we carry, without a camera. */
static void test_synthetic_makes_other_codecs(void **state)
{
    (void)state;
    struct fixture *x = start_with("streams:\n  demo: { url: 'synthetic:h265+opus', linger: 1s }\n"
                                   "  tel: { url: 'synthetic:g711u', linger: 1s }\n");
    subscribe(x, "demo");
    wait_frames(x, 20);
    Watchroom__V1__WatchResponse *r = watched(x);
    assert_int_equal(r->info->n_tracks, 2);
    assert_memory_equal(r->info->tracks[0]->codec_string, "hvc1.1.6.L", 10);
    assert_string_equal(r->info->tracks[1]->codec_string, "opus");
    watchroom__v1__watch_response__free_unpacked(r, NULL);
    end(x);
    x = start_with("streams:\n  demo: { url: 'synthetic:g711u', linger: 1s }\n");
    subscribe(x, "demo");
    wait_frames(x, 20);
    r = watched(x);
    assert_int_equal(r->info->n_tracks, 3);
    assert_int_equal(r->info->tracks[1]->codec, WATCHROOM__V1__CODEC__CODEC_G711U);
    assert_string_equal(r->info->tracks[2]->rendition, "aac");
    assert_int_equal(r->info->tracks[2]->made_from, 2);
    watchroom__v1__watch_response__free_unpacked(r, NULL);
    assert_int_equal(add_stream(x, "odd", "synthetic:h264+mp3"), WR_ERR_INVALID);
    end(x);
}

static void test_dead_camera_is_retried_and_says_why_without_credentials(void **state)
{
    (void)state;
    /* Port 9 of loopback: nobody listens. */
    struct fixture *x = start_with("streams:\n  cam: rtsp://admin:geheim@127.0.0.1:9/live\n");
    subscribe(x, "cam");
    wait_state(x, WATCHROOM__V1__STREAM_STATE__STREAM_STATE_RETRYING);
    pthread_mutex_lock(&x->lock);
    char reason[256];
    snprintf(reason, sizeof reason, "%s", x->info->reason);
    pthread_mutex_unlock(&x->lock);
    assert_non_null(strstr(reason, "refuses"));
    assert_null(strstr(reason, "geheim"));
    assert_null(strstr(reason, "admin"));
    assert_null(strstr(x->info->event_url, "geheim"));
    end(x);
}

static void test_addresses_of_other_kinds_are_refused_at_start(void **state)
{
    (void)state;
    static const char *const bad[] = {"file:///etc/passwd", "concat:/etc/passwd", "/etc/passwd",
                                      "http://127.0.0.1/x"};
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
        char yaml[200];
        struct wr_config *c = NULL;
        struct wr_plugins *p = NULL;
        struct wr_errmsg err = {""};
        snprintf(yaml, sizeof yaml, "streams:\n  cam: '%s'\n", bad[i]);
        if (wr_config_parse("test", wr_slice_str(yaml), WR_SHAPE_ALL_IN_ONE, &c, &err) == WR_OK) {
            assert_int_equal(wr_plugins_load(WR_TEST_PLUGINS, &p), WR_OK);
            assert_int_equal(wr_config_set(c, "data", "/dev/null/none", &err), WR_OK);
            const struct wr_service_plugin *s = wr_plugins_find(p, WR_KIND_SERVICE, "ingest");
            void *st = wr_plugin_state(&s->base);
            assert_int_equal(s->start(st, &(struct wr_service_env){c, p}, &err), WR_ERR_INVALID);
            free(st);
            wr_plugins_free(&p);
            wr_config_free(&c);
        }
        assert_non_null(strstr(err.text, "cam"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_stream_is_not_found),
        cmocka_unit_test(test_frames_are_numbered_and_timed),
        cmocka_unit_test(test_first_answer_has_tracks_and_the_current_group),
        cmocka_unit_test(test_picture_shows_the_wall_clock_to_machines),
        cmocka_unit_test(test_source_ends_after_the_linger_and_starts_again_with_a_new_epoch),
        cmocka_unit_test(test_a_restart_goes_on_where_the_line_was),
        cmocka_unit_test(test_groups_are_kept_and_come_in_pages),
        cmocka_unit_test(test_streams_come_and_go_while_it_runs),
        cmocka_unit_test(test_synthetic_makes_other_codecs),
        cmocka_unit_test(test_dead_camera_is_retried_and_says_why_without_credentials),
        cmocka_unit_test(test_addresses_of_other_kinds_are_refused_at_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
