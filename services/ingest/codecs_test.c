/* SPDX-License-Identifier: MIT
 *
 * Claims about each codec's table: what encoders that are not ours make is learnt, looked through, stored and described, and a
 * decoder that is not ours understands the result. H.264's syntax has more tests in stored_form_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <stdlib.h>

#include "codec.h"
#include "h265.h"

#define BYTES(...) \
    wr_slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

struct one {
    const struct codec *c;
    void *state;
    struct wr_buf config;
    struct codec_facts facts;
    struct codec_unit unit;
};

static struct one one_of(enum wr_codec codec, struct wr_slice config, uint32_t rate,
                         uint32_t channels, bool *learnt)
{
    struct one o = {.c = codec__find(codec)};
    assert_non_null(o.c);
    o.state = calloc(1, o.c->state_bytes);
    *learnt = o.c->learn(o.state, &(struct codec_hint){config, rate, channels});
    return o;
}

static void drop(struct one *o)
{
    if (o->c->fini)
        o->c->fini(o->state);
    free(o->state);
    wr_buf_free(&o->config);
}

static bool describe(struct one *o)
{
    return o->c->config(o->state, &o->unit, &o->config, &o->facts);
}

static const char *string_of(const struct one *o)
{
    static char text[WR_CODEC_STRING_BYTES];
    o->c->string(wr_slice_of(o->config.p, o->config.n), text);
    return text;
}

static void test_every_codec_is_in_the_table_once(void **state)
{
    (void)state;
    for (size_t i = 0; codec__all[i]; i++) {
        const struct codec *c = codec__all[i];
        assert_ptr_equal(codec__find(c->codec), c);
        assert_ptr_equal(codec__find_av(c->av_id), c);
        assert_true(c->learn && c->scan && c->config && c->store && c->string && c->state_bytes);
        assert_true(wr_codec_kind(c->codec) != WR_MEDIA_NONE);
        char text[WR_CODEC_STRING_BYTES];
        c->string(wr_slice_of(NULL, 0), text);
        assert_memory_equal(text, wr_codec_info(c->codec)->rfc6381, 4);
    }
    assert_null(codec__find(WR_CODEC_NONE));
    assert_null(codec__find(WR_CODEC_AV1));
}

/* ---- H.265 ---------------------------------------------------------------------------------------------------------- */

struct coded {
    struct wr_buf config; /* Annex B */
    struct wr_buf frames[30];
    unsigned n;
};

static struct coded encode(const char *encoder, int width, int height, const char *params)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(encoder);
    AVCodecContext *c = avcodec_alloc_context3(codec);
    struct coded out = {.n = 0};
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){1, 25};
    c->framerate = (AVRational){25, 1};
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "preset", "ultrafast", 0);
    av_opt_set(c->priv_data, "x265-params", params, 0);
    assert_int_equal(avcodec_open2(c, codec, NULL), 0);
    wr_buf_add(&out.config, c->extradata, (size_t)c->extradata_size);
    AVFrame *f = av_frame_alloc();
    AVPacket *p = av_packet_alloc();
    f->format = c->pix_fmt;
    f->width = width;
    f->height = height;
    assert_int_equal(av_frame_get_buffer(f, 0), 0);
    for (int i = 0; i <= 24; i++) {
        assert_int_equal(av_frame_make_writable(f), 0);
        for (int k = 0; k < 3; k++)
            memset(f->data[k], 16 + 7 * i,
                   (size_t)f->linesize[k] * (size_t)(k ? height / 2 : height));
        f->pts = i;
        assert_int_equal(avcodec_send_frame(c, i < 24 ? f : NULL), 0);
        while (avcodec_receive_packet(c, p) >= 0) {
            assert_true(out.n < WR_ARRAY_LEN(out.frames));
            wr_buf_add(&out.frames[out.n++], p->data, (size_t)p->size);
            av_packet_unref(p);
        }
    }
    av_frame_free(&f);
    av_packet_free(&p);
    avcodec_free_context(&c);
    return out;
}

static void drop_coded(struct coded *x)
{
    wr_buf_free(&x->config);
    for (unsigned i = 0; i < x->n; i++)
        wr_buf_free(&x->frames[i]);
}

/* The stored form under its own configuration, through libavcodec: as many pictures come out. */
static unsigned decode(const struct one *o, const struct wr_buf *stored, unsigned n)
{
    AVCodecContext *c = avcodec_alloc_context3(avcodec_find_decoder((enum AVCodecID)o->c->av_id));
    unsigned pictures = 0;
    c->extradata = av_mallocz(o->config.n + AV_INPUT_BUFFER_PADDING_SIZE);
    memcpy(c->extradata, o->config.p, o->config.n);
    c->extradata_size = (int)o->config.n;
    c->thread_count = 1;
    c->err_recognition = AV_EF_EXPLODE;
    assert_int_equal(avcodec_open2(c, NULL, NULL), 0);
    AVPacket *p = av_packet_alloc();
    AVFrame *f = av_frame_alloc();
    for (unsigned i = 0; i <= n; i++) {
        if (i < n) {
            assert_int_equal(av_new_packet(p, (int)stored[i].n), 0);
            memcpy(p->data, stored[i].p, stored[i].n);
        }
        assert_int_equal(avcodec_send_packet(c, i < n ? p : NULL), 0);
        av_packet_unref(p);
        while (avcodec_receive_frame(c, f) >= 0) {
            assert_true(f->width == (int)o->facts.width && f->height == (int)o->facts.height);
            pictures++;
        }
    }
    av_packet_free(&p);
    av_frame_free(&f);
    avcodec_free_context(&c);
    return pictures;
}

static void test_h265_of_an_encoder_becomes_what_a_decoder_takes(void **state)
{
    (void)state;
    static const struct {
        int width, height;
        const char *params;
        unsigned keys, reorder;
    } cases[] = {{640, 360,
                  "log-level=none:keyint=8:min-keyint=8:scenecut=0:bframes=0:open-gop=0:repeat-"
                  "headers=1:aud=1",
                  3, 0},
                 {1282, 722,
                  "log-level=none:keyint=12:min-keyint=12:scenecut=0:bframes=2:b-adapt=0:open-gop="
                  "1:repeat-headers=1",
                  2, 1},
                 {320, 240,
                  "log-level=none:keyint=-1:scenecut=0:bframes=0:hrd=1:vbv-maxrate=500:vbv-bufsize="
                  "500:scaling-list=default",
                  1, 0}};
    for (size_t k = 0; k < WR_ARRAY_LEN(cases); k++) {
        struct coded x = encode("libx265", cases[k].width, cases[k].height, cases[k].params);
        struct wr_buf stored[30] = {{.n = 0}};
        bool learnt;
        unsigned keys = 0;
        struct one o = one_of(WR_CODEC_H265, wr_slice_of(x.config.p, x.config.n), 0, 0, &learnt);
        assert_true(learnt && x.n == 24);
        for (unsigned i = 0; i < x.n; i++) {
            struct codec_unit *u = &o.unit;
            o.c->scan(o.state, wr_slice_of(x.frames[i].p, x.frames[i].n), u);
            assert_true(u->has_media && u->bytes > 0 && u->bytes < x.frames[i].n + 16);
            assert_false(u->sets_changed); /* those of the description, again */
            if (u->key) {
                keys++;
                assert_true(describe(&o));
            }
            uint8_t *to = wr_buf_reserve(&stored[i], u->bytes);
            assert_ptr_equal(o.c->store(o.state, u, false, to), to + u->bytes);
            stored[i].n = u->bytes;
        }
        assert_int_equal(keys, cases[k].keys);
        assert_int_equal(o.facts.width, cases[k].width);
        assert_int_equal(o.facts.height, cases[k].height);
        assert_int_equal(o.facts.fps_milli, 25000);
        assert_true(o.facts.reorder >= cases[k].reorder && o.facts.timescale == 90000);
        assert_memory_equal(string_of(&o), "hvc1.1.6.L", 10);
        assert_int_equal(decode(&o, stored, x.n), 24);
        /* hvcC read back teaches the same. */
        struct one again = one_of(WR_CODEC_H265, wr_slice_of(o.config.p, o.config.n), 0, 0,
                                  &learnt);
        o.c->scan(again.state, wr_slice_of(stored[0].p, stored[0].n), &again.unit);
        assert_true(again.unit.has_media && again.unit.key && describe(&again));
        assert_true(wr_slice_eq(wr_slice_of(o.config.p, o.config.n),
                                wr_slice_of(again.config.p, again.config.n)));
        drop(&again);
        drop(&o);
        for (unsigned i = 0; i < x.n; i++)
            wr_buf_free(&stored[i]);
        drop_coded(&x);
    }
}

/* The example of ISO/IEC 14496-15 E.3, a high tier, and a profile space. */
static void test_h265_codec_strings(void **state)
{
    (void)state;
    char text[WR_CODEC_STRING_BYTES];
    h265__codec_string(BYTES(1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93), text);
    assert_string_equal(text, "hvc1.1.6.L93.B0");
    h265__codec_string(BYTES(1, 0x62, 0x20, 0, 0, 0, 0x90, 0, 8, 0, 0, 0, 120), text);
    assert_string_equal(text, "hvc1.A2.4.H120.90.0.8");
    h265__codec_string(BYTES(1, 0xff, 0xff, 0xff, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255),
                       text);
    assert_string_equal(text, "hvc1.C31.FFFFFFFF.H255.FF.FF.FF.FF.FF.FF");
    h265__codec_string(BYTES(1, 1), text);
    assert_string_equal(text, "hvc1");
}

/* Kinds of random access pictures begin, others do not; a set that changed between keyframes can stay in the data. */
static void test_h265_keys_and_sets(void **state)
{
    (void)state;
    struct coded x = encode("libx265", 320, 240, "log-level=none:keyint=-1:bframes=0");
    bool learnt;
    struct one o = one_of(WR_CODEC_H265, wr_slice_of(x.config.p, x.config.n), 0, 0, &learnt);
    for (unsigned type = 0; type < 40; type++) {
        const uint8_t nal[] = {0, 0, 1, (uint8_t)(type << 1), 1, 0xaf, 0x12};
        o.c->scan(o.state, wr_slice_of(nal, sizeof nal), &o.unit);
        assert_int_equal(o.unit.has_media, type <= 31);
        assert_int_equal(o.unit.key, type >= 16 && type <= 23);
    }
    /* Another layer's picture, and a cut head. */
    o.c->scan(o.state, BYTES(0, 0, 1, 0x26, 0x09, 0xaf), &o.unit);
    assert_false(o.unit.has_media);
    o.c->scan(o.state, BYTES(0, 0, 1, 0x26), &o.unit);
    assert_false(o.unit.has_media);
    /* A PPS that is new, in front of a picture that is no key. */
    const uint8_t with[] = {0, 0, 1, 0x44, 1, 0x42, 0x80, 0, 0, 1, 0x02, 1, 0xaf, 0x12};
    o.c->scan(o.state, wr_slice_of(with, sizeof with), &o.unit);
    assert_true(o.unit.sets_changed && o.unit.bytes == 8 && o.unit.sets_bytes == 8);
    uint8_t to[16];
    assert_ptr_equal(o.c->store(o.state, &o.unit, true, to), to + 16);
    assert_memory_equal(to, "\0\0\0\4\x44\1\x42\x80\0\0\0\4\2\1\xaf\x12", 16);
    drop(&o);
    drop_coded(&x);
}

static void test_broken_h265_sps_is_harmless(void **state)
{
    (void)state;
    struct coded x = encode("libx265", 1920, 1080,
                            "log-level=none:bframes=2:hrd=1:vbv-maxrate=900:vbv-bufsize=900");
    struct nal_iter it;
    struct wr_slice nal;
    struct h265_sps sps;
    nal__iter(&it, wr_slice_of(x.config.p, x.config.n), NAL_ANNEXB);
    while (nal__next(&it, &nal) && (nal.p[0] >> 1 & 63) != H265_SPS)
        ;
    assert_true(h265__parse_sps(nal, &sps));
    assert_true(sps.width == 1920 && sps.height == 1080 && sps.fps_milli == 25000);
    for (size_t n = 0; n < nal.n; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, nal.p, n);
        (void)h265__parse_sps(wr_slice_of(cut, n), &sps);
        free(cut);
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *bad = malloc(nal.n);
            memcpy(bad, nal.p, nal.n);
            bad[n] ^= (uint8_t)(1u << bit);
            if (h265__parse_sps(wr_slice_of(bad, nal.n), &sps))
                assert_true(sps.width > 0 && sps.width <= 16384 && sps.height > 0 &&
                            sps.height <= 16384);
            free(bad);
        }
    }
    drop_coded(&x);
}

/* ---- sound ---------------------------------------------------------------------------------------------------------- */

static void test_opus_packets_tell_their_duration(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[2];
        size_t n;
        uint32_t duration;             /* 0 = no packet */
    } cases[] = {{{0xfc, 0}, 2, 960},  /* CELT 20 ms, one frame */
                 {{0xe0, 0}, 2, 120},  /* CELT 2.5 ms */
                 {{0x18, 0}, 2, 2880}, /* SILK 60 ms */
                 {{0x78, 0}, 2, 960},  /* hybrid 20 ms */
                 {{0x19, 0}, 2, 5760}, /* two frames */
                 {{0x1b, 2}, 2, 5760}, /* code 3: so many */
                 {{0x1b, 3}, 2, 0},    /* more than 120 ms */
                 {{0xfb, 0}, 2, 0},    /* no frames */
                 {{0xfb, 0}, 1, 0},    /* cut */
                 {{0, 0}, 0, 0}};
    bool learnt;
    struct one o = one_of(WR_CODEC_OPUS, wr_slice_of(NULL, 0), 48000, 2, &learnt);
    assert_true(learnt);
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        o.c->scan(o.state, wr_slice_of(cases[i].bytes, cases[i].n), &o.unit);
        assert_int_equal(o.unit.duration, cases[i].duration);
        assert_int_equal(o.unit.has_media, cases[i].duration > 0);
    }
    assert_true(describe(&o) && o.config.n == 11 && o.facts.timescale == 48000 &&
                o.facts.channels == 2);
    assert_memory_equal(o.config.p, "\1\2\0\0\x80\xbb\0\0\0\0\0", 11);
    assert_string_equal(string_of(&o), "opus");
    drop(&o);
}

static void test_opus_heads_are_taken_with_and_without_magic(void **state)
{
    (void)state;
    static const char head[] = "OpusHead\1\6\x38\1\x80\xbb\0\0\0\0\1\4\2\0\4\1\2\3\5";
    struct wr_slice whole = wr_slice_of(head, sizeof head - 1);
    bool learnt;
    for (int magic = 0; magic <= 1; magic++) {
        struct one o = one_of(WR_CODEC_OPUS, magic ? whole : wr_slice_of(whole.p + 8, whole.n - 8),
                              0, 0, &learnt);
        assert_true(learnt && describe(&o) && o.facts.channels == 6);
        assert_true(wr_slice_eq(wr_slice_of(o.config.p, o.config.n),
                                wr_slice_of(whole.p + 8, whole.n - 8)));
        drop(&o);
    }
    for (size_t n = 1; n < whole.n - 8;
         n++) { /* cut: refused, or without the mapping that it needs */
        struct one o = one_of(WR_CODEC_OPUS, wr_slice_of(whole.p + 8, n), 0, 0, &learnt);
        assert_false(learnt);
        drop(&o);
    }
}

static void test_g711_is_as_long_as_its_bytes(void **state)
{
    (void)state;
    static const enum wr_codec laws[] = {WR_CODEC_G711A, WR_CODEC_G711U};
    for (size_t i = 0; i < 2; i++) {
        bool learnt;
        struct one o = one_of(laws[i], wr_slice_of(NULL, 0), 16000, 2, &learnt);
        assert_true(learnt);
        o.c->scan(o.state, wr_slice_str("0123456789"), &o.unit);
        assert_true(o.unit.has_media && o.unit.key && o.unit.duration == 5 && o.unit.bytes == 10);
        assert_true(describe(&o) && o.config.n == 0 && o.facts.timescale == 16000 &&
                    o.facts.channels == 2);
        assert_string_equal(string_of(&o), i ? "ulaw" : "alaw");
        uint8_t to[10];
        assert_ptr_equal(o.c->store(o.state, &o.unit, false, to), to + 10);
        assert_memory_equal(to, "0123456789", 10);
        o.c->scan(o.state, wr_slice_str("0"), &o.unit);
        assert_false(o.unit.has_media);
        drop(&o);
    }
}

static void test_g711_stays_within_what_can_be(void **state)
{
    static const struct {
        uint32_t rate, channels;
        bool learnt;
    } cases[] = {{0, 0, true}, {192000, 8, true}, {192001, 1, false}, {8000, 9, false}};
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        bool learnt;
        struct one o = one_of(WR_CODEC_G711A, (struct wr_slice){0}, cases[i].rate,
                              cases[i].channels, &learnt);
        assert_int_equal(learnt, cases[i].learnt);
        if (learnt) {
            assert_true(describe(&o));
            assert_int_equal(o.facts.sample_rate, cases[i].rate ? cases[i].rate : 8000);
            assert_int_equal(o.facts.channels, cases[i].channels ? cases[i].channels : 1);
            o.c->scan(o.state, BYTES(1, 2, 3, 4, 5, 6, 7),
                      &o.unit); /* of 8 channels not a sample */
            assert_int_equal(o.unit.has_media, cases[i].channels < 8);
            assert_int_equal(o.unit.duration, cases[i].channels < 8 ? 7 : 0);
        }
        drop(&o);
    }
}

static void test_aac_is_described_by_its_description_or_its_first_head(void **state)
{
    (void)state;
    bool learnt;
    struct one o = one_of(WR_CODEC_AAC, BYTES(0x11, 0x90), 0, 0, &learnt);
    o.c->scan(o.state, wr_slice_str("raw frame"), &o.unit);
    assert_true(learnt && o.unit.has_media && o.unit.duration == 1024 && describe(&o));
    assert_true(o.facts.timescale == 48000 && o.facts.channels == 2);
    assert_string_equal(string_of(&o), "mp4a.40.2");
    drop(&o);
    o = one_of(WR_CODEC_AAC, wr_slice_of(NULL, 0), 0, 0, &learnt);
    o.c->scan(o.state, wr_slice_str("raw frame"), &o.unit);
    assert_true(learnt && !o.unit.has_media && !describe(&o)); /* nobody told */
    o.c->scan(o.state, BYTES(0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 1, 2), &o.unit);
    assert_true(o.unit.has_media && o.unit.bytes == 2 && describe(&o));
    assert_memory_equal(o.config.p, "\x11\x90", 2);
    drop(&o);
    o = one_of(WR_CODEC_AAC, BYTES(0x16, 0x90), 0, 0, &learnt);
    assert_false(learnt); /* a reserved rate */
    drop(&o);
}

static void test_h264_of_an_encoder_is_described(void **state)
{
    (void)state;
    struct coded x = encode("libx264", 640, 360, "");
    bool learnt;
    struct one o = one_of(WR_CODEC_H264, wr_slice_of(x.config.p, x.config.n), 0, 0, &learnt);
    struct wr_buf stored[30] = {{.n = 0}};
    for (unsigned i = 0; i < x.n; i++) {
        o.c->scan(o.state, wr_slice_of(x.frames[i].p, x.frames[i].n), &o.unit);
        assert_true(o.unit.has_media);
        if (o.unit.key)
            assert_true(describe(&o));
        uint8_t *to = wr_buf_reserve(&stored[i], o.unit.bytes);
        assert_ptr_equal(o.c->store(o.state, &o.unit, false, to), to + o.unit.bytes);
        stored[i].n = o.unit.bytes;
    }
    assert_true(o.facts.width == 640 && o.facts.height == 360 && o.facts.fps_milli == 25000);
    assert_memory_equal(string_of(&o), "avc1.", 5);
    assert_int_equal(decode(&o, stored, x.n), 24);
    for (unsigned i = 0; i < x.n; i++)
        wr_buf_free(&stored[i]);
    drop(&o);
    drop_coded(&x);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_codec_is_in_the_table_once),
        cmocka_unit_test(test_h264_of_an_encoder_is_described),
        cmocka_unit_test(test_h265_of_an_encoder_becomes_what_a_decoder_takes),
        cmocka_unit_test(test_h265_codec_strings),
        cmocka_unit_test(test_h265_keys_and_sets),
        cmocka_unit_test(test_broken_h265_sps_is_harmless),
        cmocka_unit_test(test_opus_packets_tell_their_duration),
        cmocka_unit_test(test_opus_heads_are_taken_with_and_without_magic),
        cmocka_unit_test(test_g711_is_as_long_as_its_bytes),
        cmocka_unit_test(test_g711_stays_within_what_can_be),
        cmocka_unit_test(test_aac_is_described_by_its_description_or_its_first_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
