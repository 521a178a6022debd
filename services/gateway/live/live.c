/* SPDX-License-Identifier: MIT
 *
 * Start, stop, and the table of streams. The way of a frame: intake.c -> output.c -> the plane; of a viewer: doors.c ->
 * viewer.c; leases and subscriptions: control.c. */
#include "live_priv.h"

#include "wr_log.h"
#include "wr_thread.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static void stream_free(struct live_stream *s)
{
    wr_fanout_unref(&s->tell);
    items__free(&s->group);
    items__free(&s->held);
    tracks__free(&s->tracks);
    tracks__free(&s->told);
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s);
}

static struct live_stream *stream_new(struct wr_live *l, struct wr_slice name)
{
    struct live_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->live = l;
    s->refs = 1; /* the table's */
    pthread_mutex_init(&s->lock, NULL);
    s->name = strndup((const char *)name.p, name.n);
    s->tell = wr_fanout_new(l->env.plane);
    if (s->name && s->tell)
        return s;
    stream_free(s);
    return NULL;
}

struct live_stream *live__find(struct wr_live *l, struct wr_slice name)
{
    pthread_mutex_lock(&l->lock);
    struct live_stream *s = wr_map_get(&l->streams, name);
    if (s)
        s->refs++;
    pthread_mutex_unlock(&l->lock);
    return s;
}

struct live_stream *live__add(struct wr_live *l, struct wr_slice name)
{
    struct live_stream *s = live__find(l, name);
    if (s)
        return s;
    struct live_stream *made = stream_new(l, name);
    if (!made)
        return NULL;
    pthread_mutex_lock(&l->lock);
    s = wr_map_get(&l->streams, name);
    if (!s && wr_map_put(&l->streams, name, made)) {
        s = made;
        made = NULL;
    }
    if (s)
        s->refs++;
    pthread_mutex_unlock(&l->lock);
    if (made)
        stream_free(made);
    return s;
}

void live__keep(struct live_stream *s)
{
    pthread_mutex_lock(&s->live->lock);
    s->refs++;
    pthread_mutex_unlock(&s->live->lock);
}

void live__release(struct live_stream *s)
{
    struct wr_live *l = s->live;
    pthread_mutex_lock(&l->lock);
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&l->lock);
    if (last)
        stream_free(s);
}

struct live_stream **live__all(struct wr_live *l, size_t *n)
{
    struct wr_slice key;
    void *value;
    size_t at = 0;
    *n = 0;
    pthread_mutex_lock(&l->lock);
    struct live_stream **all = malloc((l->streams.used + 1) * sizeof(*all));
    while (all && wr_map_next(&l->streams, &at, &key, &value)) {
        all[*n] = value;
        all[(*n)++]->refs++;
    }
    pthread_mutex_unlock(&l->lock);
    return all;
}

void live__release_all(struct live_stream **all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        /* The table has a reference of its own. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        live__release(all[i]);
    free(all);
}

bool live__drop_unused(struct live_stream *s)
{
    struct wr_live *l = s->live;
    pthread_mutex_lock(&l->lock);
    /* Whoever finds a stream takes a reference under this lock: with these two alone nobody has it, and nobody will. */
    bool dropped = s->refs == 2 && wr_map_get(&l->streams, wr_slice_str(s->name)) == s;
    if (dropped) {
        (void)wr_map_del(&l->streams, wr_slice_str(s->name));
        s->refs--;
    }
    pthread_mutex_unlock(&l->lock);
    return dropped;
}

void live__poke(struct wr_live *l)
{
    pthread_mutex_lock(&l->lock);
    l->poked = true;
    pthread_cond_broadcast(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

/* Whoever changed them; he may not be held up, and streams' locks are for short but many. */
static void on_rights(void *ctx)
{
    struct wr_live *l = ctx;
    atomic_store(&l->rights_changed, true);
    live__poke(l);
}

/* ---- building ----------------------------------------------------------------------------------------------------- */

static wr_err find_muxers(struct wr_live *l, struct wr_errmsg *err)
{
    const char *list = l->env.config->gateway.muxers;
    while (*list) {
        char name[64];
        size_t n = strcspn(list, ", ");
        snprintf(name, sizeof name, "%.*s", (int)WR_MIN(n, sizeof name - 1), list);
        list += n;
        list += strspn(list, ", ");
        if (n == 0)
            continue;
        const struct wr_muxer_plugin *m = wr_plugins_find(l->env.plugins, WR_KIND_MUXER, name);
        if (!m || l->num_muxers == LIVE_MAX_MUXERS) {
            wr_errmsg_set(err,
                          m ? "gateway.muxers names more than 8 plugins"
                            : "gateway.muxers names %s, but there is no such muxer plugin "
                              "(watchroom plugins lists them)",
                          name);
            return WR_ERR_INVALID;
        }
        l->muxers[l->num_muxers++] = m;
    }
    return WR_OK;
}

wr_err wr_live_start(const struct wr_gateway_env *env, struct wr_live **out, struct wr_errmsg *err)
{
    struct wr_live *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l) {
        wr_errmsg_set(err, "out of memory");
        return WR_ERR_BUSY;
    }
    l->env = *env;
    pthread_mutex_init(&l->lock, NULL);
    wr_cond_init(&l->wake);
    wr_err e = find_muxers(l, err);
    for (size_t i = 0; i < env->config->num_streams && e == WR_OK; i++) {
        struct live_stream *s = live__add(l, wr_slice_str(env->config->streams[i].name));
        if (s)
            live__release(s);
        else
            e = WR_ERR_BUSY;
    }
    if (e == WR_OK)
        e = wr_access_on_change(env->access, on_rights, l);
    if (e == WR_OK)
        e = doors__add(l);
    if (e == WR_OK)
        e = control__start(l);
    if (e != WR_OK) {
        if (!err->text[0])
            wr_errmsg_set(err, "live cannot start: %s", wr_err_text(e));
        wr_live_stop(&l);
        return e;
    }
    *out = l;
    return WR_OK;
}

void wr_live_stop(struct wr_live **lp)
{
    struct wr_live *l = *lp;
    size_t n = 0;
    if (!l)
        return;
    *lp = NULL;
    wr_access_off_change(l->env.access, on_rights, l);
    control__stop(l);
    struct live_stream **all = live__all(l, &n);
    for (size_t i = 0; i < n; i++)
        live__release(all[i]); /* the table's; viewers and calls are gone */
    wr_map_free(&l->streams);
    live__release_all(all, n);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
