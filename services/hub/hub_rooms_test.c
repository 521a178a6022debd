/* SPDX-License-Identifier: MIT
 *
 * Claims about members, leases and what is told of them; time is an argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_rooms.h"
#include "watchroom/v1/bus.pb-c.h"
#include "wr_base.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000)

static int setup(void **state)
{
    struct hub_rooms *r = calloc(1, sizeof *r);
    assert_non_null(r);
    hub_rooms__init(r, "hub-test");
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    hub_rooms__fini(*state);
    free(*state);
    return 0;
}

/* ---- telling ---------------------------------------------------------------------------------------------------- */

enum { FULL = 1, QUIET = 2, END = 4 };

struct tell {
    const char *lease;
    uint64_t seq;
    unsigned how;
    const char *enter[8]; /* room, client, room, client, ... */
    const char *leave[8];
    int64_t at;
};

struct request {
    Watchroom__V1__MembersRequest req;
    Watchroom__V1__Member members[8], *enter[4], *leave[4];
    Watchroom__V1__ClientInfo infos[8];
    char text[8][2][300];
    size_t n;
};

static size_t fill(struct request *r, const char *const *pairs, Watchroom__V1__Member **list)
{
    size_t n = 0;
    for (; n < 4 && pairs[n * 2]; n++, r->n++) {
        Watchroom__V1__Member *m = &r->members[r->n];
        watchroom__v1__member__init(m);
        watchroom__v1__client_info__init(&r->infos[r->n]);
        snprintf(r->text[r->n][0], 300, "%s", pairs[n * 2]);
        snprintf(r->text[r->n][1], 300, "%s", pairs[n * 2 + 1]);
        m->room = r->text[r->n][0];
        m->info = &r->infos[r->n];
        m->info->client = r->text[r->n][1];
        list[n] = m;
    }
    return n;
}

static bool tell(struct hub_rooms *rooms, struct tell t)
{
    struct request r = {.req = WATCHROOM__V1__MEMBERS_REQUEST__INIT};
    char lease[32];
    struct wr_errmsg err;
    bool known;
    snprintf(lease, sizeof lease, "%s", t.lease);
    r.req.lease = lease;
    r.req.ttl_ms = 6000;
    r.req.seq = t.seq;
    r.req.full = (t.how & FULL) != 0;
    r.req.quiet = (t.how & QUIET) != 0;
    r.req.end = (t.how & END) != 0;
    r.req.n_enter = fill(&r, t.enter, r.enter);
    r.req.n_leave = fill(&r, t.leave, r.leave);
    r.req.enter = r.enter;
    r.req.leave = r.leave;
    assert_int_equal(hub_rooms__apply(rooms, &r.req, t.at, &known, &err), WR_OK);
    return known;
}

/* ---- hearing ---------------------------------------------------------------------------------------------------- */

/* All events as text, a line each: "demo +c1 +c2 -c3 n=2 top=5". */
static const char *heard(struct hub_rooms *r, bool beat, int64_t now)
{
    static char text[4096];
    size_t at = 0;
    text[0] = '\0';
    for (struct hub_event *e = hub_rooms__events(r, beat, now), *next; e; e = next) {
        next = e->next;
        Watchroom__V1__Event *ev = watchroom__v1__event__unpack(NULL, e->msg->len, e->msg->data);
        assert_non_null(ev);
        assert_non_null(ev->room);
        assert_string_equal(ev->instance, "hub-test");
        assert_string_equal(e->topic + 5, ev->room->room);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? "\n" : "", ev->room->room);
        for (size_t i = 0; i < ev->room->n_joined; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, " +%s",
                                   ev->room->joined[i]->client);
        for (size_t i = 0; i < ev->room->n_left; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, " -%s", ev->room->left[i]->client);
        if (ev->room->has_num_clients)
            at += (size_t)snprintf(text + at, sizeof text - at, " n=%u", ev->room->num_clients);
        if (ev->room->epoch[0])
            at += (size_t)snprintf(text + at, sizeof text - at, " top=%s/%d", ev->room->epoch,
                                   (int)ev->room->top);
        watchroom__v1__event__free_unpacked(ev, NULL);
        hub_event__free(e);
    }
    return text;
}

/* ---- claims ----------------------------------------------------------------------------------------------------- */

static void test_members_join_and_leave(void **state)
{
    assert_true(
        tell(*state, (struct tell){.lease = "g", .seq = 1, .how = FULL, .enter = {"a", "c1"}}));
    assert_string_equal(heard(*state, false, 0), "a +c1 n=1");
    assert_true(
        tell(*state, (struct tell){.lease = "g", .seq = 2, .how = 0, .enter = {"a", "c2"}}));
    assert_true(
        tell(*state, (struct tell){.lease = "g", .seq = 3, .how = 0, .leave = {"a", "c1"}}));
    assert_string_equal(heard(*state, false, 0), "a +c2 -c1 n=1");
    assert_string_equal(heard(*state, false, 0), "");
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("a")), 1);
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("nowhere")), 0);
}

static void test_who_came_and_went_in_one_turn_is_not_told(void **state)
{
    tell(*state, (struct tell){.lease = "g", .seq = 1, .how = FULL, .enter = {"a", "c1"}});
    tell(*state, (struct tell){.lease = "g", .seq = 2, .how = 0, .leave = {"a", "c1"}});
    assert_string_equal(heard(*state, false, 0), "");
    assert_string_equal(heard(*state, true, 0), "");
}

static void test_unknown_lease_is_asked_for_a_full_list(void **state)
{
    assert_false(
        tell(*state, (struct tell){.lease = "g", .seq = 7, .how = 0, .enter = {"a", "c1"}}));
    assert_string_equal(heard(*state, false, 0), "");
    assert_true(
        tell(*state, (struct tell){.lease = "g", .seq = 8, .how = FULL, .enter = {"a", "c1"}}));
    assert_string_equal(heard(*state, false, 0), "a +c1 n=1");
}

static void test_who_left_while_there_was_no_hub_is_told(void **state)
{
    tell(*state, (struct tell){.lease = "g", .seq = 1, .how = FULL | QUIET, .enter = {"a", "c2"}});
    tell(*state, (struct tell){.lease = "g", .seq = 2, .how = 0, .leave = {"a", "c1"}});
    assert_string_equal(heard(*state, false, 0), "a -c1 n=1");
    tell(*state, (struct tell){.lease = "g", .seq = 3, .how = 0, .leave = {"b", "c1"}});
    assert_string_equal(heard(*state, false, 0), "b -c1 n=0");
    heard(*state, true, 0);
    assert_int_equal(((struct hub_rooms *)*state)->rooms.used, 1); /* b is forgotten */
}

static void test_resent_call_is_applied_once(void **state)
{
    tell(*state, (struct tell){.lease = "g", .seq = 1, .how = FULL});
    assert_true(
        tell(*state, (struct tell){.lease = "g", .seq = 2, .how = 0, .enter = {"a", "c1"}}));
    assert_true(
        tell(*state, (struct tell){.lease = "g", .seq = 3, .how = 0, .leave = {"a", "c1"}}));
    assert_true(tell(*state, (struct tell){.lease = "g",
                                           .seq = 2,
                                           .how = 0,
                                           .enter = {"a", "c1"}})); /* comes late, again */
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("a")), 0);
}

static void test_missing_call_is_noticed(void **state)
{
    tell(*state, (struct tell){.lease = "g", .seq = 1, .how = FULL});
    assert_false(
        tell(*state, (struct tell){.lease = "g", .seq = 3, .how = 0, .enter = {"a", "c1"}}));
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("a")), 0);
    assert_true(
        tell(*state, (struct tell){.lease = "g", .seq = 4, .how = FULL, .enter = {"a", "c1"}}));
    assert_true(tell(*state, (struct tell){.lease = "g", .seq = 5, .how = 0}));
}

static void test_full_list_replaces(void **state)
{
    tell(*state,
         (struct tell){
             .lease = "g", .seq = 1, .how = FULL, .enter = {"a", "c1", "a", "c2", "b", "c1"}});
    heard(*state, false, 0);
    tell(*state,
         (struct tell){.lease = "g", .seq = 2, .how = FULL, .enter = {"a", "c2", "a", "c3"}});
    const char *text = heard(*state, false, 0);
    assert_non_null(strstr(text, "a +c3 -c1 n=2"));
    assert_non_null(strstr(text, "b -c1 n=0"));
}

static void test_quiet_list_tells_counts_only(void **state)
{
    tell(*state, (struct tell){
                     .lease = "g", .seq = 1, .how = FULL | QUIET, .enter = {"a", "c1", "a", "c2"}});
    assert_string_equal(heard(*state, false, 0), "");
    assert_string_equal(heard(*state, true, 0), "a n=2");
    assert_string_equal(heard(*state, true, 0), "");
    tell(*state, (struct tell){.lease = "g", .seq = 2, .how = 0, .leave = {"a", "c1"}});
    assert_string_equal(heard(*state, false, 0), "a -c1 n=1");
}

static void test_lease_that_is_not_renewed_ends(void **state)
{
    tell(*state,
         (struct tell){.lease = "g1", .seq = 1, .how = FULL, .enter = {"a", "c1"}, .at = 0});
    tell(*state, (struct tell){
                     .lease = "g2", .seq = 1, .how = FULL, .enter = {"a", "c2"}, .at = 5 * SECOND});
    heard(*state, false, 0);
    hub_rooms__expire(*state, 5 * SECOND);
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("a")), 2);
    hub_rooms__expire(*state, 7 * SECOND);
    assert_string_equal(heard(*state, false, 0), "a -c1 n=1");
    assert_false(tell(*state, (struct tell){.lease = "g1", .seq = 2, .how = 0}));
}

static void test_gateway_that_ends_takes_its_members_along(void **state)
{
    tell(*state,
         (struct tell){.lease = "g", .seq = 1, .how = FULL, .enter = {"a", "c1", "b", "c2"}});
    heard(*state, false, 0);
    assert_true(tell(*state, (struct tell){.lease = "g", .seq = 2, .how = END}));
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("a")), 0);
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("b")), 0);
    assert_true(tell(*state, (struct tell){.lease = "g", .seq = 2, .how = END}));
}

static void test_member_moves_to_another_gateway_untold(void **state)
{
    tell(*state, (struct tell){.lease = "g1", .seq = 1, .how = FULL, .enter = {"a", "c1"}});
    heard(*state, false, 0);
    tell(*state, (struct tell){.lease = "g2", .seq = 1, .how = FULL, .enter = {"a", "c1"}});
    tell(*state, (struct tell){.lease = "g1", .seq = 2, .how = 0, .leave = {"a", "c1"}});
    assert_string_equal(heard(*state, false, 0), "");
    tell(*state, (struct tell){.lease = "g1", .seq = 3, .how = END});
    assert_int_equal(hub_rooms__count(*state, wr_slice_str("a")), 1);
}

static void test_malformed_members_are_left_out(void **state)
{
    char long_name[260];
    memset(long_name, 'x', 259);
    long_name[259] = '\0';
    assert_true(
        tell(*state, (struct tell){.lease = "g",
                                   .seq = 1,
                                   .how = FULL,
                                   .enter = {"a", "", "a/b", "c1", long_name, "c1", "a", "ok"}}));
    assert_string_equal(heard(*state, false, 0), "a +ok n=1");
}

static void test_calls_without_lease_or_seq_are_refused(void **state)
{
    Watchroom__V1__MembersRequest req = WATCHROOM__V1__MEMBERS_REQUEST__INIT;
    struct wr_errmsg err;
    bool known;
    char lease[] = "g";
    assert_int_equal(hub_rooms__apply(*state, &req, 0, &known, &err), WR_ERR_INVALID);
    req.lease = lease;
    assert_int_equal(hub_rooms__apply(*state, &req, 0, &known, &err), WR_ERR_INVALID);
}

static void test_beats_last_ten_seconds(void **state)
{
    hub_rooms__note_top(*state, wr_slice_str("a"), "abcdefgh", 5, 1 * SECOND);
    assert_string_equal(heard(*state, false, 1 * SECOND), "");
    assert_string_equal(heard(*state, true, 2 * SECOND), "a top=abcdefgh/5");
    assert_string_equal(heard(*state, true, 11 * SECOND), "a top=abcdefgh/5");
    assert_string_equal(heard(*state, true, 12 * SECOND), "");
    assert_int_equal(((struct hub_rooms *)*state)->rooms.used, 0); /* forgotten */
}

static void test_an_older_entry_does_not_lower_the_top_of_its_log(void **state)
{
    hub_rooms__note_top(*state, wr_slice_str("a"), "abcdefgh", 5, 1 * SECOND);
    hub_rooms__note_top(*state, wr_slice_str("a"), "abcdefgh", 3, 2 * SECOND);
    assert_string_equal(heard(*state, true, 12 * SECOND), "a top=abcdefgh/5");
    hub_rooms__note_top(*state, wr_slice_str("a"), "ijklmnop", 1, 3 * SECOND);
    assert_string_equal(heard(*state, true, 12 * SECOND), "a top=ijklmnop/1");
}

static void test_a_mass_of_members_is_told_in_bounded_events(void **state)
{
    struct hub_rooms *r = *state;
    size_t joined = 0, events = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        char client[64];
        snprintf(client, sizeof client, "client-%05d-with-a-rather-long-identifier-of-its-own",
                 (int)i);
        tell(r, (struct tell){
                    .lease = "g", .seq = i + 1, .how = i == 0 ? FULL : 0, .enter = {"a", client}});
    }
    for (struct hub_event *e = hub_rooms__events(r, false, 0), *next; e; e = next, events++) {
        next = e->next;
        assert_in_range(e->msg->len, 1, (1 << 20) + 10000);
        Watchroom__V1__Event *ev = watchroom__v1__event__unpack(NULL, e->msg->len, e->msg->data);
        assert_non_null(ev);
        joined += ev->room->n_joined;
        watchroom__v1__event__free_unpacked(ev, NULL);
        hub_event__free(e);
    }
    assert_int_equal(joined, 20000);
    assert_in_range(events, 2, 3);
    struct wr_buf out = {0};
    hub_rooms__presence(r, wr_slice_str("a"), false, &out);
    Watchroom__V1__PresenceResponse *p = watchroom__v1__presence_response__unpack(NULL, out.n,
                                                                                  out.p);
    assert_non_null(p);
    assert_int_equal(p->num_clients, 20000);
    assert_int_equal(p->num_users, 1);
    assert_int_equal(p->n_clients, 20000);
    watchroom__v1__presence_response__free_unpacked(p, NULL);
    wr_buf_free(&out);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CLAIM(test_members_join_and_leave),
        CLAIM(test_who_came_and_went_in_one_turn_is_not_told),
        CLAIM(test_unknown_lease_is_asked_for_a_full_list),
        CLAIM(test_who_left_while_there_was_no_hub_is_told),
        CLAIM(test_resent_call_is_applied_once),
        CLAIM(test_missing_call_is_noticed),
        CLAIM(test_full_list_replaces),
        CLAIM(test_quiet_list_tells_counts_only),
        CLAIM(test_lease_that_is_not_renewed_ends),
        CLAIM(test_gateway_that_ends_takes_its_members_along),
        CLAIM(test_member_moves_to_another_gateway_untold),
        CLAIM(test_malformed_members_are_left_out),
        CLAIM(test_calls_without_lease_or_seq_are_refused),
        CLAIM(test_beats_last_ten_seconds),
        CLAIM(test_an_older_entry_does_not_lower_the_top_of_its_log),
        CLAIM(test_a_mass_of_members_is_told_in_bounded_events),
    };
    return cmocka_run_group_tests_name("hub rooms", tests, NULL, NULL) ? 1 : 0;
}
