/* SPDX-License-Identifier: MIT
 *
 * Many HTTP/1.1 connections on one epoll that ask and are answered: the client half of what is measured of pages, REST, downloads
 * and slow uploads. One thread. A connection is kept alive and opened anew where the server closed it; one request at a time on
 * each. An answer has a Content-Length (or a status that has no body): another one exits, for its end would be a guess. */
#ifndef WATCHROOM_BENCH_HTTP_H
#define WATCHROOM_BENCH_HTTP_H

#include "net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_HTTP_HEAD_MAX 4096

enum bench_http_state {
    BENCH_HTTP_CLOSED,
    BENCH_HTTP_CONNECTING,
    BENCH_HTTP_IDLE,
    BENCH_HTTP_HEAD, /* asked; the answer's head is awaited */
    BENCH_HTTP_BODY
};

struct bench_http;

struct bench_http_conn {
    struct bench_http *http;
    uint32_t index;
    int fd;
    enum bench_http_state state;
    bool asked, closes; /* a request is under way; the answer says that it is the last one */
    int status;
    uint64_t length, left; /* of the answer's body; what is still to come */
    int64_t begun_ns;      /* when the request was begun: before the connection, if it made one */
    size_t head_len, out_len, out_at, out_cap;
    char *head, *out;
};

struct bench_http_ops {
    /* Bytes of an answer's body, borrowed. NULL: bodies are thrown away by the kernel, which costs the client nothing. */
    void (*on_body)(struct bench_http_conn *conn, const uint8_t *data, size_t size);
    /* A whole answer; conn->head has its head as text. The next request may be begun from here. */
    void (*on_answer)(struct bench_http_conn *conn, int64_t now_ns);
    /* The connection ended in the middle of a request. NULL: that ends the program. */
    void (*on_lost)(struct bench_http_conn *conn);
};

struct bench_http {
    int epoll_fd;
    struct sockaddr_in address;
    char host[64];
    const struct bench_http_ops *ops;
    struct bench_http_conn *conns;
    size_t count;
    size_t sources; /* addresses that the connections are spread over; 0: the kernel's one */
    int64_t nap_ns; /* see bench_wait */
    uint8_t *scratch;
    uint64_t opened; /* connections that were made */
};

void bench_http_init(struct bench_http *http, const struct bench_http_ops *ops, const char *host,
                     int port, size_t count);
void bench_http_fini(struct bench_http *http);
/* Begins a request with these bytes, on a connection that has none under way; connects when it is closed. */
void bench_http_ask(struct bench_http_conn *conn, const void *data, size_t size);
/* More bytes of the request under way. */
void bench_http_send(struct bench_http_conn *conn, const void *data, size_t size);
/* Ends a connection by reset; nothing is called back. */
void bench_http_end(struct bench_http_conn *conn);
/* The value of a header of the answer, into `out`; false when it has none. */
bool bench_http_header(const struct bench_http_conn *conn, const char *name, char *out,
                       size_t room);
/* Handles what has come until `until_ns`; returns at once after one round of events when there were some. */
void bench_http_poll(struct bench_http *http, int64_t until_ns);

#endif
