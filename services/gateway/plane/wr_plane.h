/* SPDX-License-Identifier: MIT
 *
 * The plane: every long-lived client socket of the gateway. One epoll thread a core; each connection belongs to one of
 * them and is touched by no other. Other threads speak to a connection by its id, through the thread's inbox, which is
 * first in, first out: what one thread posts and sends arrives in that order.
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
struct wr_frame *wr_frame_ref(struct wr_frame *f);
/* Accepts NULL. */
void wr_frame_unref(struct wr_frame *f);
/* Bytes without the WebSocket head. */
size_t wr_frame_bytes(const struct wr_frame *f);

/* ---- connections ------------------------------------------------------------------------------------------------- */

enum wr_transport {
    WR_TRANSPORT_WS = 1, /* WebSocket, after the 101 */
    WR_TRANSPORT_RAW, /* bytes out, as after the head of an endless HTTP answer; bytes in are read and thrown away */
};

enum wr_queue_policy {
    WR_QUEUE_CHAT = 1, /* more than queue_bytes waiting: close 3008 "slow" */
    WR_QUEUE_MEDIA, /* more than queue_bytes or queue_ms waiting: frames that were not begun are dropped up to the next
                          key frame (WR_FRAME_KEEP stay), counted; 10 s without a byte taken: the connection is closed */
};

struct wr_conn_closed {
    uint16_t code;      /* close code sent or received; 1006 when the socket ended without one */
    const char *reason; /* borrowed, never NULL */
    bool by_peer;
};

/* All run on the connection's thread and must not block. Only close is required. */
struct wr_conn_ops {
    /* First callback. */
    void (*open)(struct wr_conn *c, void *user);
    /* A whole message, at most max_message bytes; text is valid UTF-8. bytes are borrowed. Not on RAW. */
    void (*message)(struct wr_conn *c, void *user, enum wr_ws_op op, struct wr_slice bytes);
    /* When the time that wr_conn_wake named has come. */
    void (*wake)(struct wr_conn *c, void *user);
    /* The queue went from not empty to empty. */
    void (*drained)(struct wr_conn *c, void *user);
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
};

/* Sets a place for one connection aside, so that a client can still be told when there is none. wr_plane_adopt takes it,
 * or wr_plane_release gives it back; until then the plane is not empty. Errors: BUSY (max_connections), CLOSED (draining).
 * [any] */
WR_MUST_USE wr_err wr_plane_reserve(struct wr_plane *p);
void wr_plane_release(struct wr_plane *p);
/* Takes a connected socket into the plane, to a place that was reserved: moves fd and the place (also on an error, then
 * the socket is closed and ops->close runs). `early` are bytes that were read from it already. In a plane that began to
 * drain since, it is closed with 1001 like the others. Errors: BUSY (memory). [any] */
WR_MUST_USE wr_err wr_plane_adopt(struct wr_plane *p, int fd, struct wr_slice early,
                                  const struct wr_conn_opts *opts);

/* Queues a frame (its own reference is taken). Written at the latest when the thread has run its current events. [own] */
void wr_conn_send(struct wr_conn *c, struct wr_frame *f);
/* Copies bytes into a frame of its own. [own] */
void wr_conn_send_bytes(struct wr_conn *c, enum wr_ws_op op, struct wr_slice bytes);
/* Ends the connection after what is queued: WebSocket: close frame, waits for the peer's (5 s at most). RAW: end of
 * file. No message comes any more. Later calls do nothing. reason at most 123 bytes. [own] */
void wr_conn_close(struct wr_conn *c, uint16_t code, const char *reason);
/* Stops and resumes reading: the peer feels TCP's own back-pressure. [own] */
void wr_conn_pause(struct wr_conn *c, bool pause);
/* ops->wake runs once, in about ms milliseconds (granularity 0.25 s); replaces an earlier one. 0 = never. [own] */
void wr_conn_wake(struct wr_conn *c, uint32_t ms);
/* Bytes that wait in the queue. [own] */
size_t wr_conn_queued(const struct wr_conn *c);
/* A media connection lost frames and waits for a key frame. [own] */
bool wr_conn_skipping(const struct wr_conn *c);
struct wr_conn_id wr_conn_id(const struct wr_conn *c);
void *wr_conn_user(const struct wr_conn *c);
struct wr_plane *wr_conn_plane(const struct wr_conn *c);

/* ---- from other threads ------------------------------------------------------------------------------------------ */

/* Runs on the connection's thread; c is NULL when the connection is gone. */
typedef void (*wr_conn_fn)(struct wr_conn *c, void *arg);
/* fn runs exactly once. [any] */
void wr_plane_post(struct wr_plane *p, struct wr_conn_id id, wr_conn_fn fn, void *arg);

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
};
WR_MUST_USE wr_err wr_plane_open(const struct wr_plane_opts *opts, struct wr_plane **out);
/* Takes no new connections; closes all with 1001 and the reason. */
void wr_plane_drain(struct wr_plane *p, const char *reason);
/* Waits until no connection is left, at most ms. True when none is. */
bool wr_plane_wait_empty(struct wr_plane *p, uint32_t ms);
/* Cuts what is left without ceremony (ops->close runs) and waits for it. After a drain. */
void wr_plane_cut(struct wr_plane *p);
/* Cuts what is left (ops->close runs), ends the threads, frees. Fan-outs must not be used any more. NULL is fine. */
void wr_plane_close(struct wr_plane **p);
size_t wr_plane_connections(const struct wr_plane *p);
/* True when the descriptor belongs to a connection of a plane (the search for a request's descriptor skips those). */
bool wr_plane_owns_fd(int fd);
/* The lowest descriptor number at or above `from` that does not (it may be closed); -1 when there is none. */
int wr_plane_next_foreign_fd(int from);

#endif
