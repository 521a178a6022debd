/* SPDX-License-Identifier: MIT
 *
 * Claims about the hand-written MediaFrame: it is the same message as the generated code's, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "watchroom/v1/bus.pb-c.h"
#include "wr_media.h"

static struct wr_msg *payload(const char *bytes)
{
    struct wr_msg *m = wr_msg_new(wr_media_headroom("ingest-0123456789abcdef", "hall"),
                                  strlen(bytes));
    memcpy(m->data, bytes, strlen(bytes));
    return m;
}

static const struct wr_media_frame sample = {.epoch = 1764000000123,
                                             .track = 1,
                                             .seq = 300,
                                             .key = true,
                                             .dts = 5,
                                             .pts = -3,
                                             .duration = 3600,
                                             .arrival_us = 1764000000123456,
                                             .camera_us = 7,
                                             .time_us = 1764000000123999,
                                             .gop = 1764000000777};

static void test_written_event_is_what_generated_code_reads(void **state)
{
    (void)state;
    struct wr_msg *m = payload("frame bytes");
    struct wr_media_frame f = sample;
    struct wr_slice media;
    f.stream = wr_slice_str("hall");
    assert_int_equal(wr_media_event_write(m, &f, "ingest-0123456789abcdef", 42, &media), WR_OK);
    assert_true(wr_msg_headroom(m) >= WR_MSG_HEADROOM);

    Watchroom__V1__Event *e = watchroom__v1__event__unpack(NULL, m->len, m->data);
    assert_non_null(e);
    assert_string_equal(e->instance, "ingest-0123456789abcdef");
    assert_int_equal(e->time_ms, 42);
    assert_string_equal(e->media->stream, "hall");
    assert_true(e->media->epoch == sample.epoch && e->media->seq == 300 && e->media->key);
    assert_true(e->media->dts == 5 && e->media->pts == -3 && e->media->duration == 3600);
    assert_true(e->media->arrival_us == sample.arrival_us && e->media->camera_us == 7);
    assert_true(e->media->time_us == sample.time_us && e->media->gop == sample.gop);
    assert_int_equal(e->media->data.len, 11);
    assert_memory_equal(e->media->data.data, "frame bytes", 11);
    watchroom__v1__event__free_unpacked(e, NULL);

    Watchroom__V1__MediaFrame *g = watchroom__v1__media_frame__unpack(NULL, media.n, media.p);
    assert_non_null(g);
    assert_int_equal(g->seq, 300);
    watchroom__v1__media_frame__free_unpacked(g, NULL);
    wr_msg_unref(m);
}

static void test_read_gives_back_what_was_written_without_copying(void **state)
{
    (void)state;
    struct wr_msg *m = payload("xyz");
    struct wr_media_frame f = sample, back;
    f.stream = wr_slice_str("hall");
    assert_int_equal(wr_media_event_write(m, &f, "i", 1, NULL), WR_OK);
    assert_int_equal(wr_media_event_read(wr_msg_slice(m), &back), WR_OK);
    assert_true(wr_slice_is(back.stream, "hall") && wr_slice_is(back.data, "xyz"));
    assert_true(back.pts == -3 && back.key && back.track == 1);
    assert_true(back.time_us == sample.time_us && back.gop == sample.gop);
    assert_true(back.data.p >= m->data && back.data.p < m->data + m->len);
    wr_msg_unref(m);
}

static void test_broken_bytes_are_refused(void **state)
{
    (void)state;
    struct wr_msg *m = payload("xyz");
    struct wr_media_frame f = sample, back;
    f.stream = wr_slice_str("hall");
    struct wr_slice media;
    assert_int_equal(wr_media_event_write(m, &f, "i", 1, &media), WR_OK);
    for (size_t n = 0; n < media.n; n++)
        assert_int_equal(wr_media_frame_read(wr_slice_of(media.p, n), &back), WR_ERR_INVALID);
    /* data as a varint, stream as a varint, key as bytes */
    assert_int_equal(wr_media_frame_read(wr_slice_of("\x78\x01", 2), &back), WR_ERR_INVALID);
    assert_int_equal(wr_media_frame_read(wr_slice_of("\x08\x01", 2), &back), WR_ERR_INVALID);
    assert_int_equal(wr_media_frame_read(wr_slice_of("\x2a\x00", 2), &back), WR_ERR_INVALID);
    assert_int_equal(wr_media_event_read(wr_slice_of("\x10\x05", 2), &back), WR_ERR_NOT_FOUND);
    wr_msg_unref(m);
}

static void test_too_little_headroom_is_an_error(void **state)
{
    (void)state;
    struct wr_msg *m = wr_msg_new(16, 3);
    struct wr_media_frame f = sample;
    f.stream = wr_slice_str("hall");
    assert_int_equal(wr_media_event_write(m, &f, "i", 1, NULL), WR_ERR_INVALID);
    wr_msg_unref(m);
}

static void test_codecs_are_those_of_the_proto(void **state)
{
    (void)state;
    const ProtobufCEnumDescriptor *d = &watchroom__v1__codec__descriptor;
#define X(symbol, number, kind, rfc6381, name)                                                 \
    assert_int_equal(protobuf_c_enum_descriptor_get_value_by_name(d, "CODEC_" #symbol)->value, \
                     number);
    WR_CODECS(X)
#undef X
#define X(symbol, number, kind, rfc6381, name) +1
    assert_int_equal(d->n_values, 1 WR_CODECS(X));
#undef X
    assert_string_equal(wr_codec_name(WR_CODEC_H265), "H.265");
    assert_int_equal(wr_codec_kind(WR_CODEC_G711U), WR_MEDIA_AUDIO);
    assert_null(wr_codec_info(WR_CODEC_NONE));
    assert_int_equal(wr_codec_kind((enum wr_codec)99), WR_MEDIA_NONE);
}

static void test_ticks_and_microseconds_round_down_and_do_not_overflow(void **state)
{
    (void)state;
    assert_true(wr_media_us(3, 90000) == 33 && wr_media_us(-3, 90000) == -34);
    const int64_t now = 1796102400123457;
    const uint32_t scales[] = {8000, 11025, 44100, 48000, 90000, 10000000};
    for (size_t i = 0; i < WR_ARRAY_LEN(scales); i++) {
        int64_t ticks = wr_media_ticks(now, scales[i]);
        int64_t off = now - wr_media_us(ticks, scales[i]);
        assert_true(off >= 0 && off <= 1 + 1000000 / scales[i]);
        assert_true(wr_media_ticks(wr_media_us(ticks, scales[i]), scales[i]) >= ticks - 1);
    }
}

static void test_the_first_picture_leads(void **state)
{
    (void)state;
    struct wr_track t[3] = {{.id = 1, .kind = WR_MEDIA_AUDIO},
                            {.id = 2, .kind = WR_MEDIA_VIDEO},
                            {.id = 3, .kind = WR_MEDIA_VIDEO}};
    assert_ptr_equal(wr_media_lead(t, 3), &t[1]);
    assert_ptr_equal(wr_media_lead(t, 1), &t[0]);
    assert_null(wr_media_lead(t, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_event_is_what_generated_code_reads),
        cmocka_unit_test(test_read_gives_back_what_was_written_without_copying),
        cmocka_unit_test(test_broken_bytes_are_refused),
        cmocka_unit_test(test_too_little_headroom_is_an_error),
        cmocka_unit_test(test_codecs_are_those_of_the_proto),
        cmocka_unit_test(test_ticks_and_microseconds_round_down_and_do_not_overflow),
        cmocka_unit_test(test_the_first_picture_leads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
