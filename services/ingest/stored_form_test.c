/* SPDX-License-Identifier: MIT
 *
 * From what cameras send to the stored form: NAL units, parameter sets, ADTS, pictures put together, clocks, sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <stdlib.h>

#include "aac.h"
#include "units.h"
#include "h264.h"
#include "sound.h"
#include "timeline.h"

#define BYTES(...) \
    wr_slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* ---- parameter sets, made by an encoder that is not ours ----------------------------------------------------------- */

static struct wr_buf config_of(int width, int height, int fps, const char *profile, int b_frames)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    AVCodecContext *c = avcodec_alloc_context3(codec);
    struct wr_buf out = {.n = 0};
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){1, fps};
    c->framerate = (AVRational){fps, 1};
    c->max_b_frames = b_frames;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "profile", profile, 0);
    assert_int_equal(avcodec_open2(c, codec, NULL), 0);
    wr_buf_add(&out, c->extradata, (size_t)c->extradata_size);
    avcodec_free_context(&c);
    return out;
}

static void test_sps_tells_size_rate_and_reordering(void **state)
{
    (void)state;
    static const struct {
        int width, height, fps, b_frames, reorder;
        const char *profile;
    } cases[] = {{1280, 720, 25, 0, 0, "baseline"},
                 {1920, 1080, 30, 2, 2, "high"},
                 {641, 361, 15, 0, 0, "main"},
                 {352, 288, 5, 1, 1, "main"}};
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        int w = cases[i].width & ~1, h = cases[i].height & ~1; /* 640 x 360: cropped macroblocks */
        struct wr_buf cfg = config_of(w, h, cases[i].fps, cases[i].profile, cases[i].b_frames);
        struct h264_sets sets = {0};
        struct h264_sps sps;
        struct wr_buf avcc = {.n = 0};
        char codec[WR_CODEC_STRING_BYTES];
        assert_int_equal(h264__sets_learn_config(&sets, wr_slice_of(cfg.p, cfg.n)), NAL_ANNEXB);
        assert_true(h264__avcc(&sets, 0, &avcc, &sps));
        assert_int_equal(sps.width, w);
        assert_int_equal(sps.height, h);
        assert_int_equal(sps.fps_milli, cases[i].fps * 1000);
        assert_true(sps.max_reorder >= (cases[i].b_frames ? 1 : 0) && sps.max_reorder <= 2);
        assert_true(cases[i].reorder > 0 || sps.max_reorder == 0);
        h264__codec_string(wr_slice_of(avcc.p, avcc.n), codec);
        assert_memory_equal(codec, "avc1.", 5);
        assert_int_equal(strlen(codec), 11);
        /* avcC read back teaches the same sets. */
        struct h264_sets again = {0};
        struct wr_buf avcc2 = {.n = 0};
        assert_int_equal(h264__sets_learn_config(&again, wr_slice_of(avcc.p, avcc.n)), NAL_LENGTH4);
        assert_true(h264__avcc(&again, 0, &avcc2, &sps));
        assert_true(wr_slice_eq(wr_slice_of(avcc.p, avcc.n), wr_slice_of(avcc2.p, avcc2.n)));
        h264__sets_free(&sets);
        h264__sets_free(&again);
        wr_buf_free(&avcc);
        wr_buf_free(&avcc2);
        wr_buf_free(&cfg);
    }
}

/* Every cut and every flipped bit of a real SPS: refused or parsed, never out of bounds (ASan watches). */
static void test_broken_sps_is_harmless(void **state)
{
    (void)state;
    struct wr_buf cfg = config_of(1920, 1080, 30, "high", 2);
    struct nal_iter it;
    struct wr_slice nal;
    nal__iter(&it, wr_slice_of(cfg.p, cfg.n), NAL_ANNEXB);
    assert_true(nal__next(&it, &nal));
    for (size_t n = 0; n < nal.n; n++) {
        struct h264_sps sps;
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, nal.p, n);
        (void)h264__parse_sps(wr_slice_of(cut, n), &sps);
        free(cut);
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *bad = malloc(nal.n);
            memcpy(bad, nal.p, nal.n);
            bad[n] ^= (uint8_t)(1u << bit);
            if (h264__parse_sps(wr_slice_of(bad, nal.n), &sps))
                assert_true(sps.width > 0 && sps.width <= 16384 && sps.height > 0 &&
                            sps.height <= 32768);
            free(bad);
        }
    }
    wr_buf_free(&cfg);
}

/* ---- framing ------------------------------------------------------------------------------------------------------- */

static size_t count_nals(struct wr_slice data, enum nal_framing framing)
{
    struct nal_iter it;
    struct wr_slice nal;
    size_t n = 0;
    nal__iter(&it, data, framing);
    while (nal__next(&it, &nal)) {
        assert_true(nal.n > 0 && nal.p >= data.p && nal.p + nal.n <= data.p + data.n);
        n++;
    }
    return n;
}

static void test_start_codes_of_three_and_four_bytes(void **state)
{
    (void)state;
    assert_int_equal(
        count_nals(BYTES(0, 0, 0, 1, 0x65, 1, 0, 0, 1, 0x41, 2, 0, 0, 0, 0, 1, 0x41, 3),
                   NAL_ANNEXB),
        3);
    assert_int_equal(count_nals(BYTES(0, 0, 1), NAL_ANNEXB), 0);
    assert_int_equal(count_nals(BYTES(0, 0, 1, 0, 0, 1, 0x65), NAL_ANNEXB), 1);
    assert_int_equal(count_nals(BYTES(0x65, 1, 2, 3), NAL_ANNEXB), 0);
    assert_int_equal(count_nals((struct wr_slice){NULL, 0}, NAL_ANNEXB), 0);
}

static void test_lengths_that_run_past_the_end_end_it(void **state)
{
    (void)state;
    assert_int_equal(count_nals(BYTES(0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x41), NAL_LENGTH4), 2);
    assert_int_equal(
        count_nals(BYTES(0, 0, 0, 2, 0x65, 1, 0xff, 0xff, 0xff, 0xff, 0x41), NAL_LENGTH4), 1);
    assert_int_equal(count_nals(BYTES(0, 0, 0), NAL_LENGTH4), 0);
    assert_int_equal(count_nals(BYTES(0, 2, 0x65, 1), NAL_LENGTH2), 1);
}

static void test_stored_form_has_lengths_and_no_noise(void **state)
{
    (void)state;
    struct h264_sets sets = {0};
    struct h264_unit u;
    /* delimiter, SEI, IDR slice (first_mb 0, type 7, pps 0), filler */
    struct wr_slice in = BYTES(0, 0, 0, 1, 9, 0x10, 0, 0, 1, 6, 5, 1, 0xaa, 0x80, 0, 0, 0, 1, 0x65,
                               0x88, 0x84, 0x21, 0, 0, 1, 12, 0xff, 0x80);
    uint8_t out[64];
    h264__scan(&sets, in, NAL_ANNEXB, &u);
    assert_true(u.has_picture && u.is_idr && !u.sets_changed && !u.is_recovery);
    assert_int_equal(u.bytes, 4 + 5 + 4 + 4);
    assert_ptr_equal(h264__store(in, NAL_ANNEXB, false, out), out + u.bytes);
    assert_memory_equal(out, "\0\0\0\x05\x06\x05\x01\xaa\x80\0\0\0\x04\x65\x88\x84\x21", u.bytes);
    h264__sets_free(&sets);
}

static void test_recovery_point_is_seen(void **state)
{
    (void)state;
    struct h264_sets sets = {0};
    struct h264_unit u;
    h264__scan(&sets, BYTES(0, 0, 1, 6, 5, 2, 1, 2, 6, 1, 0x84, 0x80, 0, 0, 1, 0x41, 0x9a, 0x20),
               NAL_ANNEXB, &u);
    assert_true(u.has_picture && !u.is_idr && u.is_recovery);
    h264__scan(&sets, BYTES(0, 0, 1, 6, 5, 2, 1, 2, 0x80, 0, 0, 1, 0x41, 0x9a, 0x20), NAL_ANNEXB,
               &u);
    assert_false(u.is_recovery);
    h264__sets_free(&sets);
}

static void test_changed_parameter_sets_are_noticed_once(void **state)
{
    (void)state;
    struct h264_sets sets = {0};
    struct wr_buf small = config_of(640, 360, 25, "baseline", 0),
                  big = config_of(1280, 720, 25, "baseline", 0);
    struct h264_unit u;
    h264__scan(&sets, wr_slice_of(small.p, small.n), NAL_ANNEXB, &u);
    assert_true(u.sets_changed && !u.has_picture);
    h264__scan(&sets, wr_slice_of(small.p, small.n), NAL_ANNEXB, &u);
    assert_false(u.sets_changed);
    h264__scan(&sets, wr_slice_of(big.p, big.n), NAL_ANNEXB, &u);
    assert_true(u.sets_changed);
    h264__sets_free(&sets);
    wr_buf_free(&small);
    wr_buf_free(&big);
}

/* ---- AAC ------------------------------------------------------------------------------------------------------------ */

static void test_adts_head_says_what_the_config_says(void **state)
{
    (void)state;
    struct aac_adts a;
    /* LC, 48 kHz, stereo, 7 + 3 bytes */
    struct wr_slice frame = BYTES(0xff, 0xf1, 0x4c, 0x80, 0x01, 0x5f, 0xfc, 1, 2, 3);
    assert_true(aac__parse_adts(frame, &a));
    assert_int_equal(a.head_bytes, 7);
    assert_int_equal(a.frame_bytes, 10);
    assert_int_equal(a.config.sample_rate, 48000);
    assert_int_equal(a.config.channels, 2);
    assert_memory_equal(a.asc, "\x11\x90", 2);
    for (size_t n = 0; n < frame.n; n++)
        assert_false(aac__parse_adts(wr_slice_of(frame.p, n), &a));
    assert_false(
        aac__parse_adts(BYTES(0x21, 0x10, 4, 0x60, 0x8c, 0x1c, 0, 0), &a)); /* a raw frame */
}

static void test_config_of_aac(void **state)
{
    (void)state;
    struct aac_config c;
    assert_true(aac__parse_config(BYTES(0x11, 0x88), &c));
    assert_true(c.object_type == 2 && c.sample_rate == 48000 && c.channels == 1);
    assert_false(aac__parse_config(BYTES(0x11), &c));
    assert_false(aac__parse_config(BYTES(0x16, 0x90), &c)); /* reserved rate */
    assert_false(aac__parse_config((struct wr_slice){NULL, 0}, &c));
}

/* ---- pictures ------------------------------------------------------------------------------------------------------- */

struct pictures {
    size_t n;
    size_t bytes[8];
    int64_t pts[8];
    uint32_t duration[8];
};

static void note_picture(void *ctx, const struct units_one *u)
{
    struct pictures *p = ctx;
    p->bytes[p->n] = u->data.n;
    p->pts[p->n] = u->pts;
    p->duration[p->n++] = u->duration;
}

/* What tears with libavformat's parser: SPS and PPS in front of the second slice of an IDR picture. */
static void test_a_picture_is_what_has_one_time(void **state)
{
    (void)state;
    struct units a = {.too_big = false};
    struct pictures p = {.n = 0};
    units__feed(&a, BYTES(0, 0, 0, 1, 0x67, 1, 2), 0, 0, note_picture, &p);
    units__feed(&a, BYTES(0, 0, 0, 1, 0x65, 0x88), 0, 0, note_picture, &p);
    units__feed(&a, BYTES(7, 8, 9), 0, 0, note_picture, &p); /* a fragment that goes on */
    units__feed(&a, BYTES(0, 0, 0, 1, 0x67, 1, 2), 0, 0, note_picture, &p);
    units__feed(&a, BYTES(0, 0, 0, 1, 0x65, 0x44), INT64_MIN, 0, note_picture, &p);
    assert_int_equal(p.n, 0);
    units__feed(&a, BYTES(0, 0, 0, 1, 0x41, 0x9a), 3600, 0, note_picture, &p);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.bytes[0], 7 + 6 + 3 + 7 + 6);
    assert_int_equal(p.duration[0], 3600);
    units__feed(&a, BYTES(0, 0, 0, 1, 0x41, 0x9a), 7200, 0, note_picture, &p);
    assert_true(p.n == 2 && p.pts[1] == 3600 && p.bytes[1] == 6);
    units__free(&a);
}

static void test_a_picture_without_end_is_dropped_and_counted(void **state)
{
    (void)state;
    struct units a = {.too_big = false};
    struct pictures p = {.n = 0};
    static uint8_t big[1 << 20];
    for (unsigned i = 0; i < 10; i++)
        units__feed(&a, wr_slice_of(big, sizeof big), 0, 0, note_picture, &p);
    assert_true(a.bytes.cap <= 2 * UNITS_MAX_BYTES);
    units__feed(&a, BYTES(0, 0, 1, 0x65, 1), 3600, 0, note_picture, &p);
    assert_int_equal(a.dropped, 1);
    units__feed(&a, BYTES(0, 0, 1, 0x65, 1), 7200, 0, note_picture, &p);
    assert_int_equal(p.n, 1);
    units__free(&a);
}

static void test_decoding_times_of_b_frames(void **state)
{
    (void)state;
    static const int64_t shown[] = {0, 3, 1, 2, 6, 4, 5, 9, 7, 8};
    for (unsigned depth = 0; depth <= 2; depth++) {
        struct units_order o;
        int64_t last = INT64_MIN;
        units__order_init(&o, depth);
        for (unsigned round = 0; round < 5; round++)
            for (unsigned i = 0; i < 10; i++) {
                int64_t pts = 3600 * (shown[i] + 10 * (int64_t)round),
                        dts = units__order(&o, pts, 3600);
                /* Known depth: right from the start. Too small: learnt in the first group. */
                if (depth > 0 || round > 0)
                    assert_true(dts > last && dts <= pts && dts > pts - 5 * 3600);
                last = dts;
            }
        assert_int_equal(o.depth, depth ? depth : 1);
    }
    struct units_order none;
    units__order_init(&none, 0);
    for (int64_t i = 0; i < 10; i++)
        assert_true(units__order(&none, 100 + 3600 * i, 3600) == 100 + 3600 * i);
}

/* ---- clocks --------------------------------------------------------------------------------------------------------- */

struct tick {
    int64_t dts, pts;
    bool kept;
};

enum { PICTURE, SOUND };

static struct timeline timeline_of(uint32_t video, uint32_t audio)
{
    struct timeline t = {.lead = PICTURE};
    timeline__join(&t, PICTURE, video, video / 25);
    if (audio)
        timeline__join(&t, SOUND, audio, 1024);
    return t;
}

static struct tick map(struct timeline *t, bool video, bool key, int64_t dts, int64_t pts,
                       int64_t now_us)
{
    uint32_t duration = 0;
    struct tick k = {dts, pts, false};
    k.kept = timeline__map(t, video ? PICTURE : SOUND, key, &k.dts, &k.pts, &duration, now_us);
    return k;
}

static void test_time_begins_with_the_first_keyframe(void **state)
{
    (void)state;
    struct timeline t = timeline_of(90000, 48000);
    assert_false(map(&t, false, true, 48000 * 100, 48000 * 100, 0).kept); /* sound first */
    assert_false(map(&t, true, false, 90000 * 100, 90000 * 100, 0).kept); /* not a keyframe */
    struct tick k = map(&t, true, true, 90000 * 100 + 3600, 90000 * 100 + 7200, 0);
    assert_true(k.kept && k.dts == 0 && k.pts == 3600);
    k = map(&t, false, true, 48000 * 100, 48000 * 100, 0);
    assert_false(k.kept); /* 40 ms before it */
    k = map(&t, false, true, 48000 * 100 + 2880, 48000 * 100 + 2880, 0);
    assert_true(k.kept && k.dts == 960);
}

static void test_missing_and_repeated_times_are_filled(void **state)
{
    (void)state;
    struct timeline t = timeline_of(90000, 0);
    t.tracks[PICTURE].nominal = 6000;
    assert_true(map(&t, true, true, 0, 0, 0).kept);
    assert_int_equal(map(&t, true, false, TIMELINE_NONE, TIMELINE_NONE, 0).dts, 6000);
    assert_int_equal(map(&t, true, false, TIMELINE_NONE, 12000, 0).dts, 12000);
    struct tick k = map(&t, true, false, 12000, 12000, 0);
    assert_true(k.dts == 12001 && k.pts == 12001);
    k = map(&t, true, false, 9000, 9000, 0);
    assert_true(k.dts == 12002 && k.pts >= k.dts);
    assert_int_equal(t.bumped, 2);
}

/* A camera's clock is set: the picture goes on without a hole, and the sound keeps its place beside it. */
static void test_a_jump_moves_picture_and_sound_together(void **state)
{
    (void)state;
    struct timeline t = timeline_of(90000, 48000);
    assert_true(map(&t, true, true, 0, 0, 0).kept);
    assert_int_equal(map(&t, false, true, 0, 0, 0).dts, 0);
    int64_t jump = 3600; /* seconds */
    assert_int_equal(map(&t, true, false, 3600 + 90000 * jump, 3600 + 90000 * jump, 0).dts, 3600);
    assert_int_equal(map(&t, false, true, 1024 + 48000 * jump, 1024 + 48000 * jump, 0).dts, 1024);
    assert_int_equal(map(&t, true, false, 7200 + 90000 * jump, 7200 + 90000 * jump, 0).dts, 7200);
    assert_int_equal(t.rebased, 1);
    /* and back, as at a wrap */
    assert_int_equal(map(&t, true, false, 10800, 10800, 0).dts, 10800);
    assert_int_equal(map(&t, false, true, 2048, 2048, 0).dts, 2048);
}

static void test_sound_that_jumps_first_waits_for_the_picture(void **state)
{
    (void)state;
    struct timeline t = timeline_of(90000, 8000);
    assert_true(map(&t, true, true, 0, 0, 1).kept);
    assert_true(map(&t, false, true, 0, 0, 1).kept);
    assert_false(map(&t, false, true, 8000 * 100, 8000 * 100, 20000).kept);
    assert_int_equal(map(&t, true, false, 90000 * 100 + 3600, 90000 * 100 + 3600, 40000).dts, 3600);
    assert_true(map(&t, false, true, 8000 * 100 + 320, 8000 * 100 + 320, 60000).kept);
}

static void test_sound_whose_clock_leaves_for_good_comes_back_after_five_seconds(void **state)
{
    (void)state;
    struct timeline t = timeline_of(90000, 8000);
    unsigned kept = 0;
    int64_t last = -1;
    for (int64_t i = 0; i < 250; i++) { /* 10 s */
        map(&t, true, i % 50 == 0, 3600 * i, 3600 * i, 40000 * i + 1);
        int64_t away = i < 50 ? 0 : 8000 * 5000;
        struct tick k = map(&t, false, true, away + 320 * i, TIMELINE_NONE, 40000 * i + 1);
        kept += k.kept;
        if (k.kept) {
            assert_true(k.dts > last);
            assert_true(llabs(k.dts - 320 * i) < 8000); /* beside the picture */
            last = k.dts;
        }
    }
    assert_in_range(kept, 110, 130);
}

/* A camera that sends sound late, and counts it from 0 then. */
static void test_sound_that_comes_late_is_put_beside_the_picture(void **state)
{
    (void)state;
    struct timeline t = timeline_of(90000, 8000);
    for (int64_t i = 0; i < 100; i++)
        assert_true(map(&t, true, i == 0, 3600 * i, 3600 * i, 40000 * i).kept);
    struct tick k = map(&t, false, true, 0, 0, 4000000);
    assert_true(k.kept && k.dts == 8000 * 99 / 25);
    assert_int_equal(map(&t, false, true, 320, 320, 4040000).dts, 8000 * 100 / 25);
    /* It is away for a minute, and counts anew once more. */
    timeline__leave(&t, SOUND);
    for (int64_t i = 100; i < 1600; i++)
        assert_true(map(&t, true, false, 3600 * i, 3600 * i, 40000 * i).kept);
    k = map(&t, false, true, 7, 7, 64000000);
    assert_true(k.kept && k.dts == 8000 * 1599 / 25);
}

/* ---- sound ---------------------------------------------------------------------------------------------------------- */

struct heard {
    unsigned frames, moves; /* moves: times that did not follow the last */
    int64_t moved;          /* by so much in all */
    int64_t first, last;
    size_t bytes;
};

static void note_sound(void *ctx, struct wr_slice data, int64_t pts, uint32_t duration)
{
    struct heard *h = ctx;
    assert_int_equal(duration, 1024);
    if (h->frames++ == 0)
        h->first = pts;
    else if (pts != h->last + 1024)
        h->moved += pts - (h->last + 1024), h->moves++;
    h->last = pts;
    h->bytes += data.n;
}

static struct sound *g711(enum wr_codec codec, struct heard *h)
{
    struct sound *s = NULL;
    struct wr_errmsg err = {""};
    assert_true(sound__takes(codec));
    assert_int_equal(sound__new(codec, 8000, 1, note_sound, h, &s, &err), WR_OK);
    return s;
}

/* 40 ms in 320 samples. */
static void feed_g711(struct sound *s, int64_t pts)
{
    uint8_t p[320];
    for (int b = 0; b < 320; b++)
        p[b] = (uint8_t)(0x55 ^ (b * 7));
    sound__feed(s, wr_slice_of(p, sizeof p), pts);
}

static void test_g711_becomes_aac_frames_without_holes(void **state)
{
    (void)state;
    static const enum wr_codec ids[] = {WR_CODEC_G711A, WR_CODEC_G711U};
    for (unsigned k = 0; k < 2; k++) {
        struct heard h = {.frames = 0};
        struct aac_config c;
        struct sound *s = g711(ids[k], &h);
        assert_true(aac__parse_config(sound__config(s), &c) && c.sample_rate == 48000 &&
                    c.channels == 1);
        for (int64_t i = 0; i < 100; i++) /* 4 s, their clock a little off */
            feed_g711(s, 96000 + 1920 * i + i % 3);
        assert_in_range(h.frames, 180, 190); /* 187.5 of 1,024 samples, less what is still inside */
        assert_int_equal(h.moves, 0);
        assert_true(h.first >= 96000 - 2048 && h.first <= 96000);
        assert_true(h.bytes > 2000);
        sound__free(&s);
    }
}

static void test_sound_that_was_put_beside_the_picture_stays_there(void **state)
{
    (void)state;
    for (int64_t by = -4800; by <= 4800;
         by += 9600) { /* 100 ms: less than what makes it believe another clock */
        struct heard h = {.frames = 0};
        struct sound *s = g711(WR_CODEC_G711A, &h);
        for (int64_t i = 0; i < 50; i++)
            feed_g711(s, 96000 + 1920 * i);
        sound__shift(s, by);
        for (int64_t i = 50; i < 100; i++)
            feed_g711(s, 96000 + 1920 * i + by);
        assert_int_equal(h.moves, 1);
        assert_int_equal(h.moved, by);
        sound__free(&s);
    }
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sps_tells_size_rate_and_reordering),
        cmocka_unit_test(test_broken_sps_is_harmless),
        cmocka_unit_test(test_start_codes_of_three_and_four_bytes),
        cmocka_unit_test(test_lengths_that_run_past_the_end_end_it),
        cmocka_unit_test(test_stored_form_has_lengths_and_no_noise),
        cmocka_unit_test(test_recovery_point_is_seen),
        cmocka_unit_test(test_changed_parameter_sets_are_noticed_once),
        cmocka_unit_test(test_adts_head_says_what_the_config_says),
        cmocka_unit_test(test_config_of_aac),
        cmocka_unit_test(test_a_picture_is_what_has_one_time),
        cmocka_unit_test(test_a_picture_without_end_is_dropped_and_counted),
        cmocka_unit_test(test_decoding_times_of_b_frames),
        cmocka_unit_test(test_time_begins_with_the_first_keyframe),
        cmocka_unit_test(test_missing_and_repeated_times_are_filled),
        cmocka_unit_test(test_a_jump_moves_picture_and_sound_together),
        cmocka_unit_test(test_sound_that_jumps_first_waits_for_the_picture),
        cmocka_unit_test(test_sound_that_comes_late_is_put_beside_the_picture),
        cmocka_unit_test(test_sound_whose_clock_leaves_for_good_comes_back_after_five_seconds),
        cmocka_unit_test(test_g711_becomes_aac_frames_without_holes),
        cmocka_unit_test(test_sound_that_was_put_beside_the_picture_stays_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
