/* SPDX-License-Identifier: MIT
 *
 * Claims about the outbox. The test is the rooms thread, the hub and the clock: outbox.c alone is under test, and what it
 * calls of its neighbours is written down here. */
#include "rooms_priv.h"
#include "watchroom/v1/hub.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the above */
#include <cmocka.h>

#define MS 1000 /* microseconds */

/* ---- what is around the outbox ---- */

struct told {
    uint64_t cookie, offset;
    int64_t time_ms;
    wr_err code;
    char text[200];
};
static int64_t now_us;
static struct {
    unsigned calls;
    struct wr_msg *body; /* of the newest call */
    uint32_t ms;
    rooms__answer_fn fn;
    void *ctx;
    const struct rooms__hub *at;
} hub;
static struct rooms__hub *hubs[3]; /* the rooms "hall", "attic" and "cellar" are at these */
static struct told told[2048];
static size_t num_told;
static unsigned identities;

int64_t wr_mono_us(void)
{
    return now_us;
}

struct rooms__hub *hubs__home(struct wr_rooms *rs, struct wr_slice room)
{
    (void)rs;
    struct rooms__hub *h = hubs[wr_slice_is(room, "hall") ? 0 : wr_slice_is(room, "attic") ? 1 : 2];
    return h->is_up ? h : hubs[0]->is_up ? hubs[0] : hubs[1];
}

void rooms__call_at(struct wr_rooms *rs, const struct rooms__hub *h, const char *method,
                    struct wr_msg *body, uint32_t ms, rooms__answer_fn fn, void *ctx)
{
    (void)rs;
    hub.at = h;
    hub.ctx = ctx;
    assert_string_equal(method, "watchroom.v1.Hub/Publish");
    wr_msg_unref(hub.body);
    hub.calls++;
    hub.body = body;
    hub.ms = ms;
    hub.fn = fn;
}

struct rooms__reply *rooms__reply_new(enum wr_protocol_op op, uint64_t cookie)
{
    struct rooms__reply *p = calloc(1, sizeof *p);
    assert_non_null(p);
    assert_int_equal(op, WR_PROTOCOL_PUBLISH);
    p->r.cookie = cookie;
    return p;
}

void rooms__reply_fail(struct rooms__reply *p, wr_err code, struct wr_slice text)
{
    p->r.code = code;
    (void)snprintf(p->text, sizeof p->text, "%.*s", (int)text.n, (const char *)text.p);
}

void rooms__reply_post(struct wr_rooms *rs, struct wr_conn_id conn, struct rooms__reply *p)
{
    (void)rs;
    assert_int_equal(conn.v, 7);
    assert_true(num_told < WR_ARRAY_LEN(told));
    struct told *t = &told[num_told++];
    *t = (struct told){
        .cookie = p->r.cookie, .offset = p->r.offset, .time_ms = p->r.time_ms, .code = p->r.code};
    memcpy(t->text, p->text, sizeof t->text);
    free(p);
}

void rooms__person_unref(struct rooms__person *i)
{
    identities--;
    free(i);
}

/* ---- driving it ---- */

static struct wr_rooms *rs;

static int set_up(void **state)
{
    (void)state;
    now_us = 5000000;
    hub.calls = 0;
    num_told = 0;
    rs = calloc(1, sizeof *rs);
    assert_non_null(rs);
    for (size_t i = 0; i < WR_ARRAY_LEN(hubs); i++) {
        hubs[i] = calloc(1, sizeof *hubs[i]);
        assert_non_null(hubs[i]);
        outbox__init(&hubs[i]->outbox);
        hubs[i]->next = rs->hubs;
        hubs[i]->is_up = i == 0;
        rs->hubs = hubs[i];
    }
    rs->nup = 1;
    return 0;
}

/* Whatever a test left in the outbox is given back. */
static int tear_down(void **state)
{
    (void)state;
    outbox__free(rs);
    assert_int_equal(identities, 0);
    assert_int_equal(atomic_load(&rs->outbox_items), 0);
    assert_int_equal(atomic_load(&rs->outbox_bytes), 0);
    for (size_t i = 0; i < WR_ARRAY_LEN(hubs); i++) {
        free(hubs[i]->outbox.call);
        free(hubs[i]);
    }
    free(rs);
    wr_msg_unref(hub.body);
    hub.body = NULL;
    return 0;
}

/* A client's message; its cookie and its key tell which. */
static void add_to(const char *room, uint64_t cookie, size_t n)
{
    size_t room_n = strlen(room);
    struct rooms__publish *p = calloc(1, sizeof *p + room_n + n);
    struct rooms__person *who = calloc(1, sizeof *who);
    assert_true(p && who);
    identities++;
    p->conn.v = 7;
    p->cookie = cookie;
    p->deadline_us = now_us + ROOMS__PUBLISH_MS * MS;
    p->who = who;
    memcpy(p->key, &cookie, sizeof cookie);
    memcpy(p->bytes, room, room_n);
    memset(p->bytes + room_n, '1', n);
    p->room = wr_slice_of(p->bytes, room_n);
    p->data = wr_slice_of(p->bytes + room_n, n);
    atomic_fetch_add(&rs->outbox_items, 1);
    atomic_fetch_add(&rs->outbox_bytes, rooms__publish_memory(p));
    outbox__add(rs, p);
}

static void add_bytes(uint64_t cookie, size_t n)
{
    add_to("hall", cookie, n);
}

static void add(uint64_t cookie)
{
    add_bytes(cookie, 3);
}

static void run(void)
{
    outbox__run(rs, now_us / MS);
}

/* The cookies of the call under way, as "1 2 3". */
static const char *sent(void)
{
    static char text[256];
    size_t at = 0;
    Watchroom__V1__PublishRequest *r = watchroom__v1__publish_request__unpack(NULL, hub.body->len,
                                                                              hub.body->data);
    assert_non_null(r);
    text[0] = 0;
    for (size_t i = 0; i < r->n_items && at < sizeof text; i++) {
        uint64_t cookie;
        assert_int_equal(r->items[i]->kind, WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_CHAT);
        assert_int_equal(r->items[i]->key.len, 16);
        memcpy(&cookie, r->items[i]->key.data, sizeof cookie);
        at += (size_t)snprintf(text + at, sizeof text - at, i ? " %llu" : "%llu",
                               (unsigned long long)cookie);
    }
    watchroom__v1__publish_request__free_unpacked(r, NULL);
    return text;
}

static void answer(const struct wr_answer *a)
{
    void *ctx = hub.ctx;
    hub.ctx = NULL;
    hub.fn(rs, ctx, a);
}

/* The hub stored the first n of the call: offsets from `offset` on. */
static void stored(size_t n, uint64_t offset)
{
    Watchroom__V1__PublishResponse r = WATCHROOM__V1__PUBLISH_RESPONSE__INIT;
    Watchroom__V1__PublishResult *v = calloc(n + 1, sizeof *v), **at = calloc(n + 1, sizeof *at);
    assert_true(v && at);
    for (size_t i = 0; i < n; i++) {
        watchroom__v1__publish_result__init(&v[i]);
        v[i].offset = offset + i;
        v[i].time_ms = 1000;
        at[i] = &v[i];
    }
    r.n_results = n;
    r.results = at;
    struct wr_msg *m = wr_msg_pack(&r.base);
    assert_non_null(m);
    answer(&(struct wr_answer){.body = wr_msg_slice(m), .msg = m});
    wr_msg_unref(m);
    free(v);
    free(at);
}

static void failed(wr_err code)
{
    answer(&(struct wr_answer){.code = code, .text = wr_slice_str("why")});
}

static size_t wants(int64_t *until_us)
{
    *until_us = INT64_MAX;
    return outbox__wants(rs, until_us);
}

/* ---- batches ---- */

static void test_what_arrives_during_a_call_is_one_next_call_in_order(void **state)
{
    (void)state;
    add(1);
    run();
    assert_int_equal(hub.calls, 1);
    assert_string_equal(sent(), "1");
    add(2);
    add(3);
    run();
    add(4);
    run();
    assert_int_equal(hub.calls, 1); /* one at a time */
    stored(1, 10);
    now_us += MS; /* past any hold */
    run();
    assert_int_equal(hub.calls, 2);
    assert_string_equal(sent(), "2 3 4");
    stored(3, 11);
    assert_int_equal(num_told, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(told[i].code, WR_OK);
        assert_int_equal(told[i].cookie, i + 1);
        assert_int_equal(told[i].offset, 10 + i);
        assert_int_equal(told[i].time_ms, 1000);
    }
    assert_int_equal(hub.calls, 2); /* nothing is left to send */
}

static void test_a_call_has_a_bound_in_messages_and_the_rest_follows_in_order(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1200; i++)
        add(i);
    run();
    while (num_told < 1200) {
        size_t n = hubs[0]->outbox.nsent;
        assert_in_range(n, 1, 512);
        stored(n, num_told + 1);
        now_us += MS;
        run();
    }
    assert_int_equal(hub.calls, 3);
    for (size_t i = 0; i < 1200; i++)
        assert_true(told[i].cookie == i && told[i].offset == i + 1);
}

static void test_a_call_has_a_bound_in_bytes_but_takes_one_message_of_any_size(void **state)
{
    (void)state;
    add_bytes(1, 2u << 20);
    add_bytes(2, 600u << 10);
    add_bytes(3, 600u << 10);
    run();
    assert_string_equal(sent(), "1");
    stored(1, 1);
    now_us += MS;
    run();
    assert_string_equal(sent(), "2");
    stored(1, 2);
    now_us += MS;
    run();
    assert_string_equal(sent(), "3");
}

/* ---- the hold ---- */

static void test_nobody_is_woken_while_a_call_is_under_way_or_to_be_made_again(void **state)
{
    (void)state;
    int64_t until;
    assert_int_equal(wants(&until), 1);
    add(1);
    run();
    assert_true(wants(&until) == SIZE_MAX && until == INT64_MAX);
    failed(WR_ERR_UNAVAILABLE);
    assert_true(wants(&until) == SIZE_MAX);
}

static void test_after_an_answer_the_next_call_waits_for_as_many_senders(void **state)
{
    (void)state;
    int64_t until;
    add(1);
    add(2);
    add(3);
    run();
    add(4);
    now_us += 400; /* the call's time is how long the next one may be held */
    stored(3, 1);
    assert_int_equal(hub.calls, 1);
    assert_int_equal(wants(&until), 3); /* three answered, one waits: four are busy */
    assert_true(until == now_us + 400);
    add(5);
    add(6);
    run();
    assert_int_equal(hub.calls, 1);
    assert_int_equal(wants(&until), 1);
    add(7);
    run();
    assert_int_equal(hub.calls, 2);
    assert_string_equal(sent(), "4 5 6 7");
}

static void test_a_hold_ends_after_the_last_calls_time_and_a_millisecond_at_most(void **state)
{
    (void)state;
    int64_t until;
    add(1);
    add(2);
    run();
    now_us += 50 * MS;
    stored(2, 1);
    add(3);
    run();
    assert_int_equal(hub.calls, 1);
    assert_int_equal(wants(&until), 1);
    assert_true(until == now_us + MS);
    now_us = until;
    run();
    assert_int_equal(hub.calls, 2);
    assert_string_equal(sent(), "3");
    stored(1, 3);
    assert_int_equal(wants(&until), 1);
}

static void test_one_sender_alone_is_never_held(void **state)
{
    (void)state;
    int64_t until;
    for (uint64_t i = 1; i <= 3; i++) {
        add(i);
        run(); /* no time has passed since the answer */
        assert_int_equal(hub.calls, i);
        now_us += 3 * MS;
        stored(1, i);
        assert_true(wants(&until) == 1 && until == INT64_MAX);
    }
}

/* ---- when it goes wrong ---- */

static void retried_after(wr_err code)
{
    unsigned calls = hub.calls;
    failed(code);
    run();
    assert_int_equal(hub.calls, calls); /* not at once */
    now_us += ROOMS__RETRY_MS * MS;
    run();
    assert_int_equal(hub.calls, calls + 1);
    assert_string_equal(sent(), "1 2");
}

static void test_a_call_without_an_answer_is_made_again_with_the_same_keys(void **state)
{
    (void)state;
    uint64_t retries = rooms__m_publish_retries.value;
    add(1);
    add(2);
    run();
    uint32_t ms = hub.ms;
    add(3);
    retried_after(WR_ERR_UNAVAILABLE);
    retried_after(WR_ERR_TIMEOUT);
    retried_after(WR_ERR_CLOSED);
    retried_after(WR_ERR_BUSY);
    assert_int_equal(ms, ROOMS__PUBLISH_MS);
    assert_int_equal(hub.ms, ROOMS__PUBLISH_MS - 4 * ROOMS__RETRY_MS); /* what is left */
    assert_int_equal(rooms__m_publish_retries.value - retries, 4);
    assert_int_equal(num_told, 0);
    stored(2, 1);
    now_us += MS;
    run();
    assert_string_equal(sent(), "3"); /* what came later did not overtake */
    assert_int_equal(num_told, 2);
}

static void test_each_message_is_given_up_at_its_own_deadline(void **state)
{
    (void)state;
    uint64_t given_up = rooms__m_publish_failed.value;
    add(1);
    now_us += ROOMS__PUBLISH_MS * MS / 2;
    add(2);
    run();
    assert_string_equal(sent(), "1 2");
    now_us += (ROOMS__PUBLISH_MS - ROOMS__RETRY_MS) * MS / 2; /* another call would come too late */
    failed(WR_ERR_TIMEOUT);
    assert_int_equal(num_told, 1);
    assert_int_equal(told[0].cookie, 1);
    assert_int_equal(told[0].code, WR_ERR_TIMEOUT);
    assert_string_equal(told[0].text, "why");
    now_us += ROOMS__RETRY_MS * MS;
    run();
    assert_string_equal(sent(), "2");
    now_us += ROOMS__PUBLISH_MS * MS;
    failed(WR_ERR_UNAVAILABLE);
    assert_int_equal(num_told, 2);
    assert_int_equal(told[1].cookie, 2);
    assert_int_equal(told[1].code, WR_ERR_UNAVAILABLE);
    assert_int_equal(rooms__m_publish_failed.value - given_up, 2);
    add(3); /* the next one is not held back by what was given up */
    run();
    assert_string_equal(sent(), "3");
}

static void test_a_refused_call_is_not_made_again(void **state)
{
    (void)state;
    add(1);
    add(2);
    run();
    add(3);
    failed(WR_ERR_NO_SPACE);
    assert_int_equal(num_told, 2);
    assert_true(told[0].code == WR_ERR_NO_SPACE && told[1].code == WR_ERR_NO_SPACE);
    assert_int_equal(hub.calls, 2); /* and what waited goes */
    assert_string_equal(sent(), "3");
}

static void test_one_refused_message_does_not_spoil_its_batch(void **state)
{
    (void)state;
    Watchroom__V1__PublishResponse r = WATCHROOM__V1__PUBLISH_RESPONSE__INIT;
    Watchroom__V1__PublishResult bad = WATCHROOM__V1__PUBLISH_RESULT__INIT, good = bad;
    Watchroom__V1__PublishResult *both[] = {&bad, &good};
    bad.code = WR_ERR_DENIED;
    bad.message = (char[]){"a word"};
    good.offset = 4;
    r.n_results = 2;
    r.results = both;
    add(1);
    add(2);
    run();
    struct wr_msg *m = wr_msg_pack(&r.base);
    answer(&(struct wr_answer){.body = wr_msg_slice(m), .msg = m});
    wr_msg_unref(m);
    assert_int_equal(num_told, 2);
    assert_int_equal(told[0].code, WR_ERR_DENIED);
    assert_string_equal(told[0].text, "a word");
    assert_true(told[1].code == WR_OK && told[1].offset == 4);
}

static void test_an_answer_with_too_few_results_fails_the_rest(void **state)
{
    (void)state;
    uint64_t bad = rooms__m_bad_bus.value;
    add(1);
    add(2);
    add(3);
    run();
    stored(1, 9);
    assert_int_equal(num_told, 3);
    assert_true(told[0].code == WR_OK && told[0].offset == 9);
    assert_true(told[1].cookie == 2 && told[1].code == WR_ERR_INTERNAL);
    assert_true(told[2].cookie == 3 && told[2].code == WR_ERR_INTERNAL);
    assert_int_equal(rooms__m_bad_bus.value - bad, 1);
}

static void test_an_answer_of_other_bytes_fails_all_and_more_results_than_sent_do_no_harm(
    void **state)
{
    (void)state;
    uint64_t bad = rooms__m_bad_bus.value;
    add(1);
    run();
    answer(&(struct wr_answer){.body = wr_slice_str("\x0a\x7fnot protobuf")});
    assert_true(num_told == 1 && told[0].code == WR_ERR_INTERNAL);
    assert_int_equal(rooms__m_bad_bus.value - bad, 1);
    add(2);
    run();
    stored(5, 1);
    assert_true(num_told == 2 && told[1].code == WR_OK && told[1].offset == 1);
}

/* ---- acknowledgements and the publications that they are of ---- */

static struct rooms__room hall;

static void hall_is(enum rooms__room_state state, size_t nsubs, uint64_t last)
{
    hall.state = state;
    hall.nsubs = nsubs;
    hall.last = last;
    assert_true(wr_map_put(&rs->rooms, wr_slice_str("hall"), &hall));
}

static void publish_and_store(uint64_t offset)
{
    add(1);
    add(2);
    run();
    stored(2, offset);
}

static void test_an_acknowledgement_leaves_with_its_publication(void **state)
{
    (void)state;
    int64_t until;
    hall_is(ROOM_LIVE, 1, 9);
    publish_and_store(10);
    outbox__release(rs, false);
    assert_int_equal(num_told, 0);
    (void)wants(&until);
    assert_true(until > now_us && until <= now_us + MS / 2);
    outbox__release(rs, true);
    assert_int_equal(num_told, 2);
    assert_true(told[0].cookie == 1 && told[0].offset == 10 && told[0].code == WR_OK);
    assert_true(told[1].cookie == 2 && told[1].offset == 11);
    outbox__release(rs, true);
    assert_int_equal(num_told, 2);
    wr_map_free(&rs->rooms);
}

static void test_a_publication_that_does_not_come_holds_no_acknowledgement(void **state)
{
    (void)state;
    int64_t until;
    hall_is(ROOM_LIVE, 1, 9);
    publish_and_store(10);
    (void)wants(&until);
    now_us = until - 1;
    outbox__release(rs, false);
    assert_int_equal(num_told, 0);
    now_us = until;
    outbox__release(rs, false);
    assert_int_equal(num_told, 2);
    now_us += MS; /* past any hold */
    (void)wants(&until);
    assert_true(until == INT64_MAX);
    wr_map_free(&rs->rooms);
}

static void test_who_awaits_no_publication_is_acknowledged_at_once(void **state)
{
    (void)state;
    hall_is(ROOM_LIVE, 1, 11); /* delivered already */
    publish_and_store(10);
    assert_int_equal(num_told, 2);
    now_us += MS;
    hall_is(ROOM_LIVE, 0, 0); /* nobody is in the room */
    publish_and_store(12);
    assert_int_equal(num_told, 4);
    now_us += MS;
    hall_is(ROOM_FILLING, 1, 0); /* what is held back there may take its time */
    publish_and_store(14);
    assert_int_equal(num_told, 6);
    now_us += MS;
    hall_is(ROOM_LIVE, 1, 0);
    add(3);
    run();
    failed(WR_ERR_DENIED);
    assert_int_equal(num_told, 7);
    wr_map_free(&rs->rooms);
}

/* ---- several hubs ---- */

static void change(size_t i, bool is_up)
{
    hubs[i]->is_up = is_up;
    rs->nup += is_up ? 1u : -1u;
    rs->turn++;
    for (size_t k = 0; k < WR_ARRAY_LEN(hubs); k++)
        outbox__rehome(rs, hubs[k]);
}

struct call {
    rooms__answer_fn fn;
    void *ctx;
};

/* The newest call, to be answered later. */
static struct call put_aside(void)
{
    struct call c = {hub.fn, hub.ctx};
    return c;
}

static void answer_late(struct call c, wr_err code)
{
    c.fn(rs, c.ctx, &(struct wr_answer){.code = code, .text = wr_slice_str("why")});
}

static void test_each_hub_has_a_call_of_its_own_under_way(void **state)
{
    (void)state;
    change(1, true);
    change(2, true);
    add_to("hall", 1, 3);
    run();
    assert_ptr_equal(hub.at, hubs[0]);
    struct call slow = put_aside();
    add_to("attic", 2, 3);
    add_to("hall", 3, 3);
    run();
    assert_ptr_equal(hub.at, hubs[1]);
    assert_string_equal(sent(), "2"); /* nobody waits for the other hub */
    stored(1, 7);
    assert_int_equal(num_told, 1);
    assert_int_equal(told[0].cookie, 2);
    answer_late(slow, WR_ERR_DENIED);
    assert_int_equal(num_told, 2);
}

static void test_a_dead_hubs_call_is_made_again_where_its_rooms_are_with_the_same_keys(void **state)
{
    (void)state;
    change(1, true);
    change(2, true);
    add_to("attic", 1, 3);
    add_to("attic", 2, 3);
    run();
    assert_ptr_equal(hub.at, hubs[1]);
    struct call dead = put_aside();
    add_to("attic", 3, 3); /* waits behind it */
    change(1, false);
    run();
    assert_ptr_equal(hub.at, hubs[0]);
    assert_string_equal(sent(), "1 2 3");
    stored(3, 1);
    answer_late(dead, WR_ERR_TIMEOUT); /* too late to mean anything */
    assert_int_equal(num_told, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(told[i].code == WR_OK && told[i].cookie == i + 1);
}

static void test_what_waits_goes_along_behind_the_call_that_is_under_way(void **state)
{
    (void)state;
    change(1, true);
    change(2, true);
    change(1, false);
    add_to("attic", 1, 3);
    run();
    assert_ptr_equal(hub.at, hubs[0]);
    add_to("attic", 2, 3);
    add_to("hall", 3, 3);
    unsigned before = hub.calls;
    struct call old = put_aside();
    change(1, true); /* the room goes back; 1 is still on its way to the other hub */
    run();
    assert_int_equal(hub.calls, before); /* 2 may not be stored before it */
    hub.ctx = old.ctx;
    stored(1, 1);
    now_us += MS;
    run();
    assert_int_equal(hub.calls, before + 2); /* 2 at one, 3 at the other */
    assert_int_equal(num_told, 1);
}

static void test_a_call_that_failed_after_its_rooms_moved_goes_first_at_their_new_hub(void **state)
{
    (void)state;
    change(1, true);
    change(2, true);
    change(1, false);
    add_to("attic", 1, 3);
    run();
    add_to("attic", 2, 3);
    change(1, true);
    failed(WR_ERR_CLOSED); /* the hub of before ends: 1 was not taken */
    now_us += 200 * MS;
    run();
    assert_ptr_equal(hub.at, hubs[1]);
    assert_string_equal(sent(), "1 2");
    stored(2, 1);
    assert_int_equal(num_told, 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_what_arrives_during_a_call_is_one_next_call_in_order),
        T(test_a_call_has_a_bound_in_messages_and_the_rest_follows_in_order),
        T(test_a_call_has_a_bound_in_bytes_but_takes_one_message_of_any_size),
        T(test_nobody_is_woken_while_a_call_is_under_way_or_to_be_made_again),
        T(test_after_an_answer_the_next_call_waits_for_as_many_senders),
        T(test_a_hold_ends_after_the_last_calls_time_and_a_millisecond_at_most),
        T(test_one_sender_alone_is_never_held),
        T(test_a_call_without_an_answer_is_made_again_with_the_same_keys),
        T(test_each_message_is_given_up_at_its_own_deadline),
        T(test_a_refused_call_is_not_made_again),
        T(test_one_refused_message_does_not_spoil_its_batch),
        T(test_an_answer_with_too_few_results_fails_the_rest),
        T(test_an_answer_of_other_bytes_fails_all_and_more_results_than_sent_do_no_harm),
        T(test_an_acknowledgement_leaves_with_its_publication),
        T(test_a_publication_that_does_not_come_holds_no_acknowledgement),
        T(test_who_awaits_no_publication_is_acknowledged_at_once),
        T(test_each_hub_has_a_call_of_its_own_under_way),
        T(test_a_dead_hubs_call_is_made_again_where_its_rooms_are_with_the_same_keys),
        T(test_what_waits_goes_along_behind_the_call_that_is_under_way),
        T(test_a_call_that_failed_after_its_rooms_moved_goes_first_at_their_new_hub),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
