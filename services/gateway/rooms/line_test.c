/* SPDX-License-Identifier: MIT
 *
 * Claims about the order of one connection's requests. line.c alone is under test: what it begins is written down here. */
#include "line.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka needs the above */
#include <cmocka.h>

/* ---- what is around the line ---- */

static struct wr_rooms rooms;
static struct line line;
static char begun[64]; /* a letter for each that began */
static size_t num_begun, num_dropped;

static void note(char letter)
{
    assert_true(num_begun + 1 < sizeof begun);
    begun[num_begun++] = letter;
    begun[num_begun] = 0;
}

void rooms__job_post(struct wr_rooms *rs, struct rooms__job *j)
{
    assert_ptr_equal(rs, &rooms);
    note((char)j->kind);
    free(j);
}

void clients__ask_history(struct wr_rooms *rs, struct wr_msg *body, struct rooms__reply *p)
{
    assert_ptr_equal(rs, &rooms);
    note((char)p->r.cookie);
    wr_msg_unref(body);
    free(p);
}

void rooms__reply_free(struct rooms__reply *p)
{
    num_dropped++;
    free(p);
}

static void begun_is(const char *want)
{
    assert_string_equal(begun, want);
}

/* ---- asking ---- */

static uint32_t asks_for(const char *room, enum line_kind kind, char letter, struct rooms__sub *sub)
{
    uint32_t lane = line__lane(&line, wr_slice_str(room));
    struct line_work w = {.kind = kind, .sub = sub};
    if (kind == LINE_READ) {
        w.reply = calloc(1, sizeof *w.reply);
        w.reply->r.cookie = (uint64_t)letter;
        w.history = wr_msg_copy(wr_slice_str("?"));
    } else {
        w.job = calloc(1, sizeof *w.job);
        w.job->kind = (enum rooms__job_kind)letter;
    }
    line__add(&rooms, &line, lane, &w);
    return lane;
}

static uint32_t publish(const char *room, char letter)
{
    return asks_for(room, LINE_PUBLISH, letter, NULL);
}

static uint32_t reads(const char *room, char letter)
{
    return asks_for(room, LINE_READ, letter, NULL);
}

static int anew(void **state)
{
    (void)state;
    line = (struct line){0};
    num_begun = num_dropped = 0;
    begun[0] = 0;
    atomic_store(&rooms.calls, 0);
    return 0;
}

static int nothing_left(void **state)
{
    (void)state;
    assert_null(line.rooms);
    assert_int_equal(line.reads, 0);
    return 0;
}

/* ---- claims ---- */

static void test_a_publish_waits_for_the_subscription_in_front(void **state)
{
    (void)state;
    uint32_t lane = asks_for("hall", LINE_SUBSCRIBE, 's', NULL);
    publish("hall", 'p');
    publish("hall", 'q');
    begun_is("s");
    line__done(&rooms, &line, lane, LINE_SUBSCRIBE);
    begun_is("spq");
    line__done(&rooms, &line, lane, LINE_PUBLISH);
    line__done(&rooms, &line, lane, LINE_PUBLISH);
}

static void test_a_read_waits_for_publishes_and_a_publish_for_reads(void **state)
{
    (void)state;
    uint32_t lane = publish("hall", 'p');
    publish("hall", 'q');
    reads("hall", 'h');
    reads("hall", 'i');
    publish("hall", 'r');
    begun_is("pq");
    line__done(&rooms, &line, lane, LINE_PUBLISH);
    begun_is("pq");
    line__done(&rooms, &line, lane, LINE_PUBLISH);
    begun_is("pqhi");
    line__done(&rooms, &line, lane, LINE_READ);
    line__done(&rooms, &line, lane, LINE_READ);
    begun_is("pqhir");
    line__done(&rooms, &line, lane, LINE_PUBLISH);
}

static void test_a_subscription_waits_for_what_is_in_front(void **state)
{
    (void)state;
    uint32_t lane = publish("hall", 'p');
    asks_for("hall", LINE_SUBSCRIBE, 's', NULL);
    begun_is("p");
    line__done(&rooms, &line, lane, LINE_PUBLISH);
    begun_is("ps");
    line__done(&rooms, &line, lane, LINE_SUBSCRIBE);
}

static void test_rooms_do_not_wait_for_each_other(void **state)
{
    (void)state;
    uint32_t hall = asks_for("hall", LINE_SUBSCRIBE, 's', NULL), attic;
    publish("hall", 'p');
    attic = publish("attic", 'q');
    assert_int_not_equal(hall, attic);
    begun_is("sq");
    line__done(&rooms, &line, attic, LINE_PUBLISH);
    line__done(&rooms, &line, hall, LINE_SUBSCRIBE);
    line__done(&rooms, &line, hall, LINE_PUBLISH);
}

static void test_a_few_reads_at_a_time(void **state)
{
    (void)state;
    uint32_t hall = 0, attic = 0;
    for (unsigned i = 0; i < LINE_READS + 1; i++)
        hall = reads("hall", (char)('a' + i));
    attic = reads("attic", 'z');
    begun_is("abcd");
    assert_int_equal(atomic_load(&rooms.calls), LINE_READS);
    line__done(&rooms, &line, hall, LINE_READ);
    assert_int_equal(num_begun, LINE_READS + 1);
    line__done(&rooms, &line, hall, LINE_READ);
    assert_int_equal(num_begun, LINE_READS + 2);
    for (unsigned i = 0; i < LINE_READS - 1; i++)
        line__done(&rooms, &line, hall, LINE_READ);
    line__done(&rooms, &line, attic, LINE_READ);
}

static void test_no_read_begins_while_answers_wait_for_the_client(void **state)
{
    (void)state;
    line.is_full = true;
    uint32_t lane = reads("hall", 'h');
    uint32_t attic = publish("attic", 'p');
    begun_is("p");
    line__done(&rooms, &line, attic, LINE_PUBLISH);
    line__resume(&rooms, &line);
    begun_is("ph");
    line__done(&rooms, &line, lane, LINE_READ);
}

static void test_a_subscription_that_is_given_back_begins_before_it_ends(void **state)
{
    (void)state;
    struct rooms__sub *s = calloc(1, sizeof *s), *other = calloc(1, sizeof *other);
    uint32_t lane = publish("hall", 'p');
    asks_for("hall", LINE_SUBSCRIBE, 's', s);
    publish("hall", 'q');
    line__hurry(&rooms, &line, other);
    begun_is("p");
    line__hurry(&rooms, &line, s);
    begun_is("ps");
    line__hurry(&rooms, &line, s);
    line__done(&rooms, &line, lane, LINE_PUBLISH);
    begun_is("ps");
    line__done(&rooms, &line, lane, LINE_SUBSCRIBE);
    begun_is("psq");
    line__done(&rooms, &line, lane, LINE_PUBLISH);
    free(s);
    free(other);
}

static void test_who_goes_has_said_what_he_said_and_asks_nothing(void **state)
{
    (void)state;
    asks_for("hall", LINE_SUBSCRIBE, 's', NULL);
    publish("hall", 'p');
    reads("hall", 'h');
    publish("hall", 'q');
    line__end(&rooms, &line);
    begun_is("spq");
    assert_int_equal(num_dropped, 1);
    assert_int_equal(atomic_load(&rooms.calls), 0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, anew, nothing_left)
    const struct CMUnitTest tests[] = {
        CLAIM(test_a_publish_waits_for_the_subscription_in_front),
        CLAIM(test_a_read_waits_for_publishes_and_a_publish_for_reads),
        CLAIM(test_a_subscription_waits_for_what_is_in_front),
        CLAIM(test_rooms_do_not_wait_for_each_other),
        CLAIM(test_a_few_reads_at_a_time),
        CLAIM(test_no_read_begins_while_answers_wait_for_the_client),
        CLAIM(test_a_subscription_that_is_given_back_begins_before_it_ends),
        CLAIM(test_who_goes_has_said_what_he_said_and_asks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
