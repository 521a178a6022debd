/* SPDX-License-Identifier: MIT
 *
 * The conformance suite of the muxer kind. */
#include "muxer_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
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
static const uint8_t asc[] = {0x11, 0x90};

static void sample_tracks(struct wr_track out[2])
{
    out[0] = (struct wr_track){.id = WR_TRACK_VIDEO,
                               .codec = WR_CODEC_H264,
                               .config = {avcc, sizeof avcc},
                               .timescale = 90000,
                               .width = 1280,
                               .height = 720,
                               .fps_milli = 25000,
                               .codec_string = "avc1.42c01f"};
    out[1] = (struct wr_track){.id = WR_TRACK_AUDIO,
                               .codec = WR_CODEC_AAC,
                               .config = {asc, sizeof asc},
                               .timescale = 48000,
                               .sample_rate = 48000,
                               .channels = 2,
                               .codec_string = "mp4a.40.2"};
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
    char mime[128] = "", little[8];
    m->mime(state, mime, sizeof mime);
    assert_non_null(strchr(mime, '/'));
    m->mime(state, little, sizeof little);
    assert_true(memchr(little, 0, sizeof little) != NULL);
}

static void each_payload_is_referenced_once_and_whole(const struct wr_muxer_plugin *m, void *state)
{
    static uint8_t data[100000];
    static const size_t sizes[] = {1, 5, 255, 65536, sizeof data};
    for (unsigned i = 0; i < 2 * WR_ARRAY_LEN(sizes); i++) {
        struct wr_mux_collect c;
        wr_mux_collect_init(&c);
        c.within = wr_slice_of(data, sizes[i / 2]);
        struct wr_media_frame f = {.track = 1 + i % 2,
                                   .key = i == 0,
                                   .seq = i,
                                   .dts = 3600 * (int64_t)i,
                                   .pts = 3600 * (int64_t)i + (i == 4 ? -7200 : 3600),
                                   .duration = 3600,
                                   .data = c.within};
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

void wr_muxer_suite(const struct wr_muxer_plugin *m)
{
    struct wr_errmsg err = {""};
    struct wr_track tracks[2];
    sample_tracks(tracks);
    assert_int_equal(wr_plugin_check(&m->base, &err), WR_OK);
    void *state = wr_plugin_state(&m->base);
    no_tracks_are_refused_with_a_sentence(m, state);
    for (int round = 0; round < 2; round++) { /* the same state takes a second epoch */
        assert_int_equal(m->open(state, tracks, 2, &err), WR_OK);
        init_is_the_same_at_each_call(m, state);
        mime_fits_and_has_a_type(m, state);
        each_payload_is_referenced_once_and_whole(m, state);
        unknown_track_is_left_out(m, state);
        m->close(state);
    }
    assert_int_equal(m->open(state, tracks, 1, &err), WR_OK); /* video alone */
    m->close(state);
    assert_int_equal(m->open(state, tracks + 1, 1, &err), WR_OK); /* audio alone */
    m->close(state);
    free(state);
}
