/* SPDX-License-Identifier: MIT
 *
 * Store `memory`: a ring of the newest entries a room, gone with the process. For tests and for rooms whose talk must
 * not reach a disk. Under one lock: nothing here waits for anything.
 *
 *     hub: { store: "memory=most:5000" }      of each room at most so many, whatever retention says */
#include "store_table.h"

#include "wr_clock.h"

#include <stdlib.h>

enum { MOST_ENTRIES = 1000000 }; /* a room's bound where neither retention nor arguments name one */

struct entry {
    uint64_t offset;
    uint32_t kind;
    int64_t time_ms;
    size_t key_n, info_n, type_n, data_n;
    uint8_t bytes[]; /* key, info, type, data */
};

struct room {
    struct store_room head;
    struct wr_store_keep keep;
    struct entry **ring; /* entry of offset o at ring[o % cap] */
    size_t cap, n;
    struct wr_map keys; /* idempotency key to struct entry */
};

struct memory_store {
    struct store_table table; /* its lock guards everything below */
    struct wr_store_opts opts;
    uint64_t most; /* entries of a room */
};

_Static_assert(offsetof(struct room, head) == 0, "the table's rooms are these");
_Static_assert(offsetof(struct memory_store, table) == 0, "the table serves two of the slots");

static struct wr_slice key_of(const struct entry *e)
{
    return wr_slice_of(e->bytes, e->key_n);
}

static struct entry *at_offset(const struct room *r, uint64_t offset)
{
    return offset <= r->head.top.offset && offset + r->n > r->head.top.offset
               ? r->ring[offset % r->cap]
               : NULL;
}

static void drop_oldest(struct room *r)
{
    struct entry *e = at_offset(r, r->head.top.offset - r->n + 1);
    if (e->key_n)
        wr_map_del(&r->keys, key_of(e));
    free(e);
    r->n--;
}

static void free_room(struct store_room *head)
{
    struct room *r = WR_CONTAINER_OF(head, struct room, head);
    while (r->n)
        drop_oldest(r);
    wr_map_free(&r->keys);
    free(r->ring);
    free(r);
}

/* What retention says of the room, within what memory bears. */
static void room_made(struct store_table *t, struct wr_slice name, struct store_room *head)
{
    const struct memory_store *s = WR_CONTAINER_OF(t, struct memory_store, table);
    struct room *r = WR_CONTAINER_OF(head, struct room, head);
    r->keep = *wr_store_keep_of(&s->opts, name);
    if (r->keep.count == 0 || r->keep.count > s->most)
        r->keep.count = s->most;
}

/* "" or "most:N"; 0 when it is neither. */
static uint64_t parse_most(const char *args)
{
    static const char key[] = "most:";
    uint64_t n = 0;
    if (!*args)
        return MOST_ENTRIES;
    if (strncmp(args, key, sizeof key - 1) != 0)
        return 0;
    for (args += sizeof key - 1; *args >= '0' && *args <= '9' && n <= MOST_ENTRIES; args++)
        n = n * 10 + (uint64_t)(*args - '0');
    return *args || n > MOST_ENTRIES ? 0 : n;
}

static wr_err check(const char *args, struct wr_errmsg *err)
{
    if (parse_most(args))
        return WR_OK;
    wr_errmsg_set(
        err, "\"%.100s\" is not most:N, with N entries of a room at most, 1 to %d (or nothing)",
        args, MOST_ENTRIES);
    return WR_ERR_INVALID;
}

static wr_err open_store(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err)
{
    struct memory_store *s = state;
    wr_err e = check(opts->args ? opts->args : "", err);
    if (e != WR_OK)
        return e;
    s->opts = *opts;
    s->most = parse_most(opts->args ? opts->args : "");
    store_table__init(&s->table, sizeof(struct room), room_made);
    return WR_OK;
}

static void close_store(void *state)
{
    struct memory_store *s = state;
    store_table__fini(&s->table, free_room);
}

/* Doubles the ring, up to what the room keeps. */
static bool grow(struct room *r)
{
    size_t cap = r->cap ? WR_MIN(r->cap * 2, (size_t)r->keep.count)
                        : WR_MIN((size_t)16, (size_t)r->keep.count);
    struct entry **ring = calloc(cap, sizeof(struct entry *));
    if (!ring)
        return false;
    for (uint64_t o = r->head.top.offset - r->n + 1; o <= r->head.top.offset; o++)
        /* there is an entry, so there is a ring */
        // NOLINTNEXTLINE(clang-analyzer-core.DivideZero)
        ring[o % cap] = r->ring[o % r->cap];
    free(r->ring);
    r->ring = ring;
    r->cap = cap;
    return true;
}

static struct entry *new_entry(const struct wr_store_item *it)
{
    struct entry *e = malloc(sizeof *e + it->key.n + it->info.n + it->type.n + it->data.n);
    if (!e)
        return NULL;
    *e = (struct entry){.kind = it->kind,
                        .time_ms = it->time_ms,
                        .key_n = it->key.n,
                        .info_n = it->info.n,
                        .type_n = it->type.n,
                        .data_n = it->data.n};
    const struct wr_slice parts[] = {it->key, it->info, it->type, it->data};
    uint8_t *p = e->bytes;
    for (size_t i = 0; i < WR_ARRAY_LEN(parts); i++) {
        if (parts[i].n)
            memcpy(p, parts[i].p, parts[i].n);
        p += parts[i].n;
    }
    return e;
}

static bool append_one(struct memory_store *s, struct wr_store_item *it)
{
    struct store_room *head = store_table__room(&s->table, it->room);
    if (!head)
        return false;
    struct room *r = WR_CONTAINER_OF(head, struct room, head);
    memcpy(it->epoch, r->head.top.epoch, sizeof it->epoch);
    it->code = WR_OK;
    struct entry *e = it->key.n ? wr_map_get(&r->keys, it->key) : NULL;
    it->duplicate = e != NULL;
    if (!e) {
        if ((r->n == r->cap && r->cap < r->keep.count && !grow(r)) || !(e = new_entry(it)))
            return false;
        if (e->key_n && !wr_map_put(&r->keys, it->key, e)) {
            free(e);
            return false;
        }
        if (r->n == r->cap)
            drop_oldest(r);
        e->offset = ++r->head.top.offset;
        r->head.top.last_time_ms = e->time_ms;
        r->ring[e->offset % r->cap] = e;
        r->n++;
    }
    it->offset = e->offset;
    it->stored_ms = e->time_ms;
    return true;
}

/* Takes back what a failed batch has added: the newest entry of the item's room. */
static void undo_one(struct memory_store *s, const struct wr_store_item *it)
{
    struct room *r = wr_map_get(&s->table.rooms, it->room);
    if (it->duplicate || !r)
        return;
    struct entry *e = at_offset(r, it->offset);
    if (e->key_n)
        wr_map_del(&r->keys, key_of(e));
    free(e);
    r->head.top.offset--;
    r->n--;
}

static wr_err append(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err)
{
    struct memory_store *s = state;
    size_t done = 0;
    pthread_mutex_lock(&s->table.lock);
    while (done < n && append_one(s, &items[done]))
        done++;
    bool ok = done == n;
    while (!ok && done > 0)
        undo_one(s, &items[--done]);
    pthread_mutex_unlock(&s->table.lock);
    if (!ok)
        wr_errmsg_set(err, "out of memory");
    return ok ? WR_OK : WR_ERR_BUSY;
}

static bool give(const struct entry *e, wr_store_entry_fn fn, void *ctx)
{
    const struct wr_store_entry out = {
        .offset = e->offset,
        .kind = e->kind,
        .time_ms = e->time_ms,
        .key = key_of(e),
        .info = wr_slice_of(e->bytes + e->key_n, e->info_n),
        .type = wr_slice_of(e->bytes + e->key_n + e->info_n, e->type_n),
        .data = wr_slice_of(e->bytes + e->key_n + e->info_n + e->type_n, e->data_n),
    };
    return fn(ctx, &out);
}

static wr_err history(void *state, struct wr_slice name, const struct wr_store_range *range,
                      wr_store_entry_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct memory_store *s = state;
    pthread_mutex_lock(&s->table.lock);
    const struct room *r = wr_map_get(&s->table.rooms, name);
    (void)err;
    if (r) {
        uint64_t first = r->head.top.offset - r->n + 1, last = r->head.top.offset,
                 left = range->limit;
        if (range->reverse && range->has_since)
            last = WR_MIN(last, range->since ? range->since - 1 : 0);
        if (!range->reverse && range->has_since && range->since >= first)
            first = range->since == UINT64_MAX ? UINT64_MAX : range->since + 1;
        if (!range->reverse && range->until)
            last = WR_MIN(last, range->until);
        for (uint64_t i = 0; first <= last && i <= last - first && left > 0; i++, left--)
            if (!give(at_offset(r, range->reverse ? last - i : first + i), fn, ctx))
                break;
    }
    pthread_mutex_unlock(&s->table.lock);
    return WR_OK;
}

/* The entry anew, with other data, in the place of the old one. Under the lock. */
static bool replace(struct room *r, struct entry *old, struct wr_slice type, struct wr_slice data)
{
    const struct wr_store_item as = {.kind = old->kind,
                                     .time_ms = old->time_ms,
                                     .key = key_of(old),
                                     .info = wr_slice_of(old->bytes + old->key_n, old->info_n),
                                     .type = type,
                                     .data = data};
    struct entry *e = new_entry(&as);
    if (!e || (e->key_n && !wr_map_put(&r->keys, as.key, e))) {
        free(e);
        return false;
    }
    e->offset = old->offset;
    r->ring[e->offset % r->cap] = e;
    memset(old->bytes + old->key_n + old->info_n, 0, old->type_n + old->data_n);
    free(old);
    return true;
}

static wr_err amend(void *state, const struct wr_store_amend *what, struct wr_errmsg *err)
{
    struct memory_store *s = state;
    wr_err e = WR_OK;
    pthread_mutex_lock(&s->table.lock);
    struct room *r = wr_map_get(&s->table.rooms, what->room);
    struct entry *old = r ? at_offset(r, what->offset) : NULL;
    if (r && strcmp(r->head.top.epoch, what->epoch) != 0) {
        wr_errmsg_set(err, "the room's epoch is %s: the log of that entry is gone",
                      r->head.top.epoch);
        e = WR_ERR_POSITION;
    } else if (!old) {
        wr_errmsg_set(err, "no entry %llu of %.*s (any more)", (unsigned long long)what->offset,
                      (int)WR_MIN(what->room.n, (size_t)100), (const char *)what->room.p);
        e = WR_ERR_NOT_FOUND;
    } else if (!replace(r, old, what->type, what->data)) {
        wr_errmsg_set(err, "out of memory");
        e = WR_ERR_BUSY;
    }
    pthread_mutex_unlock(&s->table.lock);
    return e;
}

static wr_err trim(void *state, bool *more, struct wr_errmsg *err)
{
    struct memory_store *s = state;
    size_t at = 0;
    void *value;
    int64_t now = wr_age_now_ms();
    (void)err;
    *more = false;
    pthread_mutex_lock(&s->table.lock);
    while (wr_map_next(&s->table.rooms, &at, NULL, &value)) {
        struct room *r = value;
        while (r->keep.age_ms && r->n &&
               at_offset(r, r->head.top.offset - r->n + 1)->time_ms < now - r->keep.age_ms)
            drop_oldest(r);
    }
    pthread_mutex_unlock(&s->table.lock);
    return WR_OK;
}

WR_PLUGIN_EXPORT const struct wr_store_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(
        struct wr_store_plugin, struct memory_store, WR_KIND_STORE, "memory", WR_VERSION,
        "The newest entries of each room in memory, gone with the process"),
    .open = open_store,
    .close = close_store,
    .append = append,
    .history = history,
    .top = store_table__top,
    .rooms = store_table__rooms,
    .trim = trim,
    .check = check,
    .amend = amend,
};
