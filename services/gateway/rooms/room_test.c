/* SPDX-License-Identifier: MIT
 *
 * Claims about a room's order. The test is the rooms thread, the hub, the plane and the clock: room.c and room_event.c
 * alone are under test, and what they call of their neighbours is written down here. */
#include "rooms_priv.h"
#include "watchroom/v1/bus.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the above */
#include <cmocka.h>

#define EPOCH "aaaaaaaa"
#define OTHER "bbbbbbbb"
#define CALLS 8

/* ---- what is around a room ---- */

struct wr_frame {
    char text[8192];
};
struct wr_fanout {
    unsigned refs;
};
struct call {
    char method[16];
    struct wr_msg *body;
    rooms__answer_fn fn;
    void *ctx;
};
static int64_t now_ms;
static struct call calls[CALLS]; /* not answered yet, the oldest first */
static size_t num_calls;
static char out[32768]; /* what members got, and answers, since it was last looked at */
static struct wr_rooms *rs;
static unsigned subs, present;

int64_t wr_mono_us(void)
{
    return now_ms * 1000;
}

static void WR_PRINTF(1, 2) note(const char *fmt, ...)
{
    size_t n = strlen(out);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(out + n, sizeof out - n, fmt, ap);
    va_end(ap);
}

void rooms__call(struct wr_rooms *r, const char *route, const char *method, struct wr_msg *body,
                 uint32_t ms, rooms__answer_fn fn, void *ctx)
{
    assert_ptr_equal(r, rs);
    assert_string_equal(route ? route : "hall", "hall"); /* NULL: for all rooms */
    assert_true(ms > 0 && num_calls < CALLS);
    struct call *c = &calls[num_calls++];
    *c = (struct call){.body = body, .fn = fn, .ctx = ctx};
    (void)snprintf(c->method, sizeof c->method, "%s", strchr(method, '/') + 1);
}

static struct rooms__hub home = {.instance = "hub-1", .is_up = true};

void rooms__call_at(struct wr_rooms *r, const struct rooms__hub *h, const char *method,
                    struct wr_msg *body, uint32_t ms, rooms__answer_fn fn, void *ctx)
{
    assert_ptr_equal(h, &home);
    rooms__call(r, NULL, method, body, ms, fn, ctx);
}

struct rooms__hub *hubs__home(struct wr_rooms *r, struct wr_slice room)
{
    assert_ptr_equal(r, rs);
    assert_true(wr_slice_is(room, "hall"));
    return &home;
}

bool hubs__is_others(const struct wr_rooms *r, const struct rooms__hub *h, struct wr_slice instance)
{
    assert_ptr_equal(r, rs);
    assert_ptr_equal(h, &home);
    return wr_slice_is(instance, "hub-2");
}

struct rooms__reply *rooms__reply_new(enum wr_protocol_op op, uint64_t cookie)
{
    struct rooms__reply *p = calloc(1, sizeof *p);
    assert_non_null(p);
    assert_int_equal(op, WR_PROTOCOL_SUBSCRIBE);
    p->r.cookie = cookie;
    return p;
}

bool rooms__reply_hold(struct rooms__reply *p, struct wr_msg *m)
{
    struct wr_msg **v = realloc(p->msgs, (p->nmsgs + 1) * sizeof(struct wr_msg *));
    assert_non_null(v);
    p->msgs = v;
    p->msgs[p->nmsgs++] = wr_msg_ref(m);
    return true;
}

void rooms__reply_free(struct rooms__reply *p)
{
    for (size_t i = 0; i < p->nmsgs; i++)
        wr_msg_unref(p->msgs[i]);
    rooms__sub_unref(p->sub);
    free(p->msgs);
    free(p->pubs);
    free(p);
}

void rooms__reply_fail(struct rooms__reply *p, wr_err code, struct wr_slice text)
{
    (void)text;
    p->r.code = code;
}

void rooms__sub_unref(struct rooms__sub *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    subs--;
    free(s);
}

/* "[1: at 10]", "[1: at 8 recovered 9 10]", "[1: refused 7]" */
void rooms__reply_post(struct wr_rooms *r, struct wr_conn_id conn, struct rooms__reply *p)
{
    assert_ptr_equal(r, rs);
    assert_int_equal(conn.v, p->r.cookie);
    if (p->r.code == WR_OK)
        note("[%u: at %u", (unsigned)p->r.cookie, (unsigned)p->r.offset);
    else
        note("[%u: refused %d", (unsigned)p->r.cookie, (int)p->r.code);
    note(p->r.recovered ? " recovered" : "");
    for (size_t i = 0; i < p->r.num_pubs; i++)
        note(" %u", (unsigned)p->r.pubs[i].offset);
    note("]");
    rooms__reply_free(p);
}

void presence__enter(struct wr_rooms *r, struct rooms__sub *s)
{
    (void)r, (void)s;
    present++;
}

void presence__leave(struct wr_rooms *r, struct rooms__sub *s)
{
    (void)r, (void)s;
    present--;
}

void clients__insufficient(struct wr_conn *c, const struct wr_msg *room)
{
    (void)c, (void)room;
    fail_msg("only its address is asked for");
}

void clients__ask_again(struct wr_conn *c, const struct wr_msg *room)
{
    (void)c, (void)room;
    fail_msg("only its address is asked for");
}

struct wr_fanout *wr_fanout_new(struct wr_plane *p)
{
    (void)p;
    return calloc(1, sizeof(struct wr_fanout));
}

void wr_fanout_unref(struct wr_fanout **g)
{
    free(*g);
    *g = NULL;
}

void wr_fanout_each(struct wr_fanout *g, uint32_t classes, wr_member_fn fn, struct wr_msg *arg)
{
    assert_non_null(g);
    bool is_again = fn == clients__ask_again;
    assert_true(is_again || fn == clients__insufficient);
    assert_int_equal(classes, is_again ? CLASS_PUBS : CLASS_POSITIONED);
    assert_true(wr_slice_is(wr_msg_slice(arg), "hall"));
    note(is_again ? "again " : "insufficient ");
}

bool wr_fanout_is_empty(const struct wr_fanout *g)
{
    return g == NULL;
}

static unsigned full; /* so many times the plane has no room */

wr_err wr_fanout_send(struct wr_fanout *g, struct wr_frame *const *frames, size_t n,
                      uint32_t classes)
{
    assert_non_null(g);
    assert_int_equal(n, 1);
    if (full)
        return WR_ERR_BUSY;
    note(classes == CLASS_PUBS ? "%s" : "members %s", frames[0]->text);
    return WR_OK;
}

void wr_plane_wait_room(struct wr_plane *p)
{
    (void)p;
    full--;
}

struct wr_frame *wr_frame_copy(enum wr_ws_op op, struct wr_slice bytes)
{
    struct wr_frame *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_true(op == WR_WS_TEXT || op == WR_WS_BINARY);
    (void)snprintf(f->text, sizeof f->text, op == WR_WS_TEXT ? "%.*s" : "<%.*s>", (int)bytes.n,
                   (const char *)bytes.p);
    return f;
}

void wr_frame_unref(struct wr_frame *f)
{
    free(f);
}

static void encode_publications(uint32_t variant, struct wr_slice room,
                                const struct wr_protocol_pub *pubs, size_t n, struct wr_buf *b)
{
    assert_true(wr_slice_is(room, "hall"));
    for (size_t i = 0; i < n; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, variant ? "v%u " : "%u ", (unsigned)pubs[i].offset);
        wr_buf_str(b, text);
    }
}

static void encode_members(uint32_t variant, struct wr_slice room,
                           const struct wr_protocol_info *joined, size_t n_joined,
                           const struct wr_protocol_info *left, size_t n_left, struct wr_buf *b)
{
    (void)variant;
    (void)room;
    for (size_t i = 0; i < n_joined; i++)
        wr_buf_str(b, "+"), wr_buf_slice(b, joined[i].client), wr_buf_char(b, ' ');
    for (size_t i = 0; i < n_left; i++)
        wr_buf_str(b, "-"), wr_buf_slice(b, left[i].client), wr_buf_char(b, ' ');
}

static const struct wr_protocol_plugin protocol = {
    .base = {.size = sizeof protocol},
    .encode_publications = encode_publications,
    .encode_members = encode_members,
};

/* ---- the hub's words ---- */

/* n publications from offset `first` on; the caller frees. */
static Watchroom__V1__Publication **pubs_new(uint64_t first, size_t n)
{
    static uint8_t data[] = "true";
    Watchroom__V1__Publication **v = calloc(n + 1, sizeof(*v) + sizeof **v);
    assert_non_null(v);
    Watchroom__V1__Publication *p = (void *)(v + n + 1);
    for (size_t i = 0; i < n; i++) {
        watchroom__v1__publication__init(&p[i]);
        p[i].offset = first + i;
        p[i].data = (ProtobufCBinaryData){4, data};
        v[i] = &p[i];
    }
    return v;
}

static void say(Watchroom__V1__RoomEvent *room)
{
    Watchroom__V1__Event e = WATCHROOM__V1__EVENT__INIT;
    e.room = room;
    struct wr_msg *m = wr_msg_pack(&e.base);
    assert_non_null(m);
    room__event(rs, m, wr_slice_str("hall"), wr_msg_slice(m));
    wr_msg_unref(m);
}

static void event_of(char *epoch, uint64_t first, size_t n, uint64_t top)
{
    Watchroom__V1__RoomEvent e = WATCHROOM__V1__ROOM_EVENT__INIT;
    e.room = (char[]){"hall"};
    e.epoch = epoch;
    e.publications = pubs_new(first, n);
    e.n_publications = n;
    e.top = top;
    say(&e);
    free(e.publications);
}

static void event(uint64_t first, size_t n)
{
    event_of((char[]){EPOCH}, first, n, 0);
}

static void beat(uint64_t top)
{
    event_of((char[]){EPOCH}, 0, 0, top);
}

static void answer(const char *method, const struct wr_answer *a)
{
    assert_true(num_calls > 0);
    struct call c = calls[0];
    assert_string_equal(c.method, method);
    memmove(calls, calls + 1, --num_calls * sizeof c);
    c.fn(rs, c.ctx, a);
    wr_msg_unref(c.body);
}

static void answer_pb(const char *method, const ProtobufCMessage *pb)
{
    struct wr_msg *m = wr_msg_pack(pb);
    assert_non_null(m);
    answer(method, &(struct wr_answer){.body = wr_msg_slice(m), .msg = m, .instance = "hub"});
    wr_msg_unref(m);
}

static void failed(const char *method, wr_err code)
{
    answer(method, &(struct wr_answer){.code = code, .text = wr_slice_str("why")});
}

static void tops(char *epoch, uint64_t offset)
{
    Watchroom__V1__TopsResponse r = WATCHROOM__V1__TOPS_RESPONSE__INIT;
    Watchroom__V1__RoomTop top = WATCHROOM__V1__ROOM_TOP__INIT, *v = &top;
    top.room = (char[]){"hall"};
    top.epoch = epoch;
    top.offset = offset;
    r.n_tops = 1;
    r.tops = &v;
    answer_pb("Tops", &r.base);
}

/* The log's answer to a call that asked for what comes after `since`. */
static void history(uint64_t since, uint64_t first, size_t n, uint64_t top)
{
    Watchroom__V1__HistoryResponse r = WATCHROOM__V1__HISTORY_RESPONSE__INIT;
    assert_true(num_calls > 0);
    Watchroom__V1__HistoryRequest *q = watchroom__v1__history_request__unpack(
        NULL, calls[0].body->len, calls[0].body->data);
    assert_non_null(q);
    assert_string_equal(q->room, "hall");
    assert_string_equal(q->since_epoch, EPOCH);
    assert_true(q->has_since && q->since_offset == since && !q->reverse && q->limit > 1);
    watchroom__v1__history_request__free_unpacked(q, NULL);
    r.epoch = (char[]){EPOCH};
    r.top = top;
    r.publications = pubs_new(first, n);
    r.n_publications = n;
    answer_pb("History", &r.base);
    free(r.publications);
}

/* ---- members ---- */

static uint32_t form; /* that the next one gets */

static struct rooms__sub *subscribe(uint64_t cookie, uint32_t flags, uint64_t since,
                                    const char *epoch)
{
    struct rooms__sub *s = calloc(1, sizeof *s + 4);
    assert_non_null(s);
    subs++;
    atomic_init(&s->refs, 2);
    s->conn.v = s->cookie = cookie;
    s->flags = flags;
    s->form = form;
    s->since = since;
    (void)snprintf(s->since_epoch, sizeof s->since_epoch, "%s", epoch);
    s->name_len = 4;
    memcpy(s->name, "hall", 4);
    room__subscribe(rs, s);
    return s;
}

static void unsubscribe(struct rooms__sub *s)
{
    room__unsubscribe(rs, s);
    rooms__sub_unref(s);
}

#define expect(text)                    \
    do {                                \
        assert_string_equal(out, text); \
        out[0] = 0;                     \
    } while (0)

static struct rooms__sub *member;

static int set_up_empty(void **state)
{
    (void)state;
    now_ms = 1000000;
    out[0] = 0;
    member = NULL;
    rs = calloc(1, sizeof *rs);
    assert_non_null(rs);
    rs->env = &rs->env_copy;
    rs->forms[0] = (struct rooms__form){&protocol, 0, false};
    rs->forms[1] = (struct rooms__form){&protocol, 1, true};
    rs->nforms = 2;
    form = 0;
    rs->hubs = &home;
    rs->check_ms = now_ms + ROOMS__CHECK_MS;
    return 0;
}

/* A room at offset 10 with one member. */
static int set_up(void **state)
{
    (void)set_up_empty(state);
    member = subscribe(1, WR_SUB_POSITIONED, 0, "");
    tops((char[]){EPOCH}, 10);
    expect("[1: at 10]");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (member)
        unsubscribe(member);
    while (num_calls)
        failed(calls[0].method, WR_ERR_CLOSED);
    assert_int_equal(subs, 0);
    assert_int_equal(present, 0);
    room__free_all(rs);
    free(rs);
    return 0;
}

/* ---- order ---- */

static void test_the_next_offset_is_delivered_and_a_lower_one_not_again(void **state)
{
    (void)state;
    uint64_t doubles = rooms__m_duplicates.value;
    event(11, 2);
    expect("11 12 ");
    event(11, 2);
    event(9, 1);
    expect("");
    event(12, 3); /* of a batch that overlaps, what is new */
    expect("13 14 ");
    assert_int_equal(rooms__m_duplicates.value - doubles, 4);
    assert_int_equal(num_calls, 0);
}

static void test_each_form_in_use_is_encoded_once(void **state)
{
    (void)state;
    form = 1;
    struct rooms__sub *binary = subscribe(2, 0, 0, ""), *another = subscribe(3, 0, 0, "");
    expect("[2: at 10][3: at 10]");
    event(11, 2);
    expect("11 12 <v11 v12 >");
    unsubscribe(binary);
    unsubscribe(another);
}

static void test_when_rights_change_every_member_is_asked_about(void **state)
{
    (void)state;
    form = 1;
    struct rooms__sub *binary = subscribe(2, 0, 0, "");
    expect("[2: at 10]");
    room__ask_all_again(rs);
    expect("again again ");
    unsubscribe(binary);
}

static void test_a_full_plane_is_waited_for_and_loses_nothing(void **state)
{
    (void)state;
    full = 2;
    event(11, 1);
    event(12, 1);
    assert_int_equal(full, 0);
    expect("11 12 ");
}

static void test_a_hole_is_read_from_the_log_and_what_is_newer_waits(void **state)
{
    (void)state;
    event(11, 1);
    event(14, 1);
    event(15, 1);
    expect("11 ");
    assert_int_equal(num_calls, 1); /* one call, however much comes meanwhile */
    history(11, 12, 2, 15);
    expect("12 13 14 15 ");
    event(16, 1);
    expect("16 ");
    assert_int_equal(num_calls, 0);
}

static void test_what_the_log_and_an_event_both_have_is_delivered_once(void **state)
{
    (void)state;
    event(13, 2);
    event(15, 1);
    history(10, 11, 4, 14);
    expect("11 12 13 14 15 ");
    assert_int_equal(num_calls, 0);
}

static void test_a_second_hole_behind_the_first_is_read_after_it(void **state)
{
    (void)state;
    event(12, 1);
    event(15, 1);
    history(10, 11, 1, 15);
    expect("11 12 ");
    history(12, 13, 2, 15);
    expect("13 14 15 ");
    assert_int_equal(num_calls, 0);
}

static void test_a_beat_shows_that_the_last_event_was_lost(void **state)
{
    (void)state;
    beat(10);
    assert_int_equal(num_calls, 0);
    beat(12);
    history(10, 11, 2, 12);
    expect("11 12 ");
    assert_int_equal(num_calls, 0);
}

static void test_what_no_event_told_is_found_when_a_hub_comes_up(void **state)
{
    (void)state;
    room__check_soon(rs);
    room__timer(rs, now_ms);
    tops((char[]){EPOCH}, 10); /* nothing new */
    room__timer(rs, now_ms);
    assert_int_equal(num_calls, 0);
    room__check_soon(rs);
    room__timer(rs, now_ms);
    room__timer(rs, now_ms); /* one at a time */
    assert_int_equal(num_calls, 1);
    tops((char[]){EPOCH}, 12);
    history(10, 11, 2, 12);
    expect("11 12 ");
    assert_int_equal(num_calls, 0);
}

static void test_rooms_are_checked_from_time_to_time_and_again_after_a_failure(void **state)
{
    (void)state;
    room__check_soon(rs);
    room__timer(rs, now_ms);
    failed("Tops", WR_ERR_UNAVAILABLE);
    room__timer(rs, now_ms);
    assert_int_equal(num_calls, 0);
    now_ms += ROOMS__BEAT_MS;
    room__timer(rs, now_ms);
    tops((char[]){EPOCH}, 10);
    now_ms += ROOMS__CHECK_MS;
    room__timer(rs, now_ms);
    tops((char[]){EPOCH}, 11);
    history(10, 11, 1, 11);
    expect("11 ");
}

static void test_a_check_that_finds_another_log_asks_for_its_position(void **state)
{
    (void)state;
    room__check_soon(rs);
    room__timer(rs, now_ms);
    tops((char[]){OTHER}, 3);
    expect("");
    tops((char[]){OTHER}, 3);
    expect("insufficient ");
    event_of((char[]){OTHER}, 4, 1, 0);
    expect("4 ");
}

static void test_a_call_that_failed_is_made_again_by_the_timer(void **state)
{
    (void)state;
    event(12, 1);
    failed("History", WR_ERR_UNAVAILABLE);
    event(13, 1);
    expect("");
    assert_int_equal(num_calls, 0);
    room__timer(rs, now_ms);
    room__timer(rs, now_ms);
    assert_int_equal(num_calls, 1);
    history(10, 11, 1, 13);
    expect("11 12 13 ");
}

static void test_more_than_may_wait_is_read_from_the_log_later(void **state)
{
    (void)state;
    const uint64_t newest = 12 + ROOMS__HELD_EVENTS + 9;
    for (uint64_t o = 12; o <= newest; o++)
        event(o, 1);
    assert_int_equal(num_calls, 1);
    history(10, 11, 1, newest);
    out[0] = 0;
    history(newest - 10, newest - 9, 10, newest);
    expect("1036 1037 1038 1039 1040 1041 1042 1043 1044 1045 ");
    assert_int_equal(num_calls, 0);
}

static void test_more_bytes_than_may_wait_are_read_from_the_log_later(void **state)
{
    (void)state;
    event(12, 1);
    rs->held_bytes += ROOMS__EVENTS_BYTES;
    event(13, 1);
    rs->held_bytes -= ROOMS__EVENTS_BYTES;
    history(10, 11, 1, 12);
    expect("11 12 ");
    history(12, 13, 1, 13);
    expect("13 ");
    assert_int_equal(rs->held_bytes, 0);
}

static void test_a_hole_that_the_log_no_longer_has_is_told(void **state)
{
    (void)state;
    uint64_t lost = rooms__m_lost.value;
    event(30, 1);
    history(10, 25, 5, 30);
    expect("insufficient 25 26 27 28 29 30 ");
    beat(35);
    history(30, 0, 0, 33);
    expect("insufficient ");
    event(36, 1);
    expect("36 ");
    assert_int_equal(rooms__m_lost.value - lost, 2);
    assert_int_equal(num_calls, 0);
}

static void test_members_are_told_who_came_and_who_left(void **state)
{
    (void)state;
    Watchroom__V1__RoomEvent e = WATCHROOM__V1__ROOM_EVENT__INIT;
    Watchroom__V1__ClientInfo ann = WATCHROOM__V1__CLIENT_INFO__INIT, bob = ann;
    Watchroom__V1__ClientInfo *joined = &ann, *left = &bob;
    ann.client = (char[]){"ann"};
    bob.client = (char[]){"bob"};
    e.room = (char[]){"hall"};
    e.epoch = (char[]){EPOCH};
    e.n_joined = e.n_left = 1;
    e.joined = &joined;
    e.left = &left;
    say(&e);
    expect("members +ann -bob ");
}

/* ---- epochs ---- */

static void test_a_new_epoch_is_told_and_counted_from_its_own_start(void **state)
{
    (void)state;
    event_of((char[]){OTHER}, 1, 2, 0);
    expect(""); /* the hub is asked: it may be a late event of another one */
    tops((char[]){OTHER}, 2);
    expect("insufficient 1 2 ");
    event_of((char[]){OTHER}, 3, 1, 0);
    expect("3 ");
    event_of((char[]){"cccccccc"}, 0, 0, 7); /* a beat can be the first to show it */
    tops((char[]){"cccccccc"}, 7);
    expect("insufficient ");
    event_of((char[]){"cccccccc"}, 8, 1, 0);
    expect("8 ");
    assert_int_equal(num_calls, 0);
}

static void test_a_log_of_another_epoch_is_asked_for_its_position(void **state)
{
    (void)state;
    event(12, 1);
    failed("History", WR_ERR_POSITION);
    room__timer(rs, now_ms);
    event_of((char[]){OTHER}, 3, 1, 0);
    event(13, 1);
    tops((char[]){OTHER}, 2);
    expect("insufficient 3 "); /* 12 and 13 are of the log that is gone */
    event_of((char[]){OTHER}, 4, 1, 0);
    expect("4 ");
    assert_int_equal(num_calls, 0);
}

static void test_an_event_of_another_log_changes_nothing_when_the_hub_does_not_say_so(void **state)
{
    (void)state;
    event_of((char[]){OTHER}, 5, 2, 0);
    event(11, 1); /* held meanwhile */
    tops((char[]){EPOCH}, 11);
    expect("11 ");
    event(12, 1);
    expect("12 ");
    assert_int_equal(num_calls, 0);
    assert_int_equal(rs->held_bytes, 0);
}

/* ---- hubs ---- */

static void event_from(const char *instance, char *epoch, uint64_t offset)
{
    Watchroom__V1__Event e = WATCHROOM__V1__EVENT__INIT;
    Watchroom__V1__RoomEvent r = WATCHROOM__V1__ROOM_EVENT__INIT;
    e.instance = (char *)(uintptr_t)instance;
    e.room = &r;
    r.epoch = epoch;
    r.publications = pubs_new(offset, 1);
    r.n_publications = 1;
    struct wr_msg *m = wr_msg_pack(&e.base);
    assert_non_null(m);
    room__event(rs, m, wr_slice_str("hall"), wr_msg_slice(m));
    wr_msg_unref(m);
    free(r.publications);
}

static void test_a_late_event_of_another_hub_is_left_out_unless_it_is_of_the_same_log(void **state)
{
    (void)state;
    uint64_t elsewhere = rooms__m_events_elsewhere.value;
    event_from("hub-2", (char[]){OTHER}, 3);
    assert_int_equal(num_calls, 0); /* nobody has to be asked */
    expect("");
    event_from("hub-2", (char[]){EPOCH}, 11); /* of a shared log: the order is in the offsets */
    expect("11 ");
    event_from("hub-1", (char[]){EPOCH}, 12);
    expect("12 ");
    assert_int_equal(rooms__m_events_elsewhere.value - elsewhere, 1);
}

static struct rooms__room *hall(void)
{
    return wr_map_get(&rs->rooms, wr_slice_str("hall"));
}

static void test_a_room_that_moved_asks_where_its_log_is_and_goes_on(void **state)
{
    (void)state;
    room__moved(hall());
    event(12, 1); /* 11 was lost with the hub that had it */
    expect("");
    tops((char[]){EPOCH}, 12);
    history(10, 11, 2, 12);
    expect("11 12 ");
    assert_int_equal(num_calls, 0);
}

static void test_answers_of_the_hub_before_are_too_late(void **state)
{
    (void)state;
    event(12, 1); /* History is asked of the old hub */
    room__moved(hall());
    room__moved(hall());
    assert_int_equal(num_calls, 3);
    history(10, 11, 2, 12);
    expect("");
    tops((char[]){"cccccccc"}, 40); /* of the first move */
    expect("");
    tops((char[]){OTHER}, 3);
    expect("insufficient ");
    event_of((char[]){OTHER}, 4, 1, 0);
    expect("4 ");
}

/* ---- bytes that are not an event ---- */

static void garbage(const char *bytes, size_t n)
{
    struct wr_msg *m = wr_msg_copy(wr_slice_of(bytes, n));
    assert_non_null(m);
    room__event(rs, m, wr_slice_str("hall"), wr_msg_slice(m));
    wr_msg_unref(m);
}

static void test_malformed_events_are_counted_and_change_nothing(void **state)
{
    (void)state;
    uint64_t bad = rooms__m_bad_bus.value;
    garbage("", 0);
    garbage("\x1a\x7f", 2);
    garbage("\xff\xff\xff\xff", 4);
    event_of((char[]){""}, 11, 1, 0); /* publications without an epoch */
    event_of((char[]){"an epoch far longer than any hub's own"}, 11, 1, 0);
    event_of((char[]){EPOCH}, 0, 1, 0); /* offsets begin with 1 */
    Watchroom__V1__RoomEvent e = WATCHROOM__V1__ROOM_EVENT__INIT;
    e.epoch = (char[]){EPOCH};
    e.publications = pubs_new(11, 2);
    e.n_publications = 2;
    e.publications[1]->offset = 13; /* and have no hole inside an event */
    say(&e);
    free(e.publications);
    assert_int_equal(rooms__m_bad_bus.value - bad, 7);
    expect("");
    event(11, 1);
    expect("11 ");
}

static void test_a_malformed_answer_of_the_log_is_asked_for_again(void **state)
{
    (void)state;
    event(12, 1);
    answer("History", &(struct wr_answer){.body = wr_slice_str("\x1a\x7f")});
    expect("");
    room__timer(rs, now_ms);
    history(10, 11, 1, 12);
    expect("11 12 ");
}

static void test_events_of_a_room_that_nobody_is_in_are_counted(void **state)
{
    (void)state;
    uint64_t unknown = rooms__m_events_unknown.value;
    event(1, 1);
    assert_int_equal(rooms__m_events_unknown.value - unknown, 1);
    expect("");
}

/* ---- subscribing ---- */

static void test_events_that_come_before_the_position_wait_for_it(void **state)
{
    (void)state;
    member = subscribe(1, 0, 0, "");
    event(10, 1);
    event(11, 1);
    tops((char[]){EPOCH}, 10);
    expect("[1: at 11]");
    event(12, 1);
    expect("12 ");
    assert_int_equal(num_calls, 0);
}

static void test_without_a_position_a_member_is_refused_and_the_next_one_asks_again(void **state)
{
    (void)state;
    struct rooms__sub *first = subscribe(1, 0, 0, "");
    failed("Tops", WR_ERR_UNAVAILABLE);
    expect("[1: refused 7]");
    unsubscribe(first);
    member = subscribe(2, 0, 0, "");
    tops((char[]){EPOCH}, 10);
    expect("[2: at 10]");
}

static void test_who_leaves_before_the_answer_gets_it_and_is_gone(void **state)
{
    (void)state;
    unsubscribe(subscribe(1, 0, 0, ""));
    assert_int_equal(subs, 1);
    tops((char[]){EPOCH}, 10);
    expect("[1: at 10]");
    assert_int_equal(subs, 0);
}

static void test_an_empty_room_is_forgotten_after_a_while(void **state)
{
    (void)state;
    unsubscribe(member);
    member = NULL;
    room__timer(rs, now_ms + ROOMS__LINGER_MS);
    event(11, 1);
    assert_int_equal(rs->rooms.used, 1);
    room__timer(rs, now_ms + ROOMS__LINGER_MS + 1);
    assert_int_equal(rs->rooms.used, 0);
}

/* ---- recovering ---- */

static void test_recovery_gives_the_log_and_what_came_while_it_was_read(void **state)
{
    (void)state;
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 8, EPOCH);
    event(11, 2); /* others get it now; who recovers gets it with its answer */
    expect("11 12 ");
    history(8, 9, 3, 11); /* read between the two */
    expect("[2: at 8 recovered 9 10 11 12]");
    event(13, 1);
    expect("13 ");
    unsubscribe(s);
}

static void test_recovery_during_a_fill_leaves_no_hole(void **state)
{
    (void)state;
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 8, EPOCH);
    event(12, 1);
    assert_int_equal(num_calls, 2);
    calls[2] = calls[0]; /* the fill has its answer first */
    memmove(calls, calls + 1, 2 * sizeof calls[0]);
    history(10, 11, 1, 12);
    expect("11 12 ");
    history(8, 9, 2, 10); /* read before 11 was written: it is read again */
    expect("");
    history(8, 9, 4, 12);
    expect("[2: at 8 recovered 9 10 11 12]");
    unsubscribe(s);
}

static void test_who_comes_during_a_fill_recovers_after_it(void **state)
{
    (void)state;
    event(12, 1);
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 8, EPOCH);
    struct rooms__sub *plain = subscribe(3, 0, 0, "");
    expect("[3: at 10]");
    history(10, 11, 1, 12);
    expect("11 12 ");
    history(8, 9, 4, 12);
    expect("[2: at 8 recovered 9 10 11 12]");
    unsubscribe(s);
    unsubscribe(plain);
}

static void test_who_waits_for_a_fill_that_fails_is_refused(void **state)
{
    (void)state;
    event(12, 1);
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 8, EPOCH);
    failed("History", WR_ERR_UNAVAILABLE);
    assert_non_null(strstr(out, "[2: refused"));
    out[0] = 0;
    unsubscribe(s);
}

static void test_who_was_at_a_gateway_that_is_ahead_recovers(void **state)
{
    (void)state;
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 12, EPOCH);
    event(11, 1); /* late */
    expect("");
    tops((char[]){EPOCH}, 13);
    expect("11 ");
    history(11, 12, 2, 13);
    expect("12 13 ");
    history(12, 13, 1, 13);
    expect("[2: at 12 recovered 13]");
    unsubscribe(s);
}

static void test_who_asked_for_it_is_refused_what_cannot_be_recovered(void **state)
{
    (void)state;
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER | WR_SUB_REJECT, 9, OTHER);
    char want[64];
    (void)snprintf(want, sizeof want, "[2: refused %d]", (int)WR_ERR_POSITION);
    expect(want);
    unsubscribe(s);
}

static void test_who_has_everything_recovers_without_a_call(void **state)
{
    (void)state;
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 10, EPOCH);
    expect("[2: at 10 recovered]");
    assert_int_equal(num_calls, 0);
    unsubscribe(s);
}

static void test_a_position_that_cannot_be_is_not_recovered(void **state)
{
    (void)state;
    struct rooms__sub *newer = subscribe(2, WR_SUB_RECOVER, 11, EPOCH);
    struct rooms__sub *other = subscribe(3, WR_SUB_RECOVER, 9, OTHER);
    expect("");
    tops((char[]){EPOCH}, 10);
    expect("[3: at 10][2: at 10]");
    assert_int_equal(num_calls, 0);
    unsubscribe(newer);
    unsubscribe(other);
}

static void test_a_log_with_a_hole_does_not_recover(void **state)
{
    (void)state;
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 5, "");
    history(5, 8, 3, 10); /* 6 and 7 are past retention */
    expect("[2: at 10]");
    unsubscribe(s);
}

static void test_more_than_an_answer_holds_does_not_recover(void **state)
{
    (void)state;
    event(11, 400);
    out[0] = 0;
    struct rooms__sub *s = subscribe(2, WR_SUB_RECOVER, 10, EPOCH);
    history(10, 11, ROOMS__RECOVER_MAX + 1, 410);
    expect("[2: at 410]");
    unsubscribe(s);
}

int main(void)
{
#define E(f) cmocka_unit_test_setup_teardown(f, set_up_empty, tear_down)
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_the_next_offset_is_delivered_and_a_lower_one_not_again),
        T(test_each_form_in_use_is_encoded_once),
        T(test_when_rights_change_every_member_is_asked_about),
        T(test_a_full_plane_is_waited_for_and_loses_nothing),
        T(test_a_hole_is_read_from_the_log_and_what_is_newer_waits),
        T(test_what_the_log_and_an_event_both_have_is_delivered_once),
        T(test_a_second_hole_behind_the_first_is_read_after_it),
        T(test_a_beat_shows_that_the_last_event_was_lost),
        T(test_what_no_event_told_is_found_when_a_hub_comes_up),
        T(test_rooms_are_checked_from_time_to_time_and_again_after_a_failure),
        T(test_a_check_that_finds_another_log_asks_for_its_position),
        T(test_a_call_that_failed_is_made_again_by_the_timer),
        T(test_more_than_may_wait_is_read_from_the_log_later),
        T(test_more_bytes_than_may_wait_are_read_from_the_log_later),
        T(test_a_hole_that_the_log_no_longer_has_is_told),
        T(test_members_are_told_who_came_and_who_left),
        T(test_a_new_epoch_is_told_and_counted_from_its_own_start),
        T(test_a_log_of_another_epoch_is_asked_for_its_position),
        T(test_an_event_of_another_log_changes_nothing_when_the_hub_does_not_say_so),
        T(test_a_late_event_of_another_hub_is_left_out_unless_it_is_of_the_same_log),
        T(test_a_room_that_moved_asks_where_its_log_is_and_goes_on),
        T(test_answers_of_the_hub_before_are_too_late),
        T(test_malformed_events_are_counted_and_change_nothing),
        T(test_a_malformed_answer_of_the_log_is_asked_for_again),
        E(test_events_of_a_room_that_nobody_is_in_are_counted),
        E(test_events_that_come_before_the_position_wait_for_it),
        E(test_without_a_position_a_member_is_refused_and_the_next_one_asks_again),
        E(test_who_leaves_before_the_answer_gets_it_and_is_gone),
        T(test_an_empty_room_is_forgotten_after_a_while),
        T(test_recovery_gives_the_log_and_what_came_while_it_was_read),
        T(test_recovery_during_a_fill_leaves_no_hole),
        T(test_who_comes_during_a_fill_recovers_after_it),
        T(test_who_waits_for_a_fill_that_fails_is_refused),
        T(test_who_was_at_a_gateway_that_is_ahead_recovers),
        T(test_who_asked_for_it_is_refused_what_cannot_be_recovered),
        T(test_who_has_everything_recovers_without_a_call),
        T(test_a_position_that_cannot_be_is_not_recovered),
        T(test_a_log_with_a_hole_does_not_recover),
        T(test_more_than_an_answer_holds_does_not_recover),
    };
#undef T
#undef E
    return cmocka_run_group_tests(tests, NULL, NULL);
}
