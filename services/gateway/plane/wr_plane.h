/* SPDX-License-Identifier: MIT
 *
 * The plane: every client socket of the gateway, from accept to close. One epoll thread a core; each connection belongs to
 * one of them and is touched by no other. Other threads speak to a connection by its id, through the thread's inbox, which
 * is first in, first out: what one thread posts and sends arrives in that order.
 *
 * A listener (wr_plane_listen) says what its connections are: a raw protocol whose bytes are split into messages, or a
 * stream whose owner reads for itself (HTTP, ../http/front.c), which may later turn the connection into a WebSocket or an
 * endless answer (wr_conn_become).
 *
 * A frame is encoded once and shared by reference by every connection that sends it. A fanout is a set of connections
 * (a room's members that speak one format, a stream's viewers of one format) that frames are sent to; one inbox item a
 * thread carries a frame to all members there.
 *
 * Marks: [any] any thread, never blocks; [own] only on the connection's thread, that is inside wr_conn_ops callbacks
 * and functions posted with wr_plane_post, wr_fanout_post, wr_fanout_each. */
#ifndef WR_GATEWAY_PLANE_WR_PLANE_H
#define WR_GATEWAY_PLANE_WR_PLANE_H

#include "wr_err.h"
#include "wr_msg.h"

struct wr_plane;
struct wr_conn;
struct wr_fanout;
struct wr_frame;

/* Names a connection for ever; one that is gone is simply not there any more. {0} names none. */
struct wr_conn_id {
    uint64_t v;
};

/* ---- frames ------------------------------------------------------------------------------------------------------ */

enum wr_ws_op {
    WR_WS_TEXT = 1,
    WR_WS_BINARY = 2,
    WR_WS_CLOSE = 8,
    WR_WS_PING = 9,
    WR_WS_PONG = 10
};

enum wr_frame_flags {
    WR_FRAME_KEY = 1u << 0,  /* media: decoding can begin here */
    WR_FRAME_KEEP = 1u << 1, /* media: never dropped (init segment, MIME line) */
    WR_FRAME_ASKED =
        1u
        << 2, /* chat: the client asked for it: it makes nobody slow, and who answers bounds it */
};

/* A piece of a frame. With msg: bytes lie within that message, which the frame references instead of copying them.
 * Without: bytes are copied into the frame. */
struct wr_frame_part {
    struct wr_slice bytes;
    struct wr_msg *msg;
};

/* One message to a client. On a WebSocket it goes out as one unfragmented message of type op; a raw transport sends the
 * parts' bytes alone. flags: WR_FRAME_*. media_us: media time, for the log and metrics; 0 when it is not media.
 * Returns one reference; NULL only when memory is out. [any] */
struct wr_frame *wr_frame_new(enum wr_ws_op op, unsigned flags, int64_t media_us,
                              const struct wr_frame_part *parts, size_t n);
/* The common case: one run of bytes, copied. */
struct wr_frame *wr_frame_copy(enum wr_ws_op op, struct wr_slice bytes);
/* One run of bytes, copied, without a head on any transport: an HTTP answer. [any] */
struct wr_frame *wr_frame_plain(struct wr_slice bytes);
/* The same of several pieces, as in wr_frame_new. [any] */
struct wr_frame *wr_frame_plain_of(const struct wr_frame_part *parts, size_t n);
struct wr_frame *wr_frame_ref(struct wr_frame *f);
/* Accepts NULL. */
void wr_frame_unref(struct wr_frame *f);
/* Bytes without the WebSocket head. */
size_t wr_frame_bytes(const struct wr_frame *f);

/* ---- connections ------------------------------------------------------------------------------------------------- */

enum wr_transport {
    WR_TRANSPORT_WS = 1, /* WebSocket, after the 101 */
    WR_TRANSPORT_RAW, /* bytes out, as after the head of an endless HTTP answer; bytes in are read and thrown away */
    WR_TRANSPORT_TCP,    /* bytes both ways; ops->split finds the messages in those that come */
    WR_TRANSPORT_STREAM, /* bytes both ways; the owner reads them itself (ops->readable) */
};

enum wr_queue_policy {
    WR_QUEUE_CHAT = 1, /* more than queue_bytes waiting: close 3008 "slow" */
    WR_QUEUE_MEDIA, /* more than queue_bytes or queue_ms waiting: frames that were not begun are dropped up to the next
                          key frame (WR_FRAME_KEEP stay), counted; 10 s without a byte taken: the connection is closed */
    WR_QUEUE_OWN, /* the owner knows what it queues and bounds it itself */
};

struct wr_conn_closed {
    uint16_t code;      /* close code sent or received; 1006 when the socket ended without one */
    const char *reason; /* borrowed, never NULL */
    bool by_peer;
};

/* What split finds at the start of bytes: the length of the first whole message (more than 0), 0 when more is needed, or
 * one of these. */
#define WR_SPLIT_BAD \
    ((ptrdiff_t)-1) /* no message of this protocol: the connection is closed (1002) */
#define WR_SPLIT_TOO_LONG ((ptrdiff_t)-2) /* the message will be longer than may be (1009) */

/* All run on the connection's thread and must not block. Only close is required; split with TCP, readable with STREAM. */
struct wr_conn_ops {
    /* First callback. */
    void (*open)(struct wr_conn *c, void *user);
    /* A whole message, at most max_message bytes; WebSocket text is valid UTF-8; on TCP op is WR_WS_BINARY. bytes are
     * borrowed. Not on RAW and STREAM. */
    void (*message)(struct wr_conn *c, void *user, enum wr_ws_op op, struct wr_slice bytes);
    /* TCP: looks for the end of the first message in what came so far (never empty, at most max_message bytes). A pure
     * function of the bytes, called again with the same ones and more behind them. */
    ptrdiff_t (*split)(struct wr_conn *c, void *user, struct wr_slice bytes);
    /* STREAM: there is something to read (wr_conn_recv), or the peer ended its half. */
    void (*readable)(struct wr_conn *c, void *user);
    /* TCP: the peer ended its half; what is queued still goes to it. NULL: the connection is closed after what is queued. */
    void (*half_closed)(struct wr_conn *c, void *user);
    /* When the time that wr_conn_wake named has come. */
    void (*wake)(struct wr_conn *c, void *user);
    /* The queue went from not empty to empty, or the kernel has room again after wr_conn_send_file found none. */
    void (*drained)(struct wr_conn *c, void *user);
    /* The plane begins to drain; without it the connection is closed with 1001. */
    void (*drain)(struct wr_conn *c, void *user);
    /* Last callback, exactly once; also when adoption failed. Frees user. Fan-outs were left before. */
    void (*close)(struct wr_conn *c, void *user, const struct wr_conn_closed *why);
};

struct wr_conn_opts {
    enum wr_transport transport;
    enum wr_queue_policy policy;
    const struct wr_conn_ops *ops; /* static */
    void *user;
    size_t queue_bytes; /* 0 = 1 MiB for chat, 4 MiB for media */
    uint32_t queue_ms;  /* media only; 0 = 3,000 */
    uint32_t ping_ms;   /* WebSocket pings after so long without a byte from the peer; 0 = 54,000 */
    uint32_t pong_ms;   /* the peer is dead when a ping got nothing for so long; 0 = 10,000 */
    uint32_t max_message; /* bytes; 0 = 65,536 */
    uint32_t idle_ms;     /* TCP: closed (1008) after so long without a whole message; 0 = 60,000 */
    uint8_t kind;         /* of the caller's meaning: what wr_plane_each tells */
    bool is_internal;     /* no client's: not counted, not drained, not walked */
    uint32_t thread;      /* wr_plane_adopt: 1 + the thread it goes to; 0 = any */
};

/* An address and port of a socket; IPv4 as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2). */
struct wr_addr {
    uint8_t ip[16];
    uint16_t port;
};
#define WR_ADDR_TEXT 64
/* The address without the port, as people write it ("127.0.0.1", "fd00::1"). Returns out. */
const char *wr_addr_text(const struct wr_addr *a, char out[WR_ADDR_TEXT]);

/* ---- listening ---------------------------------------------------------------------------------------------------- */

struct wr_listener;
struct wr_listen_opts {
    const char *
        address; /* "127.0.0.1:8000", "[::1]:8000", "0.0.0.0:8000", "[::]:8000" (both families); port 0: any free */
    /* What a new connection is: fills *conn (zeroed before). False: it is closed without a word. On a plane thread. */
    bool (*accept)(void *ctx, const struct wr_addr *peer, struct wr_conn_opts *conn);
    void *ctx;
    /* Connections that one address (IPv6: one /64) may have at a time, 0 = any number; of addresses for which is_exempt is
     * true, which may be NULL, any number. On a plane thread. */
    uint32_t per_address;
    bool (*is_exempt)(void *ctx, const struct wr_addr *peer);
    /* What a client is told that finds no place (max_connections, its address's share, no descriptor left) before its
     * connection is closed; borrowed for the plane's life, may be empty. */
    struct wr_slice refusal;
    struct wr_slice farewell; /* the same, while the plane drains */
    /* True: some of those are let in all the same, up to 256 beyond max_connections, so that the owner hears what they want
     * before it tells them no (wr_conn_refused): proxies wait for ever on an answer that came before their request. */
    bool hears_refused;
};
/* Listens and accepts on all threads of the plane; while it drains everybody is refused, until it is cut. Out of descriptors (EMFILE, ENFILE): says so once,
 * refuses with the one that was kept for it, pauses, and goes on by itself.
 * Errors, with text for people ("... is in use by another program"): CONFLICT, INVALID, DENIED, BUSY. [any] */
WR_MUST_USE wr_err wr_plane_listen(struct wr_plane *p, const struct wr_listen_opts *opts,
                                   struct wr_listener **out, struct wr_errmsg *err);
/* "127.0.0.1:8000", with the port that was taken. Valid for the plane's life. */
const char *wr_listener_address(const struct wr_listener *l);

/* Takes a connected socket into the plane: moves fd (also on an error, then the socket is closed and ops->close runs).
 * `early` are bytes that were read from it already (not for STREAM). In a plane that began to drain it is closed with 1001
 * like the others. Errors: BUSY (max_connections, memory), CLOSED (draining). [any] */
WR_MUST_USE wr_err wr_plane_adopt(struct wr_plane *p, int fd, struct wr_slice early,
                                  const struct wr_conn_opts *opts);

/* Queues a frame (its own reference is taken). Written at the latest when the thread has run its current events. [own] */
void wr_conn_send(struct wr_conn *c, struct wr_frame *f);
/* Copies bytes into a frame of its own. [own] */
void wr_conn_send_bytes(struct wr_conn *c, enum wr_ws_op op, struct wr_slice bytes);
/* The same with WR_FRAME_ASKED. [own] */
void wr_conn_answer_bytes(struct wr_conn *c, enum wr_ws_op op, struct wr_slice bytes);
/* The connection becomes what opts says (another transport, policy, owner): the old owner is forgotten without its close,
 * ops->open of the new one runs, and then `early`, bytes that came already, are taken as the first ones (not for STREAM).
 * What is queued goes out first. From inside of a callback of a STREAM's owner, or of wr_plane_post. [own] */
void wr_conn_become(struct wr_conn *c, const struct wr_conn_opts *opts, struct wr_slice early);
/* STREAM: recv: bytes; 0: the peer ended its half; -1: nothing is there now; -2: the connection is lost (and will be
 * closed: the owner need not do anything). [own] */
ptrdiff_t wr_conn_recv(struct wr_conn *c, void *to, size_t n);
/* The thread's own room for that, 64 KiB; its content lasts until the callback returns. [own] */
uint8_t *wr_conn_scratch(struct wr_conn *c, size_t *n);
/* STREAM: sends bytes of a file by sendfile, when nothing is queued: how many went; 0: the kernel has no room, drained
 * tells when it has; -1: the file is shorter or cannot be read; -2: the connection is lost. [own] */
ptrdiff_t wr_conn_send_file(struct wr_conn *c, int fd, uint64_t offset, size_t n);
/* drained runs once in the thread's next turn, after the others had theirs. [own] */
void wr_conn_again(struct wr_conn *c);
/* Writes what is queued now and not at the end of the thread's turn. Calls nobody. [own] */
void wr_conn_flush(struct wr_conn *c);
/* The connection is cut without ceremony when the callback has returned. [own] */
void wr_conn_cut(struct wr_conn *c);
/* The same by a reset: what the kernel holds for a client that does not read is dropped, and the client learns of it. [own] */
void wr_conn_reset(struct wr_conn *c);
/* What is queued is only the beginning of what comes at once: it need not leave in a packet of its own (MSG_MORE). Until
 * the next write. [own] */
void wr_conn_more_follows(struct wr_conn *c);
/* Ends the connection after what is queued: WebSocket: close frame, waits for the peer's (5 s at most). RAW: end of
 * file. TCP and STREAM: end of file, then what the peer still sends is read and dropped, at
 * most 3 s and 256 MiB, so that it can read what it was told. No message comes any more. Later calls do nothing. reason at most 123 bytes. [own] */
void wr_conn_close(struct wr_conn *c, uint16_t code, const char *reason);
/* Stops and resumes reading: the peer feels TCP's own back-pressure. [own] */
void wr_conn_pause(struct wr_conn *c, bool pause);
/* ops->wake runs once, in about ms milliseconds (granularity 0.25 s); replaces an earlier one. 0 = never. [own] */
void wr_conn_wake(struct wr_conn *c, uint32_t ms);
/* Bytes that wait in the queue. [own] */
size_t wr_conn_queued(const struct wr_conn *c);
/* A media connection lost frames and waits for a key frame. [own] */
bool wr_conn_skipping(const struct wr_conn *c);
/* The peer's address. [own] */
const struct wr_addr *wr_conn_peer(const struct wr_conn *c);
/* The address on our side that it came in on. [own] */
void wr_conn_local(const struct wr_conn *c, struct wr_addr *out);
/* As kind in wr_conn_opts. [own] */
void wr_conn_set_kind(struct wr_conn *c, uint8_t kind);
struct wr_conn_id wr_conn_id(const struct wr_conn *c);
void *wr_conn_user(const struct wr_conn *c);
/* The user, when ops are the connection's; else NULL (it became something else). c may be NULL. */
void *wr_conn_user_of(const struct wr_conn *c, const struct wr_conn_ops *ops);
/* The thread's number, below wr_plane_threads. */
uint32_t wr_conn_thread(const struct wr_conn *c);
uint32_t wr_conn_id_thread(struct wr_conn_id id);
bool wr_conn_is_draining(const struct wr_conn *c);
/* Why this connection has no place and is only to be told so; NULL: it has one. [own] */
const char *wr_conn_refused(const struct wr_conn *c);
struct wr_plane *wr_conn_plane(const struct wr_conn *c);

/* ---- from other threads ------------------------------------------------------------------------------------------ */

/* Runs on the connection's thread; c is NULL when the connection is gone. */
typedef void (*wr_conn_fn)(struct wr_conn *c, void *arg);
/* fn runs exactly once. [any] */
void wr_plane_post(struct wr_plane *p, struct wr_conn_id id, wr_conn_fn fn, void *arg);

/* One connection as wr_plane_each saw it. */
struct wr_conn_seen {
    struct wr_conn_id id;
    struct wr_addr peer;
    enum wr_transport transport;
    uint8_t kind; /* as its owner set it */
    bool is_closing;
    void *user;                    /* the owner's, valid inside of the callback only */
    const struct wr_conn_ops *ops; /* tells whose user it is */
    size_t queued;                 /* bytes that wait in our queue */
    uint32_t age_ms, quiet_ms;     /* since it came; since its last byte */
    /* TCP_INFO (tcp(7)): the kernel's */
    uint8_t tcp_state;        /* TCP_ESTABLISHED and so on */
    uint32_t rtt_us, unacked; /* smoothed; segments under way */
    uint32_t unsent;          /* bytes in the kernel that were not sent yet */
};
/* On the connection's thread; must not block nor close it. */
typedef void (*wr_conn_seen_fn)(void *ctx, const struct wr_conn_seen *seen);
/* done(ctx, next) runs on a plane thread, exactly once. next: where the next page begins; {0}: that was all. */
typedef void (*wr_page_done_fn)(void *ctx, struct wr_conn_id next);
/* Walks connections in pages: fn for at most n (1 to 256) from `from` on ({0}: from the beginning), then done. A page is a
 * moment's work on one thread; connections come and go between pages, and each that is there all the time is seen once.
 * [any] */
void wr_plane_each(struct wr_plane *p, struct wr_conn_id from, uint32_t n, wr_conn_seen_fn fn,
                   wr_page_done_fn done, void *ctx);

/* ---- fanouts ------------------------------------------------------------------------------------------------------ */

/* The creator has a reference; so has each member and each item under way. NULL when memory is out. [any] */
struct wr_fanout *wr_fanout_new(struct wr_plane *p);
void wr_fanout_unref(struct wr_fanout **g);
/* Like wr_plane_post, for a function that will call wr_fanout_add: frames that the same thread sends to the fanout after
 * this call reach the connection after fn ran. [any] */
void wr_fanout_post(struct wr_fanout *g, struct wr_conn_id id, wr_conn_fn fn, void *arg);
/* Enters a connection once; classes: the kinds of frames it wants, a mask of the caller's meaning (0 = none).
 * False when memory is out. [own] */
WR_MUST_USE bool wr_fanout_add(struct wr_fanout *g, struct wr_conn *c, uint32_t classes);
/* Does nothing for one that is not a member. [own] */
void wr_fanout_remove(struct wr_fanout *g, struct wr_conn *c);
/* Nobody is in it, and no wr_fanout_post that may add somebody is on its way. [any], settled for the thread that posts */
bool wr_fanout_is_empty(const struct wr_fanout *g);
/* Members, about. [any] */
size_t wr_fanout_size(const struct wr_fanout *g);
/* Members with one of the classes, about. [any] */
size_t wr_fanout_size_of(const struct wr_fanout *g, uint32_t classes);
/* Sends the frames in order to every member with one of the classes. Takes own references. Errors: BUSY: a thread's
 * inbox is full; the frames went to nobody (counted). [any] */
wr_err wr_fanout_send(struct wr_fanout *g, struct wr_frame *const *frames, size_t n,
                      uint32_t classes);
/* fn(c, arg) for every member with one of the classes, on its thread. arg may be NULL. [any] */
typedef void (*wr_member_fn)(struct wr_conn *c, const struct wr_msg *arg);
void wr_fanout_each(struct wr_fanout *g, uint32_t classes, wr_member_fn fn, struct wr_msg *arg);
/* Waits until no inbox is more than half full; for threads that may block and must not lose (the rooms dispatcher). */
void wr_plane_wait_room(struct wr_plane *p);

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct wr_plane_opts {
    uint32_t threads;         /* 0 = one a core */
    uint32_t max_connections; /* 0 = 100,000 */
    bool
        is_internal; /* who looks at the gateway, not a client: left out of the gauge of connections */
};
/* Accepting begins with wr_plane_listen. */
WR_MUST_USE wr_err wr_plane_open(const struct wr_plane_opts *opts, struct wr_plane **out);
/* Takes no new connections (who comes is told farewell, or is heard and told so: hears_refused); closes all with 1001 and the reason (ops->drain). */
void wr_plane_drain(struct wr_plane *p, const char *reason);
/* Waits until no connection is left, at most ms. True when none is. */
bool wr_plane_wait_empty(struct wr_plane *p, uint32_t ms);
/* Closes the listening sockets, cuts what is left without ceremony (ops->close runs) and waits for it. */
void wr_plane_cut(struct wr_plane *p);
/* Cuts what is left (ops->close runs), ends the threads, frees. Fan-outs must not be used any more. NULL is fine. */
void wr_plane_close(struct wr_plane **p);
size_t wr_plane_connections(const struct wr_plane *p);
uint32_t wr_plane_threads(const struct wr_plane *p);

#endif
