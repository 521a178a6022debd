/* SPDX-License-Identifier: MIT
 *
 * The conformance suite of the muxer kind. */
#include "muxer_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "wr_plugins.h"

static void collect_bytes(struct wr_mux_sink *sink, const void *p, size_t n)
{
    struct wr_mux_collect *c = (struct wr_mux_collect *)(void *)sink;
    c->head_bytes += n;
    wr_buf_add(&c->out, p, n);
}

static void collect_payload(struct wr_mux_sink *sink, struct wr_slice data)
{
    struct wr_mux_collect *c = (struct wr_mux_collect *)(void *)sink;
    c->payload_bytes += data.n;
    if (data.p < c->within.p || data.p + data.n > c->within.p + c->within.n)
        c->outside = true;
    wr_buf_slice(&c->out, data);
}

void wr_mux_collect_init(struct wr_mux_collect *c)
{
    *c = (struct wr_mux_collect){.sink = {.bytes = collect_bytes, .payload = collect_payload}};
}

static const uint8_t avcc[] = {1,    0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 8,    0x67, 0x42, 0xc0, 0x1f,
                               0xda, 0x01, 0x40, 0x16, 1,    0,    4, 0x68, 0xce, 0x0f, 0xc8};
static const uint8_t hvcc[] = {1,    1,    0x60, 0,    0,    0,    0x90, 0, 0, 0,    0, 0,
                               0x5d, 0xf0, 0,    0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0};
static const uint8_t asc[] = {0x11, 0x90};
static const uint8_t opus_head[] = {1, 2, 0x38, 0x01, 0x80, 0xbb, 0, 0, 0, 0, 0};

/* One track of each codec that a muxer may carry, with a configuration as short as it gets. */
static const struct wr_track samples[] = {
    {.codec = WR_CODEC_H264,
     .kind = WR_MEDIA_VIDEO,
     .config = {avcc, sizeof avcc},
     .timescale = 90000,
     .codec_string = "avc1.42c01f"},
    {.codec = WR_CODEC_H265,
     .kind = WR_MEDIA_VIDEO,
     .config = {hvcc, sizeof hvcc},
     .timescale = 90000,
     .codec_string = "hvc1.1.6.L93.90"},
    {.codec = WR_CODEC_AAC,
     .kind = WR_MEDIA_AUDIO,
     .config = {asc, sizeof asc},
     .timescale = 48000,
     .codec_string = "mp4a.40.2"},
    {.codec = WR_CODEC_OPUS,
     .kind = WR_MEDIA_AUDIO,
     .config = {opus_head, sizeof opus_head},
     .timescale = 48000,
     .codec_string = "opus"},
};

static struct wr_track sample(size_t i, uint32_t id)
{
    struct wr_track t = samples[i];
    t.id = id;
    if (t.kind == WR_MEDIA_VIDEO) {
        t.width = 1280;
        t.height = 720;
        t.fps_milli = 25000;
    } else {
        t.sample_rate = 48000;
        t.channels = 2;
    }
    snprintf(t.language, sizeof t.language, "en");
    return t;
}

static void sample_tracks(struct wr_track out[2], size_t video, size_t audio)
{
    out[0] = sample(video, 1);
    out[1] = sample(audio, 2);
}

static void no_tracks_are_refused_with_a_sentence(const struct wr_muxer_plugin *m, void *state)
{
    struct wr_errmsg err = {""};
    assert_int_equal(m->open(state, NULL, 0, &err), WR_ERR_INVALID);
    assert_true(err.text[0] != 0);
}

static void init_is_the_same_at_each_call(const struct wr_muxer_plugin *m, void *state)
{
    for (enum wr_mux_init what = WR_MUX_INIT_FIRST; what <= WR_MUX_INIT_AGAIN; what++) {
        struct wr_mux_collect a, b;
        wr_mux_collect_init(&a);
        wr_mux_collect_init(&b);
        m->init(state, what, &a.sink);
        m->init(state, what, &b.sink);
        assert_int_equal(a.out.n, b.out.n);
        if (a.out.n)
            assert_memory_equal(a.out.p, b.out.p, a.out.n);
        assert_int_equal(a.payload_bytes, 0);
        wr_buf_free(&a.out);
        wr_buf_free(&b.out);
    }
}

static void mime_fits_and_has_a_type(const struct wr_muxer_plugin *m, void *state)
{
    char mime[WR_MUXER_MIME_MAX] = "", little[8];
    m->mime(state, mime, sizeof mime);
    assert_non_null(strchr(mime, '/'));
    m->mime(state, little, sizeof little);
    assert_true(memchr(little, 0, sizeof little) != NULL);
}

static struct wr_media_frame sample_frame(unsigned i, struct wr_slice data)
{
    return (struct wr_media_frame){.track = 1 + i % 2,
                                   .key = i == 0,
                                   .seq = i,
                                   .gop = 1,
                                   .dts = 3600 * (int64_t)i,
                                   .pts = 3600 * (int64_t)i + (i == 4 ? -7200 : 3600),
                                   .duration = 3600,
                                   .data = data};
}

/* Another gateway, or this one after some time: what was muxed before leaves no trace. */
static void a_frame_is_the_same_whenever_one_begins(const struct wr_muxer_plugin *m,
                                                    const struct wr_track tracks[2])
{
    struct wr_errmsg err = {""};
    struct wr_mux_collect from_the_start, late;
    void *a = wr_plugin_state(&m->base), *b = wr_plugin_state(&m->base);
    wr_mux_collect_init(&from_the_start);
    wr_mux_collect_init(&late);
    assert_int_equal(m->open(a, tracks, 2, &err), WR_OK);
    assert_int_equal(m->open(b, tracks, 2, &err), WR_OK);
    for (unsigned i = 0; i < 20; i++) {
        struct wr_media_frame f = sample_frame(i, wr_slice_str("a frame's data"));
        from_the_start.within = late.within = f.data;
        wr_buf_clear(&from_the_start.out);
        wr_buf_clear(&late.out);
        m->frame(a, &f, &from_the_start.sink);
        if (i < 10)
            continue;
        m->frame(b, &f, &late.sink);
        assert_int_equal(from_the_start.out.n, late.out.n);
        assert_memory_equal(from_the_start.out.p, late.out.p, late.out.n);
    }
    m->close(a);
    m->close(b);
    free(a);
    free(b);
    wr_buf_free(&from_the_start.out);
    wr_buf_free(&late.out);
}

static void each_payload_is_referenced_once_and_whole(const struct wr_muxer_plugin *m, void *state)
{
    static uint8_t data[100000];
    static const size_t sizes[] = {1, 5, 255, 65536, sizeof data};
    for (unsigned i = 0; i < 2 * WR_ARRAY_LEN(sizes); i++) {
        struct wr_mux_collect c;
        wr_mux_collect_init(&c);
        c.within = wr_slice_of(data, sizes[i / 2]);
        struct wr_media_frame f = sample_frame(i, c.within);
        m->frame(state, &f, &c.sink);
        assert_false(c.outside);
        assert_int_equal(c.payload_bytes, f.data.n);
        assert_true(c.head_bytes <= 256);
        wr_buf_free(&c.out);
    }
}

static void unknown_track_is_left_out(const struct wr_muxer_plugin *m, void *state)
{
    struct wr_mux_collect c;
    wr_mux_collect_init(&c);
    c.within = wr_slice_of("abc", 3);
    struct wr_media_frame f = {.track = 9, .data = c.within};
    m->frame(state, &f, &c.sink);
    /* The null muxer knows no tracks: it may pass the payload on, but never more. */
    assert_true(c.payload_bytes == 0 || c.head_bytes == 0);
    wr_buf_free(&c.out);
}

/* At least one track, of a kind, of one codec that the table promises, alone and in pairs. */
static void what_the_table_promises_is_carried(const struct wr_muxer_plugin *m, void *state)
{
    struct wr_errmsg err = {""};
    assert_true(m->codecs[0] != WR_CODEC_NONE);
    for (size_t v = 0; v < WR_ARRAY_LEN(samples); v++) {
        struct wr_track one = sample(v, 7);
        if (!wr_muxer_carries(m, one.codec))
            continue;
        assert_true(m->max_tracks[one.kind] >= 1 && m->max_tracks[one.kind] <= WR_TRACKS_MAX);
        assert_int_equal(m->open(state, &one, 1, &err), WR_OK);
        m->close(state);
        for (size_t a = 0; a < WR_ARRAY_LEN(samples); a++) {
            struct wr_track two[2] = {sample(v, 7), sample(a, 9)};
            if (!wr_muxer_carries(m, two[1].codec) || two[0].kind == two[1].kind)
                continue;
            assert_int_equal(m->open(state, two, 2, &err), WR_OK);
            m->close(state);
        }
    }
}

static void as_many_tracks_as_the_table_says_are_carried(const struct wr_muxer_plugin *m,
                                                         void *state)
{
    struct wr_errmsg err = {""};
    struct wr_track many[WR_TRACKS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < m->max_tracks[WR_MEDIA_AUDIO]; i++, n++)
        many[n] = sample(2, (uint32_t)(n + 1));
    assert_int_equal(m->open(state, many, n, &err), WR_OK);
    mime_fits_and_has_a_type(m, state);
    m->close(state);
}

static void run_with(const struct wr_muxer_plugin *m, void *state, size_t video, size_t audio)
{
    struct wr_errmsg err = {""};
    struct wr_track tracks[2];
    sample_tracks(tracks, video, audio);
    for (int round = 0; round < 2; round++) { /* the same state takes a second epoch */
        assert_int_equal(m->open(state, tracks, 2, &err), WR_OK);
        init_is_the_same_at_each_call(m, state);
        mime_fits_and_has_a_type(m, state);
        each_payload_is_referenced_once_and_whole(m, state);
        unknown_track_is_left_out(m, state);
        m->close(state);
    }
    a_frame_is_the_same_whenever_one_begins(m, tracks);
}

void wr_muxer_suite(const struct wr_muxer_plugin *m)
{
    struct wr_errmsg err = {""};
    assert_int_equal(wr_plugin_check(&m->base, &err), WR_OK);
    void *state = wr_plugin_state(&m->base);
    no_tracks_are_refused_with_a_sentence(m, state);
    what_the_table_promises_is_carried(m, state);
    as_many_tracks_as_the_table_says_are_carried(m, state);
    for (size_t v = 0; v < 2; v++)
        for (size_t a = 2; a < WR_ARRAY_LEN(samples); a++)
            if (wr_muxer_carries(m, samples[v].codec) && wr_muxer_carries(m, samples[a].codec))
                run_with(m, state, v, a);
    free(state);
}
