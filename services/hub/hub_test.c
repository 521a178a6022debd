/* SPDX-License-Identifier: MIT
 *
 * Claims about the running hub, seen from the bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_test_kit.h"
#include "moved_clock.h"
#include "wr_clock.h"
#include "wr_metrics.h"
#include "wr_thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const char *yaml = "";

static int setup(void **state)
{
    struct kit *k = malloc(sizeof *k);
    assert_non_null(k);
    kit_init(k, yaml);
    kit_start(k);
    *state = k;
    return 0;
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static int teardown(void **state)
{
    set_file_limit(RLIM_INFINITY);
    kit_fini(*state);
    free(*state);
    return 0;
}

static uint64_t metric(const char *line)
{
    struct wr_buf out = {0};
    wr_metrics_write(&out);
    wr_buf_char(&out, '\0');
    const char *at = strstr((const char *)out.p, line);
    uint64_t v = at ? strtoull(at + strlen(line), NULL, 10) : 0;
    wr_buf_free(&out);
    return v;
}

/* ---- publish ---------------------------------------------------------------------------------------------------- */

static void test_publish_is_answered_and_told(void **state)
{
    struct kit *k = *state;
    Watchroom__V1__PublishItem item = WATCHROOM__V1__PUBLISH_ITEM__INIT;
    Watchroom__V1__ClientInfo info = WATCHROOM__V1__CLIENT_INFO__INIT;
    char room[] = "demo", client[] = "c-1";
    uint8_t conn[] = "{\"name\":\"Ann\"}", data[] = "{ \"text\" : \"hello\",\n\"name\":\"Ann\" }",
            key[] = "key-0001";
    size_t at = 0;
    info.client = client;
    info.conn_info.data = conn;
    info.conn_info.len = sizeof conn - 1;
    item.room = room;
    item.info = &info;
    item.kind = WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_CHAT;
    item.key.data = key;
    item.key.len = 8;
    item.data.data = data;
    item.data.len = sizeof data - 1;
    struct kit_result r = kit_publish_item(k, &item);
    assert_int_equal(r.code, WR_OK);
    assert_int_equal(r.offset, 1);
    assert_int_equal(strlen(r.epoch), 8);
    Watchroom__V1__RoomEvent *e = kit_next(k, &at, KIT_PUBLICATIONS);
    assert_string_equal(e->room, "demo");
    assert_string_equal(e->epoch, r.epoch);
    assert_int_equal(e->top, 1);
    assert_int_equal(e->n_publications, 1);
    const Watchroom__V1__Publication *p = e->publications[0];
    assert_int_equal(p->offset, 1);
    assert_int_equal(p->kind, WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_CHAT);
    assert_string_equal(p->info->client, "c-1");
    assert_memory_equal(p->info->conn_info.data, conn, sizeof conn - 1);
    assert_memory_equal(p->key.data, "key-0001", 8);
    assert_true(wr_slice_is(wr_slice_of(p->data.data, p->data.len),
                            "{\"text\":\"hello\",\"name\":\"Ann\"}"));
}

static void test_wrong_items_are_refused_one_by_one(void **state)
{
    struct kit *k = *state;
    static char big[70000];
    memset(big, '1', sizeof big - 1);
    static const struct {
        const char *room, *key, *data;
        wr_err code;
    } cases[] = {
        {"", "", "{}", WR_ERR_INVALID},
        {"a/b", "", "{}", WR_ERR_INVALID},
        {".hidden", "", "{}", WR_ERR_INVALID},
        {"r\xff", "", "{}", WR_ERR_INVALID},
        {"demo", "short", "{}", WR_ERR_INVALID},
        {"demo", "123456789012345678901234567890123", "{}", WR_ERR_INVALID},
        {"demo", "", "", WR_ERR_INVALID},
        {"demo", "", "hello", WR_ERR_INVALID},
        {"demo", "", "{\"a\":\"\xff\"}", WR_ERR_INVALID},
        {"demo", "", big, WR_ERR_TOO_BIG},
        {"demo", "", "{}", WR_OK},
    };
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        struct kit_result r = kit_publish(k, cases[i].room, cases[i].key, cases[i].data);
        if (r.code != cases[i].code || (r.code != WR_OK && !r.message[0]))
            fail_msg("case %zu: code %d: %s", i, (int)r.code, r.message);
    }
    assert_int_equal(kit_publish(k, "demo", "", "1").offset, 2);
}

static void test_garbage_is_refused_and_the_hub_lives(void **state)
{
    struct kit *k = *state;
    static const char *const methods[] = {"Publish", "History", "Tops", "Presence", "Members"};
    struct wr_errmsg err;
    for (size_t i = 0; i < WR_ARRAY_LEN(methods); i++) {
        char name[64];
        snprintf(name, sizeof name, "watchroom.v1.Hub/%s", methods[i]);
        assert_int_equal(
            wr_bus_call_wait(k->service, NULL, name,
                             wr_msg_copy(wr_slice_of("\x0a\xff\xff\xff\x0f garbage", 13)), 5000,
                             NULL, NULL, &err),
            WR_ERR_INVALID);
    }
    assert_int_equal(wr_bus_call_wait(k->service, NULL, "watchroom.v1.Hub/Nothing", NULL, 5000,
                                      NULL, NULL, &err),
                     WR_ERR_UNKNOWN_METHOD);
    assert_int_equal(kit_publish(k, "demo", "", "1").code, WR_OK);
}

static void test_known_key_is_answered_and_not_told_again(void **state)
{
    struct kit *k = *state;
    size_t at = 0;
    struct kit_result a = kit_publish(k, "demo", "key-0001", "1"),
                      b = kit_publish(k, "demo", "key-0001", "1");
    assert_false(a.duplicate);
    assert_true(b.duplicate);
    assert_int_equal(b.offset, a.offset);
    assert_int_equal(kit_publish(k, "demo", "key-0002", "2").offset, 2);
    assert_int_equal(kit_next(k, &at, KIT_PUBLICATIONS)->publications[0]->offset, 1);
    assert_int_equal(kit_next(k, &at, KIT_PUBLICATIONS)->publications[0]->offset, 2);
}

static struct kit_result publish_typed(struct kit *k, char *type, const void *data, size_t n)
{
    Watchroom__V1__PublishItem item = WATCHROOM__V1__PUBLISH_ITEM__INIT;
    char room[] = "typed";
    uint8_t copy[16];
    assert_true(n <= sizeof copy);
    memcpy(copy, data, n);
    item.room = room;
    item.type = type;
    item.data.data = copy;
    item.data.len = n;
    return kit_publish_item(k, &item);
}

static void test_an_entry_is_bytes_with_a_type(void **state)
{
    struct kit *k = *state;
    size_t at = 0;
    wr_err code;
    assert_int_equal(publish_typed(k, (char[]){"image/png"}, "\x89\0\xff\n", 4).offset, 1);
    assert_int_equal(publish_typed(k, (char[]){"text/plain"}, "a b\n", 4).offset, 2);
    assert_int_equal(publish_typed(k, (char[]){"application/json"}, "[1, 2]", 6).offset, 3);
    for (int i = 0; i < 3; i++) {
        const Watchroom__V1__Publication *p = kit_next(k, &at, KIT_PUBLICATIONS)->publications[0];
        assert_string_equal(p->type, i == 0 ? "image/png" : i == 1 ? "text/plain" : "");
    }
    Watchroom__V1__HistoryRequest req = WATCHROOM__V1__HISTORY_REQUEST__INIT;
    req.room = (char[]){"typed"};
    req.limit = 10;
    Watchroom__V1__HistoryResponse *h = kit_history(k, &req, &code);
    assert_non_null(h);
    assert_int_equal(h->n_publications, 3);
    assert_string_equal(h->publications[0]->type, "image/png");
    assert_int_equal(h->publications[0]->data.len, 4);
    assert_memory_equal(h->publications[0]->data.data, "\x89\0\xff\n", 4);
    assert_string_equal(h->publications[1]->type, "text/plain");
    assert_memory_equal(h->publications[1]->data.data, "a b\n", 4);
    assert_string_equal(h->publications[2]->type, "");
    assert_memory_equal(h->publications[2]->data.data, "[1,2]", 5);
    watchroom__v1__history_response__free_unpacked(h, NULL);
    struct kit_result r = publish_typed(k, (char[]){"text/plain"}, "\xff", 1);
    assert_int_equal(r.code, WR_ERR_INVALID);
    assert_string_equal(r.message, "data: not UTF-8");
    r = publish_typed(k, (char[]){"Text"}, "x", 1);
    assert_int_equal(r.code, WR_ERR_INVALID);
    assert_non_null(strstr(r.message, "type: "));
    assert_int_equal(publish_typed(k, (char[]){"image/png"}, "", 0).code, WR_ERR_INVALID);
    assert_int_equal(publish_typed(k, (char[]){"application/json"}, "{", 1).code, WR_ERR_INVALID);
}

static void test_a_call_with_many_rooms_makes_one_event_each(void **state)
{
    struct kit *k = *state;
    enum { N = 300 };
    static Watchroom__V1__PublishItem items[N], *list[N];
    Watchroom__V1__PublishRequest req = WATCHROOM__V1__PUBLISH_REQUEST__INIT;
    char rooms[3][8] = {"a", "b", "c"};
    uint8_t data[] = "{}";
    size_t at = 0, seen = 0;
    wr_err code;
    for (int i = 0; i < N; i++) {
        watchroom__v1__publish_item__init(&items[i]);
        items[i].room = rooms[i % 3];
        items[i].data.data = data;
        items[i].data.len = 2;
        list[i] = &items[i];
    }
    req.items = list;
    req.n_items = N;
    Watchroom__V1__PublishResponse *res = (Watchroom__V1__PublishResponse *)(void *)kit_call(
        k, "Publish", &req.base, &watchroom__v1__publish_response__descriptor, &code, NULL);
    assert_non_null(res);
    assert_int_equal(res->n_results, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(res->results[i]->offset, i / 3 + 1);
    watchroom__v1__publish_response__free_unpacked(res, NULL);
    for (int r = 0; r < 3; r++) {
        const Watchroom__V1__RoomEvent *e = kit_next(k, &at, KIT_PUBLICATIONS);
        assert_int_equal(e->n_publications, N / 3);
        assert_int_equal(e->top, N / 3);
        for (size_t i = 0; i < e->n_publications; i++)
            assert_int_equal(e->publications[i]->offset, i + 1);
        seen |= (size_t)1 << (e->room[0] - 'a');
    }
    assert_int_equal(seen, 7);
}

static void test_large_batches_are_told_in_several_events(void **state)
{
    struct kit *k = *state;
    enum { N = 40, BYTES = 60000 };
    static Watchroom__V1__PublishItem items[N], *list[N];
    static uint8_t data[BYTES];
    Watchroom__V1__PublishRequest req = WATCHROOM__V1__PUBLISH_REQUEST__INIT;
    char room[] = "big";
    size_t at = 0, events = 0;
    uint64_t seen = 0;
    wr_err code;
    memset(data, '7', sizeof data);
    for (int i = 0; i < N; i++) {
        watchroom__v1__publish_item__init(&items[i]);
        items[i].room = room;
        items[i].data.data = data;
        items[i].data.len = sizeof data;
        list[i] = &items[i];
    }
    req.items = list;
    req.n_items = N;
    ProtobufCMessage *res = kit_call(k, "Publish", &req.base,
                                     &watchroom__v1__publish_response__descriptor, &code, NULL);
    assert_non_null(res);
    protobuf_c_message_free_unpacked(res, NULL);
    for (; seen < N; events++) {
        const Watchroom__V1__RoomEvent *e = kit_next(k, &at, KIT_PUBLICATIONS);
        for (size_t i = 0; i < e->n_publications; i++)
            assert_int_equal(e->publications[i]->offset, ++seen);
        assert_int_equal(e->top, seen);
    }
    assert_in_range(events, 2, 5);
    /* A page of history is bounded as well, and goes on from where it ended. */
    Watchroom__V1__HistoryRequest h = WATCHROOM__V1__HISTORY_REQUEST__INIT;
    h.room = room;
    h.limit = 1000;
    h.has_since = 1;
    for (size_t pages = 0; h.since_offset < N; pages++) {
        assert_true(pages < 5);
        Watchroom__V1__HistoryResponse *page = kit_history(k, &h, &code);
        assert_non_null(page);
        assert_int_equal(page->top, N);
        assert_in_range(page->n_publications, 1, N - 1);
        for (size_t i = 0; i < page->n_publications; i++)
            assert_int_equal(page->publications[i]->offset, h.since_offset + 1 + i);
        h.since_offset += page->n_publications;
        watchroom__v1__history_response__free_unpacked(page, NULL);
    }
}

/* ---- many at once ----------------------------------------------------------------------------------------------- */

enum { SENDERS = 8, EACH = 100 };
struct sender {
    struct kit *k;
    uint64_t offsets[EACH];
    atomic_int *failed;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < EACH; i++) {
        struct kit_result r = kit_publish(s->k, "busy", "", "{\"text\":\"x\"}");
        s->offsets[i] = r.offset;
        if (r.code != WR_OK || (i && r.offset <= s->offsets[i - 1]))
            atomic_fetch_add(s->failed, 1);
    }
    return NULL;
}

static void test_many_senders_share_syncs_and_get_dense_offsets(void **state)
{
    struct kit *k = *state;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    atomic_int failed = 0;
    static bool seen[SENDERS * EACH + 1];
    uint64_t batches = metric("\nwatchroom_hub_batches_total "), next = 0;
    size_t at = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.k = k, .failed = &failed};
        assert_int_equal(wr_thread_start(&threads[i], "sender", send_all, &senders[i]), WR_OK);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&failed), 0);
    for (int i = 0; i < SENDERS; i++)
        for (int j = 0; j < EACH; j++) {
            assert_in_range(senders[i].offsets[j], 1, SENDERS * EACH);
            assert_false(seen[senders[i].offsets[j]]);
            seen[senders[i].offsets[j]] = true;
        }
    while (next < SENDERS * EACH) {
        const Watchroom__V1__RoomEvent *e = kit_next(k, &at, KIT_PUBLICATIONS);
        for (size_t i = 0; i < e->n_publications; i++)
            assert_int_equal(e->publications[i]->offset, ++next);
    }
    batches = metric("\nwatchroom_hub_batches_total ") - batches;
    /* A store that syncs makes the others wait, and they go together. */
    assert_in_range(batches, 1, strstr(yaml, "sqlite") ? SENDERS * EACH / 2 : SENDERS * EACH);
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static void test_history_pages(void **state)
{
    struct kit *k = *state;
    Watchroom__V1__HistoryRequest req = WATCHROOM__V1__HISTORY_REQUEST__INIT;
    char room[] = "demo", wrong[] = "abcdefgh";
    wr_err code;
    char epoch[9] = "";
    for (int i = 0; i < 20; i++)
        memcpy(epoch, kit_publish(k, "demo", "", "{\"n\":1}").epoch, 9);
    static const struct {
        bool has_since, reverse;
        uint64_t since, until;
        uint32_t limit;
        size_t n;
        uint64_t first;
    } cases[] = {
        {false, false, 0, 0, 5, 5, 1},  {false, true, 0, 0, 5, 5, 20},
        {true, false, 18, 0, 5, 2, 19}, {true, true, 3, 0, 5, 2, 2},
        {true, false, 3, 7, 100, 4, 4}, {false, false, 0, 0, 5000, 20, 1},
        {true, false, 20, 0, 5, 0, 0},  {true, false, 99, 0, 5, 0, 0},
        {false, false, 0, 0, 0, 0, 0},  {true, true, 99, 0, 3, 3, 20},
        {true, true, 1, 0, 3, 0, 0},    {true, true, UINT64_MAX, 0, 3, 3, 20},
    };
    req.room = room;
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        req.has_since = cases[i].has_since;
        req.reverse = cases[i].reverse;
        req.since_offset = cases[i].since;
        req.until_offset = cases[i].until;
        req.limit = cases[i].limit;
        Watchroom__V1__HistoryResponse *page = kit_history(k, &req, &code);
        assert_non_null(page);
        assert_int_equal(page->top, 20);
        assert_string_equal(page->epoch, epoch);
        if (page->n_publications != cases[i].n ||
            (cases[i].n && page->publications[0]->offset != cases[i].first))
            fail_msg("case %zu: %zu publications", i, page->n_publications);
        watchroom__v1__history_response__free_unpacked(page, NULL);
    }
    req.since_epoch = epoch;
    watchroom__v1__history_response__free_unpacked(kit_history(k, &req, &code), NULL);
    assert_int_equal(code, WR_OK);
    req.since_epoch = wrong;
    assert_null(kit_history(k, &req, &code));
    assert_int_equal(code, WR_ERR_POSITION);
    char bad[] = "a/b";
    req.room = bad;
    assert_null(kit_history(k, &req, &code));
    assert_int_equal(code, WR_ERR_INVALID);
}

static void test_tops_come_in_the_order_that_was_asked(void **state)
{
    struct kit *k = *state;
    Watchroom__V1__TopsRequest req = WATCHROOM__V1__TOPS_REQUEST__INIT;
    char a[] = "new-a", b[] = "demo", bad[] = "..", *rooms[] = {a, b, a};
    wr_err code;
    struct kit_result r = kit_publish(k, "demo", "", "1");
    req.rooms = rooms;
    req.n_rooms = 3;
    Watchroom__V1__TopsResponse *res = (Watchroom__V1__TopsResponse *)(void *)kit_call(
        k, "Tops", &req.base, &watchroom__v1__tops_response__descriptor, &code, NULL);
    assert_non_null(res);
    assert_int_equal(res->n_tops, 3);
    assert_string_equal(res->tops[0]->room, "new-a");
    assert_int_equal(res->tops[0]->offset, 0);
    assert_int_equal(strlen(res->tops[0]->epoch), 8);
    assert_string_equal(res->tops[2]->epoch, res->tops[0]->epoch);
    assert_string_equal(res->tops[1]->epoch, r.epoch);
    assert_int_equal(res->tops[1]->offset, 1);
    watchroom__v1__tops_response__free_unpacked(res, NULL);
    rooms[1] = bad;
    assert_null(
        kit_call(k, "Tops", &req.base, &watchroom__v1__tops_response__descriptor, &code, NULL));
    assert_int_equal(code, WR_ERR_INVALID);
}

/* ---- members ---------------------------------------------------------------------------------------------------- */

struct members {
    wr_err code;
    bool known;
};

static struct members tell_members(struct kit *k, Watchroom__V1__MembersRequest *req)
{
    struct members m = {0};
    Watchroom__V1__MembersResponse *res = (Watchroom__V1__MembersResponse *)(void *)kit_call(
        k, "Members", &req->base, &watchroom__v1__members_response__descriptor, &m.code, NULL);
    if (res) {
        m.known = res->known;
        watchroom__v1__members_response__free_unpacked(res, NULL);
    }
    return m;
}

static Watchroom__V1__PresenceResponse *presence(struct kit *k, char *room, bool stats_only)
{
    Watchroom__V1__PresenceRequest req = WATCHROOM__V1__PRESENCE_REQUEST__INIT;
    wr_err code;
    req.room = room;
    req.stats_only = stats_only;
    Watchroom__V1__PresenceResponse *res = (Watchroom__V1__PresenceResponse *)(void *)kit_call(
        k, "Presence", &req.base, &watchroom__v1__presence_response__descriptor, &code, NULL);
    assert_non_null(res);
    return res;
}

/* A request that says who entered or left: client c-1 in room demo, under the lease gateway-1. */
struct one_member {
    Watchroom__V1__MembersRequest req;
    Watchroom__V1__Member one, *list[1];
    Watchroom__V1__ClientInfo info;
    char lease[16], room[8], client[8];
};

/* It enters, with the lease's first message. */
static void one_member_enters(struct one_member *m, uint32_t ttl_ms)
{
    *m = (struct one_member){.req = WATCHROOM__V1__MEMBERS_REQUEST__INIT,
                             .one = WATCHROOM__V1__MEMBER__INIT,
                             .info = WATCHROOM__V1__CLIENT_INFO__INIT,
                             .lease = "gateway-1",
                             .room = "demo",
                             .client = "c-1"};
    m->info.client = m->client;
    m->one.room = m->room;
    m->one.info = &m->info;
    m->list[0] = &m->one;
    m->req.lease = m->lease;
    m->req.ttl_ms = ttl_ms;
    m->req.seq = 1;
    m->req.enter = m->list;
    m->req.n_enter = 1;
}

static void test_members_come_and_go(void **state)
{
    struct kit *k = *state;
    struct one_member m;
    size_t at = 0;
    one_member_enters(&m, 6000);
    assert_false(tell_members(k, &m.req).known); /* a lease begins with a full list */
    m.req.full = 1;
    assert_true(tell_members(k, &m.req).known);
    const Watchroom__V1__RoomEvent *e = kit_next(k, &at, KIT_MEMBERS);
    assert_int_equal(e->n_joined, 1);
    assert_string_equal(e->joined[0]->client, "c-1");
    assert_int_equal(e->num_clients, 1);
    assert_string_equal(e->epoch, "");
    Watchroom__V1__PresenceResponse *p = presence(k, m.room, false);
    assert_int_equal(p->num_clients, 1);
    assert_int_equal(p->num_users, 1);
    assert_int_equal(p->n_clients, 1);
    assert_string_equal(p->clients[0]->client, "c-1");
    watchroom__v1__presence_response__free_unpacked(p, NULL);
    p = presence(k, m.room, true);
    assert_int_equal(p->num_clients, 1);
    assert_int_equal(p->n_clients, 0);
    watchroom__v1__presence_response__free_unpacked(p, NULL);
    m.req.full = 0;
    m.req.seq = 2;
    m.req.n_enter = 0;
    m.req.leave = m.list;
    m.req.n_leave = 1;
    assert_true(tell_members(k, &m.req).known);
    e = kit_next(k, &at, KIT_MEMBERS);
    assert_int_equal(e->n_left, 1);
    assert_true(e->has_num_clients);
    assert_int_equal(e->num_clients, 0);
}

static void test_members_of_a_silent_gateway_leave(void **state)
{
    struct kit *k = *state;
    struct one_member m;
    size_t at = 0;
    one_member_enters(&m, 1000);
    m.req.full = 1;
    assert_true(tell_members(k, &m.req).known);
    assert_int_equal(kit_next(k, &at, KIT_MEMBERS)->n_joined, 1);
    const Watchroom__V1__RoomEvent *e = kit_next(k, &at,
                                                 KIT_MEMBERS); /* waits for the lease's end */
    assert_int_equal(e->n_left, 1);
    assert_string_equal(e->left[0]->client, "c-1");
    m.req.full = 0;
    m.req.n_enter = 0;
    m.req.seq = 2;
    assert_false(tell_members(k, &m.req).known);
}

static void test_beats_repeat_the_top(void **state)
{
    struct kit *k = *state;
    size_t at = 0;
    struct kit_result r = kit_publish(k, "demo", "", "1");
    r = kit_publish(k, "demo", "", "2");
    const Watchroom__V1__RoomEvent *e = kit_next(k, &at, KIT_BEAT);
    assert_string_equal(e->room, "demo");
    assert_int_equal(e->top, r.offset);
    assert_string_equal(e->epoch, r.epoch);
}

/* ---- retention -------------------------------------------------------------------------------------------------- */

/* Reads a page and expects entries from `first` to `last`, in that order; first = 0: none. */
static void expect_page(struct kit *k, const char *room, const Watchroom__V1__HistoryRequest *as,
                        uint64_t first, uint64_t last)
{
    Watchroom__V1__HistoryRequest req = *as;
    char name[32];
    wr_err code;
    snprintf(name, sizeof name, "%s", room);
    req.room = name;
    Watchroom__V1__HistoryResponse *page = kit_history(k, &req, &code);
    assert_non_null(page);
    size_t n = page->n_publications;
    uint64_t from = n ? page->publications[0]->offset : 0,
             to = n ? page->publications[n - 1]->offset : 0;
    if (from != first || to != last ||
        (first && n != 1 + (req.reverse ? first - last : last - first)))
        fail_msg("%s since %d %llu reverse %d until %llu limit %u: %zu entries, %llu to %llu", room,
                 (int)req.has_since, (unsigned long long)req.since_offset, (int)req.reverse,
                 (unsigned long long)req.until_offset, (unsigned)req.limit, n,
                 (unsigned long long)from, (unsigned long long)to);
    watchroom__v1__history_response__free_unpacked(page, NULL);
}

/* A room answers what it promises from the first moment on: the store drops the rest when it comes to it. */
static void test_reads_are_clipped_to_what_is_kept(void **state)
{
    struct kit *k = malloc(sizeof *k);
    static const struct {
        const char *room;
        Watchroom__V1__HistoryRequest req;
        uint64_t first, last;
    } cases[] = {
#define REQ                                                                           \
    .req.base = PROTOBUF_C_MESSAGE_INIT(&watchroom__v1__history_request__descriptor), \
    .req.since_epoch = (char *)(uintptr_t)protobuf_c_empty_string, .req
        {.room = "two", REQ.limit = 100, .first = 9, .last = 10},
        {.room = "two", REQ.limit = 1, .first = 9, .last = 9},
        {.room = "two",
         REQ.limit = 100,
         .req.has_since = true,
         .req.since_offset = 3,
         .first = 9,
         .last = 10},
        {.room = "two",
         REQ.limit = 100,
         .req.has_since = true,
         .req.since_offset = 9,
         .first = 10,
         .last = 10},
        {.room = "two", REQ.limit = 100, .req.until_offset = 7, .first = 0},
        {.room = "two", REQ.limit = 100, .req.reverse = true, .first = 10, .last = 9},
        {.room = "two",
         REQ.limit = 100,
         .req.reverse = true,
         .req.has_since = true,
         .req.since_offset = 10,
         .first = 9,
         .last = 9},
        {.room = "two",
         REQ.limit = 100,
         .req.reverse = true,
         .req.has_since = true,
         .req.since_offset = 9,
         .first = 0},
        {.room = "like-three", REQ.limit = 100, .first = 8, .last = 10},
        {.room = "other", REQ.limit = 100, .first = 7, .last = 10},
        {.room = "hour-x", REQ.limit = 100, .first = 11, .last = 13},
        {.room = "hour-x", REQ.limit = 2, .first = 11, .last = 12},
        {.room = "hour-x",
         REQ.limit = 100,
         .req.has_since = true,
         .req.since_offset = 2,
         .first = 11,
         .last = 13},
        {.room = "hour-x",
         REQ.limit = 100,
         .req.has_since = true,
         .req.since_offset = 12,
         .first = 13,
         .last = 13},
        {.room = "hour-x", REQ.limit = 100, .req.until_offset = 7, .first = 0},
        {.room = "hour-x", REQ.limit = 100, .req.until_offset = 11, .first = 11, .last = 11},
        {.room = "hour-x", REQ.limit = 100, .req.reverse = true, .first = 13, .last = 11},
        {.room = "hour-old", REQ.limit = 100, .first = 0},
        {.room = "hour-old", REQ.limit = 100, .req.reverse = true, .first = 0},
#undef REQ
    };
    char yaml_of[400];
    (void)state;
    assert_non_null(k);
    snprintf(yaml_of, sizeof yaml_of,
             "%s  history_count: 4\n"
             "rooms:\n  two: { history: { count: 2 } }\n"
             "  'like-*': { history: { count: 3 } }\n"
             "  'hour-*': { history: { count: 100, age: 1h } }\n",
             yaml);
    kit_init(k, yaml_of);
    kit_start(k);
    moved_clock_set(-2 * 3600 * 1000); /* the clock was two hours behind, as old entries are */
    for (int i = 0; i < 10; i++) {
        kit_publish(k, "hour-x", "", "1");
        kit_publish(k, "hour-old", "", "1");
        kit_publish(k, "two", "", "1");
        kit_publish(k, "like-three", "", "1");
        kit_publish(k, "other", "", "1");
    }
    moved_clock_set(0);
    for (int i = 0; i < 3; i++)
        kit_publish(k, "hour-x", "", "1");
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++)
        expect_page(k, cases[i].room, &cases[i].req, cases[i].first, cases[i].last);
    kit_fini(k);
    free(k);
}

/* ---- rooms ------------------------------------------------------------------------------------------------------ */

static void test_rooms_lists_configured_then_others(void **state)
{
    struct kit *k = *state;
    Watchroom__V1__RoomsRequest req = WATCHROOM__V1__ROOMS_REQUEST__INIT;
    wr_err code;
    kit_publish(k, "talk", "", "1");
    Watchroom__V1__RoomsResponse *res = (Watchroom__V1__RoomsResponse *)(void *)kit_call(
        k, "Rooms", &req.base, &watchroom__v1__rooms_response__descriptor, &code, NULL);
    assert_non_null(res);
    assert_int_equal(res->n_rooms,
                     3); /* demo of the empty configuration, then talk and the kit's own */
    assert_string_equal(res->rooms[0]->room, "demo");
    assert_string_equal(res->rooms[0]->stream, "demo");
    assert_int_equal(res->rooms[0]->offset, 0);
    assert_int_equal(strlen(res->rooms[0]->epoch), 8);
    const Watchroom__V1__RoomInfo *talk =
        res->rooms[strcmp(res->rooms[1]->room, "talk") == 0 ? 1 : 2];
    assert_string_equal(talk->room, "talk");
    assert_int_equal(talk->offset, 1);
    assert_true(talk->last_time_ms > 0);
    assert_int_equal(strlen(talk->epoch), 8);
    watchroom__v1__rooms_response__free_unpacked(res, NULL);
}

/* ---- filters ---------------------------------------------------------------------------------------------------- */

static void test_filters_change_and_refuse(void **state)
{
    struct kit k;
    size_t at = 0;
    (void)state;
    kit_init(&k, "hub:\n  store: memory\n  filters: \"words=foo|bar,words=refuse:never\"\n");
    kit_start(&k);
    struct kit_result r = kit_publish(&k, "demo", "", "{\"text\":\"Never!\"}");
    assert_int_equal(r.code, WR_ERR_DENIED);
    assert_non_null(strstr(r.message, "word"));
    assert_int_equal(kit_publish(&k, "demo", "", "{\"text\":\"a foo\"}").offset, 1);
    const Watchroom__V1__Publication *p = kit_next(&k, &at, KIT_PUBLICATIONS)->publications[0];
    assert_true(wr_slice_is(wr_slice_of(p->data.data, p->data.len), "{\"text\":\"a ***\"}"));
    kit_fini(&k);
}

/* ---- start, stop, faults ---------------------------------------------------------------------------------------- */

static void test_restarted_hub_goes_on(void **state)
{
    struct kit *k = *state;
    struct kit_result a = kit_publish(k, "demo", "key-0001", "1");
    kit_stop(k);
    kit_start(k);
    struct kit_result b = kit_publish(k, "demo", "key-0001", "1");
    assert_true(b.duplicate);
    assert_int_equal(b.offset, 1);
    assert_string_equal(b.epoch, a.epoch);
    assert_int_equal(kit_publish(k, "demo", "key-0002", "2").offset, 2);
}

static void test_drained_hub_takes_no_more(void **state)
{
    struct kit *k = *state;
    k->table->drain(k->hub);
    k->table->drain(k->hub);
    struct kit_result r = kit_publish(k, "demo", "", "1");
    assert_int_equal(r.code, WR_ERR_CLOSED);
}

static void test_full_disk_refuses_and_recovers(void **state)
{
    struct kit *k = *state;
    static char data[32000];
    memset(data, '7', sizeof data - 1);
    signal(SIGXFSZ, SIG_IGN);
    set_file_limit(1 << 20);
    struct kit_result r = {0};
    uint64_t acked = 0;
    for (int i = 0; i < 200 && r.code == WR_OK; i++) {
        r = kit_publish(k, "demo", "", data);
        if (r.code == WR_OK)
            acked = r.offset;
    }
    assert_int_equal(r.code, WR_ERR_NO_SPACE);
    assert_non_null(strstr(r.message, "disk is full"));
    assert_int_equal(kit_publish(k, "demo", "", data).code, WR_ERR_NO_SPACE);
    Watchroom__V1__HistoryRequest req = WATCHROOM__V1__HISTORY_REQUEST__INIT;
    char room[] = "demo";
    wr_err code;
    req.room = room;
    Watchroom__V1__HistoryResponse *page = kit_history(k, &req, &code); /* reads go on */
    assert_non_null(page);
    assert_int_equal(page->top, acked);
    watchroom__v1__history_response__free_unpacked(page, NULL);
    set_file_limit(RLIM_INFINITY);
    assert_int_equal(kit_publish(k, "demo", "", data).offset, acked + 1);
}

static void refused_start(const char *text, wr_err code, const char *words)
{
    struct kit k;
    struct wr_errmsg err = {{0}};
    kit_init(&k, text);
    assert_int_equal(kit_try_start(&k, &err), code);
    if (!strstr(err.text, words))
        fail_msg("expected '%s' in: %s", words, err.text);
    kit_fini(&k);
}

static void test_start_says_what_is_wrong(void **state)
{
    (void)state;
    refused_start("hub:\n  store: nothing\n", WR_ERR_NOT_FOUND, "sqlite");
    refused_start("hub:\n  filters: nothing=1\n", WR_ERR_NOT_FOUND, "no filter plugin `nothing`");
    refused_start("hub:\n  filters: words\n", WR_ERR_INVALID, "hub.filters: words: no words");
}

static void test_second_hub_on_the_data_folder_is_refused(void **state)
{
    struct kit *k = *state, other;
    struct wr_errmsg err = {{0}};
    kit_init(&other, "");
    assert_int_equal(wr_config_set(other.config, "data", k->folder, &err), WR_OK);
    assert_int_equal(kit_try_start(&other, &err), WR_ERR_CONFLICT);
    assert_non_null(strstr(err.text, "another hub"));
    kit_fini(&other);
    assert_int_equal(kit_publish(k, "demo", "", "1").code, WR_OK);
}

static void test_taken_address_is_refused_and_nothing_stays(void **state)
{
    struct kit *k = *state, other;
    struct wr_errmsg err = {{0}};
    kit_init(&other, "");
    assert_int_equal(wr_config_set(other.config, "bus.hub_listen", k->config->bus.hub_listen, &err),
                     WR_OK);
    assert_int_equal(kit_try_start(&other, &err), WR_ERR_CONFLICT);
    assert_int_equal(wr_config_set(other.config, "bus.hub_listen", other.config->bus.hub, &err),
                     WR_OK);
    kit_start(&other); /* the folder's lock was given back */
    kit_fini(&other);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest any_store[] = {
        CLAIM(test_publish_is_answered_and_told),
        CLAIM(test_wrong_items_are_refused_one_by_one),
        CLAIM(test_garbage_is_refused_and_the_hub_lives),
        CLAIM(test_a_call_with_many_rooms_makes_one_event_each),
        CLAIM(test_many_senders_share_syncs_and_get_dense_offsets),
        CLAIM(test_tops_come_in_the_order_that_was_asked),
        CLAIM(test_members_come_and_go),
        CLAIM(test_beats_repeat_the_top),
        CLAIM(test_rooms_lists_configured_then_others),
        CLAIM(test_drained_hub_takes_no_more),
    };
    static const struct CMUnitTest keeping[] = {
        CLAIM(test_known_key_is_answered_and_not_told_again),
        CLAIM(test_large_batches_are_told_in_several_events),
        CLAIM(test_history_pages),
        CLAIM(test_an_entry_is_bytes_with_a_type),
        cmocka_unit_test(test_reads_are_clipped_to_what_is_kept),
    };
    static const struct CMUnitTest sqlite[] = {
        CLAIM(test_restarted_hub_goes_on),
        CLAIM(test_full_disk_refuses_and_recovers),
        CLAIM(test_second_hub_on_the_data_folder_is_refused),
        CLAIM(test_taken_address_is_refused_and_nothing_stays),
        CLAIM(test_members_of_a_silent_gateway_leave),
        cmocka_unit_test(test_filters_change_and_refuse),
        cmocka_unit_test(test_start_says_what_is_wrong),
    };
    int failed = 0;
    yaml = "hub:\n  store: sqlite\n";
    failed += cmocka_run_group_tests_name("hub on sqlite", any_store, NULL, NULL);
    failed += cmocka_run_group_tests_name("hub on sqlite: history", keeping, NULL, NULL);
    failed += cmocka_run_group_tests_name("hub on sqlite: faults", sqlite, NULL, NULL);
    yaml = "hub:\n  store: memory\n";
    failed += cmocka_run_group_tests_name("hub on memory", any_store, NULL, NULL);
    failed += cmocka_run_group_tests_name("hub on memory: history", keeping, NULL, NULL);
    yaml = "hub:\n  store: \"null\"\n";
    failed += cmocka_run_group_tests_name("hub on null", any_store, NULL, NULL);
    return failed ? 1 : 0;
}
