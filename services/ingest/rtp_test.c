/* SPDX-License-Identifier: MIT
 *
 * Session descriptions and RTP: what cameras send, cut and bent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "rtp.h"
#include "rtsp.h"
#include "sdp.h"

static const char camera_sdp[] =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    "a=fmtp:96 packetization-mode=1; "
    "sprop-parameter-sets=Z0LAHtoCgL/lwFqAgICgAAADACAAAAZB4sXU,aM48gA==;profile-level-id=42c01e\r\n"
    "a=control:trackID=1\r\na=framerate:12.5\r\n"
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n"
    "a=fmtp:97 "
    "streamtype=5;profile-level-id=2;mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;"
    "indexdeltalength=3\r\n"
    "a=control:rtsp://cam/x/trackID=2\r\n"
    "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n";

static void test_description_of_a_camera(void **state)
{
    (void)state;
    struct sdp s;
    assert_true(sdp__parse(wr_slice_str(camera_sdp), &s));
    assert_int_equal(s.n, 3);
    const struct sdp_track *v = &s.tracks[0], *a = &s.tracks[1];
    assert_true(v->kind == WR_MEDIA_VIDEO && v->packing->codec == WR_CODEC_H264 &&
                v->payload_type == 96 && v->clock == 90000 && v->mode == 1);
    assert_int_equal(v->fps_milli, 12500);
    assert_memory_equal(v->config, "\0\0\0\1\x67\x42\xc0\x1e", 8);
    assert_memory_equal(v->config + v->config_n - 8, "\0\0\0\1\x68\xce\x3c\x80", 8);
    assert_string_equal(v->control, "trackID=1");
    assert_true(a->kind == WR_MEDIA_AUDIO && a->packing->codec == WR_CODEC_AAC &&
                a->clock == 48000 && a->channels == 2);
    assert_true(a->size_bits == 13 && a->index_bits == 3 && a->delta_bits == 3 && a->config_n == 2);
    assert_memory_equal(a->config, "\x11\x90", 2);
    assert_true(!s.tracks[2].packing && s.tracks[2].kind == WR_MEDIA_NONE);
}

static void test_static_types_and_other_codecs_are_named(void **state)
{
    (void)state;
    struct sdp s;
    assert_true(sdp__parse(wr_slice_str("m=audio 0 RTP/AVP 8\nm=audio 0 RTP/AVP 0\nm=video 0 "
                                        "RTP/AVP 96\na=rtpmap:96 H265/90000\n"
                                        "m=audio 0 RTP/AVP 97\na=rtpmap:97 ev\"il\\<x>/8000\n"),
                           &s));
    assert_true(s.tracks[0].packing->codec == WR_CODEC_G711A && s.tracks[0].clock == 8000);
    assert_true(s.tracks[1].packing->codec == WR_CODEC_G711U);
    assert_true(s.tracks[2].packing->codec == WR_CODEC_H265);
    assert_string_equal(s.tracks[2].encoding, "H265");
    assert_string_equal(s.tracks[3].encoding, "ev");
    assert_true(sdp__parse(wr_slice_str("m=video 0 RTP/AVP 26\nm=audio 0 RTP/AVP 14\n"
                                        "m=video 0 RTP/AVP 99\nm=video 0 RTP/AVP 34\n"
                                        "a=rtpmap:34 <>/90000\n"),
                           &s));
    assert_true(!s.tracks[0].packing && !s.tracks[1].packing);
    assert_string_equal(s.tracks[0].encoding, "JPEG");
    assert_string_equal(s.tracks[1].encoding, "MPA");
    assert_string_equal(s.tracks[2].encoding, "payload type 99");
    assert_string_equal(s.tracks[3].encoding, "H263");
    assert_false(sdp__parse(wr_slice_str("v=0\r\n"), &s));
}

static void test_cut_descriptions_are_harmless(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof camera_sdp; n++) {
        struct sdp s;
        char *cut = malloc(n ? n : 1);
        memcpy(cut, camera_sdp, n);
        (void)sdp__parse(wr_slice_of(cut, n), &s);
        free(cut);
    }
    struct wr_buf b = {.n = 0};
    struct sdp s;
    wr_buf_str(&b, "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=");
    for (unsigned i = 0; i < 3000; i++)
        wr_buf_str(&b, "AAAA,");
    assert_true(sdp__parse(wr_slice_of(b.p, b.n), &s));
    assert_true(s.tracks[0].config_n <= SDP_CONFIG_BYTES);
    wr_buf_free(&b);
}

static void test_control_addresses(void **state)
{
    (void)state;
    char out[64], little[8];
    assert_true(rtsp__resolve("rtsp://c/x/", "trackID=1", out, sizeof out));
    assert_string_equal(out, "rtsp://c/x/trackID=1");
    assert_true(rtsp__resolve("rtsp://c/x?a=1", "trackID=1", out, sizeof out));
    assert_string_equal(out,
                        "rtsp://c/x?a=1/trackID=1"); /* what cameras want, whatever RFC 3986 says */
    assert_true(rtsp__resolve("rtsp://c/x", "*", out, sizeof out));
    assert_string_equal(out, "rtsp://c/x");
    assert_true(rtsp__resolve("rtsp://c/x", "rtsp://d/y", out, sizeof out));
    assert_string_equal(out, "rtsp://d/y");
    assert_false(rtsp__resolve("rtsp://c/x", "trackID=1", little, sizeof little));
}

/* ---- packets -------------------------------------------------------------------------------------------------------- */

struct got {
    unsigned n;
    uint8_t bytes[16][64];
    size_t size[16];
    int64_t pts[16], camera_us[16];
    uint32_t duration[16];
};

static void note(void *ctx, const struct rtp_frame *f)
{
    struct got *g = ctx;
    assert_true(g->n < 16);
    g->size[g->n] = f->data.n;
    memcpy(g->bytes[g->n], f->data.p, WR_MIN(f->data.n, sizeof g->bytes[0]));
    g->pts[g->n] = f->pts;
    g->camera_us[g->n] = f->camera_us;
    g->duration[g->n++] = f->duration;
}

static void send(struct rtp *r, uint16_t seq, uint32_t ts, bool marker, const char *payload,
                 size_t n)
{
    uint8_t *p = malloc(12 + n);
    memset(p, 0, 12);
    p[0] = 0x80;
    p[1] = (uint8_t)((marker ? 0x80 : 0) | 96);
    p[2] = (uint8_t)(seq >> 8);
    p[3] = (uint8_t)seq;
    for (unsigned i = 0; i < 4; i++)
        p[4 + i] = (uint8_t)(ts >> (24 - 8 * i));
    memcpy(p + 12, payload, n);
    rtp__packet(r, wr_slice_of(p, 12 + n));
    free(p);
}
#define SEND(r, seq, ts, marker, payload) send(r, seq, ts, marker, payload, sizeof payload - 1)

static struct sdp_track track_of(const char *encoding, uint32_t clock)
{
    const struct packing *p = packing__find(encoding);
    assert_non_null(p);
    return (struct sdp_track){
        .kind = wr_codec_kind(p->codec), .packing = p, .payload_type = 96, .clock = clock};
}

static void test_marker_ends_a_picture_at_once(void **state)
{
    (void)state;
    struct sdp_track h264 = track_of("H264", 90000);
    struct rtp r;
    struct got g = {.n = 0};
    rtp__init(&r, &h264, note, &g);
    SEND(&r, 65534, 0xfffff000, false, "\x18\0\2\x67\1\0\2\x68\2"); /* STAP-A */
    SEND(&r, 65535, 0xfffff000, false,
         "\x7c\x85"
         "ab"); /* FU-A of an IDR: start */
    SEND(&r, 0, 0xfffff000, false,
         "\x7c\x05"
         "cd");
    assert_int_equal(g.n, 0);
    SEND(&r, 1, 0xfffff000, true,
         "\x7c\x45"
         "ef"); /* end, marker */
    assert_int_equal(g.n, 1);
    static const char want[] = "\0\0\0\1\x67\1\0\0\0\1\x68\2\0\0\0\1\x65"
                               "abcdef";
    assert_int_equal(g.size[0], sizeof want - 1);
    assert_memory_equal(g.bytes[0], want, sizeof want - 1);
    assert_int_equal(g.pts[0], 0);
    SEND(&r, 2, 0xfffff000 + 3600, true, "\x41xyz"); /* the 32-bit clock wraps between them */
    SEND(&r, 3, 0xfffff000 + 7200, true, "\x41xyz");
    assert_true(g.n == 3 && g.pts[1] == 3600 && g.pts[2] == 7200 && g.duration[2] == 3600);
    assert_int_equal(r.lost + r.bad, 0);
    rtp__free(&r);
}

/* Cameras that set the marker on every unit: after the first torn picture only the time counts. */
static void test_marker_that_lies_is_found_out(void **state)
{
    (void)state;
    struct sdp_track h264 = track_of("H264", 90000);
    struct rtp r;
    struct got g = {.n = 0};
    rtp__init(&r, &h264, note, &g);
    SEND(&r, 1, 0, true, "\x67\1");
    SEND(&r, 2, 0, true,
         "\x65"
         "aa");
    SEND(&r, 3, 0, true,
         "\x65"
         "bb");
    SEND(&r, 4, 3600, true,
         "\x41"
         "cc");
    assert_true(r.marker_lies);
    SEND(&r, 5, 3600, true,
         "\x41"
         "dd");
    SEND(&r, 6, 7200, true,
         "\x41"
         "ee");
    assert_int_equal(g.n, 3);
    assert_int_equal(g.size[1], 2 * 7);
    assert_int_equal(g.size[2], 2 * 7);
    rtp__free(&r);
}

static void test_picture_with_a_hole_is_left_out(void **state)
{
    (void)state;
    struct sdp_track h264 = track_of("H264", 90000);
    struct rtp r;
    struct got g = {.n = 0};
    rtp__init(&r, &h264, note, &g);
    SEND(&r, 1, 0, false,
         "\x7c\x85"
         "ab");
    SEND(&r, 3, 0, true,
         "\x7c\x45"
         "ef");
    SEND(&r, 4, 3600, true,
         "\x7c\x45"
         "no beginning");
    SEND(&r, 5, 7200, true, "\x41ok");
    assert_int_equal(g.n, 1);
    assert_int_equal(g.pts[0], 7200);
    assert_int_equal(r.lost, 2);
    rtp__free(&r);
}

static void test_sound_units_of_a_packet_follow_each_other(void **state)
{
    (void)state;
    struct sdp_track aac = track_of("MPEG4-GENERIC", 48000);
    aac.size_bits = 13;
    aac.index_bits = aac.delta_bits = 3;
    struct rtp r;
    struct got g = {.n = 0};
    rtp__init(&r, &aac, note, &g);
    SEND(&r, 1, 1000, true,
         "\0\x20\0\x18\0\x10"
         "abcde"); /* 3 and 2 bytes */
    assert_int_equal(g.n, 2);
    assert_true(g.size[0] == 3 && g.size[1] == 2 && g.pts[0] == 0 && g.pts[1] == 1024);
    assert_memory_equal(g.bytes[1], "de", 2);
    SEND(&r, 2, 3048, true,
         "\0\x10\0\x80"
         "short"); /* says 16 bytes */
    SEND(&r, 3, 3048, true,
         "\xff\xff\0\x18"
         "abc"); /* headers past the end */
    SEND(&r, 4, 3048, true, "\0");
    assert_int_equal(g.n, 2);
    rtp__free(&r);
}

/* Found by a camera that said sizelength=4294967290: the sum of the widths wrapped, and the packet was read past its end. */
static void test_widths_that_wrap_are_refused(void **state)
{
    (void)state;
    static const char *const fmtps[] = {
        "sizelength=4294967290;indexlength=10;indexdeltalength=10",
        "sizelength=13;indexlength=4294967290;indexdeltalength=3",
        "sizelength=32;indexlength=32;indexdeltalength=32",
        "sizelength=-6;indexlength=10;indexdeltalength=10",
        "sizelength=13;indexlength=3;indexdeltalength=99999999999999999999"};
    for (size_t i = 0; i < WR_ARRAY_LEN(fmtps); i++) {
        struct sdp s;
        struct wr_buf text = {.n = 0};
        wr_buf_fmt(&text,
                   "m=audio 0 RTP/AVP 96\na=rtpmap:96 MPEG4-GENERIC/48000/2\n"
                   "a=fmtp:96 config=1190;%s\n",
                   fmtps[i]);
        assert_true(sdp__parse(wr_slice_of(text.p, text.n), &s));
        assert_true(s.tracks[0].size_bits <= 32 && s.tracks[0].index_bits <= 32 &&
                    s.tracks[0].delta_bits <= 32);
        struct rtp r;
        struct got g = {.n = 0};
        rtp__init(&r, &s.tracks[0], note, &g);
        SEND(&r, 1, 0, true,
             "\0\x10\0\x18"
             "abc");
        SEND(&r, 2, 0, true,
             "\xff\xff\0\x18"
             "abc");
        SEND(&r, 3, 0, true,
             "\0\x40\xff\xff\xff\xff\xff\xff\xff\xff"
             "abc");
        for (unsigned k = 0; k < g.n; k++)
            assert_true(g.size[k] <= 3);
        rtp__free(&r);
        wr_buf_free(&text);
    }
}

/* RFC 7798: aggregation, fragments, and parameter sets out of the description. */
static void test_h265_pictures_are_put_together(void **state)
{
    (void)state;
    struct sdp_track h265 = track_of("H265", 90000);
    struct rtp r;
    struct got g = {.n = 0};
    rtp__init(&r, &h265, note, &g);
    SEND(&r, 1, 0, false, "\x60\1\0\3\x40\1V\0\3\x42\1S"); /* AP of VPS and SPS */
    SEND(&r, 2, 0, false, "\x44\1P");
    SEND(&r, 3, 0, false,
         "\x62\1\x93"
         "ab"); /* FU of an IDR (19): start, middle, end */
    SEND(&r, 4, 0, false,
         "\x62\1\x13"
         "cd");
    SEND(&r, 5, 0, true,
         "\x62\1\x53"
         "ef");
    static const char want[] = "\0\0\0\1\x40\1V\0\0\0\1\x42\1S\0\0\0\1\x44\1P\0\0\0\1\x26\1"
                               "abcdef";
    assert_int_equal(g.n, 1);
    assert_int_equal(g.size[0], sizeof want - 1);
    assert_memory_equal(g.bytes[0], want, sizeof want - 1);
    SEND(&r, 6, 3600, true, "\x62\1\x01");     /* a fragment of nothing */
    SEND(&r, 7, 7200, true, "\x64\1x");        /* PACI */
    SEND(&r, 8, 10800, true, "\x60\1\0\xffx"); /* an aggregate whose unit runs past the end */
    assert_int_equal(r.bad, 3);
    SEND(&r, 9, 14400, true, "\2\1ok");
    assert_int_equal(g.n, 2);
    rtp__free(&r);

    struct sdp s;
    assert_true(sdp__parse(wr_slice_str("m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n"
                                        "a=fmtp:96 sprop-vps=QAE=;sprop-sps=QgE=,QgI=;"
                                        "sprop-pps=RAE=;sprop-max-don-diff=0\n"),
                           &s));
    assert_int_equal(s.tracks[0].config_n, 4 * 6);
    assert_memory_equal(s.tracks[0].config + 6, "\0\0\0\1\x42\1", 6);
    assert_true(s.tracks[0].packing->takes(&s.tracks[0]));
    assert_true(sdp__parse(wr_slice_str("m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n"
                                        "a=fmtp:96 sprop-max-don-diff=2\n"),
                           &s));
    assert_false(s.tracks[0].packing->takes(&s.tracks[0]));
}

static void test_a_packet_of_opus_is_a_frame(void **state)
{
    (void)state;
    struct sdp s;
    assert_true(sdp__parse(wr_slice_str("m=audio 0 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n"
                                        "a=lang:de-CH\n"),
                           &s));
    assert_true(s.tracks[0].packing->codec == WR_CODEC_OPUS && s.tracks[0].clock == 48000);
    assert_string_equal(s.tracks[0].language, "de-CH");
    struct rtp r;
    struct got g = {.n = 0};
    rtp__init(&r, &s.tracks[0], note, &g);
    SEND(&r, 1, 0, true, "\xfcxyz");
    SEND(&r, 2, 960, true, "\xfcxyz");
    assert_true(g.n == 2 && g.size[0] == 4 && g.pts[1] == 960);
    rtp__free(&r);
}

static void report(struct rtp *r, uint32_t unix_s, uint32_t fraction, uint32_t ts)
{
    uint8_t p[28] = {0x80, 200, 0, 6};
    uint32_t v[3] = {unix_s + 2208988800u, fraction, ts};
    for (unsigned k = 0; k < 3; k++)
        for (unsigned i = 0; i < 4; i++)
            p[8 + 4 * k + i] = (uint8_t)(v[k] >> (24 - 8 * i));
    rtp__control(r, wr_slice_of(p, sizeof p));
}

static void test_reports_tell_the_cameras_clock_and_the_difference_of_the_tracks(void **state)
{
    (void)state;
    struct sdp_track h264 = track_of("H264", 90000);
    struct sdp_track pcma = track_of("PCMA", 8000);
    struct rtp v, a;
    struct got g = {.n = 0};
    int64_t ticks = 1;
    rtp__init(&v, &h264, note, &g);
    rtp__init(&a, &pcma, note, &g);
    SEND(&v, 1, 90000, true, "\x41x");
    SEND(&a, 1, 500, true, "xx");
    assert_false(rtp__skew(&v, &a, &ticks));
    report(&v, 1700000001, 0, 90000);         /* picture 0 was at ...001.0 */
    report(&a, 1700000001, 0x80000000u, 500); /* sound 0 half a second later */
    assert_true(rtp__skew(&v, &a, &ticks));
    assert_int_equal(ticks, 4000);
    SEND(&v, 2, 90000 + 45000, true, "\x41x");
    assert_true(g.camera_us[2] == 1700000001500000);
    rtp__free(&v);
    rtp__free(&a);
}

/* Any bytes: nothing happens but counting (ASan watches). */
static void test_random_packets_are_harmless(void **state)
{
    (void)state;
    struct sdp_track h264 = track_of("H264", 90000);
    struct rtp r;
    struct got g;
    unsigned seed = 7;
    rtp__init(&r, &h264, note, &g);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t *p = malloc(64);
        size_t n = (unsigned)rand_r(&seed) % 64;
        for (size_t k = 0; k < n; k++)
            p[k] = (uint8_t)rand_r(&seed);
        if (n > 1 && i % 2) {
            p[0] = 0x80 | (p[0] & 0x3f);
            p[1] = (p[1] & 0x80) | 96;
        }
        g.n = 0;
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, p, n);
        rtp__packet(&r, wr_slice_of(exact, n));
        rtp__control(&r, wr_slice_of(exact, n));
        free(exact);
        free(p);
    }
    assert_true(r.bad > 0);
    rtp__free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_description_of_a_camera),
        cmocka_unit_test(test_static_types_and_other_codecs_are_named),
        cmocka_unit_test(test_cut_descriptions_are_harmless),
        cmocka_unit_test(test_control_addresses),
        cmocka_unit_test(test_marker_ends_a_picture_at_once),
        cmocka_unit_test(test_marker_that_lies_is_found_out),
        cmocka_unit_test(test_picture_with_a_hole_is_left_out),
        cmocka_unit_test(test_sound_units_of_a_packet_follow_each_other),
        cmocka_unit_test(test_widths_that_wrap_are_refused),
        cmocka_unit_test(test_h265_pictures_are_put_together),
        cmocka_unit_test(test_a_packet_of_opus_is_a_frame),
        cmocka_unit_test(test_reports_tell_the_cameras_clock_and_the_difference_of_the_tracks),
        cmocka_unit_test(test_random_packets_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
