/* SPDX-License-Identifier: MIT
 *
 * Many HTTP and WebSocket client connections on one epoll; see client.h. */
#include "client.h"

#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SCRATCH_BYTES (1u << 20)
#define EVENTS_PER_ROUND 512

/* The key of RFC 6455 section 1.3 and its answer: lets the handshake be checked without SHA-1. */
static const char ws_key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ws_accept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
static const uint8_t ws_mask[4] = {0x37, 0xfa, 0x21, 0x3d};

void bench_client_init(struct bench_client *client, const struct bench_client_ops *ops,
                       const char *host, int port, size_t count)
{
    memset(client, 0, sizeof(*client));
    client->ops = ops;
    client->count = count;
    bench_loopback(&client->address, host, port);
    snprintf(client->host, sizeof(client->host), "%s:%d", host, port);
    bench_need_files(count + 64);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* naps and send times are to be exact */
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll_fd < 0)
        bench_die("epoll_create1: %s", strerror(errno));
    client->conns = bench_calloc(count, sizeof(struct bench_conn));
    client->scratch = bench_calloc(1, SCRATCH_BYTES);
    for (size_t i = 0; i < count; i++) {
        client->conns[i].client = client;
        client->conns[i].index = (uint32_t)i;
        client->conns[i].fd = -1;
    }
}

void bench_client_fini(struct bench_client *client)
{
    for (size_t i = 0; i < client->count; i++) {
        struct bench_conn *conn = &client->conns[i];
        bench_conn_end(conn);
        free(conn->keep);
        free(conn->join);
        free(conn->out);
    }
    close(client->epoll_fd);
    free(client->conns);
    free(client->scratch);
    memset(client, 0, sizeof(*client));
}

static void buffer_add(uint8_t **buffer, size_t *len, size_t *cap, const void *data, size_t size)
{
    if (*len + size > *cap) {
        *cap = (*len + size) * 2;
        *buffer = bench_realloc(*buffer, *cap);
    }
    memcpy(*buffer + *len, data, size);
    *len += size;
}

static void arm(struct bench_conn *conn, int operation, bool want_write)
{
    /* Edge-triggered: half the polling. handle_readable reads until the socket has less than the buffer takes. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET |
                                          (want_write ? (uint32_t)EPOLLOUT : 0u),
                                .data.ptr = conn};
    if (epoll_ctl(conn->client->epoll_fd, operation, conn->fd, &event) != 0)
        bench_die("epoll_ctl: %s", strerror(errno));
    conn->want_write = want_write;
}

void bench_client_connect(struct bench_client *client, size_t index, const char *path,
                          bool websocket, const char *subprotocol)
{
    struct bench_conn *conn = &client->conns[index];
    conn->fd = bench_dial(&client->address, client->sources > 0 ? index % client->sources + 1 : 0);
    conn->websocket = websocket;
    conn->state = BENCH_CONN_CONNECTING;
    conn->kept = conn->joined = conn->out_len = 0; /* of a connection that had this place before */
    char head[1024];
    int len =
        websocket
            ? snprintf(
                  head, sizeof(head),
                  "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                  path, client->host, ws_key, subprotocol ? "Sec-WebSocket-Protocol: " : "",
                  subprotocol ? subprotocol : "", subprotocol ? "\r\n" : "")
            : snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path,
                       client->host);
    buffer_add(&conn->out, &conn->out_len, &conn->out_cap, head, (size_t)len);
    client->connecting++;
    arm(conn, EPOLL_CTL_ADD, true);
}

static void conn_closed(struct bench_conn *conn)
{
    if (conn->state == BENCH_CONN_CLOSED)
        return;
    struct bench_client *client = conn->client;
    if (conn->state == BENCH_CONN_OPEN)
        client->opened--;
    else
        client->connecting--;
    client->closed++;
    conn->state = BENCH_CONN_CLOSED;
    bench_reset(conn->fd);
    conn->fd = -1;
    if (client->ops->on_close != NULL)
        client->ops->on_close(conn);
}

void bench_conn_end(struct bench_conn *conn)
{
    if (conn->fd >= 0)
        conn_closed(conn);
}

static void flush_out(struct bench_conn *conn)
{
    size_t done = 0;
    while (done < conn->out_len) {
        ssize_t sent = send(conn->fd, conn->out + done, conn->out_len - done, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN)
                break;
            conn_closed(conn);
            return;
        }
        done += (size_t)sent;
    }
    memmove(conn->out, conn->out + done, conn->out_len - done);
    conn->out_len -= done;
    if ((conn->out_len > 0) != conn->want_write)
        arm(conn, EPOLL_CTL_MOD, conn->out_len > 0);
}

static bool send_frame(struct bench_conn *conn, uint8_t opcode, const void *data, size_t size)
{
    if (conn->state != BENCH_CONN_OPEN)
        return false;
    uint8_t head[14];
    size_t head_len = 2;
    head[0] = (uint8_t)(0x80u | opcode);
    if (size < 126) {
        head[1] = (uint8_t)(0x80u | size);
    } else if (size < 65536) {
        head[1] = 0x80u | 126u;
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
        head_len = 4;
    } else {
        bench_die("a frame of %zu bytes is not sent by a load program", size);
    }
    memcpy(head + head_len, ws_mask, 4);
    head_len += 4;
    buffer_add(&conn->out, &conn->out_len, &conn->out_cap, head, head_len);
    size_t at = conn->out_len;
    buffer_add(&conn->out, &conn->out_len, &conn->out_cap, data, size);
    for (size_t i = 0; i < size; i++)
        conn->out[at + i] ^= ws_mask[i & 3];
    if (!conn->want_write)
        flush_out(conn);
    return conn->state == BENCH_CONN_OPEN;
}

bool bench_conn_send(struct bench_conn *conn, const void *data, size_t size)
{
    return send_frame(conn, 1, data, size);
}

/* Handles one whole frame. False when the connection has ended. */
static bool handle_frame(struct bench_conn *conn, uint8_t first, const uint8_t *payload,
                         size_t size, int64_t now_ns)
{
    struct bench_client *client = conn->client;
    uint8_t opcode = first & 0x0f;
    bool fin = (first & 0x80) != 0;
    client->frames_in++;
    if (opcode == 8) {
        conn->close_code = size >= 2 ? (uint16_t)((payload[0] << 8) | payload[1]) : 1005;
        conn_closed(conn);
        return false;
    }
    if (opcode == 9)
        return send_frame(conn, 10, payload, size);
    if (opcode == 10)
        return true;
    if (fin && opcode != 0) {
        client->ops->on_message(conn, opcode, payload, size, now_ns);
        return conn->state == BENCH_CONN_OPEN;
    }
    if (opcode != 0) {
        conn->join_opcode = opcode;
        conn->joined = 0;
    }
    buffer_add(&conn->join, &conn->joined, &conn->joined_cap, payload, size);
    if (fin) {
        client->ops->on_message(conn, conn->join_opcode, conn->join, conn->joined, now_ns);
        conn->joined = 0;
    }
    return conn->state == BENCH_CONN_OPEN;
}

/* Returns how many bytes were used; the rest is an unfinished frame. */
static size_t parse_frames(struct bench_conn *conn, const uint8_t *data, size_t size,
                           int64_t now_ns)
{
    size_t at = 0;
    while (size - at >= 2) {
        const uint8_t *p = data + at;
        uint64_t len = p[1] & 0x7fu;
        size_t head = 2;
        if ((p[1] & 0x80) != 0 || (p[0] & 0x70) != 0)
            bench_die("connection %u: the server sent a masked frame or reserved bits",
                      conn->index);
        if (len == 126) {
            if (size - at < 4)
                break;
            len = ((uint64_t)p[2] << 8) | p[3];
            head = 4;
        } else if (len == 127) {
            if (size - at < 10)
                break;
            len = 0;
            for (int i = 2; i < 10; i++)
                len = (len << 8) | p[i];
            head = 10;
        }
        if (len > SCRATCH_BYTES * 16ull)
            bench_die("connection %u: frame of %llu bytes", conn->index, (unsigned long long)len);
        if (size - at - head < len)
            break;
        at += head + (size_t)len;
        if (!handle_frame(conn, p[0], p + head, (size_t)len, now_ns))
            return size;
    }
    return at;
}

/* Body of an endless HTTP answer, chunked or not. Returns how many bytes were used. */
static size_t parse_body(struct bench_conn *conn, const uint8_t *data, size_t size, int64_t now_ns)
{
    const struct bench_client_ops *ops = conn->client->ops;
    if (!conn->chunked) {
        ops->on_message(conn, 2, data, size, now_ns);
        return size;
    }
    size_t at = 0;
    while (at < size) {
        if (conn->chunk_left == 0) {
            const uint8_t *end = memchr(data + at, '\n', size - at);
            if (end == NULL)
                break;
            conn->chunk_left = (uint32_t)strtoul((const char *)data + at, NULL, 16) +
                               2; /* ends at the CR: no overrun */
            if (conn->chunk_left == 2)
                return size;
            at = (size_t)(end - data) + 1;
            continue;
        }
        size_t take = size - at < conn->chunk_left ? size - at : conn->chunk_left;
        size_t body = conn->chunk_left > 2 ? conn->chunk_left - 2
                                           : 0; /* the CRLF behind a chunk is not body */
        if (body > take)
            body = take;
        if (body > 0)
            ops->on_message(conn, 2, data + at, body, now_ns);
        conn->chunk_left -= (uint32_t)take;
        at += take;
    }
    return at;
}

/* Ends the program, unless it counts refusals: a measurement with an error in it is none. */
static void refused(struct bench_conn *conn, const char *what)
{
    if (conn->client->ops->on_refused == NULL)
        bench_die("%s, in answer to the handshake: %.400s", conn->client->host, what);
    conn->client->ops->on_refused(conn, what);
}

static size_t parse_handshake(struct bench_conn *conn, uint8_t *data, size_t size)
{
    struct bench_client *client = conn->client;
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    data[head - 1] = '\0';
    const char *text = (const char *)data;
    bool fine = strncmp(text, conn->websocket ? "HTTP/1.1 101" : "HTTP/1.1 200", 12) == 0 &&
                (!conn->websocket || strstr(text, ws_accept) != NULL);
    if (!fine) {
        refused(conn, text);
        conn_closed(conn);
        return size;
    }
    conn->chunked = !conn->websocket && strcasestr(text, "transfer-encoding: chunked") != NULL;
    conn->state = BENCH_CONN_OPEN;
    client->connecting--;
    client->opened++;
    if (client->ops->on_open != NULL)
        client->ops->on_open(conn);
    return head;
}

/* One read. True when the socket may hold more. */
static bool read_some(struct bench_conn *conn)
{
    struct bench_client *client = conn->client;
    uint8_t *data = client->scratch;
    size_t had = conn->kept;
    uint8_t *big = NULL;
    size_t cap = SCRATCH_BYTES;
    if (had > SCRATCH_BYTES / 2) { /* a frame larger than the shared buffer */
        cap = had + SCRATCH_BYTES;
        data = big = bench_calloc(1, cap);
    }
    if (had > 0)
        memcpy(data, conn->keep, had);
    ssize_t got = recv(conn->fd, data + had, cap - had - 1, 0);
    if (got <= 0) {
        free(big);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return errno == EINTR;
        if (conn->state != BENCH_CONN_OPEN)
            refused(conn, "closed the connection during the handshake");
        conn_closed(conn);
        return false;
    }
    int64_t now_ns = bench_now_ns();
    client->bytes_in += (uint64_t)got;
    size_t size = had + (size_t)got, at = 0;
    data[size] = '\0';
    if (conn->state == BENCH_CONN_HANDSHAKE)
        at = parse_handshake(conn, data, size);
    if (conn->state == BENCH_CONN_OPEN && at < size)
        at += conn->websocket ? parse_frames(conn, data + at, size - at, now_ns)
                              : parse_body(conn, data + at, size - at, now_ns);
    conn->kept = 0;
    if (conn->state != BENCH_CONN_CLOSED && at < size)
        buffer_add(&conn->keep, &conn->kept, &conn->kept_cap, data + at, size - at);
    free(big);
    return (size_t)got == cap - had - 1 && conn->state != BENCH_CONN_CLOSED;
}

static void handle_event(struct bench_conn *conn, uint32_t events)
{
    if (conn->state == BENCH_CONN_CONNECTING) {
        bench_dialled(conn->fd, &conn->client->address);
        if ((events & EPOLLOUT) == 0)
            return;
        conn->state = BENCH_CONN_HANDSHAKE;
    }
    if ((events & EPOLLOUT) != 0 && conn->state != BENCH_CONN_CLOSED)
        flush_out(conn);
    bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !=
                  0; /* there is no later edge: read to the end */
    if ((events & EPOLLIN) != 0 || ending)
        while (conn->state != BENCH_CONN_CLOSED && (read_some(conn) || ending))
            ;
}

void bench_client_poll(struct bench_client *client, int64_t until_ns)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    int count = bench_wait(client->epoll_fd, events, EVENTS_PER_ROUND, until_ns, client->nap_ns);
    for (int i = 0; i < count; i++)
        handle_event(events[i].data.ptr, events[i].events);
}

void bench_client_connect_all(struct bench_client *client, const char *path, bool websocket,
                              const char *subprotocol, size_t window, double timeout_s)
{
    int64_t deadline = bench_now_ns() + (int64_t)(timeout_s * 1e9);
    size_t next = 0;
    while (client->opened < client->count) {
        while (next < client->count && client->connecting < window)
            bench_client_connect(client, next++, path, websocket, subprotocol);
        bench_client_poll(client, deadline);
        if (client->closed > 0)
            bench_die("%zu of %zu connections were closed while connecting", client->closed,
                      client->count);
        if (bench_now_ns() > deadline)
            bench_die("only %zu of %zu connections open after %.0f s", client->opened,
                      client->count, timeout_s);
    }
}
