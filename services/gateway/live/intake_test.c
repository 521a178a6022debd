/* SPDX-License-Identifier: MIT
 *
 * Claims about a stream's frames between the bus and the plane: intake.c and output.c, with the rest made of paper. In
 * the texts K is a key frame, P another picture, s sound; the digit is the frame's number. */
#include "live_kit.h"
#include "wr_metrics.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the above */
#include <cmocka.h>

#define BOTH (KIT_VIDEO | KIT_AUDIO)

static void expect_at(unsigned door, const char *text)
{
    assert_string_equal(kit_sent(kit.outs[door].fanout), text);
}

static void expect(const char *text)
{
    expect_at(KIT_ALL, text);
}

/* "K0", "P1", "s2" of an epoch come. */
static struct wr_media_frame frame(uint64_t epoch, const char *text)
{
    return kit_frame(epoch, text[0] == 's' ? WR_TRACK_AUDIO : WR_TRACK_VIDEO,
                     strtoul(text + 1, NULL, 10), text);
}

static void come(uint64_t epoch, const char *text)
{
    struct wr_media_frame f = frame(epoch, text);
    kit_event(&f);
}

static unsigned long counted(const char *name)
{
    struct wr_buf b = {0};
    char line[96];
    wr_metrics_write(&b);
    wr_buf_char(&b, 0);
    (void)snprintf(line, sizeof line, "\nwatchroom_live_%s_total ", name);
    const char *at = strstr((char *)b.p, line);
    unsigned long n = at ? strtoul(at + strlen(line), NULL, 10) : 0;
    wr_buf_free(&b);
    return n;
}

static int set_up_unwatched(void **state)
{
    (void)state;
    kit_open(false);
    return 0;
}

/* Somebody watches at both doors, and ingest told of epoch 5: a picture with sound. */
static int set_up(void **state)
{
    (void)state;
    kit_open(true);
    kit_info(LIVE_LIVE, 5, BOTH);
    expect("(VA)[end]");
    expect_at(KIT_PICTURE, "(V)[end]");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_close();
    return 0;
}

/* ---- order ---- */

static void test_frames_go_out_in_order_and_once(void **state)
{
    (void)state;
    come(5, "K0");
    come(5, "P1");
    come(5, "P1");
    come(5, "K0");
    come(5, "P2");
    expect("(*K0)(P1)(P2)");
    assert_false(kit.s.want_group);
}

static void test_nothing_is_shown_before_the_first_key_frame(void **state)
{
    (void)state;
    come(5, "P3");
    expect("");
    assert_true(kit.s.want_group && kit.pokes == 1);
    come(5, "P4");
    come(5, "K5");
    come(5, "P6");
    expect("(*K5)(P6)");
}

static void test_sound_rides_with_the_next_picture_but_not_for_long(void **state)
{
    (void)state;
    come(5, "K0");
    come(5, "s1");
    expect("(*K0)");
    come(5, "P2");
    expect("(s1P2)");
    come(5, "s3");
    come(5, "s4");
    come(5, "s5");
    expect("");
    come(5, "s6"); /* 120 ms after the first of them */
    expect("(s3s4s5s6)");
}

static void test_large_data_is_lent_and_not_copied(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text);
    text[0] = 'K';
    text[sizeof text - 1] = 0;
    struct wr_media_frame f = kit_frame(5, WR_TRACK_VIDEO, 0, text);
    kit_event(&f);
    expect("(*)");
    assert_int_equal(kit.outs[KIT_ALL].fanout->lent, sizeof text - 1);
}

static void test_frames_that_nobody_watches_are_left_alone(void **state)
{
    (void)state;
    kit_info(LIVE_LIVE, 5, BOTH);
    come(5, "K0");
    expect("");
    assert_int_equal(kit.s.group.n, 0);
    assert_false(kit.s.want_group);
}

/* ---- gaps ---- */

static void test_a_gap_is_filled_from_the_group_without_a_loss(void **state)
{
    (void)state;
    unsigned long gaps = counted("gaps"), filled = counted("gaps_filled");
    come(5, "K0");
    come(5, "P1");
    come(5, "P3");
    come(5, "P4");
    expect("(*K0)(P1)");
    assert_true(kit.s.want_group && kit.pokes == 1); /* asked once */
    const struct wr_media_frame group[] = {frame(5, "K0"), frame(5, "P1"), frame(5, "P2"),
                                           frame(5, "P3")};
    kit_answer(5, BOTH, group, 4);
    expect("(P2)(P3)(P4)");
    come(5, "P5");
    expect("(P5)");
    assert_int_equal(counted("gaps") - gaps, 1);
    assert_int_equal(counted("gaps_filled") - filled, 1);
    assert_int_equal(kit.calls_ended, 1);
}

static void test_a_gap_that_the_group_is_past_goes_on_at_its_key_frame(void **state)
{
    (void)state;
    unsigned long jumped = counted("gaps_jumped");
    come(5, "K0");
    come(5, "P2");
    come(5, "P7");
    expect("(*K0)");
    const struct wr_media_frame group[] = {frame(5, "K5"), frame(5, "P6")};
    kit_answer(5, BOTH, group, 2);
    expect("(*K5)(P6)(P7)");
    assert_int_equal(counted("gaps_jumped") - jumped, 1);
}

static void test_a_gap_ends_at_the_next_key_frame(void **state)
{
    (void)state;
    unsigned long jumped = counted("gaps_jumped");
    come(5, "K0");
    come(5, "P2");
    come(5, "P3");
    come(5, "K4");
    come(5, "P5");
    expect("(*K0)(*K4)(P5)");
    assert_int_equal(counted("gaps_jumped") - jumped, 1);
    const struct wr_media_frame late[] = {frame(5, "K0"), frame(5, "P1"), frame(5, "P2")};
    kit_answer(5, BOTH, late, 3);
    come(5, "P6");
    expect("(P6)");
}

static void test_a_group_that_does_not_reach_the_gap_leaves_it_open(void **state)
{
    (void)state;
    come(5, "K0");
    come(5, "P3");
    const struct wr_media_frame old[] = {frame(5, "K0")};
    kit_answer(5, BOTH, old, 1);
    expect("(*K0)");
    come(5, "P4"); /* shows it again */
    assert_true(kit.s.want_group);
    const struct wr_media_frame group[] = {frame(5, "K0"), frame(5, "P1"), frame(5, "P2"),
                                           frame(5, "P3")};
    kit_answer(5, BOTH, group, 4);
    expect("(P1)(P2)(P3)(P4)");
}

static void test_what_waits_for_a_group_has_a_bound(void **state)
{
    (void)state;
    come(5, "K0");
    for (uint64_t seq = 2; seq < 3 * LIVE_HELD_FRAMES; seq++) {
        struct wr_media_frame f = kit_frame(5, WR_TRACK_VIDEO, seq, "P");
        kit_event(&f);
        assert_in_range(kit.s.held.n, 1, LIVE_HELD_FRAMES);
    }
    expect("(*K0)");
}

/* ---- epochs ---- */

static void test_a_new_epoch_begins_anew_and_time_goes_on(void **state)
{
    (void)state;
    const struct wr_fanout *g = kit.outs[KIT_ALL].fanout;
    come(5, "K0");
    come(5, "P1");
    int64_t before_us = g->media_us;
    kit_info(LIVE_LIVE, 6, KIT_VIDEO);
    expect("(*K0)(P1)(V)[end]");
    come(5, "P2"); /* a late one of the old epoch */
    come(6, "K0");
    expect("(*K0)");
    assert_int_equal(g->media_us, before_us + 40000);
    come(6, "P1");
    expect("(P1)");
    assert_int_equal(g->media_us, before_us + 80000);
}

static void test_an_epoch_that_was_not_told_of_is_asked_for(void **state)
{
    (void)state;
    come(5, "K0");
    come(6, "K0");
    come(6, "P1");
    expect("(*K0)");
    assert_true(kit.s.want_group);
    const struct wr_media_frame group[] = {frame(6, "K0")};
    kit_answer(6, BOTH, group, 1);
    expect("(VA)[end](*K0)(P1)");
}

static void test_a_source_that_ends_is_told_and_shows_nothing_more(void **state)
{
    (void)state;
    come(5, "K0");
    kit_info(LIVE_RETRYING, 0, 0);
    assert_string_equal(kit_sent(kit.s.tell), "(retrying)");
    come(5, "P1");
    expect("(*K0)");
    struct viewer v;
    kit_wait(&v, KIT_ALL);
    assert_int_equal(v.place, VIEWER_WAITING); /* the old group is not begun with */
    kit_info(LIVE_LIVE, 6, BOTH);
    assert_string_equal(kit_sent(kit.s.tell), "(live)");
    come(6, "K0");
    assert_int_equal(v.place, VIEWER_JOINED);
}

static void test_who_waits_for_a_source_that_is_down_is_refused_with_its_reason(void **state)
{
    (void)state;
    struct viewer v;
    kit_wait(&v, KIT_ALL);
    kit_info(LIVE_RETRYING, 0, 0);
    assert_int_equal(v.place, VIEWER_REFUSED);
    expect("[refused why]");
}

/* ---- doors ---- */

static void test_the_door_for_the_picture_carries_no_sound(void **state)
{
    (void)state;
    come(5, "K0");
    come(5, "s1");
    come(5, "P2");
    expect("(*K0)(s1P2)");
    expect_at(KIT_PICTURE, "(*K0)(P2)");
}

static void test_a_stream_without_a_picture_is_heard_at_both_doors(void **state)
{
    (void)state;
    kit_info(LIVE_LIVE, 6, KIT_AUDIO);
    come(6, "s0");
    come(6, "s1");
    expect("(A)[end](*s0)(*s1)");
    expect_at(KIT_PICTURE, "(A)[end](*s0)(*s1)");
}

static void test_who_joins_begins_with_the_group(void **state)
{
    (void)state;
    struct viewer v;
    come(5, "K0");
    come(5, "P1");
    expect("(*K0)(P1)");
    kit_wait(&v, KIT_ALL);
    expect("[join (VA)(*K0)(P1)]");
    come(5, "P2");
    expect("(P2)");
}

static void test_the_first_viewer_of_a_door_begins_with_the_group_too(void **state)
{
    (void)state;
    struct viewer v;
    kit.outs[KIT_PICTURE].viewers = 0;
    output__deactivate(&kit.outs[KIT_PICTURE]);
    come(5, "K0");
    come(5, "s1");
    come(5, "P2");
    expect_at(KIT_PICTURE, "");
    kit_wait(&v, KIT_PICTURE);
    expect_at(KIT_PICTURE, "[join (V)(*K0)(P2)]");
}

static void test_a_group_too_long_to_keep_is_not_begun_with(void **state)
{
    (void)state;
    struct viewer v;
    unsigned long outgrown = counted("group_outgrown");
    come(5, "K0");
    for (uint64_t seq = 1; seq <= LIVE_GROUP_FRAMES; seq++) {
        struct wr_media_frame f = kit_frame(5, WR_TRACK_VIDEO, seq, "P");
        kit_event(&f);
    }
    assert_int_equal(counted("group_outgrown") - outgrown, 1);
    kit_wait(&v, KIT_ALL);
    assert_int_equal(v.place, VIEWER_WAITING);
    (void)kit_sent(kit.outs[KIT_ALL].fanout);
    come(5, "K4097");
    assert_int_equal(v.place, VIEWER_JOINED);
    expect("(*K4097)[join (VA)(*K4097)]");
}

static void test_a_full_plane_gets_nothing_before_the_next_key_frame(void **state)
{
    (void)state;
    come(5, "K0");
    kit.outs[KIT_ALL].fanout->full = true;
    come(5, "P1");
    kit.outs[KIT_ALL].fanout->full = false;
    come(5, "P2");
    come(5, "K3");
    expect("(*K0)(*K3)");
    expect_at(KIT_PICTURE, "(*K0)(P1)(P2)(*K3)");
}

/* ---- bytes that are not a frame ---- */

static void test_malformed_events_are_counted_and_do_no_harm(void **state)
{
    (void)state;
    unsigned long bad = counted("bad_events");
    struct wr_media_frame f = frame(5, "K0");
    struct wr_msg *m = wr_msg_new(wr_media_headroom("ingest", "hall"), f.data.n);
    memcpy(m->data, f.data.p, f.data.n);
    assert_int_equal(wr_media_event_write(m, &f, "ingest", 1, NULL), WR_OK);
    for (size_t n = 0; n < m->len; n++)
        kit_bytes(wr_slice_of(m->data, n));
    assert_int_equal(counted("bad_events") - bad, m->len);
    wr_msg_unref(m);
    f.stream = wr_slice_str("other");
    kit_event(&f);
    kit_bytes(wr_slice_str("\x22\x02\x0a\x7f")); /* a StreamEvent that is cut */
    expect("");
    come(5, "K0");
    expect("(*K0)");
}

static void test_numbers_out_of_range_are_counted_and_do_no_harm(void **state)
{
    (void)state;
    unsigned long bad = counted("bad_events");
    const struct wr_media_frame good = frame(5, "P1");
    struct wr_media_frame f[6];
    for (unsigned i = 0; i < 6; i++)
        f[i] = good;
    f[0].dts = -1;
    f[1].dts = f[1].pts = INT64_MAX;
    f[2].pts = INT64_MIN;
    f[3].pts = INT64_MAX;
    f[4].duration = UINT32_MAX;
    f[5].epoch = 0;
    come(5, "K0");
    for (unsigned i = 0; i < 6; i++)
        kit_event(&f[i]);
    assert_int_equal(counted("bad_events") - bad, 6);
    kit_event(&good);
    expect("(*K0)(P1)");
}

static void test_a_time_centuries_away_is_counted_and_left_out(void **state)
{
    (void)state;
    unsigned long bad = counted("bad_events");
    struct wr_media_frame f = frame(5, "P1");
    kit.s.tracks[0].t.timescale = 1; /* a tick is a second */
    come(5, "K0");
    f.dts = f.pts = INT64_C(1) << 45;
    kit_event(&f);
    come(5, "P2");
    expect("(*K0)(P2)");
    assert_int_equal(counted("bad_events") - bad, 1);
}

static void test_a_track_that_was_not_told_of_is_left_out(void **state)
{
    (void)state;
    come(5, "K0");
    struct wr_media_frame f = kit_frame(5, 9, 1, "?");
    kit_event(&f);
    come(5, "P2");
    expect("(*K0)(P2)");
    assert_false(kit.s.want_group);
}

static void test_an_answer_that_is_not_one_is_counted_and_asked_for_again(void **state)
{
    (void)state;
    unsigned long bad = counted("bad_events");
    intake__watch_answer(&kit.s, &(struct wr_answer){.body = wr_slice_str("\x0a\x7f")});
    assert_int_equal(counted("bad_events") - bad, 1);
    intake__watch_answer(
        &kit.s, &(struct wr_answer){.code = WR_ERR_UNAVAILABLE, .text = wr_slice_str("nobody")});
    assert_int_equal(kit.s.state, LIVE_RETRYING);
    assert_string_equal(kit.s.reason, "the ingest service does not answer: nobody");
    assert_true(kit.s.watch_at_us > 0);
    assert_int_equal(kit.calls_ended, 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_frames_go_out_in_order_and_once),
        T(test_nothing_is_shown_before_the_first_key_frame),
        T(test_sound_rides_with_the_next_picture_but_not_for_long),
        T(test_large_data_is_lent_and_not_copied),
        cmocka_unit_test_setup_teardown(test_frames_that_nobody_watches_are_left_alone,
                                        set_up_unwatched, tear_down),
        T(test_a_gap_is_filled_from_the_group_without_a_loss),
        T(test_a_gap_that_the_group_is_past_goes_on_at_its_key_frame),
        T(test_a_gap_ends_at_the_next_key_frame),
        T(test_a_group_that_does_not_reach_the_gap_leaves_it_open),
        T(test_what_waits_for_a_group_has_a_bound),
        T(test_a_new_epoch_begins_anew_and_time_goes_on),
        T(test_an_epoch_that_was_not_told_of_is_asked_for),
        T(test_a_source_that_ends_is_told_and_shows_nothing_more),
        T(test_who_waits_for_a_source_that_is_down_is_refused_with_its_reason),
        T(test_the_door_for_the_picture_carries_no_sound),
        T(test_a_stream_without_a_picture_is_heard_at_both_doors),
        T(test_who_joins_begins_with_the_group),
        T(test_the_first_viewer_of_a_door_begins_with_the_group_too),
        T(test_a_group_too_long_to_keep_is_not_begun_with),
        T(test_a_full_plane_gets_nothing_before_the_next_key_frame),
        T(test_malformed_events_are_counted_and_do_no_harm),
        T(test_numbers_out_of_range_are_counted_and_do_no_harm),
        T(test_a_time_centuries_away_is_counted_and_left_out),
        T(test_a_track_that_was_not_told_of_is_left_out),
        T(test_an_answer_that_is_not_one_is_counted_and_asked_for_again),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
