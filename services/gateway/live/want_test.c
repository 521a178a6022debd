/* SPDX-License-Identifier: MIT
 *
 * Claims about a viewer's wish: how it is read, which tracks it means in a format, and what is said when it means none. */
#include "want.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka needs the above */
#include <cmocka.h>

static const enum wr_codec old_codecs[] = {WR_CODEC_H264, WR_CODEC_AAC, WR_CODEC_NONE};
static const enum wr_codec new_codecs[] = {WR_CODEC_H264, WR_CODEC_AV1, WR_CODEC_AAC, WR_CODEC_OPUS,
                                           WR_CODEC_NONE};
static const struct wr_muxer_plugin old = {
    .extension = "old",
    .codecs = old_codecs,
    .max_tracks = {[WR_MEDIA_VIDEO] = 1, [WR_MEDIA_AUDIO] = 1}};
static const struct wr_muxer_plugin new = {
    .extension = "new",
    .codecs = new_codecs,
    .max_tracks = {[WR_MEDIA_VIDEO] = 8, [WR_MEDIA_AUDIO] = 8}};
static const struct wr_muxer_plugin *const doors[] = {&old, &new};

static struct wr_track track(uint32_t id, enum wr_codec codec)
{
    return (struct wr_track){.id = id, .codec = codec, .kind = wr_codec_kind(codec)};
}

static struct wr_track made(uint32_t id, enum wr_codec codec, uint32_t from, const char *rendition)
{
    struct wr_track t = track(id, codec);
    t.made_from = from;
    (void)snprintf(t.rendition, sizeof t.rendition, "%s", rendition);
    return t;
}

/* "1 2": the ids that are chosen; else the sentence. */
static const char *chosen(const char *tracks, const char *rendition, const struct wr_track *of,
                          size_t n, const struct wr_muxer_plugin *format)
{
    static char text[300];
    struct live_want w;
    struct live_choice c;
    struct wr_errmsg err = {""};
    size_t used = 0;
    assert_int_equal(want__read(&w, tracks, rendition, &err), WR_OK);
    want__choose(&w, "hall", of, n, format, doors, 2, &c);
    if (c.n == 0) {
        (void)snprintf(text, sizeof text, "%d %s", c.status, c.why.text);
        return text;
    }
    assert_int_equal(c.status, 0);
    for (size_t i = 0; i < c.n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u", i ? " " : "",
                                 c.tracks[i].id);
    return text;
}

static void test_usual_is_a_picture_with_its_sound(void **state)
{
    (void)state;
    const struct wr_track t[] = {track(1, WR_CODEC_H264), track(2, WR_CODEC_AAC),
                                 track(3, WR_CODEC_AAC), track(4, WR_CODEC_H264)};
    assert_string_equal(chosen("", "", t, 4, &new), "1 2");
    assert_string_equal(chosen("video", "", t, 4, &new), "1");
    assert_string_equal(chosen("audio", "", t, 4, &new), "2");
    assert_string_equal(chosen("all", "", t, 4, &new), "1 2 3 4");
    assert_string_equal(chosen("all", "", t, 4, &old), "1 2");
    assert_string_equal(chosen("3,1,3", "", t, 4, &old), "1 3");
    assert_string_equal(chosen("3,9", "", t, 4, &old), "3"); /* 9 may come with another epoch */
}

static void test_a_stream_without_a_picture_is_heard(void **state)
{
    (void)state;
    const struct wr_track t[] = {track(2, WR_CODEC_AAC)};
    assert_string_equal(chosen("video", "", t, 1, &old), "2");
    const struct wr_track v[] = {track(1, WR_CODEC_H264)};
    assert_string_equal(chosen("audio", "", v, 1, &old),
                        "404 stream hall has no track that was asked for: it has 1 (H.264)");
}

static void test_what_cannot_be_carried_is_left_out_when_the_rest_can(void **state)
{
    (void)state;
    const struct wr_track t[] = {track(1, WR_CODEC_AV1), track(2, WR_CODEC_AAC)};
    assert_string_equal(chosen("", "", t, 2, &old), "2");
    assert_string_equal(chosen("video", "", t, 2, &old),
                        "415 .old cannot carry stream hall: track 1 (AV1). It can be had at .new");
    const struct wr_track none[] = {track(1, WR_CODEC_VP8), track(2, WR_CODEC_PCM)};
    assert_string_equal(
        chosen("", "", none, 2, &new),
        "415 .new cannot carry stream hall: track 1 (VP8), 2 (PCM). No door here can");
    /* The second picture is carried, the first is not. */
    const struct wr_track two[] = {track(1, WR_CODEC_VP8), track(2, WR_CODEC_H264)};
    assert_string_equal(chosen("", "", two, 2, &old), "2");
}

static void test_a_rendition_stands_in_for_a_track_that_cannot_be_carried(void **state)
{
    (void)state;
    const struct wr_track t[] = {track(1, WR_CODEC_H264), track(2, WR_CODEC_OPUS),
                                 made(3, WR_CODEC_AAC, 2, "aac"),
                                 made(4, WR_CODEC_H264, 1, "small")};
    assert_string_equal(chosen("", "", t, 4, &old), "1 3");
    assert_string_equal(chosen("", "", t, 4, &new), "1 2");
    assert_string_equal(chosen("", "aac", t, 4, &new), "1 3");
    assert_string_equal(chosen("", "small", t, 4, &new), "4 2");
    assert_string_equal(chosen("3", "", t, 4, &new), "3");
    assert_string_equal(chosen("2,3", "", t, 4, &old), "3");
    assert_string_equal(chosen("", "large", t, 4, &new),
                        "404 stream hall has no track that was asked for: it has 1 (H.264), 2 "
                        "(Opus), 3 (AAC, rendition aac), 4 (H.264, rendition small)");
}

static void test_unknown_kinds_and_codecs_are_no_choice(void **state)
{
    (void)state;
    struct wr_track t[] = {track(1, (enum wr_codec)77), track(2, WR_CODEC_AAC)};
    assert_string_equal(chosen("", "", t, 2, &new), "2");
    t[0].kind = WR_MEDIA_VIDEO;
    assert_string_equal(
        chosen("1", "", t, 2, &new),
        "415 .new cannot carry stream hall: track 1 (an unknown codec). No door here can");
    t[0].kind = (enum wr_media_kind)9;
    assert_string_equal(
        chosen("", "", t, 1, &new),
        "404 stream hall has no track that was asked for: it has 1 (an unknown codec)");
    assert_string_equal(chosen("", "", t, 0, &new), "404 stream hall has no track");
}

static void test_a_wish_that_is_none_is_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "smell", "0",  "1,",         ",1",          "1,,2",
        "-1",    "1 ", "4294967296", "99999999999", "1,2,3,4,5,6,7,8,9"};
    struct live_want w;
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
        struct wr_errmsg err = {""};
        assert_int_equal(want__read(&w, bad[i], "", &err), WR_ERR_INVALID);
        assert_non_null(strstr(err.text, bad[i]));
        assert_non_null(strstr(err.text, "video"));
    }
    struct wr_errmsg err = {""};
    assert_int_equal(want__read(&w, "1,2,3,4,5,6,7,8", "", &err), WR_OK);
    assert_int_equal(want__read(&w, "", "a name that is longer than any rendition's", &err),
                     WR_ERR_INVALID);
}

static void test_the_same_wish_in_another_order_is_the_same(void **state)
{
    (void)state;
    struct live_want a, b;
    struct wr_errmsg err = {""};
    assert_int_equal(want__read(&a, "3,1,2", "", &err), WR_OK);
    assert_int_equal(want__read(&b, "1,2,3,3", "", &err), WR_OK);
    assert_true(want__same(&a, &b));
    assert_int_equal(want__read(&b, "1,2", "", &err), WR_OK);
    assert_false(want__same(&a, &b));
    assert_int_equal(want__read(&b, "3,1,2", "aac", &err), WR_OK);
    assert_false(want__same(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual_is_a_picture_with_its_sound),
        cmocka_unit_test(test_a_stream_without_a_picture_is_heard),
        cmocka_unit_test(test_what_cannot_be_carried_is_left_out_when_the_rest_can),
        cmocka_unit_test(test_a_rendition_stands_in_for_a_track_that_cannot_be_carried),
        cmocka_unit_test(test_unknown_kinds_and_codecs_are_no_choice),
        cmocka_unit_test(test_a_wish_that_is_none_is_refused_with_a_sentence),
        cmocka_unit_test(test_the_same_wish_in_another_order_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
