/* SPDX-License-Identifier: MIT
 *
 * Places and room for the unfinished. Each has a place, of which there are so many, and one owner (a client's address) has
 * a share of them. Each has the room on the disk that its announced length still needs, so that two that cannot both end
 * are not both begun; of that an owner with something under way leaves others a part.
 *
 * Nobody holds either by doing nothing: when others need them, room goes away from those that nobody went on with for
 * FS_IDLE_MS (what came of them stays), and of those themselves the emptiest go first. */
#include <stdlib.h>

#include "fs_priv.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"

#define LEFT_TO_OTHERS 8u /* the eighth part */
#define MADE_WAY_US 1000000
#define GO_AT_ONCE 16u /* of all places, or of a share: a sixteenth goes when there is none left */

WR_GAUGE(unfinished, "watchroom_files_unfinished", NULL, "Uploads that are not finished");
WR_GAUGE(reserved, "watchroom_files_reserved_bytes", NULL,
         "Bytes of the disk that are kept for what is still to come of uploads");
WR_COUNTER(gave_way, "watchroom_files_gave_way_total", NULL,
           "Unfinished uploads that were removed since others needed their places");
WR_COUNTER(
    lapsed, "watchroom_files_lapsed_total", NULL,
    "Unfinished uploads whose room on the disk went to others, since nobody went on with them");

struct fs_owner {
    unsigned unfinished;
    uint64_t reserved;
};

void fs_room_init(struct fs_room *r)
{
    *r = (struct fs_room){.made_way_us = INT64_MIN / 2};
    pthread_mutex_init(&r->lock, NULL);
}

void fs_room_fini(struct fs_room *r)
{
    size_t at = 0;
    void *v;
    while (wr_map_next(&r->owners, &at, NULL, &v))
        free(v);
    wr_map_free(&r->owners);
    pthread_mutex_destroy(&r->lock);
}

/* ---- counting, under the lock ---------------------------------------------------------------------------------------- */

/* NULL: it is nobody's, or there is no memory to count it. */
static struct fs_owner *owner_of(struct fs_room *r, const struct fs_upload *u, bool make)
{
    struct wr_slice name = wr_slice_str(u->owner);
    struct fs_owner *o = name.n ? wr_map_get(&r->owners, name) : NULL;
    if (o || !name.n || !make)
        return o;
    o = calloc(1, sizeof *o);
    if (o && !wr_map_put(&r->owners, name, o)) {
        free(o);
        o = NULL;
    }
    return o;
}

static void set_reserved(struct fs_room *r, struct fs_upload *u, uint64_t bytes)
{
    struct fs_owner *o = owner_of(r, u, false);
    r->reserved += bytes - u->reserved;
    if (o)
        o->reserved += bytes - u->reserved;
    wr_gauge_add(&reserved, (int64_t)(bytes - u->reserved));
    u->reserved = bytes;
}

static void count(struct fs_room *r, struct fs_upload *u)
{
    struct fs_owner *o = owner_of(r, u, true);
    if (o)
        o->unfinished++;
    else
        u->owner[0] = 0; /* nobody's from now on: what is counted is counted back */
    r->unfinished++;
    u->is_counted = true;
    wr_gauge_add(&unfinished, 1);
}

void fs_room_leave(struct fs_upload *u)
{
    struct fs_room *r = &u->store->room;
    pthread_mutex_lock(&r->lock);
    if (u->is_counted) {
        set_reserved(r, u, 0);
        struct fs_owner *o = owner_of(r, u, false);
        if (o && --o->unfinished == 0)
            free(wr_map_del(&r->owners, wr_slice_str(u->owner)));
        r->unfinished--;
        u->is_counted = false;
        wr_gauge_add(&unfinished, -1);
    }
    pthread_mutex_unlock(&r->lock);
}

void fs_room_use(struct fs_upload *u, uint64_t left)
{
    struct fs_room *r = &u->store->room;
    pthread_mutex_lock(&r->lock);
    if (left < u->reserved)
        set_reserved(r, u, left);
    pthread_mutex_unlock(&r->lock);
}

/* ---- making way ------------------------------------------------------------------------------------------------------- */

/* One that may go: how much of it came, and when it was touched last. */
struct idle {
    struct fs_upload *u;
    uint64_t written;
    int64_t touched_ms;
};

static int emptiest_first(const void *a, const void *b)
{
    const struct idle *x = a, *y = b;
    if (x->written != y->written)
        return x->written < y->written ? -1 : 1;
    return x->touched_ms < y->touched_ms ? -1 : x->touched_ms > y->touched_ms;
}

/* Looking at all of them takes a while with many: once a second. */
static bool may_look(struct fs_room *r)
{
    int64_t now = wr_mono_us();
    pthread_mutex_lock(&r->lock);
    bool may = now - r->made_way_us >= MADE_WAY_US;
    if (may)
        r->made_way_us = now;
    pthread_mutex_unlock(&r->lock);
    return may;
}

/* Has its owner more than an even share of all places? */
static bool is_greedy(struct fs_room *r, const struct fs_upload *u)
{
    pthread_mutex_lock(&r->lock);
    const struct fs_owner *o = owner_of(r, u, false);
    bool is = o && o->unfinished > FS_UNFINISHED_MAX / (r->owners.used + 1);
    pthread_mutex_unlock(&r->lock);
    return is;
}

/* Those of all uploads that may go, referenced, the emptiest first; to be freed. whose: of this owner alone, or NULL: of
 * anybody, then also of the greedy what was just begun. */
static struct idle *find_idle(struct fs_store *s, const char *whose, size_t *num)
{
    size_t n;
    struct fs_upload **all = fs_uploads_all(s, &n);
    struct idle *found = all ? malloc((n + 1) * sizeof *found) : NULL;
    int64_t now_ms = wr_age_now_ms();
    *num = 0;
    for (size_t i = 0; all && i < n; i++) {
        struct fs_upload *u = all[i];
        bool is_whose = !whose || !strcmp(u->owner, whose);
        pthread_mutex_lock(&u->lock);
        struct idle it = {u, u->written, u->touched_ms};
        bool is_still = (u->state == FS_OPEN || u->state == FS_FAILED) && !u->writes.head;
        pthread_mutex_unlock(&u->lock);
        bool is_idle = now_ms - it.touched_ms >= FS_IDLE_MS;
        if (found && is_whose && is_still &&
            (is_idle || (!whose && it.written == 0 && is_greedy(&s->room, u))))
            found[(*num)++] = it;
        else
            fs_upload_unref(u);
    }
    free(all);
    if (found)
        qsort(found, *num, sizeof *found, emptiest_first);
    return found;
}

/* Removes some, at most `most`; how many. They go on their own time. */
static size_t make_places(struct fs_store *s, const char *whose, size_t most)
{
    size_t num = 0, gone = 0;
    struct idle *found = may_look(&s->room) ? find_idle(s, whose, &num) : NULL;
    for (size_t i = 0; i < num; i++) {
        gone += i < most && fs_upload_do(found[i].u, FS_OP_EXPIRE, (uint64_t)found[i].touched_ms);
        fs_upload_unref(found[i].u);
    }
    free(found);
    if (gone)
        wr_warn("files.gave_way",
                "uploads=%zu unfinished ones were removed, since %s had no place left", gone,
                whose ? whose : "the filestore");
    wr_count(&gave_way, gone);
    return gone;
}

/* Takes the room of all that nobody goes on with. */
static void make_room(struct fs_store *s)
{
    size_t num = 0;
    struct idle *found = may_look(&s->room) ? find_idle(s, NULL, &num) : NULL;
    int64_t now_ms = wr_age_now_ms();
    for (size_t i = 0; i < num; i++) {
        struct fs_upload *u = found[i].u;
        pthread_mutex_lock(&s->room.lock);
        bool has = u->reserved && now_ms - found[i].touched_ms >= FS_IDLE_MS;
        if (has)
            set_reserved(&s->room, u, 0);
        pthread_mutex_unlock(&s->room.lock);
        wr_count(&lapsed, has);
        fs_upload_unref(u);
    }
    free(found);
}

/* ---- places ----------------------------------------------------------------------------------------------------------- */

enum places { PLACES_FREE, PLACES_SHARE_TAKEN, PLACES_ALL_TAKEN };

static enum places take_place(struct fs_upload *u, bool always)
{
    struct fs_room *r = &u->store->room;
    enum places p = PLACES_FREE;
    pthread_mutex_lock(&r->lock);
    const struct fs_owner *o = owner_of(r, u, false);
    if (o && o->unfinished >= FS_UNFINISHED_SHARE)
        p = PLACES_SHARE_TAKEN;
    else if (r->unfinished >= FS_UNFINISHED_MAX)
        p = PLACES_ALL_TAKEN;
    if (p == PLACES_FREE || always)
        count(r, u);
    pthread_mutex_unlock(&r->lock);
    return p;
}

void fs_room_enter_old(struct fs_upload *u)
{
    (void)take_place(u, true);
}

wr_err fs_room_enter(struct fs_upload *u, struct wr_errmsg *err)
{
    struct fs_store *s = u->store;
    enum places p = take_place(u, false);
    if (p == PLACES_FREE)
        return WR_OK;
    bool is_share = p == PLACES_SHARE_TAKEN;
    if (make_places(s, is_share ? u->owner : NULL,
                    (is_share ? FS_UNFINISHED_SHARE : FS_UNFINISHED_MAX) / GO_AT_ONCE)) {
        (void)take_place(u, true); /* theirs are free in a moment */
        return WR_OK;
    }
    if (is_share)
        wr_errmsg_set(err,
                      "this address has %u unfinished uploads: finish or delete some, or try again "
                      "in a minute",
                      FS_UNFINISHED_SHARE);
    else
        wr_errmsg_set(err, "there are too many unfinished uploads: try again in a minute");
    return WR_ERR_NO_SPACE;
}

/* ---- room ------------------------------------------------------------------------------------------------------------- */

enum fit { FIT_YES, FIT_NO, FIT_SHARE };

static enum fit try_reserve(struct fs_upload *u, uint64_t bytes, uint64_t space, uint64_t *others)
{
    struct fs_room *r = &u->store->room;
    pthread_mutex_lock(&r->lock);
    const struct fs_owner *o = owner_of(r, u, false);
    uint64_t his = o ? o->reserved - u->reserved : 0;
    *others = r->reserved - u->reserved;
    enum fit fit = bytes <= space && *others <= space - bytes ? FIT_YES : FIT_NO;
    if (fit == FIT_YES && his && his + bytes > space - space / LEFT_TO_OTHERS)
        fit = FIT_SHARE;
    if (fit == FIT_YES)
        set_reserved(r, u, bytes);
    pthread_mutex_unlock(&r->lock);
    return fit;
}

wr_err fs_room_reserve(struct fs_upload *u, uint64_t bytes, struct wr_errmsg *err)
{
    struct fs_store *s = u->store;
    pthread_mutex_lock(&s->room.lock);
    bool has = u->reserved >= bytes;
    pthread_mutex_unlock(&s->room.lock);
    if (has && bytes)
        return WR_OK;
    uint64_t space, others;
    wr_err e = s->opts.blob->space(s->blob_state, &space, err);
    if (e != WR_OK)
        return e;
    uint64_t floor = WR_MIN(s->opts.min_free_bytes, space);
    if (space < s->opts.min_free_bytes) {
        wr_errmsg_set(err,
                      "the disk of the files folder has %llu MB left, which are kept free "
                      "(filestore.min_free_bytes): make room there, then go on",
                      (unsigned long long)(space >> 20));
        return WR_ERR_NO_SPACE;
    }
    enum fit fit = try_reserve(u, bytes, space - floor, &others);
    if (fit != FIT_YES) {
        make_room(s);
        fit = try_reserve(u, bytes, space - floor, &others);
    }
    if (fit == FIT_YES)
        return WR_OK;
    if (fit == FIT_SHARE)
        wr_errmsg_set(err, "this address has uploads under way that need most of the disk's room: "
                           "let them end first, or try again in a minute");
    else
        wr_errmsg_set(err,
                      "the disk of the files folder has no room for %llu MB (%llu MB are free; "
                      "%llu MB of them are kept, and %llu MB are other uploads')",
                      (unsigned long long)(bytes >> 20), (unsigned long long)(space >> 20),
                      (unsigned long long)(s->opts.min_free_bytes >> 20),
                      (unsigned long long)(others >> 20));
    return WR_ERR_NO_SPACE;
}
