/* SPDX-License-Identifier: MIT
 *
 * The way of a publish through the hub, on the one writer thread. The table is the story; a step is a function below.
 *
 * A batch is whatever waited when the writer came back: one call when it is quiet, everything that arrived during the
 * last sync when it is busy. It is one transaction, so the price of the disk's sync is shared by itself. Nothing is
 * answered or told before `append` returned, and that is after the sync. */
#include "hub_priv.h"

#include "hub_arena.h"
#include "hub_type.h"
#include "hub_wire.h"
#include "wr_json.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"

#include "watchroom/v1/hub.numbers.h"

#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(published, "watchroom_hub_published_total", NULL, "Entries stored in rooms' logs");
WR_COUNTER(duplicates, "watchroom_hub_duplicates_total", NULL,
           "Publishes whose key was known: answered with the earlier entry");
WR_COUNTER(refused, "watchroom_hub_refused_total", "by=\"check\"",
           "Publishes that were not stored");
WR_COUNTER(filtered, "watchroom_hub_refused_total", "by=\"filter\"",
           "Publishes that were not stored");
WR_COUNTER(not_stored, "watchroom_hub_refused_total", "by=\"store\"",
           "Publishes that were not stored");
WR_COUNTER(batches, "watchroom_hub_batches_total", NULL, "Transactions of the writer");
WR_COUNTER(trim_failed, "watchroom_hub_trim_failed_total", NULL,
           "Housekeeping steps of the store that failed");
WR_HISTOGRAM(append_time, "watchroom_hub_append_seconds", NULL,
             "Time of a batch in the store, with the disk's sync");

#define NONE UINT32_MAX

WR_HISTOGRAM(trim_time, "watchroom_hub_trim_seconds", NULL,
             "Time of a step of the store's housekeeping, during which a batch waits");

WR_GAUGE(
    clock_step, "watchroom_hub_clock_step_seconds", NULL,
    "By how much the wall clock stepped ahead (back when negative) and is not believed; 0 = it is");

enum {
    SLOW_STEP_MS = 1000, /* a step that takes longer is worth a line: mostly a slow disk */
    COMPLAIN_EVERY_MS = 10000,
    IDLE_MS = 1000, /* housekeeping without traffic */
};

/* One item of one call. */
struct entry {
    uint32_t call;
    struct hub_item item;
    struct wr_slice user, client;
    wr_err code;
    struct wr_slice why;
    uint32_t stored; /* index in items, NONE when it was refused before */
};

/* New entries of one room within the batch. */
struct group {
    uint32_t first, last; /* indexes in items */
};

struct hub_batch {
    struct hub *hub;
    bool ended;
    bool more_to_trim;
    bool failing; /* the last append failed: said once, and again from time to time */
    bool unwell;  /* the last append or step of housekeeping failed: what Node/Describe says */
    int64_t complained_ms;
    char too_big[80];                                  /* why a message is refused that is */
    struct hub_arena arena;                            /* what lives as long as the batch */
    struct wr_call *calls[HUB_MAX_QUEUED_PUBLISHES];   /* NULL = answered already */
    struct wr_msg *requests[HUB_MAX_QUEUED_PUBLISHES]; /* of the answered calls */
    size_t num_calls, num_requests;
    struct entry *entries;
    size_t num_entries, cap_entries;
    /* All of cap_entries: */
    struct wr_store_item *items;
    uint32_t *next; /* the next item of the same room, NONE at the end */
    struct group *groups;
    size_t num_items, num_groups;
    uint32_t *slots; /* hash of the room to group + 1; a power of two, at least twice the items */
    size_t num_slots;
};

static void step_take(struct hub_batch *b);
static void step_decode(struct hub_batch *b);
static void step_check(struct hub_batch *b);
static void step_filter(struct hub_batch *b);
static void step_append(struct hub_batch *b);
static void step_answer(struct hub_batch *b);
static void step_announce(struct hub_batch *b);
static void step_release(struct hub_batch *b);
static void step_trim(struct hub_batch *b);

static const struct {
    const char *name;
    void (*run)(struct hub_batch *b);
} steps[] = {
    {"take", step_take},     /* everything that is queued, or wait for the first */
    {"decode", step_decode}, /* calls into items; what is malformed is answered here */
    {"check", step_check},   /* names, sizes, types and what they promise; JSON is made compact */
    {"filter", step_filter}, /* plugins, in the order of the configuration */
    {"append", step_append}, /* ONE transaction, synced; gives each room's next offsets */
    {"answer", step_answer}, /* each call its results: this is the acknowledgement */
    {"announce", step_announce}, /* one event a room to all gateways, in order */
    {"release", step_release},   /* the requests' bytes, which all of the above pointed into */
    {"trim", step_trim},         /* housekeeping of the store, one short step */
};

/* ---- take ------------------------------------------------------------------------------------------------------- */

static void step_take(struct hub_batch *b)
{
    b->num_entries = b->num_items = b->num_groups = 0;
    int64_t until = b->more_to_trim ? 0 : wr_mono_us() + IDLE_MS * INT64_C(1000);
    b->num_calls = hub_queue__take(&b->hub->publishes, b->calls, HUB_MAX_QUEUED_PUBLISHES,
                                   HUB_MAX_BATCH_BYTES, until, &b->ended);
}

/* ---- decode ----------------------------------------------------------------------------------------------------- */

static bool grow(void **p, size_t n, size_t size)
{
    void *q = realloc(*p, n * size);
    if (q)
        *p = q;
    return q != NULL;
}

/* Room for n more entries, in everything that counts along with them. */
static bool reserve(struct hub_batch *b, size_t n)
{
    size_t want = b->num_entries + n, cap = b->cap_entries ? b->cap_entries : 256;
    if (want <= b->cap_entries)
        return true;
    while (cap < want)
        cap *= 2;
    void *entries = b->entries, *items = b->items, *next = b->next, *groups = b->groups;
    bool ok = grow(&entries, cap, sizeof *b->entries) && grow(&items, cap, sizeof *b->items) &&
              grow(&next, cap, sizeof *b->next) && grow(&groups, cap, sizeof *b->groups);
    b->entries = entries;
    b->items = items;
    b->next = next;
    b->groups = groups;
    if (ok)
        b->cap_entries = cap;
    return ok;
}

static void fail_call(struct hub_batch *b, size_t call, wr_err code, const char *why)
{
    wr_call_fail(b->calls[call], code, "%s", why);
    b->calls[call] = NULL;
}

static void decode_call(struct hub_batch *b, size_t call)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    size_t from = b->num_entries;
    wr_err code = WR_OK;
    wr_pb_read(&r, b->calls[call]->body);
    while (code == WR_OK && wr_pb_next(&r, &f)) {
        if (f.number != WR_PB_PUBLISH_REQUEST_ITEMS || f.wire != 2)
            continue;
        struct entry e = {.call = (uint32_t)call, .stored = NONE};
        if (b->num_entries - from == HUB_MAX_ITEMS)
            code = WR_ERR_TOO_BIG;
        else if (!hub__read_item(f.bytes, &e.item))
            code = WR_ERR_INVALID;
        else if (!reserve(b, 1))
            code = WR_ERR_BUSY;
        else
            b->entries[b->num_entries++] = e;
    }
    if (r.bad)
        code = WR_ERR_INVALID;
    if (code == WR_OK)
        return;
    b->num_entries = from;
    fail_call(b, call, code,
              code == WR_ERR_TOO_BIG   ? "publish: more than 4096 items in one call"
              : code == WR_ERR_INVALID ? "not a PublishRequest"
                                       : "the hub is out of memory");
}

static void step_decode(struct hub_batch *b)
{
    for (size_t i = 0; i < b->num_calls; i++)
        decode_call(b, i);
}

/* ---- check ------------------------------------------------------------------------------------------------------ */

static void refuse(struct entry *e, wr_err code, const char *why)
{
    e->code = code;
    e->why = wr_slice_str(why);
}

/* JSON as it will be stored: valid and on one line. */
static void check_json(struct hub_batch *b, struct entry *e)
{
    struct wr_slice *data = &e->item.data;
    const char *why = NULL;
    enum wr_json_form json = wr_json_check(*data, &why);
    if (json == WR_JSON_BAD) {
        refuse(e, WR_ERR_INVALID, why);
    } else if (json == WR_JSON_LOOSE) {
        uint8_t *to = hub_arena__take(&b->arena, data->n);
        if (!to) {
            refuse(e, WR_ERR_BUSY, "the hub is out of memory");
            return;
        }
        *data = wr_slice_of(to, wr_json_compact(*data, to));
    }
}

/* This is where what an entry has is looked at, once: whoever passes it on relies on it. */
static void check_data(struct hub_batch *b, struct entry *e)
{
    const char *why = NULL;
    if (e->item.data.n > b->hub->config->hub.max_message_bytes)
        refuse(e, WR_ERR_TOO_BIG, b->too_big);
    else if (!hub__check_type(&e->item.type, &why))
        refuse(e, WR_ERR_INVALID, why);
    else if (e->item.type.n == 0)
        check_json(b, e);
    else if (!hub__check_bytes(e->item.type, e->item.data, &why))
        refuse(e, WR_ERR_INVALID, why);
}

static void check_entry(struct hub_batch *b, struct entry *e)
{
    struct hub_item *it = &e->item;
    const char *why = NULL;
    if (it->kind == WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_UNSPECIFIED)
        it->kind = WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_CHAT;
    if (!wr_name_valid(it->room))
        refuse(e, WR_ERR_INVALID,
               "not a room name: 1 to 255 bytes of UTF-8 without control and format characters, "
               "'/', '\\' or "
               "a leading '.'");
    else if (it->kind > WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_FILE)
        refuse(e, WR_ERR_INVALID, "kind: unknown to this version of the hub");
    else if (it->key.n && (it->key.n < HUB_MIN_KEY_BYTES || it->key.n > HUB_MAX_KEY_BYTES))
        refuse(e, WR_ERR_INVALID, "key: 8 to 32 bytes, or none");
    else if (!hub__read_info(it->info, &e->user, &e->client, &why))
        refuse(e, WR_ERR_INVALID, why);
    else
        check_data(b, e);
}

static void step_check(struct hub_batch *b)
{
    for (size_t i = 0; i < b->num_entries; i++) {
        check_entry(b, &b->entries[i]);
        if (b->entries[i].code != WR_OK)
            wr_count(&refused, 1);
    }
}

/* ---- filter ----------------------------------------------------------------------------------------------------- */

/* A filter's own bytes live until its next message: they are copied, and checked as if they came from outside. */
static void take_changed(struct hub_batch *b, struct entry *e, struct wr_slice data,
                         const char *filter)
{
    e->item.data = hub_arena__copy(&b->arena, data);
    check_data(b, e);
    if (e->code != WR_OK)
        wr_warn("hub.filter", "filter=%s: it changed a message into what is refused: %.*s", filter,
                (int)e->why.n, (const char *)e->why.p);
}

static void filter_entry(struct hub_batch *b, struct entry *e)
{
    const struct hub_filters *f = &b->hub->filters;
    for (size_t i = 0; i < f->n && e->code == WR_OK; i++) {
        struct wr_filter_msg msg = {.room = e->item.room,
                                    .kind = e->item.kind,
                                    .user = e->user,
                                    .client = e->client,
                                    .type = e->item.type,
                                    .data = e->item.data};
        struct wr_errmsg why = {{0}};
        if (hub_filters__apply(f, i, &msg, &why) != WR_FILTER_PASS) {
            wr_count(&filtered, 1);
            e->code = WR_ERR_DENIED;
            e->why = hub_arena__copy(&b->arena,
                                     wr_slice_str(why.text[0] ? why.text : "refused by a filter"));
        } else if (msg.data.p != e->item.data.p || msg.data.n != e->item.data.n) {
            take_changed(b, e, msg.data, f->list[i].plugin->base.name);
        }
    }
}

static void step_filter(struct hub_batch *b)
{
    if (b->hub->filters.n == 0)
        return;
    for (size_t i = 0; i < b->num_entries; i++)
        filter_entry(b, &b->entries[i]);
}

/* ---- append ----------------------------------------------------------------------------------------------------- */

static void collect_items(struct hub_batch *b)
{
    int64_t now = wr_wall_ms();
    for (size_t i = 0; i < b->num_entries; i++) {
        struct entry *e = &b->entries[i];
        if (e->code != WR_OK)
            continue;
        e->stored = (uint32_t)b->num_items;
        b->items[b->num_items++] = (struct wr_store_item){.room = e->item.room,
                                                          .kind = e->item.kind,
                                                          .time_ms = now,
                                                          .key = e->item.key,
                                                          .info = e->item.info,
                                                          .type = e->item.type,
                                                          .data = e->item.data};
    }
}

/* What is wrong with the store, for whoever asks how the hub is; NULL = nothing is. */
static void tell_health(struct hub_batch *b, const char *why)
{
    if (b->unwell || why)
        wr_bus_set_reason(b->hub->bus, why ? why : "");
    b->unwell = why != NULL;
}

/* A full disk lasts: one line when it begins, one from time to time, one when it is over. */
static void report(struct hub_batch *b, wr_err e, const char *why)
{
    if (e != WR_OK && (!b->failing || wr_mono_ms() - b->complained_ms > COMPLAIN_EVERY_MS)) {
        wr_error("hub.append", "code=%d entries=%zu refused: %s", (int)e, b->num_items, why);
        b->complained_ms = wr_mono_ms();
    } else if (e == WR_OK && b->failing) {
        wr_info("hub.append", "the store takes entries again");
    }
    b->failing = e != WR_OK;
    tell_health(b, e != WR_OK ? why : NULL);
}

static void step_append(struct hub_batch *b)
{
    struct wr_errmsg err = {{0}};
    collect_items(b);
    if (b->num_items == 0)
        return;
    int64_t from = wr_mono_us();
    wr_err e = b->hub->store->append(b->hub->store_state, b->items, b->num_items, &err);
    wr_observe_us(&append_time, wr_mono_us() - from);
    wr_count(&batches, 1);
    report(b, e, err.text);
    struct wr_slice whole = hub_arena__copy(&b->arena, wr_slice_str(err.text));
    for (size_t i = 0; i < b->num_entries; i++) {
        struct entry *en = &b->entries[i];
        if (en->stored == NONE)
            continue;
        en->code = e != WR_OK ? e : b->items[en->stored].code;
        en->why = e != WR_OK || en->code == WR_OK ? whole : wr_slice_str(wr_err_text(en->code));
        wr_count(en->code != WR_OK                ? &not_stored
                 : b->items[en->stored].duplicate ? &duplicates
                                                  : &published,
                 1);
        if (en->code != WR_OK)
            en->stored = NONE;
    }
}

/* ---- answer ----------------------------------------------------------------------------------------------------- */

static struct hub_result result_of(const struct hub_batch *b, const struct entry *e)
{
    if (e->stored == NONE)
        return (struct hub_result){.code = e->code, .message = e->why};
    const struct wr_store_item *it = &b->items[e->stored];
    return (struct hub_result){.offset = it->offset,
                               .epoch = it->epoch,
                               .time_ms = it->stored_ms,
                               .duplicate = it->duplicate};
}

/* Answers the call of entries [from, end). */
static void answer_call(struct hub_batch *b, size_t call, size_t from, size_t end)
{
    size_t n = 0;
    for (size_t i = from; i < end; i++) {
        struct hub_result r = result_of(b, &b->entries[i]);
        n += hub__result_field_size(&r);
    }
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, n);
    if (!m) {
        /* Stored, but it cannot be said: a retry with the same key says it. */
        b->requests[b->num_requests++] = wr_msg_ref(b->calls[call]->msg);
        fail_call(b, call, WR_ERR_BUSY, "the hub is out of memory");
        return;
    }
    b->requests[b->num_requests++] = wr_msg_ref(
        b->calls[call]->msg); /* the entries are still to be told */
    uint8_t *to = m->data;
    for (size_t i = from; i < end; i++) {
        struct hub_result r = result_of(b, &b->entries[i]);
        to = hub__write_result_field(to, WR_PB_PUBLISH_RESPONSE_RESULTS, &r);
    }
    wr_call_answer(b->calls[call], m);
    b->calls[call] = NULL;
}

static void step_answer(struct hub_batch *b)
{
    size_t at = 0;
    for (size_t call = 0; call < b->num_calls; call++) {
        size_t from = at;
        while (at < b->num_entries && b->entries[at].call == call)
            at++;
        if (b->calls[call])
            answer_call(b, call, from, at);
    }
}

/* ---- announce --------------------------------------------------------------------------------------------------- */

static bool reserve_slots(struct hub_batch *b)
{
    size_t want = 64;
    while (want < 2 * b->num_items)
        want *= 2;
    if (want > b->num_slots) {
        void *slots = b->slots;
        if (!grow(&slots, want, sizeof *b->slots))
            return false;
        b->slots = slots;
        b->num_slots = want;
    }
    memset(b->slots, 0, b->num_slots * sizeof *b->slots);
    return true;
}

/* The group of the item's room, made when it is the first. */
static void add_to_group(struct hub_batch *b, uint32_t item)
{
    struct wr_slice room = b->items[item].room;
    size_t at = wr_hash(room, 0) & (b->num_slots - 1);
    while (b->slots[at] && !wr_slice_eq(b->items[b->groups[b->slots[at] - 1].first].room, room))
        at = (at + 1) & (b->num_slots - 1);
    b->next[item] = NONE;
    if (b->slots[at] == 0) {
        b->groups[b->num_groups++] = (struct group){.first = item, .last = item};
        b->slots[at] = (uint32_t)b->num_groups;
        return;
    }
    struct group *g = &b->groups[b->slots[at] - 1];
    b->next[g->last] = item;
    g->last = item;
}

static struct hub_publication publication_of(const struct wr_store_item *it)
{
    return (struct hub_publication){.offset = it->offset,
                                    .time_ms = it->stored_ms,
                                    .kind = it->kind,
                                    .info = it->info,
                                    .key = it->key,
                                    .type = it->type,
                                    .data = it->data};
}

/* Publishes the room's entries from `item` on, as many as one event takes; returns the first that it did not. */
static uint32_t publish_some(struct hub_batch *b, uint32_t item)
{
    const struct wr_store_item *first = &b->items[item], *last = first;
    char topic[264] = "room/";
    uint32_t end = item;
    size_t body = 0;
    uint8_t *to;
    for (; end != NONE && body < HUB_MAX_EVENT_BYTES; end = b->next[end]) {
        last = &b->items[end];
        struct hub_publication p = publication_of(last);
        body += hub__publication_field_size(&p);
    }
    const struct hub_event_head head = {.instance = wr_bus_instance(b->hub->bus),
                                        .room = first->room,
                                        .epoch = first->epoch,
                                        .top = last->offset};
    struct wr_msg *m = hub__event_new(&head, body, &to);
    if (!m)
        return end; /* gateways see the gap and read the log */
    for (uint32_t i = item; i != end; i = b->next[i]) {
        struct hub_publication p = publication_of(&b->items[i]);
        to = hub__write_publication_field(to, WR_PB_ROOM_EVENT_PUBLICATIONS, &p);
    }
    memcpy(topic + 5, first->room.p, first->room.n);
    topic[5 + first->room.n] = '\0';
    wr_bus_publish(b->hub->pub, topic, m);
    return end;
}

static void step_announce(struct hub_batch *b)
{
    int64_t now = wr_mono_us();
    bool has_slots = b->num_items && reserve_slots(b);
    for (size_t i = 0; i < b->num_entries; i++) {
        uint32_t item = b->entries[i].stored;
        if (item == NONE)
            continue;
        const struct wr_store_item *it = &b->items[item];
        if (it->duplicate) /* no event of it may ever have left, when the hub died right after it was stored */
            hub_rooms__note_top(&b->hub->rooms, it->room, it->epoch, it->offset, now);
        else if (has_slots)
            add_to_group(b, item);
    }
    for (size_t i = 0; i < b->num_groups; i++) {
        const struct wr_store_item *last = &b->items[b->groups[i].last];
        for (uint32_t item = b->groups[i].first; item != NONE;)
            item = publish_some(b, item);
        /* Behind the event, so that a beat never runs ahead of it and sends gateways to the log for nothing. */
        hub_rooms__note_top(&b->hub->rooms, last->room, last->epoch, last->offset, now);
    }
}

/* ---- release ---------------------------------------------------------------------------------------------------- */

static void step_release(struct hub_batch *b)
{
    while (b->num_requests)
        wr_msg_unref(b->requests[--b->num_requests]);
    hub_arena__reset(&b->arena);
}

/* ---- trim ------------------------------------------------------------------------------------------------------- */

static void step_trim(struct hub_batch *b)
{
    const struct wr_store_plugin *store = b->hub->store;
    struct wr_errmsg err = {{0}};
    b->more_to_trim = false;
    if (b->ended || !WR_PLUGIN_HAS(store, trim))
        return;
    (void)wr_age_now_ms(); /* a step of the clock is noticed also where no room has an age */
    wr_gauge_set(&clock_step, wr_age_step_ms() / 1000);
    int64_t from = wr_mono_us();
    wr_err e = store->trim(b->hub->store_state, &b->more_to_trim, &err);
    wr_observe_us(&trim_time, wr_mono_us() - from);
    if (e != WR_OK)
        tell_health(b, err.text);
    else if (!b->failing)
        tell_health(b, NULL);
    if (e == WR_OK)
        return;
    wr_count(&trim_failed, 1);
    b->more_to_trim = false;
    if (wr_mono_ms() - b->complained_ms > COMPLAIN_EVERY_MS) {
        wr_warn("hub.trim", "code=%d: %s", (int)e, err.text);
        b->complained_ms = wr_mono_ms();
    }
}

/* ---- the thread ------------------------------------------------------------------------------------------------- */

static void run_step(struct hub_batch *b, size_t i)
{
    int64_t from = wr_mono_us();
    steps[i].run(b);
    int64_t ms = (wr_mono_us() - from) / 1000;
    if (ms > SLOW_STEP_MS && i > 0)
        wr_warn("hub.slow", "step=%s ms=%lld entries=%zu", steps[i].name, (long long)ms,
                b->num_entries);
}

void *hub__writer(void *arg)
{
    struct hub_batch *b = arg;
    while (!b->ended)
        for (size_t i = 0; i < WR_ARRAY_LEN(steps); i++)
            run_step(b, i);
    return NULL;
}

struct hub_batch *hub__batch_new(struct hub *h)
{
    struct hub_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->hub = h;
    snprintf(b->too_big, sizeof b->too_big, "data: more than %u bytes (hub.max_message_bytes)",
             h->config->hub.max_message_bytes);
    return b;
}

void hub__batch_free(struct hub_batch *b)
{
    if (!b)
        return;
    hub_arena__free(&b->arena);
    free(b->entries);
    free(b->items);
    free(b->next);
    free(b->groups);
    free(b->slots);
    free(b);
}
