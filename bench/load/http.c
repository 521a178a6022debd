/* SPDX-License-Identifier: MIT
 *
 * Many HTTP/1.1 connections on one epoll; see http.h. */
#include "http.h"

#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRATCH_BYTES (1u << 20)
#define EVENTS_PER_ROUND 256

void bench_http_init(struct bench_http *http, const struct bench_http_ops *ops, const char *host,
                     int port, size_t count)
{
    memset(http, 0, sizeof(*http));
    http->ops = ops;
    http->count = count;
    bench_loopback(&http->address, host, port);
    snprintf(http->host, sizeof(http->host), "%s:%d", host, port);
    bench_need_files(count + 64);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* naps and send times are to be exact */
    http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (http->epoll_fd < 0)
        bench_die("epoll_create1: %s", strerror(errno));
    http->conns = bench_calloc(count, sizeof(struct bench_http_conn));
    http->scratch = bench_calloc(1, SCRATCH_BYTES);
    for (size_t i = 0; i < count; i++) {
        http->conns[i].http = http;
        http->conns[i].index = (uint32_t)i;
        http->conns[i].fd = -1;
    }
}

void bench_http_fini(struct bench_http *http)
{
    for (size_t i = 0; i < http->count; i++) {
        bench_http_end(&http->conns[i]);
        free(http->conns[i].head);
        free(http->conns[i].out);
    }
    close(http->epoll_fd);
    free(http->conns);
    free(http->scratch);
    memset(http, 0, sizeof(*http));
}

void bench_http_end(struct bench_http_conn *conn)
{
    if (conn->fd >= 0)
        bench_reset(conn->fd);
    conn->fd = -1;
    conn->state = BENCH_HTTP_CLOSED;
    conn->asked = false;
    conn->out_len = conn->out_at = 0;
}

static void lost(struct bench_http_conn *conn, const char *why)
{
    const struct bench_http *http = conn->http;
    bool asked = conn->asked;
    bench_http_end(conn);
    if (!asked)
        return; /* an idle one: the server's right */
    if (http->ops->on_lost == NULL)
        bench_die("%s ended connection %u in the middle of a request: %s", http->host, conn->index,
                  why);
    http->ops->on_lost(conn);
}

static void arm(struct bench_http_conn *conn, int operation)
{
    bool waits = conn->state == BENCH_HTTP_CONNECTING || conn->out_at < conn->out_len;
    struct epoll_event event = {.events = EPOLLIN | (waits ? (uint32_t)EPOLLOUT : 0u),
                                .data.ptr = conn};
    if (epoll_ctl(conn->http->epoll_fd, operation, conn->fd, &event) != 0)
        bench_die("epoll_ctl: %s", strerror(errno));
}

/* Sends what waits; a peer that has gone is noticed by the next read, behind the answer that it may have left. */
static void flush(struct bench_http_conn *conn)
{
    bool waited = conn->out_at > 0;
    while (conn->out_at < conn->out_len) {
        ssize_t sent = send(conn->fd, conn->out + conn->out_at, conn->out_len - conn->out_at,
                            MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        conn->out_at = sent < 0 ? conn->out_len : conn->out_at + (size_t)sent;
    }
    if (conn->out_at == conn->out_len)
        conn->out_at = conn->out_len = 0;
    if (waited || conn->out_len > 0)
        arm(conn, EPOLL_CTL_MOD);
}

void bench_http_send(struct bench_http_conn *conn, const void *data, size_t size)
{
    if (conn->fd < 0)
        return;
    if (conn->out_len + size > conn->out_cap) {
        conn->out_cap = (conn->out_len + size) * 2;
        conn->out = bench_realloc(conn->out, conn->out_cap);
    }
    memcpy(conn->out + conn->out_len, data, size);
    conn->out_len += size;
    if (conn->state != BENCH_HTTP_CONNECTING)
        flush(conn);
}

void bench_http_ask(struct bench_http_conn *conn, const void *data, size_t size)
{
    struct bench_http *http = conn->http;
    if (conn->head == NULL)
        conn->head = bench_calloc(1, BENCH_HTTP_HEAD_MAX);
    conn->begun_ns = bench_now_ns();
    conn->asked = true;
    conn->head_len = 0;
    if (conn->state == BENCH_HTTP_CLOSED) {
        conn->fd = bench_dial(&http->address,
                              http->sources > 0 ? conn->index % http->sources + 1 : 0);
        conn->state = BENCH_HTTP_CONNECTING;
        http->opened++;
        arm(conn, EPOLL_CTL_ADD);
    } else {
        conn->state = BENCH_HTTP_HEAD;
    }
    bench_http_send(conn, data, size);
}

bool bench_http_header(const struct bench_http_conn *conn, const char *name, char *out, size_t room)
{
    size_t len = strlen(name);
    for (const char *at = conn->head; (at = strchr(at, '\n')) != NULL;) {
        at++;
        if (strncasecmp(at, name, len) != 0 || at[len] != ':')
            continue;
        at += len + 1;
        at += strspn(at, " \t");
        snprintf(out, room, "%.*s", (int)strcspn(at, "\r\n"), at);
        return true;
    }
    return false;
}

/* Reads the head that is whole in conn->head. */
static void learn_head(struct bench_http_conn *conn)
{
    char value[64];
    conn->status = (int)strtol(conn->head + 9, NULL, 10);
    conn->length = 0;
    if (bench_http_header(conn, "Content-Length", value, sizeof(value)))
        conn->length = strtoull(value, NULL, 10);
    else if (conn->status != 204 && conn->status != 304)
        bench_die("%s: an answer without Content-Length:\n%.600s", conn->http->host, conn->head);
    conn->left = conn->length;
    conn->closes = bench_http_header(conn, "Connection", value, sizeof(value)) &&
                   strcasecmp(value, "close") == 0;
}

/* Takes bytes of a head; how many of them were used. The state is BODY when the head is whole. */
static size_t take_head(struct bench_http_conn *conn, const uint8_t *data, size_t size)
{
    size_t had = conn->head_len, take = BENCH_HTTP_HEAD_MAX - 1 - had;
    if (take > size)
        take = size;
    memcpy(conn->head + had, data, take);
    conn->head[had + take] = '\0';
    const char *end = memmem(conn->head, had + take, "\r\n\r\n", 4);
    if (end == NULL) {
        if (had + take == BENCH_HTTP_HEAD_MAX - 1)
            bench_die("%s: a head of more than %d bytes", conn->http->host, BENCH_HTTP_HEAD_MAX);
        conn->head_len += take;
        return take;
    }
    size_t whole = (size_t)(end - conn->head) + 4;
    conn->head[whole] = '\0';
    conn->head_len = 0;
    if (strncmp(conn->head, "HTTP/1.1 1", 10) != 0) {
        learn_head(conn);
        conn->state = BENCH_HTTP_BODY;
    }
    return whole - had;
}

static void finish(struct bench_http_conn *conn)
{
    int64_t now_ns = bench_now_ns();
    conn->state = BENCH_HTTP_IDLE;
    conn->asked = false;
    if (conn->closes)
        bench_http_end(conn);
    conn->http->ops->on_answer(conn, now_ns);
}

/* One read; true when the socket may hold more. */
static bool read_some(struct bench_http_conn *conn)
{
    struct bench_http *http = conn->http;
    bool drop = conn->state == BENCH_HTTP_BODY && http->ops->on_body == NULL;
    /* A body that is dropped is taken to its end and not beyond: behind it is the next answer's head. */
    size_t room = drop && conn->left < SCRATCH_BYTES ? (size_t)conn->left : SCRATCH_BYTES;
    ssize_t got = recv(conn->fd, http->scratch, room, drop ? MSG_TRUNC : 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        lost(conn, got < 0 ? strerror(errno) : "closed");
        return false;
    }
    size_t at = 0, size = (size_t)got;
    while (conn->state == BENCH_HTTP_HEAD && at < size)
        at += take_head(conn, http->scratch + at, size - at);
    if (conn->state == BENCH_HTTP_IDLE)
        bench_die("%s: bytes that nobody asked for", http->host);
    if (conn->state != BENCH_HTTP_BODY)
        return false;
    size_t body = size - at;
    if (body > conn->left)
        bench_die("%s: more bytes than the answer's Content-Length", http->host);
    if (body > 0 && http->ops->on_body != NULL)
        http->ops->on_body(conn, http->scratch + at, body);
    conn->left -= body;
    if (conn->left > 0)
        return true;
    finish(conn);
    return false;
}

static void handle_event(struct bench_http_conn *conn, uint32_t events)
{
    if (conn->state == BENCH_HTTP_CONNECTING) {
        bench_dialled(conn->fd, &conn->http->address);
        if ((events & EPOLLOUT) == 0)
            return;
        conn->state = BENCH_HTTP_HEAD;
        flush(conn);
        arm(conn, EPOLL_CTL_MOD);
    } else if ((events & EPOLLOUT) != 0) {
        flush(conn);
        arm(conn, EPOLL_CTL_MOD);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && conn->fd >= 0)
        while (read_some(conn))
            ;
}

void bench_http_poll(struct bench_http *http, int64_t until_ns)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    int count = bench_wait(http->epoll_fd, events, EVENTS_PER_ROUND, until_ns, http->nap_ns);
    for (int i = 0; i < count; i++)
        handle_event(events[i].data.ptr, events[i].events);
}
