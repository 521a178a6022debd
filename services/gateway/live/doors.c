/* SPDX-License-Identifier: MIT
 *
 * The doors: /live/<stream>.<extension> by HTTP and WebSocket, and the list of streams. A viewer's socket goes to the
 * plane at once, so that no worker of the HTTP server waits for a camera. */
#include "live_priv.h"

#include "wr_json.h"
#include "wr_log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- /live/ ------------------------------------------------------------------------------------------------------- */

static struct live_output *find_output(struct wr_live *l, struct live_stream *s,
                                       const char *extension, bool picture_only)
{
    for (size_t i = 0; i < l->num_outputs; i++)
        if (strcmp(s->outs[i].plugin->extension, extension) == 0 &&
            s->outs[i].picture_only == picture_only)
            return &s->outs[i];
    return NULL;
}

/* ?tracks=video leaves the sound out: a muted player needs none, and plays closer to the edge without. False: answered. */
static bool read_tracks(struct wr_http_req *r, bool *picture_only)
{
    char tracks[32] = "";
    *picture_only = wr_http_query(r, "tracks", tracks, sizeof tracks);
    if (!*picture_only || strcmp(tracks, "video") == 0)
        return true;
    wr_http_error_with(r, 400, NULL, "tracks: \"%s\" is not offered: video, or no tracks= for all",
                       tracks);
    return false;
}

/* NULL: the request was answered. */
static struct live_output *find_door(struct wr_live *l, struct wr_http_req *r)
{
    bool picture_only;
    if (!read_tracks(r, &picture_only))
        return NULL;
    const char *dot = strrchr(r->rest, '.');
    struct live_stream *s = dot ? live__find(l, wr_slice_of(r->rest, (size_t)(dot - r->rest)))
                                : NULL;
    struct live_output *o = s ? find_output(l, s, dot + 1, picture_only) : NULL;
    if (o)
        return o;
    pthread_mutex_lock(&l->lock);
    bool was_told = l->was_told;
    pthread_mutex_unlock(&l->lock);
    if (s)
        wr_http_error_with(
            r, 404, NULL,
            "stream %s has no format .%s here: see gateway.muxers in the configuration", s->name,
            dot + 1);
    else if (was_told)
        wr_http_error_with(
            r, 404, NULL,
            "there is no stream at %s: GET /api/v1/streams lists them, streams: in the "
            "configuration adds them",
            r->path);
    else
        wr_http_error_with(r, 503, "Retry-After: 2\r\n",
                           "the ingest service has not answered yet: is it running?");
    return NULL;
}

/* A player that sends a header of its own, such as Range, asks first whether it may (CORS preflight). */
static void answer_options(struct wr_http_req *r)
{
    wr_http_reply(r, 204, NULL,
                  "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
                  "Access-Control-Allow-Headers: Authorization, Range\r\n"
                  "Access-Control-Max-Age: 86400\r\n"
                  "Allow: GET, HEAD, OPTIONS\r\n",
                  (struct wr_slice){NULL, 0});
}

/* What is asked for, without its extension: rights are asked before anything is said of it. */
static struct wr_slice name_of(const struct wr_http_req *r)
{
    const char *dot = strrchr(r->rest, '.');
    return wr_slice_of(r->rest, dot ? (size_t)(dot - r->rest) : strlen(r->rest));
}

static void handle_live(void *ctx, struct wr_http_req *r)
{
    struct wr_live *l = ctx;
    if (r->method == WR_OPTIONS) {
        answer_options(r);
        return;
    }
    if (!wr_access_admits(l->env.access, r, WR_VERB_SEE, wr_the_stream(name_of(r))))
        return;
    struct live_output *o = find_door(l, r);
    if (!o)
        return;
    if (r->method == WR_HEAD) {
        wr_http_reply(r, 200, o->plugin->content_type, "Cache-Control: no-store\r\n",
                      (struct wr_slice){NULL, 0});
        return;
    }
    struct viewer *v = calloc(1, sizeof *v);
    if (!v) {
        wr_http_error_with(r, 503, NULL, "out of memory");
        return;
    }
    v->out = o;
    v->transport = r->is_upgrade ? LIVE_WS : LIVE_RAW;
    v->cors = wr_http_cors(r)[0] ? strdup(wr_http_cors(r)) : NULL;
    const struct wr_conn_opts opts = {.policy = WR_QUEUE_MEDIA,
                                      .ops = &viewer__ops,
                                      .user = v,
                                      .queue_bytes = l->env.config->gateway.media_queue_bytes,
                                      .queue_ms = l->env.config->gateway.media_queue_ms,
                                      .max_message = 4096};
    /* On an error the client was answered and close ran. */
    if (r->is_upgrade)
        (void)wr_http_upgrade(r, NULL, &opts);
    else
        (void)wr_http_hand_over(r, NULL, &opts);
}

/* ---- /api/v1/streams ---------------------------------------------------------------------------------------------- */

static void put_stream(struct wr_buf *b, struct live_stream *s)
{
    static const char *const names[] = {"idle", "idle", "starting", "live", "retrying"};
    pthread_mutex_lock(&s->lock);
    wr_buf_str(b, "{\"stream\":");
    wr_json_put_str(b, s->name);
    wr_buf_fmt(b, ",\"state\":\"%s\",\"reason\":", names[s->state]);
    wr_json_put_str(b, s->reason);
    wr_buf_fmt(
        b,
        ",\"viewers\":%zu,\"width\":%u,\"height\":%u,\"fps\":%g,\"video\":\"%s\",\"audio\":\"%s\"}",
        s->viewers, s->width, s->height, s->fps_milli / 1000.0, s->video, s->audio);
    pthread_mutex_unlock(&s->lock);
}

static int by_name(const void *a, const void *b)
{
    struct live_stream *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void handle_streams(void *ctx, struct wr_http_req *r)
{
    struct wr_live *l = ctx;
    struct wr_buf b = {.n = 0};
    size_t n = 0;
    if (!wr_access_admits(l->env.access, r, WR_VERB_SEE, wr_the_server()))
        return;
    struct live_stream **all = live__all(l, &n);
    if (all)
        qsort(all, n, sizeof(*all), by_name);
    wr_buf_str(&b, "{\"streams\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            wr_buf_char(&b, ',');
        put_stream(&b, all[i]);
    }
    wr_buf_str(&b, "]}\n");
    free(all);
    if (b.failed)
        wr_http_error(r, 503, "out of memory");
    else
        wr_http_reply(r, 200, "application/json", "Cache-Control: no-store\r\n",
                      wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
}

wr_err doors__add(struct wr_live *l)
{
    wr_err e = wr_http_add(l->env.http, &(struct wr_http_route){.path = "/live/",
                                                                .is_prefix = true,
                                                                .methods = WR_GET | WR_OPTIONS,
                                                                .handler = handle_live,
                                                                .ctx = l});
    return e != WR_OK ? e
                      : wr_http_add(l->env.http, &(struct wr_http_route){.path = "/api/v1/streams",
                                                                         .methods = WR_GET,
                                                                         .handler = handle_streams,
                                                                         .ctx = l});
}
