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
    for (size_t i = 0; s->outs && i < s->live->num_outputs; i++)
        output__fini(&s->outs[i]);
    free(s->outs);
    wr_fanout_unref(&s->tell);
    items__free(&s->group);
    items__free(&s->held);
    for (unsigned i = 0; i < 2; i++) {
        wr_buf_free(&s->tracks[i].config);
        wr_buf_free(&s->told_tracks[i].config);
    }
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
    pthread_mutex_init(&s->lock, NULL);
    s->name = strndup((const char *)name.p, name.n);
    s->outs = calloc(l->num_outputs, sizeof *s->outs);
    s->tell = wr_fanout_new(l->env.plane);
    bool ok = s->name && s->outs && s->tell;
    for (size_t i = 0; i < l->num_outputs && ok; i++)
        ok = output__init(&s->outs[i], s, l->muxers[i / 2], i % 2 == 1);
    if (ok)
        return s;
    stream_free(s);
    return NULL;
}

struct live_stream *live__find(struct wr_live *l, struct wr_slice name)
{
    pthread_mutex_lock(&l->lock);
    struct live_stream *s = wr_map_get(&l->streams, name);
    pthread_mutex_unlock(&l->lock);
    return s;
}

struct live_stream *live__add(struct wr_live *l, struct wr_slice name)
{
    struct live_stream *s = live__find(l, name);
    if (s)
        return s;
    s = stream_new(l, name);
    if (!s)
        return NULL;
    pthread_mutex_lock(&l->lock);
    struct live_stream *other = wr_map_get(&l->streams, name);
    bool put = !other && wr_map_put(&l->streams, name, s);
    pthread_mutex_unlock(&l->lock);
    if (put)
        return s;
    stream_free(s);
    return other;
}

struct live_stream **live__all(struct wr_live *l, size_t *n)
{
    struct wr_slice key;
    void *value;
    size_t at = 0;
    *n = 0;
    pthread_mutex_lock(&l->lock);
    struct live_stream **all = malloc((l->streams.used + 1) * sizeof(*all));
    while (all && wr_map_next(&l->streams, &at, &key, &value))
        all[(*n)++] = value;
    pthread_mutex_unlock(&l->lock);
    return all;
}

void live__poke(struct wr_live *l)
{
    pthread_mutex_lock(&l->lock);
    l->poked = true;
    pthread_cond_broadcast(&l->wake);
    pthread_mutex_unlock(&l->lock);
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
        l->num_outputs = 2 * l->num_muxers;
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
    for (size_t i = 0; i < env->config->num_streams && e == WR_OK; i++)
        if (!live__add(l, wr_slice_str(env->config->streams[i].name)))
            e = WR_ERR_BUSY;
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
    struct wr_slice key;
    void *value;
    size_t at = 0;
    if (!l)
        return;
    *lp = NULL;
    control__stop(l);
    while (wr_map_next(&l->streams, &at, &key, &value))
        stream_free(value);
    wr_map_free(&l->streams);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
