/* SPDX-License-Identifier: MIT
 *
 * Everything that reads: History, Tops, Presence, Rooms. On a few threads for each kind, so that a slow disk holds up
 * neither the bus nor the writer, and a storm of one kind not the others. */
#include "hub_priv.h"

#include "hub_wire.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"

#include <stdlib.h>

#include "watchroom/v1/hub.numbers.h"

enum { COMPLAIN_EVERY_MS = 10000 };
enum { MAX_ROOMS = 50000, MAX_ROOMS_BYTES = 2 << 20 };

WR_HISTOGRAM(read_time, "watchroom_hub_read_seconds", NULL,
             "Time to answer a read (history, tops, presence, rooms)");

/* Moves out; an answer that memory ran out for is BUSY. */
static void answer_buf(struct wr_call *call, struct wr_buf *out)
{
    struct wr_msg *m = out->failed ? NULL : wr_msg_copy(wr_slice_of(out->p, out->n));
    wr_buf_free(out);
    if (m)
        wr_call_answer(call, m);
    else
        wr_call_fail(call, WR_ERR_BUSY, "the hub is out of memory");
}

static void answer_pb(struct wr_call *call, const struct ProtobufCMessage *pb)
{
    struct wr_msg *m = wr_msg_pack(pb);
    if (m)
        wr_call_answer(call, m);
    else
        wr_call_fail(call, WR_ERR_BUSY, "the hub is out of memory");
}

/* What the store could not read is logged too: nobody else would hear of damage before it is met by a write. One line in a
 * while: who meets it asks again. */
static void fail_read(struct hub *h, struct wr_call *call, wr_err e, const struct wr_errmsg *err)
{
    int64_t now = wr_mono_ms(), last = atomic_load(&h->complained_ms);
    if (wr_err_is_temporary(e) && (!last || now - last > COMPLAIN_EVERY_MS) &&
        atomic_compare_exchange_strong(&h->complained_ms, &last, now))
        wr_error("hub.read", "code=%d %s", (int)e, err->text);
    wr_call_fail(call, e, "%s", err->text);
}

static bool check_room(struct wr_call *call, const char *name)
{
    if (wr_name_valid(wr_slice_str(name)))
        return true;
    wr_call_fail(
        call, WR_ERR_INVALID,
        "not a room name: 1 to 255 bytes of UTF-8 without control and format characters, '/', '\\' "
        "or a leading '.'");
    return false;
}

/* ---- History ---------------------------------------------------------------------------------------------------- */

/* A page as it fills. What retention lets go is in no page, whether the store has dropped it yet or not. */
struct page {
    struct wr_buf out;
    uint64_t gone;   /* entries up to here are not among the newest that are kept */
    int64_t from_ms; /* older ones are not kept; INT64_MIN = any age is */
    bool reverse;
    bool met_old; /* the reading ended at an entry that is too old */
};

static bool is_old(struct page *p, const struct wr_store_entry *e)
{
    /* Time does not run back in a log, but for steps of the clock: behind a young entry no other one is old. */
    if (e->time_ms >= p->from_ms || (p->out.n && !p->reverse))
        return false;
    p->met_old = true;
    return true;
}

static bool add_publication(void *ctx, const struct wr_store_entry *e)
{
    struct page *page = ctx;
    struct wr_buf *out = &page->out;
    if (e->offset <= page->gone || is_old(page, e))
        return false;
    const struct hub_publication p = {.offset = e->offset,
                                      .time_ms = e->time_ms,
                                      .kind = e->kind,
                                      .info = e->info,
                                      .key = e->key,
                                      .type = e->type,
                                      .data = e->data};
    size_t n = hub__publication_field_size(&p);
    if (out->n && out->n + n > HUB_MAX_PAGE_BYTES)
        return false;
    uint8_t *to = wr_buf_reserve(out, n);
    if (!to)
        return false;
    hub__write_publication_field(to, WR_PB_HISTORY_RESPONSE_PUBLICATIONS, &p);
    out->n += n;
    return true;
}

/* The page ends at the top that the answer names, whatever is appended meanwhile, and begins behind what is gone. */
static struct wr_store_range range_of(const Watchroom__V1__HistoryRequest *req, uint64_t top,
                                      uint64_t gone)
{
    struct wr_store_range range = {.has_since = req->has_since,
                                   .since = req->since_offset,
                                   .reverse = req->reverse,
                                   .limit = WR_MIN(req->limit, HUB_MAX_PAGE_ENTRIES)};
    if (!req->reverse) {
        range.until = req->until_offset ? WR_MIN(req->until_offset, top) : top;
        if (gone > (range.has_since ? range.since : 0)) {
            range.has_since = true;
            range.since = gone;
        }
    } else if (!req->has_since || req->since_offset > top + 1) {
        range.has_since = true;
        range.since = top + 1;
    }
    return range;
}

struct probe {
    uint64_t offset; /* 0 = nothing is there */
    int64_t time_ms;
};

static bool note_entry(void *ctx, const struct wr_store_entry *e)
{
    *(struct probe *)ctx = (struct probe){.offset = e->offset, .time_ms = e->time_ms};
    return false;
}

/* Looks for the newest entry that is too old, between `gone` and `top`: by halves, since what retention has not dropped yet
 * may be much. */
static wr_err find_gone(struct hub *h, struct wr_slice room, int64_t from_ms, uint64_t top,
                        uint64_t *gone, struct wr_errmsg *err)
{
    uint64_t low = *gone, high = top + 1; /* low is gone, high is not */
    wr_err e = WR_OK;
    while (e == WR_OK && high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        struct probe at = {0};
        const struct wr_store_range one = {
            .has_since = true, .since = middle - 1, .until = top, .limit = 1};
        e = h->store->history(h->store_state, room, &one, note_entry, &at, err);
        if (at.offset && at.time_ms < from_ms)
            low = WR_MAX(at.offset, middle);
        else
            high = middle;
    }
    *gone = low;
    return e;
}

/* Fills the page of a room that has entries up to `top`. */
static wr_err read_page(struct hub *h, const Watchroom__V1__HistoryRequest *req, uint64_t top,
                        struct page *page, struct wr_errmsg *err)
{
    struct wr_slice room = wr_slice_str(req->room);
    const struct wr_store_keep *keep = hub_keeps__of(&h->keeps, room);
    page->reverse = req->reverse;
    page->gone = keep->count && top > keep->count ? top - keep->count : 0;
    page->from_ms = keep->age_ms ? wr_age_now_ms() - keep->age_ms : INT64_MIN;
    struct wr_store_range range = range_of(req, top, page->gone);
    wr_err e = h->store->history(h->store_state, room, &range, add_publication, page, err);
    if (e != WR_OK || !page->met_old || req->reverse)
        return e;
    e = find_gone(h, room, page->from_ms, range.until, &page->gone, err);
    page->from_ms = INT64_MIN;
    range = range_of(req, top, page->gone);
    return e == WR_OK && range.since < range.until
               ? h->store->history(h->store_state, room, &range, add_publication, page, err)
               : e;
}

static void answer_history(struct hub *h, struct wr_call *call,
                           const Watchroom__V1__HistoryRequest *req)
{
    struct wr_slice room = wr_slice_str(req->room);
    struct wr_store_top top = {0};
    struct wr_errmsg err = {{0}};
    struct page page = {0};
    struct wr_buf out = {0};
    if (!check_room(call, req->room))
        return;
    wr_err e = h->store->top(h->store_state, room, &top, &err);
    if (e == WR_OK && req->since_epoch[0] && strcmp(req->since_epoch, top.epoch) != 0) {
        wr_errmsg_set(&err, "the room's epoch is %s: the log of the position asked for is gone",
                      top.epoch);
        e = WR_ERR_POSITION;
    }
    if (e == WR_OK && req->limit && top.offset)
        e = read_page(h, req, top.offset, &page, &err);
    if (e != WR_OK) {
        wr_buf_free(&page.out);
        fail_read(h, call, e, &err);
        return;
    }
    uint8_t *to = wr_buf_reserve(&out, 32 + page.out.n);
    if (to) {
        uint8_t *from = to;
        to = wr_pb_bytes(to, WR_PB_HISTORY_RESPONSE_EPOCH, wr_slice_str(top.epoch));
        to = wr_pb_uint(to, WR_PB_HISTORY_RESPONSE_TOP, top.offset);
        out.n = (size_t)(to - from);
        wr_buf_add(&out, page.out.p, page.out.n);
    }
    out.failed |= page.out.failed;
    wr_buf_free(&page.out);
    answer_buf(call, &out);
}

static void handle_history(struct hub *h, struct wr_call *call)
{
    Watchroom__V1__HistoryRequest *req = watchroom__v1__history_request__unpack(NULL, call->body.n,
                                                                                call->body.p);
    if (!req) {
        wr_call_fail(call, WR_ERR_INVALID, "not a HistoryRequest");
        return;
    }
    answer_history(h, call, req);
    watchroom__v1__history_request__free_unpacked(req, NULL);
}

/* ---- Tops ------------------------------------------------------------------------------------------------------- */

static bool add_top(struct hub *h, const char *name, struct wr_buf *out, wr_err *e,
                    struct wr_errmsg *err)
{
    struct wr_store_top top = {0};
    struct wr_slice room = wr_slice_str(name);
    uint8_t field[300], *to = field;
    *e = h->store->top(h->store_state, room, &top, err);
    if (*e != WR_OK)
        return false;
    to = wr_pb_bytes(to, WR_PB_ROOM_TOP_ROOM, room);
    to = wr_pb_bytes(to, WR_PB_ROOM_TOP_EPOCH, wr_slice_str(top.epoch));
    to = wr_pb_uint(to, WR_PB_ROOM_TOP_OFFSET, top.offset);
    to = wr_pb_uint(to, WR_PB_ROOM_TOP_NUM_CLIENTS, hub_rooms__count(&h->rooms, room));
    uint8_t head[8], *end = wr_pb_bytes_head(head, WR_PB_TOPS_RESPONSE_TOPS, (size_t)(to - field));
    wr_buf_add(out, head, (size_t)(end - head));
    wr_buf_add(out, field, (size_t)(to - field));
    return true;
}

static void answer_tops(struct hub *h, struct wr_call *call, const Watchroom__V1__TopsRequest *req)
{
    struct wr_buf out = {0};
    struct wr_errmsg err = {{0}};
    wr_err e = WR_OK;
    if (req->n_rooms > HUB_MAX_ITEMS) {
        wr_call_fail(call, WR_ERR_TOO_BIG, "tops: more than %u rooms in one call", HUB_MAX_ITEMS);
        return;
    }
    for (size_t i = 0; i < req->n_rooms; i++)
        if (!check_room(call, req->rooms[i]))
            return;
    for (size_t i = 0; i < req->n_rooms; i++)
        if (!add_top(h, req->rooms[i], &out, &e, &err)) {
            wr_buf_free(&out);
            fail_read(h, call, e, &err);
            return;
        }
    answer_buf(call, &out);
}

static void handle_tops(struct hub *h, struct wr_call *call)
{
    Watchroom__V1__TopsRequest *req = watchroom__v1__tops_request__unpack(NULL, call->body.n,
                                                                          call->body.p);
    if (!req) {
        wr_call_fail(call, WR_ERR_INVALID, "not a TopsRequest");
        return;
    }
    answer_tops(h, call, req);
    watchroom__v1__tops_request__free_unpacked(req, NULL);
}

/* ---- Presence --------------------------------------------------------------------------------------------------- */

static void handle_presence(struct hub *h, struct wr_call *call)
{
    struct wr_buf out = {0};
    Watchroom__V1__PresenceRequest *req = watchroom__v1__presence_request__unpack(
        NULL, call->body.n, call->body.p);
    if (!req) {
        wr_call_fail(call, WR_ERR_INVALID, "not a PresenceRequest");
        return;
    }
    if (check_room(call, req->room)) {
        hub_rooms__presence(&h->rooms, wr_slice_str(req->room), req->stats_only, &out);
        answer_buf(call, &out);
    }
    watchroom__v1__presence_request__free_unpacked(req, NULL);
}

/* ---- Rooms ------------------------------------------------------------------------------------------------------ */

struct room_row {
    char *name;
    const char *stream; /* the configuration's, or "" */
    struct wr_store_top top;
    uint32_t num_clients;
    size_t configured; /* place in the configuration, or SIZE_MAX */
};

struct room_list {
    struct wr_map by_name; /* to struct room_row */
    bool failed;
};

/* The row of a room, made when there is none yet; NULL when memory or the bound is out. */
static struct room_row *row(struct room_list *l, struct wr_slice name)
{
    struct room_row *r = wr_map_get(&l->by_name, name);
    if (r || l->by_name.used >= MAX_ROOMS)
        return r;
    r = calloc(1, sizeof *r);
    if (r && (r->name = strndup((const char *)name.p, name.n)) &&
        wr_map_put(&l->by_name, name, r)) {
        r->stream = "";
        r->configured = SIZE_MAX;
        return r;
    }
    l->failed = true;
    if (r)
        free(r->name);
    free(r);
    return NULL;
}

static void add_stored(void *ctx, struct wr_slice name, const struct wr_store_top *top)
{
    struct room_row *r = row(ctx, name);
    if (r)
        r->top = *top;
}

static void add_present(void *ctx, struct wr_slice name, uint32_t num_clients)
{
    struct room_row *r = row(ctx, name);
    if (r)
        r->num_clients = num_clients;
}

static void add_configured(struct room_list *l, const struct wr_config *c)
{
    for (size_t i = 0; i < c->num_rooms; i++) {
        struct room_row *r = row(l, wr_slice_str(c->rooms[i].name));
        if (!r)
            continue;
        r->configured = i;
        r->stream = c->rooms[i].stream ? c->rooms[i].stream : "";
    }
}

/* Configured rooms as they were written, then those with most members, then those with the newest entries. */
static int by_interest(const void *pa, const void *pb)
{
    const struct room_row *a = *(const struct room_row *const *)pa,
                          *b = *(const struct room_row *const *)pb;
    if (a->configured != b->configured)
        return a->configured < b->configured ? -1 : 1;
    if (a->num_clients != b->num_clients)
        return a->num_clients > b->num_clients ? -1 : 1;
    if (a->top.last_time_ms != b->top.last_time_ms)
        return a->top.last_time_ms > b->top.last_time_ms ? -1 : 1;
    return strcmp(a->name, b->name);
}

static void answer_rows(struct wr_call *call, struct room_row **rows, size_t n)
{
    Watchroom__V1__RoomsResponse res = WATCHROOM__V1__ROOMS_RESPONSE__INIT;
    Watchroom__V1__RoomInfo *infos = calloc(n + 1, sizeof *infos),
                            **list = calloc(n + 1, sizeof(Watchroom__V1__RoomInfo *));
    size_t bytes = 0;
    for (size_t i = 0; i < n && infos && list; i++) {
        watchroom__v1__room_info__init(&infos[i]);
        infos[i].room = rows[i]->name;
        infos[i].epoch = rows[i]->top.epoch;
        infos[i].offset = rows[i]->top.offset;
        infos[i].num_clients = rows[i]->num_clients;
        infos[i].stream =
            (char *)(uintptr_t)rows[i]->stream; /* the generated code is not const-correct */
        infos[i].last_time_ms = rows[i]->top.last_time_ms;
        list[i] = &infos[i];
        bytes += 8 + watchroom__v1__room_info__get_packed_size(&infos[i]);
        if (bytes > MAX_ROOMS_BYTES)
            break;
        res.n_rooms++;
    }
    res.rooms = list;
    if (infos && list)
        answer_pb(call, &res.base);
    else
        wr_call_fail(call, WR_ERR_BUSY, "the hub is out of memory");
    free(list);
    free(infos);
}

/* Rooms without an entry are not in the store's list; those that are shown have an epoch all the same. */
static void complete(struct hub *h, struct room_row *r)
{
    struct wr_errmsg ignored;
    if (!r->top.epoch[0] &&
        h->store->top(h->store_state, wr_slice_str(r->name), &r->top, &ignored) != WR_OK)
        r->top = (struct wr_store_top){0}; /* on a full disk a new room has none */
}

static void handle_rooms(struct hub *h, struct wr_call *call)
{
    struct room_list l = {0};
    struct wr_errmsg err = {{0}};
    struct room_row **rows = NULL;
    size_t n = 0, at = 0;
    void *v;
    add_configured(&l, h->config); /* the most wanted first: the list is bounded */
    hub_rooms__each(&h->rooms, add_present, &l);
    wr_err e = h->store->rooms(h->store_state, add_stored, &l, &err);
    if (e == WR_OK &&
        (l.failed || !(rows = calloc(l.by_name.used + 1, sizeof(struct room_row *))))) {
        wr_errmsg_set(&err, "the hub is out of memory");
        e = WR_ERR_BUSY;
    }
    if (e == WR_OK) {
        while (wr_map_next(&l.by_name, &at, NULL, &v)) {
            complete(h, v);
            rows[n++] = v;
        }
        qsort(rows, n, sizeof(struct room_row *), by_interest);
        answer_rows(call, rows, n);
    } else {
        fail_read(h, call, e, &err);
    }
    free(rows);
    at = 0;
    while (wr_map_next(&l.by_name, &at, NULL, &v)) {
        free(((struct room_row *)v)->name);
        free(v);
    }
    wr_map_free(&l.by_name);
}

/* ----------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *method;
    void (*handle)(struct hub *h, struct wr_call *call);
} reads[] = {
    {"watchroom.v1.Hub/History", handle_history},
    {"watchroom.v1.Hub/Tops", handle_tops},
    {"watchroom.v1.Hub/Presence", handle_presence},
    {"watchroom.v1.Hub/Rooms", handle_rooms},
};

static void read_one(struct hub *h, struct wr_call *call)
{
    int64_t from = wr_mono_us();
    for (size_t i = 0; i < WR_ARRAY_LEN(reads); i++)
        if (wr_slice_is(call->method, reads[i].method)) {
            reads[i].handle(h, call);
            break;
        }
    wr_observe_us(&read_time, wr_mono_us() - from);
}

void *hub__reader(void *arg)
{
    struct hub_readers *r = arg;
    struct wr_call *call;
    bool ended = false;
    while (!ended)
        if (hub_queue__take(&r->queue, &call, 1, SIZE_MAX, wr_mono_us() + 60000000, &ended) == 1)
            read_one(r->hub, call);
    return NULL;
}
