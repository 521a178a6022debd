/* SPDX-License-Identifier: MIT
 *
 * The service plugin `ingest`: reads the configuration, builds the streams, answers Ingest's calls, tears down. A frame's way is
 * in ingest_flow.c, a stream's life in stream.c.
 *
 * Streams come and go while calls are answered: calls hold `lock` for reading while they use one, a change holds it for writing
 * while it puts one into the map or takes it out. */
#include "source.h"
#include "stream.h"
#include "watchroom/v1/ingest.pb-c.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_map.h"
#include "watchroom/v1/ingest.numbers.h"
#include "wr_pb.h"
#include "wr_plugins.h"
#include "wr_service.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MAX_STREAMS 4096 /* a thread and a socket each */
#define DEFAULT_LINGER_MS 10000

struct ingest {
    struct wr_bus *bus;
    struct wr_bus_server *server;
    struct wr_bus_pub *lane;
    const struct wr_config *config; /* the process's; outlives the service */
    char folder[400];               /* of the streams' clocks; "" = none */
    struct stream_env env;
    bool has_lock;
    pthread_rwlock_t lock;
    struct wr_map streams;   /* name -> struct stream * */
    bool slots[MAX_STREAMS]; /* taken places of pub sockets' addresses */
};

/* Under the lock. */
static struct stream *find_stream(struct ingest *in, struct wr_slice name)
{
    return wr_map_get(&in->streams, name);
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

/* WatchRequest and UnwatchRequest: fields 1 and 2 are the same. */
struct request {
    struct wr_slice stream, lease;
    uint32_t lease_ms;
    bool group;
};

static bool read_request(struct wr_slice body, struct request *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct request){.lease_ms = 0};
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_WATCH_REQUEST_STREAM && f.wire == 2)
            out->stream = f.bytes;
        else if (f.number == WR_PB_WATCH_REQUEST_LEASE && f.wire == 2)
            out->lease = f.bytes;
        else if (f.number == WR_PB_WATCH_REQUEST_LEASE_MS && f.wire == 0)
            out->lease_ms = (uint32_t)WR_MIN(f.value, UINT32_MAX);
        else if (f.number == WR_PB_WATCH_REQUEST_GROUP && f.wire == 0)
            out->group = f.value != 0;
    }
    return !r.bad;
}

static void fail_unknown(struct wr_call *call, struct wr_slice name)
{
    wr_call_fail(call, WR_ERR_NOT_FOUND,
                 "there is no stream %.*s: add it under streams: in the configuration",
                 (int)WR_MIN(name.n, 64u), name.n ? (const char *)name.p : "");
}

static void answer(struct wr_call *call, struct wr_msg *body)
{
    if (body)
        wr_call_answer(call, body);
    else
        wr_call_fail(call, WR_ERR_BUSY, "out of memory");
}

enum { HEAD = 12 }; /* the most that a tag and a length take */

/* WatchResponse by hand: the kept frames are copied once, from the group into the answer. */
static struct wr_msg *watch_response(struct wr_slice info, const struct kept_page *page)
{
    enum { INFO = WR_PB_WATCH_RESPONSE_INFO, GROUP = WR_PB_WATCH_RESPONSE_GROUP };
    const struct kept_group *g = page->n > 0 ? &page->groups[0] : NULL;
    size_t n = HEAD + info.n;
    for (size_t i = 0; g && i < g->n; i++)
        n += HEAD + g->items[i].media.n;
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, n);
    if (!m)
        return NULL;
    uint8_t *p = wr_pb_bytes(m->data, INFO, info);
    for (size_t i = 0; g && i < g->n; i++)
        p = wr_pb_bytes(p, GROUP, g->items[i].media);
    m->len = (size_t)(p - m->data);
    return m;
}

static void handle_watch(struct ingest *in, struct wr_call *call)
{
    struct request q;
    struct stream *s = read_request(call->body, &q) ? find_stream(in, q.stream) : NULL;
    if (!s) {
        fail_unknown(call, q.stream);
        return;
    }
    wr_err e = stream__watch(s, q.lease, q.lease_ms);
    if (e != WR_OK) {
        wr_call_fail(call, e,
                     e == WR_ERR_BUSY ? "too many gateways watch this stream"
                                      : "the lease id is empty or too long");
        return;
    }
    struct kept_page page = {.n = 0};
    struct wr_msg *info = stream__info(s, q.group ? &page : NULL);
    answer(call, info ? watch_response(wr_msg_slice(info), &page) : NULL);
    kept__page_free(&page);
    wr_msg_unref(info);
}

static void handle_unwatch(struct ingest *in, struct wr_call *call)
{
    struct request q;
    struct stream *s = read_request(call->body, &q) ? find_stream(in, q.stream) : NULL;
    if (s)
        stream__unwatch(s, q.lease);
    wr_call_answer(call,
                   NULL); /* unknown or never watched: it is not watched now, which was asked */
}

static void handle_streams(struct ingest *in, struct wr_call *call)
{
    struct wr_buf b = {.n = 0};
    struct wr_slice name;
    void *s;
    for (size_t at = 0; wr_map_next(&in->streams, &at, &name, &s);) {
        struct wr_msg *info = stream__info(s, NULL);
        uint8_t head[HEAD];
        if (!info)
            continue;
        wr_buf_add(
            &b, head,
            (size_t)(wr_pb_bytes_head(head, WR_PB_STREAMS_RESPONSE_STREAMS, info->len) - head));
        wr_buf_slice(&b, wr_msg_slice(info));
        wr_msg_unref(info);
    }
    answer(call, b.failed ? NULL : wr_msg_copy(wr_slice_of(b.p, b.n)));
    wr_buf_free(&b);
}

/* ---- kept groups -------------------------------------------------------------------------------------------------- */

static size_t group_bytes(const struct kept_group *g)
{
    size_t n = 4 * HEAD;
    for (size_t i = 0; i < g->n; i++)
        n += wr_pb_varint_size(g->items[i].media.n) + 1 + g->items[i].media.n;
    return n;
}

static uint8_t *put_group(uint8_t *p, const struct kept_group *g)
{
    enum { GROUPS = 3, GOP = 1, EPOCH = 2, COMPLETE = 3, FRAMES = 4 };
    uint8_t head[3 * HEAD], *h = wr_pb_uint(head, GOP, g->gop);
    h = wr_pb_uint(h, EPOCH, g->epoch);
    h = wr_pb_uint(h, COMPLETE, g->complete);
    size_t n = (size_t)(h - head);
    for (size_t i = 0; i < g->n; i++)
        n += wr_pb_varint_size(g->items[i].media.n) + 1 + g->items[i].media.n;
    p = wr_pb_bytes_head(p, GROUPS, n);
    memcpy(p, head, (size_t)(h - head));
    p += h - head;
    for (size_t i = 0; i < g->n; i++)
        p = wr_pb_bytes(p, FRAMES, g->items[i].media);
    return p;
}

/* GroupsResponse by hand, as watch_response. */
static struct wr_msg *groups_response(struct wr_slice info, const struct kept_page *page)
{
    enum {
        INFO = WR_PB_GROUPS_RESPONSE_INFO,
        EPOCHS = WR_PB_GROUPS_RESPONSE_EPOCHS,
        OLDEST = WR_PB_GROUPS_RESPONSE_OLDEST_GOP,
        NEWEST = WR_PB_GROUPS_RESPONSE_NEWEST_GOP,
        NEXT = WR_PB_GROUPS_RESPONSE_NEXT_GOP
    };
    size_t n = 4 * HEAD + info.n;
    for (size_t i = 0; i < page->num_epochs; i++)
        n += HEAD + page->epochs[i].packed.n;
    for (size_t i = 0; i < page->n; i++)
        n += group_bytes(&page->groups[i]);
    struct wr_msg *m = page->failed ? NULL : wr_msg_new(WR_MSG_HEADROOM, n);
    if (!m)
        return NULL;
    uint8_t *p = wr_pb_bytes(m->data, INFO, info);
    for (size_t i = 0; i < page->num_epochs; i++)
        p = wr_pb_bytes(p, EPOCHS, wr_slice_of(page->epochs[i].packed.p, page->epochs[i].packed.n));
    for (size_t i = 0; i < page->n; i++)
        p = put_group(p, &page->groups[i]);
    p = wr_pb_uint(p, OLDEST, page->oldest_gop);
    p = wr_pb_uint(p, NEWEST, page->newest_gop);
    p = wr_pb_uint(p, NEXT, page->next_gop);
    m->len = (size_t)(p - m->data);
    return m;
}

static void handle_groups(struct ingest *in, struct wr_call *call)
{
    Watchroom__V1__GroupsRequest *q = watchroom__v1__groups_request__unpack(NULL, call->body.n,
                                                                            call->body.p);
    struct stream *s = q ? find_stream(in, wr_slice_str(q->stream)) : NULL;
    if (!s) {
        fail_unknown(call, wr_slice_str(q ? q->stream : ""));
    } else if (q->rendition[0]) {
        wr_call_fail(call, WR_ERR_NOT_FOUND, "stream %.64s has no rendition %.32s", q->stream,
                     q->rendition);
    } else {
        size_t max = q->max_bytes ? WR_MIN(q->max_bytes, KEPT_GROUP_MAX_BYTES)
                                  : KEPT_GROUP_MAX_BYTES;
        struct kept_page page = {.n = 0};
        struct wr_msg *info = stream__groups(s, q->from_gop, q->max_groups, max, &page);
        answer(call, info ? groups_response(wr_msg_slice(info), &page) : NULL);
        kept__page_free(&page);
        wr_msg_unref(info);
    }
    if (q)
        watchroom__v1__groups_request__free_unpacked(q, NULL);
}

/* ---- streams come and go ------------------------------------------------------------------------------------------ */

/* Where a stream publishes: beside the instance's events, on a port of its own or under a name of its own. */
static wr_err open_stream_pub(struct ingest *in, struct stream *s, struct wr_errmsg *err)
{
    const struct wr_config *c = in->config;
    char url[300];
    if (strncmp(c->bus.ingest_events, "tcp://", 6) == 0) {
        const char *host = c->bus.ingest_events + 6, *colon = strrchr(host, ':');
        unsigned port = c->ingest.stream_port ? c->ingest.stream_port + s->slot : 0;
        snprintf(url, sizeof url, "tcp://%.*s:%u", (int)(colon ? colon - host : 0), host, port);
    } else if (strncmp(c->bus.ingest_events, "ipc://", 6) == 0) {
        snprintf(url, sizeof url, "%.180s.%u", c->bus.ingest_events, s->slot);
    } else {
        snprintf(url, sizeof url, "inproc://ingest/stream/%s", s->name);
    }
    wr_err e = wr_bus_pub_open(in->bus, url, false, &s->pub, err);
    if (e != WR_OK)
        return e;
    /* Gateways put in the host at which they reached us. */
    const char *real = wr_bus_pub_url(s->pub), *colon = strrchr(real, ':');
    if (strncmp(real, "tcp://", 6) == 0)
        snprintf(s->event_url, sizeof s->event_url, "tcp://*%s", colon);
    else
        snprintf(s->event_url, sizeof s->event_url, "%s", real);
    return WR_OK;
}

/* The lowest free place, so that a stream that comes after one that went has a port of the same range. */
static bool take_slot(struct ingest *in, unsigned *slot)
{
    for (unsigned i = 0; i < MAX_STREAMS; i++)
        if (!in->slots[i]) {
            in->slots[i] = true;
            *slot = i;
            return true;
        }
    return false;
}

static void free_stream(struct ingest *in, struct stream *s)
{
    in->slots[s->slot] = false;
    stream__fini(s);
    free(s);
}

/* Under the lock, for writing. */
static wr_err add_stream(struct ingest *in, const struct wr_config_stream *c, struct wr_errmsg *err)
{
    if (find_stream(in, wr_slice_str(c->name))) {
        wr_errmsg_set(err, "there is a stream %.64s already", c->name);
        return WR_ERR_CONFLICT;
    }
    struct stream *s = calloc(1, sizeof *s);
    if (!s || !take_slot(in, &s->slot)) {
        free(s);
        wr_errmsg_set(err, s ? "there are %d streams, which is the most" : "out of memory",
                      MAX_STREAMS);
        return WR_ERR_BUSY;
    }
    wr_err e = stream__init(s, c, &in->env, err);
    if (e == WR_OK)
        e = open_stream_pub(in, s, err);
    if (e == WR_OK &&
        (stream__start(s) != WR_OK || !wr_map_put(&in->streams, wr_slice_str(s->name), s))) {
        wr_errmsg_set(err, "cannot start a thread for stream %s", s->name);
        e = WR_ERR_BUSY;
    }
    if (e != WR_OK) {
        free_stream(in, s);
        return e;
    }
    char shown[256];
    wr_url_redact(c->url, shown, sizeof shown);
    wr_info("ingest.stream", "stream=%s source=%s transport=%s events=%s", s->name, shown,
            s->transport, s->event_url);
    return WR_OK;
}

static bool is_name(const char *name)
{
    return wr_name_valid(wr_slice_str(name));
}

/* The answer is only made: the caller gives it when the lock is free. */
static wr_err change_add(struct ingest *in, struct wr_slice body, struct wr_errmsg *err)
{
    Watchroom__V1__AddStreamRequest *q = watchroom__v1__add_stream_request__unpack(NULL, body.n,
                                                                                   body.p);
    wr_err e = WR_ERR_INVALID;
    if (!q || !is_name(q->stream)) {
        wr_errmsg_set(err, "a stream's name is 1 to 255 bytes of UTF-8 without / and \\");
    } else {
        struct wr_config_stream c = {.name = q->stream,
                                     .url = q->url,
                                     .transport = q->transport[0] ? q->transport : NULL,
                                     .always = q->always,
                                     .linger_ms = q->linger_ms ? q->linger_ms : DEFAULT_LINGER_MS};
        pthread_rwlock_wrlock(&in->lock);
        e = add_stream(in, &c, err);
        pthread_rwlock_unlock(&in->lock);
    }
    if (q)
        watchroom__v1__add_stream_request__free_unpacked(q, NULL);
    return e;
}

static wr_err change_remove(struct ingest *in, struct wr_slice body, struct wr_errmsg *err)
{
    struct request q;
    pthread_rwlock_wrlock(&in->lock);
    struct stream *s = read_request(body, &q) ? wr_map_del(&in->streams, q.stream) : NULL;
    pthread_rwlock_unlock(&in->lock);
    if (!s) {
        wr_errmsg_set(err, "there is no such stream");
        return WR_ERR_NOT_FOUND;
    }
    wr_info("ingest.removed", "stream=%s", s->name);
    /* Waits for its thread: a camera gets half a second to say goodbye. Its place is free only then. */
    unsigned slot = s->slot;
    stream__fini(s);
    free(s);
    pthread_rwlock_wrlock(&in->lock);
    in->slots[slot] = false;
    pthread_rwlock_unlock(&in->lock);
    return WR_OK;
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

/* `handle` answers under the lock for reading; `change` takes it itself. */
static const struct {
    const char *method;
    void (*handle)(struct ingest *in, struct wr_call *call);
    wr_err (*change)(struct ingest *in, struct wr_slice body, struct wr_errmsg *err);
} methods[] = {
    {"watchroom.v1.Ingest/Watch", handle_watch, NULL},
    {"watchroom.v1.Ingest/Unwatch", handle_unwatch, NULL},
    {"watchroom.v1.Ingest/Streams", handle_streams, NULL},
    {"watchroom.v1.Ingest/Groups", handle_groups, NULL},
    {"watchroom.v1.Ingest/AddStream", NULL, change_add},
    {"watchroom.v1.Ingest/RemoveStream", NULL, change_remove},
};

static void run_change(struct ingest *in, struct wr_call *call,
                       wr_err (*change)(struct ingest *in, struct wr_slice body,
                                        struct wr_errmsg *err))
{
    struct wr_errmsg err = {""};
    wr_err e = change(in, call->body, &err);
    if (e == WR_OK)
        wr_call_answer(call, NULL);
    else
        wr_call_fail(call, e, "%s", err.text);
}

static void handle_call(void *ctx, struct wr_call *call)
{
    struct ingest *in = ctx;
    for (size_t i = 0; i < WR_ARRAY_LEN(methods); i++) {
        if (!wr_slice_is(call->method, methods[i].method))
            continue;
        if (methods[i].change) {
            run_change(in, call, methods[i].change);
            return;
        }
        pthread_rwlock_rdlock(&in->lock);
        methods[i].handle(in, call);
        pthread_rwlock_unlock(&in->lock);
        return;
    }
    wr_call_fail(call, WR_ERR_UNKNOWN_METHOD, "ingest has no method %.*s",
                 (int)WR_MIN(call->method.n, 64u), (const char *)call->method.p);
}

/* ---- building ----------------------------------------------------------------------------------------------------- */

/* Where the clocks are kept. Without it everything works but a wall clock that is set back over a restart. */
static void make_folder(struct ingest *in)
{
    int n = snprintf(in->folder, sizeof in->folder, "%s/ingest", in->config->data);
    bool ok = n > 0 && (size_t)n < sizeof in->folder;
    for (char *at = in->folder + 1; ok && *at; at++)
        if (*at == '/') {
            *at = 0;
            (void)mkdir(in->folder, 0755); /* the last one tells */
            *at = '/';
        }
    if (ok && (mkdir(in->folder, 0700) == 0 || errno == EEXIST))
        return;
    wr_warn("ingest.folder",
            "cannot make %s/ingest: %s; streams' times hang on the wall clock alone",
            in->config->data, strerror(errno));
    in->folder[0] = 0;
}

static wr_err build_streams(struct ingest *in, struct wr_errmsg *err)
{
    const struct wr_config *c = in->config;
    in->env = (struct stream_env){.instance = wr_bus_instance(in->bus),
                                  .lane = in->lane,
                                  .folder = in->folder[0] ? in->folder : NULL,
                                  .no_packet_us = (int64_t)c->ingest.no_packet_ms * 1000,
                                  .keep_us = (int64_t)c->ingest.keep_ms * 1000,
                                  .keep_bytes = c->ingest.keep_bytes};
    wr_err e = WR_OK;
    for (size_t i = 0; e == WR_OK && i < c->num_streams; i++)
        e = add_stream(in, &c->streams[i], err);
    return e;
}

static void ingest_drain(void *state)
{
    struct ingest *in = state;
    struct wr_slice name;
    void *s;
    if (in->bus)
        wr_bus_drain(in->bus);
    if (!in->has_lock)
        return;
    pthread_rwlock_rdlock(&in->lock);
    for (size_t at = 0; wr_map_next(&in->streams, &at, &name, &s);)
        stream__stop(s);
    pthread_rwlock_unlock(&in->lock);
}

static void ingest_stop(void *state)
{
    struct ingest *in = state;
    struct wr_slice name;
    void *s;
    ingest_drain(in);
    wr_bus_server_close(&in->server);
    for (size_t at = 0; wr_map_next(&in->streams, &at, &name, &s);)
        free_stream(in, s);
    wr_map_free(&in->streams);
    wr_bus_pub_close(&in->lane);
    wr_bus_close(&in->bus);
    if (in->has_lock)
        pthread_rwlock_destroy(&in->lock);
    in->has_lock = false;
}

static wr_err ingest_start(void *state, const struct wr_service_env *env, struct wr_errmsg *err)
{
    struct ingest *in = state;
    const struct wr_config *c = in->config = env->config;
    source__init_av();
    pthread_rwlock_init(&in->lock, NULL);
    in->has_lock = true;
    make_folder(in);
    wr_err e = wr_bus_open(&(struct wr_bus_opts){.service = "ingest"}, &in->bus);
    if (e != WR_OK)
        wr_errmsg_set(err, "cannot start the bus: %s", wr_err_text(e));
    if (e == WR_OK)
        e = wr_bus_pub_open(in->bus, c->bus.ingest_events, true, &in->lane, err);
    if (e == WR_OK)
        e = build_streams(in, err);
    if (e == WR_OK)
        e = wr_bus_serve(in->bus, c->bus.ingest_listen, handle_call, in, &in->server, err);
    if (e != WR_OK) {
        ingest_stop(in);
        return e;
    }
    wr_info("ingest.start", "calls=%s events=%s streams=%zu", wr_bus_server_url(in->server),
            wr_bus_pub_url(in->lane), c->num_streams);
    return WR_OK;
}

WR_PLUGIN_EXPORT const struct wr_service_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_service_plugin, struct ingest, WR_KIND_SERVICE, "ingest",
                                 WR_VERSION, "Pulls sources, publishes coded frames"),
    .start = ingest_start,
    .drain = ingest_drain,
    .stop = ingest_stop,
};
