/* SPDX-License-Identifier: MIT
 *
 * The doors: /live/<stream>.<extension> by HTTP and WebSocket, and the list of streams. A viewer's socket goes to the
 * plane at once, so that no worker of the HTTP server waits for a camera. */
#include "live_priv.h"

#include "wr_json.h"
#include "wr_log.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

/* ---- /live/ ------------------------------------------------------------------------------------------------------- */

static const struct wr_muxer_plugin *find_format(const struct wr_live *l, const char *extension)
{
    for (size_t i = 0; i < l->num_muxers; i++)
        if (strcasecmp(l->muxers[i]->extension, extension) == 0) /* players write .FLV too */
            return l->muxers[i];
    return NULL;
}

/* False: answered. */
static bool read_want(struct wr_http_req *r, struct live_want *w)
{
    char tracks[96] = "", rendition[96] = "";
    struct wr_errmsg err = {""};
    (void)wr_http_query(r, "tracks", tracks, sizeof tracks);
    (void)wr_http_query(r, "rendition", rendition, sizeof rendition);
    if (want__read(w, tracks, rendition, &err) == WR_OK)
        return true;
    wr_http_error_with(r, 400, NULL, "%s", err.text);
    return false;
}

static void answer_no_stream(struct wr_live *l, struct wr_http_req *r)
{
    pthread_mutex_lock(&l->lock);
    bool was_told = l->was_told;
    pthread_mutex_unlock(&l->lock);
    if (was_told)
        wr_http_error_with(
            r, 404, NULL,
            "there is no stream at %s: GET /api/v1/streams lists them, streams: in the "
            "configuration adds them",
            r->path);
    else
        wr_http_error_with(r, 503, "Retry-After: 2\r\n",
                           "the ingest service has not answered yet: is it running?");
}

/* Ingest no longer lists it, and nobody watches it any more: it is on its way out of the table. */
static bool is_gone(struct live_stream *s)
{
    pthread_mutex_lock(&s->lock);
    bool gone = s->unlisted && s->viewers == 0;
    pthread_mutex_unlock(&s->lock);
    return gone;
}

/* A reference to the stream, or NULL: the request was answered. */
static struct live_stream *find_stream(struct wr_live *l, struct wr_http_req *r, const char *dot)
{
    struct live_stream *s = dot ? live__find(l, wr_slice_of(r->rest, (size_t)(dot - r->rest)))
                                : NULL;
    if (s && is_gone(s)) {
        live__release(s);
        s = NULL;
    }
    if (!s)
        answer_no_stream(l, r);
    return s;
}

/* While a stream plays its tracks are known, and a door that cannot carry them says so before anything is handed over. What
 * an idle one had when it played last says nothing. False: answered. */
static bool fits(struct live_stream *s, struct wr_http_req *r, const struct wr_muxer_plugin *format,
                 const struct live_want *w)
{
    struct live_choice choice = {.status = 0};
    pthread_mutex_lock(&s->lock);
    if (s->state == LIVE_LIVE && s->told.n > 0)
        want__choose(w, s->name, s->told.v, s->told.n, format, s->live->muxers, s->live->num_muxers,
                     &choice);
    pthread_mutex_unlock(&s->lock);
    if (choice.status)
        wr_http_error_with(r, choice.status, NULL, "%s", choice.why.text);
    return choice.status == 0;
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

/* A viewer with an output and the stream's reference. NULL: answered. */
static struct viewer *viewer_new(struct live_stream *s, struct wr_http_req *r,
                                 struct wr_identity *who, const struct wr_muxer_plugin *format,
                                 const struct live_want *w)
{
    struct viewer *v = calloc(1, sizeof *v);
    if (v) {
        pthread_mutex_lock(&s->lock);
        v->out = output__get(s, format, w);
        pthread_mutex_unlock(&s->lock);
    }
    if (v && v->out) {
        v->identity = wr_identity_ref(who);
        v->transport = r->is_upgrade ? LIVE_WS : LIVE_RAW;
        v->cors = wr_http_cors(r)[0] ? strdup(wr_http_cors(r)) : NULL;
        return v;
    }
    free(v);
    wr_http_error_with(r, 503, "Retry-After: 2\r\n",
                       "no memory for another choice of tracks of this stream: at most %u at once",
                       LIVE_MAX_OUTPUTS);
    return NULL;
}

/* Moves the reference to s. */
static void let_in(struct live_stream *s, struct wr_http_req *r, struct wr_identity *who,
                   const struct wr_muxer_plugin *format, const struct live_want *w)
{
    const struct wr_live *l = s->live;
    struct viewer *v = viewer_new(s, r, who, format, w);
    if (!v) {
        live__release(s);
        return;
    }
    const struct wr_conn_opts opts = {.policy = WR_QUEUE_MEDIA,
                                      .ops = &viewer__ops,
                                      .user = v,
                                      .queue_bytes = l->env.config->gateway.media_queue_bytes,
                                      .queue_ms = l->env.config->gateway.media_queue_ms,
                                      .ping_ms = l->env.config->gateway.ping_ms,
                                      .pong_ms = l->env.config->gateway.pong_ms,
                                      .max_message = 4096};
    /* On an error the client was answered and close ran. */
    if (r->is_upgrade)
        (void)wr_http_upgrade(r, NULL, &opts);
    else
        (void)wr_http_hand_over(r, NULL, &opts);
}

static void serve(struct wr_live *l, struct wr_http_req *r, struct wr_identity *who)
{
    struct live_want want;
    if (!read_want(r, &want))
        return;
    const char *dot = strrchr(r->rest, '.');
    struct live_stream *s = find_stream(l, r, dot);
    if (!s)
        return;
    const struct wr_muxer_plugin *format = find_format(l, dot + 1);
    if (!format) {
        wr_http_error_with(
            r, 404, NULL,
            "stream %s has no format .%s here: see gateway.muxers in the configuration", s->name,
            dot + 1);
    } else if (fits(s, r, format, &want)) {
        if (r->method != WR_HEAD) {
            let_in(s, r, who, format, &want);
            return;
        }
        wr_http_reply(r, 200, format->content_type, "Cache-Control: no-store\r\n",
                      (struct wr_slice){NULL, 0});
    }
    live__release(s);
}

static void handle_live(void *ctx, struct wr_http_req *r)
{
    struct wr_live *l = ctx;
    if (r->method == WR_OPTIONS) {
        answer_options(r);
        return;
    }
    struct wr_identity *who = wr_access_enter(l->env.access, r);
    if (who && wr_access_ask(who, r, WR_VERB_SEE, wr_the_stream(name_of(r))))
        serve(l, r, who);
    wr_identity_unref(who);
}

/* ---- /api/v1/streams ---------------------------------------------------------------------------------------------- */

static void put_text(struct wr_buf *b, const char *key, const char *text)
{
    wr_buf_fmt(b, ",\"%s\":", key);
    wr_json_put_str(b, text);
}

static void put_track(struct wr_buf *b, const struct wr_track *t)
{
    wr_buf_fmt(b, "{\"id\":%u,\"kind\":\"%s\"", t->id,
               t->kind == WR_MEDIA_VIDEO ? "video" : "audio");
    put_text(b, "codec", wr_codec_name(t->codec));
    put_text(b, "codecs", t->codec_string);
    if (t->kind == WR_MEDIA_VIDEO)
        wr_buf_fmt(b, ",\"width\":%u,\"height\":%u,\"fps\":%g", t->width, t->height,
                   t->fps_milli / 1000.0);
    else
        wr_buf_fmt(b, ",\"rate\":%u,\"channels\":%u", t->sample_rate, t->channels);
    put_text(b, "label", t->label);
    put_text(b, "language", t->language);
    put_text(b, "rendition", t->rendition);
    wr_buf_char(b, '}');
}

/* The first of a kind as the source sends it; one without anything when there is none. */
static const struct wr_track *first_of(const struct live_tracks *tracks, enum wr_media_kind kind)
{
    static const struct wr_track none;
    for (size_t i = 0; i < tracks->n; i++)
        if (tracks->v[i].kind == kind && tracks->v[i].made_from == 0)
            return &tracks->v[i];
    return &none;
}

/* "width" to "audio" are those of a picture and a sound; "tracks" has all. */
static void put_stream(struct wr_buf *b, struct live_stream *s)
{
    static const char *const names[] = {"idle", "idle", "starting", "live", "retrying"};
    pthread_mutex_lock(&s->lock);
    const struct wr_track *video = first_of(&s->told, WR_MEDIA_VIDEO);
    const struct wr_track *audio = first_of(&s->told, WR_MEDIA_AUDIO);
    wr_buf_str(b, "{\"stream\":");
    wr_json_put_str(b, s->name);
    put_text(b, "state", names[s->state]);
    put_text(b, "reason", s->reason);
    wr_buf_fmt(b, ",\"viewers\":%zu,\"width\":%u,\"height\":%u,\"fps\":%g", s->viewers,
               video->width, video->height, video->fps_milli / 1000.0);
    put_text(b, "video", video->codec_string);
    put_text(b, "audio", audio->codec_string);
    wr_buf_str(b, ",\"tracks\":[");
    for (size_t i = 0; i < s->told.n; i++) {
        if (i)
            wr_buf_char(b, ',');
        put_track(b, &s->told.v[i]);
    }
    wr_buf_str(b, "]}");
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
    for (size_t i = 0, listed = 0; all && i < n; i++) {
        if (is_gone(all[i]))
            continue;
        if (listed++)
            wr_buf_char(&b, ',');
        put_stream(&b, all[i]);
    }
    wr_buf_str(&b, "]}\n");
    live__release_all(all, n);
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
