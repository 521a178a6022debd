/* SPDX-License-Identifier: MIT
 *
 * Claims about a stream's frames between the bus and the plane: told.c, intake.c and output.c, the rest made of paper. In
 * the texts K is a key frame, P another picture, s sound; the digit is the frame's number. */
#include "live_kit.h"
#include "watchroom/v1/ingest.pb-c.h"
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
    assert_string_equal(kit_sent(kit.outs[door]->fanout), text);
}

static void expect(const char *text)
{
    expect_at(KIT_ALL, text);
}

/* "K0", "P1", "s2" of an epoch come. */
static struct wr_media_frame frame(uint64_t epoch, const char *text)
{
    return kit_frame(epoch, text[0] == 's' ? KIT_AUDIO : KIT_VIDEO, strtoul(text + 1, NULL, 10),
                     text);
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
    struct wr_media_frame f = kit_frame(5, KIT_VIDEO, 0, text);
    kit_event(&f);
    expect("(*)");
    assert_int_equal(kit.outs[KIT_ALL]->fanout->lent, sizeof text - 1);
}

static void test_frames_that_nobody_watches_are_left_alone(void **state)
{
    (void)state;
    kit_info(LIVE_LIVE, 5, BOTH);
    come(5, "K0");
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
    assert_true(kit.s.want_missing && kit.pokes == 1); /* asked once, */
    assert_int_equal(kit.s.missing_from, 5001);        /* from the group that plays on */
    const struct wr_media_frame group[] = {frame(5, "K0"), frame(5, "P1"), frame(5, "P2"),
                                           frame(5, "P3")};
    kit_groups(5, BOTH, group, 4, 0);
    expect("(P2)(P3)(P4)");
    come(5, "P5");
    expect("(P5)");
    assert_int_equal(counted("gaps") - gaps, 1);
    assert_int_equal(counted("gaps_filled") - filled, 1);
    assert_int_equal(kit.calls_ended, 1);
}

static void test_a_gap_over_a_key_frame_is_filled_from_the_groups_without_a_loss(void **state)
{
    (void)state;
    unsigned long jumped = counted("gaps_jumped"), filled = counted("gaps_filled");
    come(5, "K0");
    come(5, "P1");
    struct wr_media_frame groups[] = {frame(5, "K0"), frame(5, "P1"), frame(5, "P2"),
                                      frame(5, "K3"), frame(5, "P4")};
    come(5, "P5");
    expect("(*K0)(P1)");
    kit_groups(5, BOTH, groups, 5, 0);
    expect("(P2)(*K3)(P4)(P5)");
    assert_int_equal(counted("gaps_filled") - filled, 1);
    assert_int_equal(counted("gaps_jumped"), jumped);
}

static void test_groups_that_come_in_pages_are_asked_for_one_after_another(void **state)
{
    (void)state;
    come(5, "K0");
    struct wr_media_frame first[] = {frame(5, "K0"), frame(5, "P1")};
    struct wr_media_frame second[] = {frame(5, "K2"), frame(5, "P3")};
    come(5, "P4");
    kit_groups(5, BOTH, first, 2, 5003);
    expect("(*K0)(P1)");
    assert_true(kit.s.want_missing);
    assert_int_equal(kit.s.missing_from, 5003);
    kit_groups(5, BOTH, second, 2, 0);
    expect("(*K2)(P3)(P4)");
    assert_false(kit.s.want_missing);
}

static void test_groups_of_an_epoch_that_is_over_are_left_alone(void **state)
{
    (void)state;
    come(5, "K3");
    struct wr_media_frame groups[] = {frame(4, "K0"), frame(4, "P4"), frame(5, "K3"),
                                      frame(5, "P4")};
    come(5, "P5");
    kit_groups(5, BOTH, groups, 4, 0);
    expect("(*K3)(P4)(P5)");
}

static void test_without_an_answer_to_groups_watch_is_asked(void **state)
{
    (void)state;
    come(5, "K0");
    come(5, "P2");
    kit.s.want_missing = false;
    told__groups_answer(
        &kit.s, &(struct wr_answer){.code = WR_ERR_UNAVAILABLE, .text = wr_slice_str("nobody")});
    assert_true(kit.s.want_group);
    const struct wr_media_frame group[] = {frame(5, "K0"), frame(5, "P1"), frame(5, "P2")};
    kit_answer(5, BOTH, group, 3);
    expect("(*K0)(P1)(P2)");
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
    assert_true(kit.s.want_missing);
    const struct wr_media_frame group[] = {frame(5, "K0"), frame(5, "P1"), frame(5, "P2"),
                                           frame(5, "P3")};
    kit_groups(5, BOTH, group, 4, 0);
    expect("(P1)(P2)(P3)(P4)");
}

static void test_what_waits_for_a_group_has_a_bound(void **state)
{
    (void)state;
    come(5, "K0");
    for (uint64_t seq = 2; seq < 3 * LIVE_HELD_FRAMES; seq++) {
        struct wr_media_frame f = kit_frame(5, KIT_VIDEO, seq, "P");
        kit_event(&f);
        assert_in_range(kit.s.held.n, 1, LIVE_HELD_FRAMES);
    }
    expect("(*K0)");
}

/* ---- epochs ---- */

static void test_a_new_epoch_begins_anew(void **state)
{
    (void)state;
    come(5, "K0");
    come(5, "P1");
    kit_info(LIVE_LIVE, 6, KIT_VIDEO);
    expect("(*K0)(P1)(V)[end]");
    come(5, "P2"); /* a late one of the old epoch */
    come(6, "K0");
    expect("(*K0)");
    come(6, "P1");
    expect("(P1)");
}

static void test_times_are_those_of_ingest(void **state)
{
    (void)state;
    struct wr_media_frame f = frame(5, "K0");
    f.time_us = 1796102400123457;
    kit_event(&f);
    assert_true(kit.outs[KIT_ALL]->fanout->media_us == 1796102400123457);
    assert_true(kit.outs[KIT_PICTURE]->fanout->media_us == 1796102400123457);
}

/* A player that was fed 40 days is not to be told of a time 40 days ago. */
static void test_byte_streams_end_when_ingest_began_another_time_line(void **state)
{
    (void)state;
    kit.origin_us = 1796102400000000;
    kit_info(LIVE_LIVE, 6, BOTH);
    expect("(VA)[end]");
    kit.origin_us += 1000000;
    kit_info(LIVE_LIVE, 7, BOTH);
    expect("[end both]");
    come(7, "K0");
    expect("(*K0)");
}

static void test_an_init_that_the_plane_did_not_take_goes_before_the_next_key_frame(void **state)
{
    (void)state;
    struct wr_fanout *g = kit.outs[KIT_ALL]->fanout;
    come(5, "K0");
    expect("(*K0)");
    g->full = true;
    kit_info(LIVE_LIVE, 6, KIT_VIDEO);
    expect("[end]");
    g->full = false;
    struct viewer v;
    kit_wait(&v, KIT_ALL);
    come(6, "K0");
    come(6, "P1");
    expect("(V)(*K0)<(*K0)>[join (V)(*K0)](P1)");
    g->full = true;
    kit_info(LIVE_LIVE, 7, KIT_VIDEO);
    come(7, "K0"); /* not taken either: it is owed on */
    g->full = false;
    come(7, "P1");
    come(7, "K2");
    come(7, "P3");
    expect("[end](V)(*K2)<(*K2)>(P3)");
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
    expect("[refused 503 why]");
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
    kit.gop++; /* a second later */
    come(6, "s2");
    expect("(A)[end](*s0)(s1)(*s2)");
    expect_at(KIT_PICTURE, "(A)[end](*s0)(s1)(*s2)");
}

/* Else one who joins there and one who was there get other bytes. */
static void test_sound_of_the_group_before_does_not_ride_with_a_key_frame(void **state)
{
    (void)state;
    come(5, "K0");
    come(5, "P1");
    come(5, "s2");
    come(5, "K3");
    expect("(*K0)(P1)(s2)(*K3)");
    struct viewer v;
    kit_wait(&v, KIT_ALL);
    expect("[join (VA)(*K3)]");
}

static void test_a_track_that_the_format_cannot_carry_is_left_out(void **state)
{
    (void)state;
    kit.codecs[1] = WR_CODEC_G711A;
    kit_info(LIVE_LIVE, 6, BOTH);
    come(6, "K0");
    come(6, "s1");
    come(6, "P2");
    expect("(V)[end](*K0)(P2)");
}

static void test_a_stream_that_the_format_cannot_carry_is_refused_in_words(void **state)
{
    (void)state;
    static const char why[] = ".paper cannot carry stream hall: track 1 (AV1). No door here can";
    char text[256];
    struct viewer v;
    kit_wait(&v, KIT_PICTURE);
    assert_int_equal(v.place, VIEWER_WAITING);
    kit.codecs[0] = WR_CODEC_AV1;
    kit_info(LIVE_LIVE, 6, BOTH);
    expect("(A)[end]"); /* the sound can be had */
    (void)snprintf(text, sizeof text, "[refused 415 %s][end all %s]", why, why);
    expect_at(KIT_PICTURE, text);
    assert_int_equal(v.place, VIEWER_REFUSED);
    come(6, "K0");
    expect_at(KIT_PICTURE, "");
    kit.codecs[0] = WR_CODEC_H264; /* and another epoch can be carried again */
    kit_info(LIVE_LIVE, 7, BOTH);
    come(7, "K0");
    expect_at(KIT_PICTURE, "(V)[end](*K0)");
}

static void test_an_output_is_made_once_for_a_wish_and_gone_with_the_last_viewer(void **state)
{
    (void)state;
    const struct live_want audio = {.pick = PICK_AUDIO};
    struct live_output *a = output__get(&kit.s, kit.live.muxers[0], &audio);
    assert_ptr_equal(output__get(&kit.s, kit.live.muxers[0], &audio), a);
    assert_int_equal(kit.s.num_outputs, 3);
    come(5, "K0");
    come(5, "s1");
    come(5, "P2");
    assert_string_equal(kit_sent(a->fanout), "(*s1)"); /* begins with the group's first sound */
    output__release(a);
    assert_int_equal(kit.s.num_outputs, 3);
    output__release(a);
    assert_int_equal(kit.s.num_outputs, 2);
    for (uint32_t id = 1; id <= LIVE_MAX_OUTPUTS - 2; id++)
        assert_non_null(output__get(&kit.s, kit.live.muxers[0],
                                    &(struct live_want){.pick = PICK_IDS, .ids = {id}}));
    assert_null(output__get(&kit.s, kit.live.muxers[0],
                            &(struct live_want){.pick = PICK_IDS, .ids = {99}}));
    assert_non_null(output__get(&kit.s, kit.live.muxers[0], &audio)); /* but what everybody wants */
    for (struct live_consumer *c = kit.s.consumers, *next; c; c = next) {
        struct live_output *o = (struct live_output *)(void *)c;
        next = c->next;
        if (o != kit.outs[KIT_ALL] && o != kit.outs[KIT_PICTURE])
            output__release(o);
    }
}

/* ---- consumers ---- */

struct cutter {
    struct live_consumer consumer; /* first */
    struct wr_buf log;
};

static struct wr_buf *log_of(struct live_consumer *c)
{
    return &((struct cutter *)(void *)c)->log;
}

static void cut_epoch(struct live_consumer *c)
{
    wr_buf_str(log_of(c), "epoch ");
}

static void cut_frame(struct live_consumer *c, const struct wr_media_frame *f, struct wr_msg *msg,
                      bool begins)
{
    assert_true(f->data.p >= msg->data && f->data.p + f->data.n <= msg->data + msg->len);
    wr_buf_fmt(log_of(c), begins ? "%llu:%.*s " : "%.0llu%.*s ",
               begins ? (unsigned long long)f->gop : 0, (int)f->data.n, (const char *)f->data.p);
}

static void cut_gap(struct live_consumer *c)
{
    wr_buf_str(log_of(c), "gap ");
}

static void cut_end(struct live_consumer *c)
{
    wr_buf_str(log_of(c), "end ");
}

static void cut_down(struct live_consumer *c, int status, const char *why)
{
    wr_buf_fmt(log_of(c), "down %d %s ", status, why);
}

/* What a segmenter will be: it gets every frame of the stream, cuts by gop, and sees where something is missing. */
static void test_a_consumer_of_another_kind_gets_every_frame_and_every_group(void **state)
{
    (void)state;
    static const struct live_consumer_ops ops = {cut_epoch, cut_frame, cut_gap, cut_end, cut_down};
    struct cutter c = {.consumer = {.ops = &ops}};
    intake__add(&kit.s, &c.consumer);
    come(5, "K0");
    come(5, "s1");
    come(5, "P2");
    come(5, "K3");
    come(5, "P5");
    come(5, "K6");
    kit_info(LIVE_LIVE, 6, BOTH);
    come(6, "K0");
    kit_info(LIVE_RETRYING, 0, 0);
    intake__remove(&kit.s, &c.consumer);
    wr_buf_char(&c.log, 0);
    assert_string_equal((char *)c.log.p, "5001:K0 s1 P2 5004:K3 gap 5007:K6 epoch 6001:K0 end "
                                         "down 503 why ");
    wr_buf_free(&c.log);
}

/* ---- streams that come and go ---- */

static void poll_answer(const char *name)
{
    Watchroom__V1__StreamsResponse r = WATCHROOM__V1__STREAMS_RESPONSE__INIT;
    Watchroom__V1__StreamInfo info = WATCHROOM__V1__STREAM_INFO__INIT, *list[] = {&info};
    char text[32];
    (void)snprintf(text, sizeof text, "%s", name);
    info.stream = text;
    r.streams = list;
    r.n_streams = name[0] ? 1 : 0;
    struct wr_msg *m = wr_msg_pack(&r.base);
    told__poll_answer(&kit.live,
                      &(struct wr_answer){.body = wr_msg_slice(m), .msg = m, .instance = "i1"});
    wr_msg_unref(m);
}

static void test_a_stream_that_is_not_listed_any_more_is_gone_and_its_viewers_are_told(void **state)
{
    (void)state;
    struct viewer v;
    come(5, "K0");
    expect("(*K0)");
    poll_answer("hall");
    assert_false(kit.s.unlisted);
    kit.s.watch_at_us = 1;
    poll_answer("");
    assert_true(kit.s.unlisted && kit.s.watch_at_us == 0); /* Watch says why, and when */
    kit_wait(&v, KIT_PICTURE);
    expect_at(KIT_PICTURE, "(*K0)[join (V)(*K0)]");
    told__watch_answer(&kit.s, &(struct wr_answer){.code = WR_ERR_NOT_FOUND,
                                                   .text = wr_slice_str("there is no hall")});
    assert_string_equal(kit_sent(kit.s.tell), "(retrying)");
    assert_string_equal(kit.s.reason, "there is no hall");
    expect("[end]");
    kit_info(LIVE_LIVE, 6, BOTH); /* it is there again */
    assert_false(kit.s.unlisted);
}

static void test_another_instance_does_not_speak_for_the_one_that_listed_it(void **state)
{
    (void)state;
    poll_answer("hall");
    snprintf(kit.s.listed_by, sizeof kit.s.listed_by, "i2");
    poll_answer("");
    assert_false(kit.s.unlisted);
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
    kit_leave(KIT_PICTURE);
    assert_int_equal(kit.s.num_outputs, 1);
    come(5, "K0");
    come(5, "s1");
    come(5, "P2");
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
        struct wr_media_frame f = kit_frame(5, KIT_VIDEO, seq, "P");
        kit_event(&f);
    }
    assert_int_equal(counted("group_outgrown") - outgrown, 1);
    kit_wait(&v, KIT_ALL);
    assert_int_equal(v.place, VIEWER_WAITING);
    (void)kit_sent(kit.outs[KIT_ALL]->fanout);
    come(5, "K4097");
    assert_int_equal(v.place, VIEWER_JOINED);
    expect("(*K4097)[join (VA)(*K4097)]");
}

static void test_a_full_plane_gets_nothing_before_the_next_key_frame(void **state)
{
    (void)state;
    come(5, "K0");
    kit.outs[KIT_ALL]->fanout->full = true;
    come(5, "P1");
    kit.outs[KIT_ALL]->fanout->full = false;
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
    unsigned long bad = counted("bad_frames");
    const struct wr_media_frame key = frame(5, "K0"), good = frame(5, "P1");
    struct wr_media_frame f[9];
    for (unsigned i = 0; i < 9; i++)
        f[i] = good;
    f[0].dts = -1;
    f[1].dts = f[1].pts = INT64_MAX;
    f[2].pts = INT64_MIN;
    f[3].pts = INT64_MAX;
    f[4].duration = UINT32_MAX;
    f[5].epoch = 0;
    f[6].time_us = INT64_MIN;
    f[7].gop = 0;
    f[8].seq = UINT64_MAX;
    kit_event(&key);
    for (unsigned i = 0; i < 9; i++)
        kit_event(&f[i]);
    assert_int_equal(counted("bad_frames") - bad, 9);
    kit_event(&good);
    expect("(*K0)(P1)");
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
    told__watch_answer(&kit.s, &(struct wr_answer){.body = wr_slice_str("\x0a\x7f")});
    assert_int_equal(counted("bad_events") - bad, 1);
    told__watch_answer(
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
        T(test_a_gap_over_a_key_frame_is_filled_from_the_groups_without_a_loss),
        T(test_groups_that_come_in_pages_are_asked_for_one_after_another),
        T(test_groups_of_an_epoch_that_is_over_are_left_alone),
        T(test_without_an_answer_to_groups_watch_is_asked),
        T(test_a_gap_that_the_group_is_past_goes_on_at_its_key_frame),
        T(test_a_gap_ends_at_the_next_key_frame),
        T(test_a_group_that_does_not_reach_the_gap_leaves_it_open),
        T(test_what_waits_for_a_group_has_a_bound),
        T(test_a_new_epoch_begins_anew),
        T(test_times_are_those_of_ingest),
        T(test_byte_streams_end_when_ingest_began_another_time_line),
        T(test_an_init_that_the_plane_did_not_take_goes_before_the_next_key_frame),
        T(test_an_epoch_that_was_not_told_of_is_asked_for),
        T(test_a_source_that_ends_is_told_and_shows_nothing_more),
        T(test_who_waits_for_a_source_that_is_down_is_refused_with_its_reason),
        T(test_the_door_for_the_picture_carries_no_sound),
        T(test_a_stream_without_a_picture_is_heard_at_both_doors),
        T(test_sound_of_the_group_before_does_not_ride_with_a_key_frame),
        T(test_a_track_that_the_format_cannot_carry_is_left_out),
        T(test_a_stream_that_the_format_cannot_carry_is_refused_in_words),
        T(test_an_output_is_made_once_for_a_wish_and_gone_with_the_last_viewer),
        T(test_a_consumer_of_another_kind_gets_every_frame_and_every_group),
        T(test_a_stream_that_is_not_listed_any_more_is_gone_and_its_viewers_are_told),
        T(test_another_instance_does_not_speak_for_the_one_that_listed_it),
        T(test_who_joins_begins_with_the_group),
        T(test_the_first_viewer_of_a_door_begins_with_the_group_too),
        T(test_a_group_too_long_to_keep_is_not_begun_with),
        T(test_a_full_plane_gets_nothing_before_the_next_key_frame),
        T(test_malformed_events_are_counted_and_do_no_harm),
        T(test_numbers_out_of_range_are_counted_and_do_no_harm),
        T(test_a_track_that_was_not_told_of_is_left_out),
        T(test_an_answer_that_is_not_one_is_counted_and_asked_for_again),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
