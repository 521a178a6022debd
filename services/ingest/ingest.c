/* SPDX-License-Identifier: MIT
 *
 * The service plugin `ingest`: reads the configuration, builds the streams, serves Ingest/Watch, Unwatch and Streams,
 * tears down. A frame's way is in ingest_flow.c, a stream's life in stream.c. */
#include "source.h"
#include "stream.h"
#include "watchroom/v1/ingest.pb-c.h"
#include "wr_log.h"
#include "wr_pb.h"
#include "wr_plugins.h"
#include "wr_service.h"

#include <stdio.h>
#include <stdlib.h>

struct ingest {
    struct wr_bus *bus;
    struct wr_bus_server *server;
    struct wr_bus_pub *lane;
    struct stream *streams;
    size_t n;
};

static struct stream *find_stream(struct ingest *in, struct wr_slice name)
{
    for (size_t i = 0; i < in->n; i++)
        if (wr_slice_is(name, in->streams[i].name))
            return &in->streams[i];
    return NULL;
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
        if (f.number == 1 && f.wire == 2)
            out->stream = f.bytes;
        else if (f.number == 2 && f.wire == 2)
            out->lease = f.bytes;
        else if (f.number == 3 && f.wire == 0)
            out->lease_ms = (uint32_t)WR_MIN(f.value, UINT32_MAX);
        else if (f.number == 4 && f.wire == 0)
            out->group = f.value != 0;
    }
    return !r.bad;
}

/* WatchResponse by hand: the cached frames are copied once, from the group into the answer. */
static struct wr_msg *watch_response(struct wr_slice info, const struct group *g)
{
    enum { INFO = 1, GROUP = 2, HEAD = 12 };
    size_t n = HEAD + info.n;
    for (size_t i = 0; i < g->n; i++)
        n += HEAD + g->items[i].media.n;
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, n);
    if (!m)
        return NULL;
    uint8_t *p = wr_pb_bytes(m->data, INFO, info);
    for (size_t i = 0; i < g->n; i++)
        p = wr_pb_bytes(p, GROUP, g->items[i].media);
    m->len = (size_t)(p - m->data);
    return m;
}

static void handle_watch(struct ingest *in, struct wr_call *call)
{
    struct request q;
    struct stream *s = read_request(call->body, &q) ? find_stream(in, q.stream) : NULL;
    if (!s) {
        wr_call_fail(call, WR_ERR_NOT_FOUND,
                     "there is no stream %.*s: add it under streams: in the configuration",
                     (int)WR_MIN(q.stream.n, 64u), (const char *)q.stream.p);
        return;
    }
    wr_err e = stream__watch(s, q.lease, q.lease_ms);
    if (e != WR_OK) {
        wr_call_fail(call, e,
                     e == WR_ERR_BUSY ? "too many gateways watch this stream"
                                      : "the lease id is empty or too long");
        return;
    }
    struct group g = {.n = 0};
    struct wr_msg *info = stream__info(s, q.group ? &g : NULL);
    struct wr_msg *body = info ? watch_response(wr_msg_slice(info), &g) : NULL;
    group__free(&g);
    wr_msg_unref(info);
    if (body)
        wr_call_answer(call, body);
    else
        wr_call_fail(call, WR_ERR_BUSY, "out of memory");
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
    for (size_t i = 0; i < in->n; i++) {
        struct wr_msg *info = stream__info(&in->streams[i], NULL);
        uint8_t head[12];
        if (!info)
            continue;
        wr_buf_add(&b, head, (size_t)(wr_pb_bytes_head(head, 1, info->len) - head));
        wr_buf_slice(&b, wr_msg_slice(info));
        wr_msg_unref(info);
    }
    struct wr_msg *body = b.failed ? NULL : wr_msg_copy(wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
    if (body)
        wr_call_answer(call, body);
    else
        wr_call_fail(call, WR_ERR_BUSY, "out of memory");
}

static const struct {
    const char *method;
    void (*handle)(struct ingest *in, struct wr_call *call);
} methods[] = {
    {"watchroom.v1.Ingest/Watch", handle_watch},
    {"watchroom.v1.Ingest/Unwatch", handle_unwatch},
    {"watchroom.v1.Ingest/Streams", handle_streams},
};

static void handle_call(void *ctx, struct wr_call *call)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(methods); i++)
        if (wr_slice_is(call->method, methods[i].method)) {
            methods[i].handle(ctx, call);
            return;
        }
    wr_call_fail(call, WR_ERR_UNKNOWN_METHOD, "ingest has no method %.*s",
                 (int)WR_MIN(call->method.n, 64u), (const char *)call->method.p);
}

/* ---- building ----------------------------------------------------------------------------------------------------- */

/* Where a stream publishes: beside the instance's events, on a port of its own or under a name of its own. */
static wr_err open_stream_pub(struct ingest *in, const struct wr_config *c, size_t i,
                              struct wr_errmsg *err)
{
    struct stream *s = &in->streams[i];
    char url[300];
    if (strncmp(c->bus.ingest_events, "tcp://", 6) == 0) {
        const char *host = c->bus.ingest_events + 6, *colon = strrchr(host, ':');
        unsigned port = c->ingest.stream_port ? c->ingest.stream_port + (unsigned)i : 0;
        snprintf(url, sizeof url, "tcp://%.*s:%u", (int)(colon ? colon - host : 0), host, port);
    } else if (strncmp(c->bus.ingest_events, "ipc://", 6) == 0) {
        snprintf(url, sizeof url, "%.180s.%zu", c->bus.ingest_events, i);
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

static wr_err build_streams(struct ingest *in, const struct wr_config *c, struct wr_errmsg *err)
{
    in->streams = calloc(c->num_streams ? c->num_streams : 1, sizeof *in->streams);
    if (!in->streams) {
        wr_errmsg_set(err, "out of memory");
        return WR_ERR_BUSY;
    }
    for (size_t i = 0; i < c->num_streams; i++) {
        struct stream *s = &in->streams[in->n++];
        wr_err e = stream__init(s, &c->streams[i], wr_bus_instance(in->bus), err);
        s->lane = in->lane;
        s->no_packet_us = (int64_t)(c->ingest.no_packet_ms ? c->ingest.no_packet_ms : 8000) * 1000;
        if (e == WR_OK)
            e = open_stream_pub(in, c, i, err);
        if (e == WR_OK && stream__start(s) != WR_OK) {
            wr_errmsg_set(err, "cannot start a thread for stream %s", s->name);
            e = WR_ERR_BUSY;
        }
        if (e != WR_OK)
            return e;
        char shown[256];
        wr_url_redact(c->streams[i].url, shown, sizeof shown);
        wr_info("ingest.stream", "stream=%s source=%s transport=%s events=%s", s->name, shown,
                s->transport, s->event_url);
    }
    return WR_OK;
}

static void ingest_drain(void *state)
{
    struct ingest *in = state;
    if (in->bus)
        wr_bus_drain(in->bus);
    for (size_t i = 0; i < in->n; i++)
        stream__stop(&in->streams[i]);
}

static void ingest_stop(void *state)
{
    struct ingest *in = state;
    ingest_drain(in);
    wr_bus_server_close(&in->server);
    for (size_t i = 0; i < in->n; i++)
        stream__fini(&in->streams[i]);
    free(in->streams);
    in->streams = NULL;
    in->n = 0;
    wr_bus_pub_close(&in->lane);
    wr_bus_close(&in->bus);
}

static wr_err ingest_start(void *state, const struct wr_service_env *env, struct wr_errmsg *err)
{
    struct ingest *in = state;
    const struct wr_config *c = env->config;
    source__init_av();
    wr_err e = wr_bus_open(&(struct wr_bus_opts){.service = "ingest"}, &in->bus);
    if (e != WR_OK)
        wr_errmsg_set(err, "cannot start the bus: %s", wr_err_text(e));
    if (e == WR_OK)
        e = wr_bus_pub_open(in->bus, c->bus.ingest_events, true, &in->lane, err);
    if (e == WR_OK)
        e = build_streams(in, c, err);
    if (e == WR_OK)
        e = wr_bus_serve(in->bus, c->bus.ingest_listen, handle_call, in, &in->server, err);
    if (e != WR_OK) {
        ingest_stop(in);
        return e;
    }
    wr_info("ingest.start", "calls=%s events=%s streams=%zu", wr_bus_server_url(in->server),
            wr_bus_pub_url(in->lane), in->n);
    return WR_OK;
}

WR_PLUGIN_EXPORT const struct wr_service_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_service_plugin, struct ingest, WR_KIND_SERVICE, "ingest",
                                 WR_VERSION, "Pulls sources, publishes coded frames"),
    .start = ingest_start,
    .drain = ingest_drain,
    .stop = ingest_stop,
};
