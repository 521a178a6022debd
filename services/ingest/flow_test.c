/* SPDX-License-Identifier: MIT
 *
 * Claims about the flow: which tracks an epoch has and when, with sound of every kind of lateness, and the numbers of what it gives
 * to sinks. No bus, no thread: a sink of the test beside a stream that publishes nowhere. The clock is the real one, so what waits
 * for time awaits it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "flow.h"
#include "source.h"
#include "wr_bus.h"
#include "wr_clock.h"
#include "wr_thread.h"

/* ---- a stream that is looked at ------------------------------------------------------------------------------------- */

struct seen {
    uint64_t epoch, gop;
    unsigned epochs, ends;
    uint32_t tracks[20]; /* of each epoch: a bit an id */
    unsigned frames[20][WR_TRACKS_MAX + 1];
    struct wr_media_frame last[WR_TRACKS_MAX + 1];
    struct wr_track told[WR_TRACKS_MAX];
    uint64_t seq;
    int64_t group_us;
    unsigned groups;
};

static void on_epoch(void *ctx, uint64_t epoch, const struct wr_track *tracks, size_t n)
{
    struct seen *s = ctx;
    assert_true(epoch > s->epoch && s->epochs < 20);
    s->epoch = epoch;
    s->seq = 0;
    s->tracks[s->epochs] = 0;
    for (size_t i = 0; i < n; i++) {
        s->told[i] = tracks[i];
        s->tracks[s->epochs] |= 1u << tracks[i].id;
        assert_true(tracks[i].timescale > 0 && tracks[i].kind == wr_codec_kind(tracks[i].codec));
    }
    s->epochs++;
}

static void on_frame(void *ctx, const struct sink_frame *f)
{
    struct seen *s = ctx;
    uint32_t id = f->f.track;
    assert_true(s->epochs > 0 && f->f.epoch == s->epoch && f->f.seq == s->seq++);
    assert_true(s->tracks[s->epochs - 1] & 1u << id); /* nothing that was not told */
    assert_true(f->f.seq > 0 || f->begins);
    assert_true(f->f.dts > s->last[id].dts && f->f.pts >= f->f.dts);
    assert_true(f->begins ? f->f.gop > s->gop : f->f.gop == s->gop);
    s->gop = f->f.gop;
    if (f->begins) {
        assert_true(f->f.time_us >= s->group_us);
        s->group_us = f->f.time_us;
        s->groups++;
    }
    struct wr_media_frame back;
    assert_int_equal(wr_media_frame_read(f->media, &back), WR_OK);
    assert_true(back.gop == f->f.gop && back.time_us == f->f.time_us &&
                wr_slice_eq(back.data, f->f.data));
    s->last[id] = f->f;
    s->frames[s->epochs - 1][id]++;
}

static void on_end(void *ctx)
{
    ((struct seen *)ctx)->ends++;
}

static const struct sink looker = {.epoch = on_epoch, .frame = on_frame, .end = on_end};

struct fixture {
    struct wr_bus *bus;
    struct wr_bus_pub *lane;
    struct stream stream;
    struct flow flow;
    struct seen seen;
    uint32_t video, audio;
    int64_t pictures, sounds; /* fed */
};

static int set_up(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    struct wr_errmsg err = {""};
    char name[] = "cam", url[] = "synthetic:";
    struct wr_config_stream c = {.name = name, .url = url};
    if (wr_bus_open(&(struct wr_bus_opts){.service = "ingest"}, &x->bus) != WR_OK ||
        wr_bus_pub_open(x->bus, "inproc://flow-test/lane", false, &x->lane, &err) != WR_OK)
        return -1;
    struct stream_env env = {.instance = "ingest-test",
                             .lane = x->lane,
                             .no_packet_us = 1000000,
                             .keep_us = 10000000,
                             .keep_bytes = 1 << 20};
    if (stream__init(&x->stream, &c, &env, &err) != WR_OK ||
        wr_bus_pub_open(x->bus, "inproc://flow-test/cam", false, &x->stream.pub, &err) != WR_OK ||
        stream__add_sink(&x->stream, &looker, &x->seen) != WR_OK)
        return -1;
    flow__init(&x->flow, &x->stream);
    *state = x;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *x = *state;
    flow__fini(&x->flow);
    stream__end_epoch(&x->stream);
    assert_int_equal(x->seen.ends, 1);
    stream__fini(&x->stream);
    wr_bus_pub_close(&x->lane);
    wr_bus_close(&x->bus);
    free(x);
    return 0;
}

/* Opus leads where there is no picture; MJPEG is no codec here yet, so pictures are H.264 by hand: 320 x 240, baseline. */
static const uint8_t sps[] = {0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x07, 0xe8},
                     pps[] = {0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80};

static void add_tracks(struct fixture *x, bool picture, bool sound)
{
    if (picture)
        x->video = flow__add(&x->flow, &(struct flow_spec){.codec = codec__find(WR_CODEC_H264),
                                                           .clock = 90000,
                                                           .fps_milli = 25000});
    if (sound)
        x->audio = flow__add(&x->flow, &(struct flow_spec){.codec = codec__find(WR_CODEC_OPUS),
                                                           .hint = {.channels = 2},
                                                           .clock = 48000,
                                                           .language = "de"});
    assert_true((!picture || x->video) && (!sound || x->audio));
}

static void feed_picture(struct fixture *x, bool key)
{
    uint8_t data[64];
    size_t n = 0;
    if (key) {
        memcpy(data, sps, sizeof sps);
        memcpy(data + sizeof sps, pps, sizeof pps);
        n = sizeof sps + sizeof pps;
    }
    const uint8_t slice[] = {0, 0, 0, 1, key ? 0x65 : 0x41, 0xe0, 0x12, 0x34};
    memcpy(data + n, slice, sizeof slice);
    int64_t t = 3600 * x->pictures++;
    flow__take(&x->flow, x->video,
               &(struct flow_sample){.data = {data, n + sizeof slice}, .dts = t, .pts = t});
}

static void feed_sound(struct fixture *x)
{
    const uint8_t packet[] = {0xfc, 1, 2, 3};
    int64_t t = 1920 * x->sounds++; /* in step with the pictures: 40 ms */
    flow__take(&x->flow, x->audio,
               &(struct flow_sample){.data = {packet, sizeof packet}, .dts = t, .pts = t});
}

/* As time passes for the flow, without waiting: what it measures with is moved back. */
static void let_pass(struct fixture *x, int64_t us)
{
    x->flow.last_us -= x->flow.last_us ? us : 0;
    x->flow.held_since_us -= x->flow.held_since_us ? us : 0;
}

/* So many ticks of 40 ms, with a keyframe at each 25th. */
static void play(struct fixture *x, unsigned ticks, bool picture, bool sound)
{
    for (unsigned i = 0; i < ticks; i++) {
        let_pass(x, 40000);
        if (picture)
            feed_picture(x, x->pictures % 25 == 0);
        else
            x->pictures++;
        if (sound)
            feed_sound(x);
        else
            x->sounds++;
    }
}

#define BIT(id) (1u << (id))

static void test_an_epoch_has_what_comes(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    play(x, 60, true, true);
    assert_int_equal(x->seen.epochs, 1);
    assert_int_equal(x->seen.tracks[0], BIT(1) | BIT(2));
    assert_int_equal(x->seen.frames[0][1], 60);
    assert_in_range(x->seen.frames[0][2], 58, 60);
    assert_int_equal(x->seen.groups, 3);
    const struct wr_track *v = &x->seen.told[0], *a = &x->seen.told[1];
    assert_true(v->width > 0 && v->fps_milli == 25000 && a->sample_rate == 48000);
    assert_string_equal(a->language, "de");
    assert_true(x->seen.last[1].time_us == wr_media_us(x->seen.last[1].pts, 90000));
    assert_true(llabs(x->seen.last[1].time_us - x->seen.last[2].time_us) < 1000);
}

static void test_promised_sound_holds_the_first_picture_half_a_second(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    play(x, 12, true, false);
    assert_int_equal(x->seen.epochs, 0); /* 440 ms after the key */
    play(x, 3, true, false);
    assert_int_equal(x->seen.epochs, 1);
    assert_int_equal(x->seen.tracks[0], BIT(1));
    assert_int_equal(x->seen.frames[0][1], 15); /* what was held is not lost */
    play(x, 200, true, false);
    assert_int_equal(x->seen.epochs, 1);
}

static void test_late_sound_joins_at_the_next_keyframe(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    play(x, 40, true, false);
    play(x, 5, true, true);
    assert_int_equal(x->seen.epochs, 1); /* no keyframe yet */
    play(x, 25, true, true);
    assert_int_equal(x->seen.epochs, 2);
    assert_int_equal(x->seen.tracks[1], BIT(1) | BIT(2));
    assert_int_equal(x->seen.frames[0][1] + x->seen.frames[1][1], 70);
    assert_int_equal(x->seen.frames[1][2], 20);
}

static void test_silent_sound_leaves_and_comes_back(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    play(x, 25, true, true);
    play(x, 50, true, false); /* 2 s: the keyframe at 50 is too early, that at 75 comes next */
    assert_int_equal(x->seen.epochs, 1);
    play(x, 26, true, false);
    assert_int_equal(x->seen.epochs, 2);
    assert_int_equal(x->seen.tracks[1], BIT(1));
    play(x, 60, true, true);
    assert_int_equal(x->seen.epochs, 3);
    assert_int_equal(x->seen.tracks[2], BIT(1) | BIT(2));
    assert_true(llabs(x->seen.last[1].time_us - x->seen.last[2].time_us) < 1000);
}

static void test_a_pause_of_all_is_nobodys_silence(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    play(x, 24, true, true);
    let_pass(x, 60 * 1000000);
    play(x, 60, true, true);
    assert_int_equal(x->seen.epochs, 1);
}

static void test_a_silent_picture_leaves_the_sound_alone_and_comes_back(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    play(x, 26, true, true);
    play(x, 100, false, true);
    assert_int_equal(x->seen.epochs, 2);
    assert_int_equal(x->seen.tracks[1], BIT(2));
    assert_in_range(x->seen.frames[1][2], 40, 55);
    play(x, 30, true, true);
    assert_int_equal(x->seen.epochs, 3);
    assert_int_equal(x->seen.tracks[2], BIT(1) | BIT(2));
    assert_true(llabs(x->seen.last[1].time_us - x->seen.last[2].time_us) < 50000);
}

static void test_sound_alone_begins_a_group_a_second(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, false, true);
    play(x, 101, false, true); /* 4 s and a tick */
    assert_int_equal(x->seen.epochs, 1);
    assert_in_range(x->seen.groups, 4, 6);
}

static void test_a_promised_picture_that_never_comes_does_not_hold_the_sound(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    play(x, 45, false, true);
    assert_int_equal(x->seen.epochs, 0);
    play(x, 30, false, true);
    assert_int_equal(x->seen.epochs, 1);
    assert_int_equal(x->seen.tracks[0], BIT(2));
}

static void test_a_picture_that_waits_for_its_keyframe_is_waited_for(void **state)
{
    struct fixture *x = *state;
    add_tracks(x, true, true);
    x->pictures = x->sounds = 1;
    for (unsigned i = 0; i < 200; i++) { /* 8 s of a group in whose midst we came */
        let_pass(x, 40000);
        feed_picture(x, false);
        feed_sound(x);
    }
    assert_int_equal(x->seen.epochs, 0);
    let_pass(x, 40000);
    feed_picture(x, true);
    assert_int_equal(x->seen.epochs, 1);
    assert_int_equal(x->seen.tracks[0], BIT(1) | BIT(2));
}

static void test_tracks_are_bounded(void **state)
{
    struct fixture *x = *state;
    struct flow_spec spec = {.codec = codec__find(WR_CODEC_OPUS), .hint = {.channels = 2}};
    for (unsigned i = 1; i <= WR_TRACKS_MAX; i++)
        assert_int_equal(flow__add(&x->flow, &spec), i);
    assert_int_equal(flow__add(&x->flow, &spec), 0);
    spec = (struct flow_spec){.codec = codec__find(WR_CODEC_AAC),
                              .hint = {.config = wr_slice_str("\xff")}};
    flow__fini(&x->flow);
    flow__init(&x->flow, &x->stream);
    assert_int_equal(flow__add(&x->flow, &spec), 0);
    assert_int_equal(x->flow.n, 0);
}

/* ---- a source that is pushed ---------------------------------------------------------------------------------------- */

struct publisher {
    pthread_mutex_t lock;
    pthread_cond_t came;
    unsigned served, gone;
    bool leave; /* the publisher hangs up */
};

static void serve(struct stream *s, void *arg, struct source_end *end)
{
    struct publisher *p = arg;
    pthread_mutex_lock(&p->lock);
    p->served++;
    pthread_cond_broadcast(&p->came);
    while (!p->leave && stream__is_wanted(s))
        (void)wr_cond_wait_until(&p->came, &p->lock, wr_mono_us() + 5000);
    p->leave = false;
    p->gone++;
    snprintf(end->text, sizeof end->text, "the publisher left");
    pthread_cond_broadcast(&p->came);
    pthread_mutex_unlock(&p->lock);
}

static void await(struct publisher *p, const unsigned *count, unsigned n)
{
    pthread_mutex_lock(&p->lock);
    while (*count < n)
        if (!wr_cond_wait_until(&p->came, &p->lock, wr_mono_us() + 20000000))
            fail_msg("not %u in time", n);
    pthread_mutex_unlock(&p->lock);
}

static void test_a_publisher_is_served_one_at_a_time(void **state)
{
    struct fixture *x = *state;
    static const struct source_kind pushed = {.prefix = "test:", .accept = serve};
    struct publisher p = {.served = 0};
    pthread_mutex_init(&p.lock, NULL);
    wr_cond_init(&p.came);
    assert_int_equal(stream__push(&x->stream, &p), WR_ERR_INVALID); /* it is pulled */
    x->stream.kind = &pushed;
    assert_int_equal(stream__start(&x->stream), WR_OK);
    assert_int_equal(stream__push(&x->stream, &p), WR_OK);
    assert_int_equal(stream__push(&x->stream, &p), WR_ERR_CONFLICT);
    await(&p, &p.served, 1);
    assert_int_equal(stream__push(&x->stream, &p), WR_ERR_CONFLICT);
    pthread_mutex_lock(&p.lock);
    p.leave = true;
    pthread_cond_broadcast(&p.came);
    pthread_mutex_unlock(&p.lock);
    await(&p, &p.gone, 1);
    while (stream__push(&x->stream, &p) == WR_ERR_CONFLICT) /* its thread is on the way */
        sched_yield();
    await(&p, &p.served, 2);
    stream__stop(&x->stream);
    await(&p, &p.gone, 2); /* whoever publishes is let go */
    assert_int_equal(stream__push(&x->stream, &p), WR_ERR_CLOSED);
    pthread_join(x->stream.thread, NULL);
    x->stream.has_thread = false;
    x->seen.ends = 0; /* what follows counts */
    pthread_cond_destroy(&p.came);
    pthread_mutex_destroy(&p.lock);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_epoch_has_what_comes),
        TEST(test_promised_sound_holds_the_first_picture_half_a_second),
        TEST(test_late_sound_joins_at_the_next_keyframe),
        TEST(test_silent_sound_leaves_and_comes_back),
        TEST(test_a_pause_of_all_is_nobodys_silence),
        TEST(test_a_silent_picture_leaves_the_sound_alone_and_comes_back),
        TEST(test_sound_alone_begins_a_group_a_second),
        TEST(test_a_promised_picture_that_never_comes_does_not_hold_the_sound),
        TEST(test_a_picture_that_waits_for_its_keyframe_is_waited_for),
        TEST(test_tracks_are_bounded),
        TEST(test_a_publisher_is_served_one_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
