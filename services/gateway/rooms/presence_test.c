/* SPDX-License-Identifier: MIT
 *
 * Claims about presence. The test is the rooms thread and the clock; presence.c is under test, and on the other side are
 * two real hubs' members (hub_rooms.c). */
#include "hub_rooms.h"
#include "rooms_priv.h"
#include "wr_bus.h"
#include "wr_pb.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the above */
#include <cmocka.h>

#define MS 1000 /* microseconds */

/* ---- what is around it ---- */

struct side {
    struct rooms__hub hub;
    struct hub_rooms members;
    unsigned calls, full_calls;
    size_t largest;
};
static struct side a, b;
static struct rooms__hub nobody;
static struct wr_rooms *rs;
static int64_t now_us;
static struct rooms__hub *home; /* of all rooms */
static struct {                 /* the call under way */
    struct side *to;
    struct wr_msg *body;
    rooms__answer_fn fn;
    void *ctx;
} calls[4];
static size_t num_calls;

int64_t wr_mono_us(void)
{
    return now_us;
}

const char *wr_bus_instance(const struct wr_bus *bus)
{
    (void)bus;
    return "gateway-1";
}

struct rooms__hub *hubs__home(struct wr_rooms *r, struct wr_slice room)
{
    (void)r, (void)room;
    return home;
}

void rooms__call(struct wr_rooms *r, const char *route, const char *method, struct wr_msg *body,
                 uint32_t ms, rooms__answer_fn fn, void *ctx)
{
    (void)r, (void)route, (void)method, (void)body, (void)ms, (void)fn, (void)ctx;
    fail_msg("nobody asks who is there");
}

void rooms__call_at(struct wr_rooms *r, const struct rooms__hub *h, const char *method,
                    struct wr_msg *body, uint32_t ms, rooms__answer_fn fn, void *ctx)
{
    (void)r, (void)ms;
    assert_string_equal(method, "watchroom.v1.Hub/Members");
    assert_true(num_calls < WR_ARRAY_LEN(calls));
    calls[num_calls].to = h == &a.hub ? &a : &b;
    calls[num_calls].body = body;
    calls[num_calls].fn = fn;
    calls[num_calls++].ctx = ctx;
}

void rooms__reply_fail(struct rooms__reply *p, wr_err code, struct wr_slice text)
{
    (void)p, (void)code, (void)text;
}

void rooms__reply_post(struct wr_rooms *r, struct wr_conn_id conn, struct rooms__reply *p)
{
    (void)r, (void)conn, (void)p;
}

bool rooms__reply_hold(struct rooms__reply *p, struct wr_msg *m)
{
    (void)p, (void)m;
    return false;
}

void rooms__sub_unref(struct rooms__sub *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        free(s);
}

/* ---- driving it ---- */

/* The oldest call's answer, as the hub's members take it. */
static void answer(void)
{
    Watchroom__V1__MembersResponse res = WATCHROOM__V1__MEMBERS_RESPONSE__INIT;
    struct side *to = calls[0].to;
    struct wr_msg *body = calls[0].body;
    rooms__answer_fn fn = calls[0].fn;
    void *ctx = calls[0].ctx;
    struct wr_errmsg err;
    bool known = false;
    memmove(calls, calls + 1, --num_calls * sizeof calls[0]);
    Watchroom__V1__MembersRequest *req = watchroom__v1__members_request__unpack(NULL, body->len,
                                                                                body->data);
    assert_non_null(req);
    to->calls++;
    to->full_calls += req->full != 0;
    to->largest = WR_MAX(to->largest, body->len);
    wr_msg_unref(body);
    assert_int_equal(hub_rooms__apply(&to->members, req, now_us, &known, &err), WR_OK);
    watchroom__v1__members_request__free_unpacked(req, NULL);
    res.known = known;
    struct wr_msg *m = wr_msg_pack(&res.base);
    assert_non_null(m);
    fn(rs, ctx, &(struct wr_answer){.body = wr_msg_slice(m), .msg = m});
    wr_msg_unref(m);
}

static void lost(void)
{
    rooms__answer_fn fn = calls[0].fn;
    void *ctx = calls[0].ctx;
    wr_msg_unref(calls[0].body);
    memmove(calls, calls + 1, --num_calls * sizeof calls[0]);
    fn(rs, ctx, &(struct wr_answer){.code = WR_ERR_UNAVAILABLE});
}

/* Runs until nothing is to be said but beats. */
static void settle(void)
{
    for (int quiet = 0; quiet < 3;) {
        now_us += 150 * MS;
        presence__run(rs, now_us / MS);
        quiet = num_calls ? 0 : quiet + 1;
        while (num_calls)
            answer();
    }
}

static void side_open(struct side *s, const char *name)
{
    *s = (struct side){.hub.is_up = true};
    presence__init(&s->hub.presence);
    (void)snprintf(s->hub.address, sizeof s->hub.address, "tcp://%s", name);
    hub_rooms__init(&s->members, name);
}

static int set_up(void **state)
{
    (void)state;
    now_us = 1000000000;
    rs = calloc(1, sizeof *rs);
    assert_non_null(rs);
    rs->env = &rs->env_copy;
    side_open(&a, "a");
    side_open(&b, "b");
    nobody = (struct rooms__hub){0};
    presence__init(&nobody.presence);
    a.hub.next = &b.hub;
    b.hub.next = &nobody;
    rs->hubs = home = &a.hub;
    rs->nup = 2;
    return 0;
}

static int tear_down(void **state)
{
    size_t at = 0;
    struct wr_slice name;
    void *value;
    (void)state;
    while (num_calls)
        lost();
    presence__free(rs);
    while (wr_map_next(&rs->rooms, &at, &name, &value)) {
        struct rooms__room *room = value;
        while (room->subs) {
            struct rooms__sub *s = room->subs;
            room->subs = s->room_next;
            free(s->who);
            rooms__sub_unref(s);
        }
        free(room);
    }
    wr_map_free(&rs->rooms);
    hub_rooms__fini(&a.members);
    hub_rooms__fini(&b.members);
    free(rs);
    return 0;
}

static struct rooms__sub *enter(struct rooms__room *room, unsigned n)
{
    char client[24];
    struct rooms__sub *s = calloc(1, sizeof *s + strlen(room->name));
    struct rooms__person *who = calloc(1, sizeof *who + 100);
    assert_true(s && who);
    (void)snprintf(client, sizeof client, "client-%u", n);
    who->pb = wr_slice_of(who->bytes,
                          (size_t)(wr_pb_bytes(who->bytes, 2, wr_slice_str(client)) - who->bytes));
    atomic_init(&s->refs, 1);
    s->who = who;
    s->room = room;
    s->state = SUB_LIVE;
    s->name_len = (uint16_t)strlen(room->name);
    memcpy(s->name, room->name, s->name_len);
    s->room_next = room->subs;
    room->subs = s;
    presence__enter(rs, s);
    return s;
}

/* A room of home's with n members, numbered on from `first`. */
static struct rooms__room *room_new(const char *name, unsigned first, unsigned n)
{
    struct rooms__room *room = calloc(1, sizeof *room);
    assert_non_null(room);
    (void)snprintf(room->name, sizeof room->name, "%s", name);
    room->rs = rs;
    room->hub = home;
    assert_true(wr_map_put(&rs->rooms, wr_slice_str(room->name), room));
    for (unsigned i = 0; i < n; i++)
        enter(room, first + i);
    return room;
}

/* The hub restarts: it knows nothing any more. */
static void restart(struct side *s)
{
    hub_rooms__fini(&s->members);
    hub_rooms__init(&s->members, "again");
    presence__beat_now(&s->hub);
}

/* ---- claims ---- */

static void test_a_hub_that_restarted_is_told_more_members_than_a_call_bears(void **state)
{
    (void)state;
    enum { ROOMS = 700, EACH = 110 };
    for (unsigned r = 0; r < ROOMS; r++) {
        char name[64];
        (void)snprintf(name, sizeof name, "a room with a name of some length, number %u", r);
        room_new(name, r * EACH, EACH);
    }
    settle();
    assert_int_equal(a.members.num_members, ROOMS * EACH);
    assert_true(a.full_calls >= 1); /* the first: nobody knew the lease */
    restart(&a);
    a.full_calls = 0;
    a.largest = 0;
    settle();
    assert_int_equal(a.members.num_members, ROOMS * EACH);
    assert_true(a.full_calls > 4 && a.largest < WR_BUS_MAX_MSG_BYTES / 2);
}

static void test_a_list_that_is_cut_short_begins_anew(void **state)
{
    (void)state;
    room_new("hall", 0, 60000);
    settle();
    restart(&a);
    now_us += 20 * MS;
    presence__run(rs, now_us / MS);
    answer(); /* the beat: not known */
    answer(); /* part 0 */
    answer(); /* part 1 */
    assert_in_range(a.members.num_members, 1, 59999);
    restart(&a);
    settle();
    assert_int_equal(a.members.num_members, 60000);
}

static void test_a_part_that_got_no_answer_is_sent_again(void **state)
{
    (void)state;
    room_new("hall", 0, 60000);
    settle();
    restart(&a);
    now_us += 20 * MS;
    presence__run(rs, now_us / MS);
    answer();
    answer();
    lost();
    settle();
    assert_int_equal(a.members.num_members, 60000);
}

static void test_who_leaves_while_the_list_is_on_its_way_is_gone_after_it(void **state)
{
    (void)state;
    struct rooms__room *hall = room_new("hall", 0, 60000);
    settle();
    restart(&a);
    now_us += 20 * MS;
    presence__run(rs, now_us / MS);
    answer();
    answer();
    presence__leave(rs, hall->subs);
    hall->subs->state = SUB_LEFT;
    enter(hall, 70000);
    enter(hall, 70001);
    settle();
    assert_int_equal(a.members.num_members, 60001);
}

static void go_to(struct rooms__hub *h, struct rooms__room *room)
{
    room->hub->presence.need_full = h->presence.need_full = true;
    room->hub = home = h;
    presence__rehome(rs, &a.hub);
    presence__rehome(rs, &b.hub);
}

static void test_members_of_a_room_that_moved_follow_quietly(void **state)
{
    (void)state;
    struct rooms__room *hall = room_new("hall", 0, 3);
    settle();
    struct hub_event *e = hub_rooms__events(&a.members, false, now_us);
    assert_non_null(e);
    hub_event__free(e);
    go_to(&b.hub, hall);
    settle();
    assert_int_equal(a.members.num_members, 0);
    assert_int_equal(b.members.num_members, 3);
    assert_null(hub_rooms__events(&a.members, false, now_us)); /* nobody left */
    assert_null(hub_rooms__events(&b.members, false, now_us)); /* and nobody came */
}

static void test_what_a_dead_hub_was_told_last_is_said_again_elsewhere(void **state)
{
    (void)state;
    struct rooms__room *hall = room_new("hall", 0, 3);
    settle();
    enter(hall, 10);
    presence__leave(rs, hall->subs->room_next);
    hall->subs->room_next->state = SUB_LEFT;
    now_us += 30 * MS;
    presence__run(rs, now_us / MS);
    assert_int_equal(num_calls, 1); /* under way when it dies */
    enter(hall, 11);
    a.hub.is_up = false;
    rs->nup = 1;
    go_to(&b.hub, hall);
    settle(); /* the given-up call's answer comes as well */
    assert_int_equal(b.members.num_members, 4);
    assert_ptr_equal(a.hub.presence.call, NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_a_hub_that_restarted_is_told_more_members_than_a_call_bears),
        T(test_a_list_that_is_cut_short_begins_anew),
        T(test_a_part_that_got_no_answer_is_sent_again),
        T(test_who_leaves_while_the_list_is_on_its_way_is_gone_after_it),
        T(test_members_of_a_room_that_moved_follow_quietly),
        T(test_what_a_dead_hub_was_told_last_is_said_again_elsewhere),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
