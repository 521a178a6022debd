/* SPDX-License-Identifier: MIT
 *
 * Many HTTP and WebSocket client connections on one epoll: the client half of every fan-out measurement. One thread, one read
 * buffer for all connections, no allocation per message once a connection has seen its largest one. It parses every frame of
 * every connection (fragments, control frames, masking towards the server), answers pings, and checks the handshake. */
#ifndef WATCHROOM_BENCH_CLIENT_H
#define WATCHROOM_BENCH_CLIENT_H

#include "net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_conn_state {
    BENCH_CONN_NONE,
    BENCH_CONN_CONNECTING,
    BENCH_CONN_HANDSHAKE,
    BENCH_CONN_OPEN,
    BENCH_CONN_CLOSED
};

struct bench_client;

struct bench_conn {
    struct bench_client *client;
    uint32_t index;
    int fd;
    enum bench_conn_state state;
    bool websocket; /* else the body of one endless HTTP answer */
    bool chunked;   /* HTTP body comes in chunks */
    bool want_write;
    uint16_t close_code; /* of a close frame, 0 when the end came without one */
    uint32_t chunk_left; /* HTTP: bytes of the current chunk still to come, its CRLF included */
    size_t kept;         /* bytes of an unfinished frame */
    size_t kept_cap;
    uint8_t *keep;
    size_t joined; /* bytes of an unfinished fragmented message */
    size_t joined_cap;
    uint8_t *join;
    uint8_t join_opcode;
    size_t out_len, out_cap;
    uint8_t *out;
    void *user;
};

struct bench_client_ops {
    void (*on_open)(struct bench_conn *conn);
    /* One whole message (WebSocket), or some bytes of the body (HTTP). Borrowed. `now_ns`: when its last byte was read. */
    void (*on_message)(struct bench_conn *conn, uint8_t opcode, const uint8_t *data, size_t size,
                       int64_t now_ns);
    void (*on_close)(struct bench_conn *conn);
    /* NULL: a handshake that is refused ends the program. Else `what` (borrowed) is the answer or what else happened, and the
     * connection ends right behind this call, by on_close. */
    void (*on_refused)(struct bench_conn *conn, const char *what);
};

struct bench_client {
    int epoll_fd;
    struct sockaddr_in address;
    char host[64];
    const struct bench_client_ops *ops;
    struct bench_conn *conns;
    size_t count, opened, connecting, closed;
    size_t sources; /* addresses that the connections are spread over; 0: the kernel's one */
    /* See bench_wait. */
    int64_t nap_ns;
    uint8_t *scratch;
    uint64_t bytes_in, frames_in;
};

void bench_client_init(struct bench_client *client, const struct bench_client_ops *ops,
                       const char *host, int port, size_t count);
void bench_client_fini(struct bench_client *client);
/* Begins connection `index`, a new one or one that has ended; on_open comes from bench_client_poll. `path` with the leading slash. */
void bench_client_connect(struct bench_client *client, size_t index, const char *path,
                          bool websocket, const char *subprotocol);
/* Sends one masked text frame; keeps what the socket does not take. False when the connection is not open. */
bool bench_conn_send(struct bench_conn *conn, const void *data, size_t size);
/* Handles what has come until `until_ns`; returns at once after one round of events when there were some. */
void bench_client_poll(struct bench_client *client, int64_t until_ns);
/* Connects all `count` with `window` in flight and waits; exits when that takes longer than `timeout_s`. */
void bench_client_connect_all(struct bench_client *client, const char *path, bool websocket,
                              const char *subprotocol, size_t window, double timeout_s);
/* Ends a connection by reset: thousands of TIME_WAIT entries would disturb the next run. */
void bench_conn_end(struct bench_conn *conn);

#endif
