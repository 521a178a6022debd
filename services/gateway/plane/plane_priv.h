/* SPDX-License-Identifier: MIT
 *
 * Inside of the plane: connection, thread, inbox. For plane/ only. */
#ifndef WR_GATEWAY_PLANE_PLANE_PRIV_H
#define WR_GATEWAY_PLANE_PLANE_PRIV_H

#include "wr_base.h"
#include "wr_clock.h"
#include "wr_metrics.h"
#include "wr_plane.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#define PLANE__WHEEL_SLOTS 512u /* of 250 ms: a bit over two minutes */
#define PLANE__WHEEL_MS 250
#define PLANE__READ_BYTES (64u << 10)
/* At once from a chat client: a pause takes effect between two reads, so this is what may come after it. */
#define PLANE__CHAT_READ_BYTES (4u << 10)
#define PLANE__THREADS_MAX 64u
#define PLANE__INBOX_ITEMS 16384u /* bounds of sends that wait in a thread's inbox */
#define PLANE__INBOX_BYTES (64u << 20)
#define PLANE__MEDIA_STALL_MS 10000 /* a media connection that took no byte for so long is closed */
#define PLANE__CLOSE_MS 5000        /* how long the peer may take for its end of the close */
#define PLANE__MESSAGE_MS 60000     /* how long one message may take to arrive */
#define PLANE__CLASSES 8u
#define PLANE__STREAM_STALL_MS \
    60000 /* a client that took no byte of an answer for so long is cut */
#define PLANE__LINGER_MS \
    3000 /* how long what the peer still sends is dropped after our end of file */
#define PLANE__LINGER_KIB (256u << 10)
#define PLANE__TCP_IDLE_MS 60000
#define PLANE__LISTENERS 8u
#define PLANE__USER_TIMEOUT_MS 30000u

/* ---- frame.c ---- */
struct wr_frame {
    atomic_uint refs;
    uint32_t flags;
    int64_t media_us;
    size_t bytes;  /* without the head */
    uint16_t head; /* bytes of WebSocket head at the start of segs[0]; 0: none */
    uint16_t nsegs;
    uint16_t nmsgs;
    struct wr_msg **msgs;
    struct wr_slice segs[];
};

/* ---- connection ---- */
struct plane__slot {
    struct wr_frame *frame;
    uint32_t at_ms; /* low bits of the clock when it was queued */
};
struct plane__queue {
    struct plane__slot *v; /* ring; cap is 0 or a power of two */
    uint32_t head, n, cap;
    size_t bytes; /* still to write, and what the frames take beside it */
    size_t asked; /* of frames that the client asked for, until they are written whole */
    size_t
        off; /* bytes of the first frame that are written (a raw transport begins behind the head) */
};

/* What a queued frame takes beside its wire bytes: the struct with its lists, what malloc adds, and a place in the ring, of
 * which half may be empty. */
static inline size_t plane__frame_overhead(const struct wr_frame *f)
{
    return sizeof *f + (f->nsegs + 1u) * sizeof f->segs[0] + f->nmsgs * sizeof f->msgs[0] + 16 +
           2 * sizeof(struct plane__slot);
}

enum plane__state { CONN_OPEN = 1, CONN_CLOSING, CONN_DEAD };

struct plane__member {
    struct wr_fanout *fanout;
    uint32_t index; /* in the thread's part */
    struct plane__member *next;
};

struct wr_conn {
    uint32_t magic;
    int fd;
    struct plane__thread *t;
    uint64_t id;
    const struct wr_conn_ops *ops;
    void *user;
    struct plane__queue q;
    struct plane__reader *reader; /* only while a frame or message is incomplete */
    struct plane__member *members;
    struct wr_conn *dirty_next, *dead_next;
    struct wr_conn *wheel_next, **wheel_at; /* wheel_at NULL: not on the wheel */
    int64_t due_ms;                         /* when the wheel visits it */
    int64_t wake_ms;                        /* 0 = none */
    int64_t rx_ms;                          /* last byte from the peer */
    int64_t ping_ms_at;                     /* ping sent and not answered; 0 = none */
    int64_t progress_ms;                    /* last byte taken by the peer, or first queued */
    int64_t close_ms;                       /* deadline of closing */
    int64_t message_ms;                     /* TCP: when the last whole message came */
    int64_t since_ms;                       /* when it came */
    struct wr_listener *listener;           /* whose share of its address it takes, or NULL */
    struct plane__tail *tail;               /* TCP: bytes of a message that is not whole */
    uint32_t queue_bytes, queue_ms, ping_ms, pong_ms, max_message, idle_ms;
    uint32_t dropped_kib; /* after our end of file */
    struct wr_addr peer;
    uint16_t close_code;
    uint8_t transport, policy, state, kind;
    bool paused, armed_out, dirty, skipping, was_shut, by_peer, is_internal;
    uint8_t place;     /* enum plane__place */
    bool eof;          /* the peer ended its half: nothing is to be read any more */
    bool lost;         /* found inside of a callback: the next flush ends it */
    bool resets;       /* the end is a reset */
    bool again;        /* `drained` is asked for */
    bool more;         /* MSG_MORE */
    bool file_blocked; /* sendfile found no room */
    char *reason;      /* of the close, or NULL */
};
#define CONN_MAGIC 0x636f6e6eu

/* ---- threads ---- */
enum plane__item_kind {
    ITEM_ADOPT = 1,
    ITEM_POST,
    ITEM_SEND,
    ITEM_EACH,
    ITEM_WALK,
    ITEM_DRAIN,
    ITEM_END
};
struct plane__item {
    struct plane__item *next;
    enum plane__item_kind kind;
    struct wr_fanout *fanout;
    uint32_t classes;
    union {
        struct {
            struct wr_conn *conn;
            uint8_t *early;
            size_t n_early;
        } adopt;
        struct {
            uint64_t id;
            wr_conn_fn fn;
            void *arg;
        } post;
        struct {
            wr_member_fn fn;
            struct wr_msg *arg;
        } each;
        struct {
            uint32_t slot, n;
            wr_conn_seen_fn fn;
            wr_page_done_fn done;
            void *ctx;
        } walk;
        struct {
            char *reason;
        } drain;
        struct {
            size_t n, bytes;
        } send;
    } u;
    struct wr_frame *frames[]; /* ITEM_SEND */
};

struct plane__thread {
    struct wr_plane *plane;
    uint32_t index;
    pthread_t thread;
    int epoll, event;
    pthread_mutex_t lock; /* guards inbox_* */
    struct plane__item *inbox_first, **inbox_last;
    atomic_bool
        is_asleep; /* in epoll_wait, or about to be: set under the lock, with an empty inbox */
    atomic_uint inbox_sends;
    atomic_size_t inbox_bytes; /* of them */
    /* the thread's own: */
    int64_t now_ms;
    struct wr_conn **slots; /* by low bits of the id */
    uint32_t *gens;
    uint32_t nslots, *free_slots, nfree;
    struct wr_conn *dirty, *dead;
    int64_t rest_until_us; /* no round of writing before */
    struct wr_conn *wheel[PLANE__WHEEL_SLOTS];
    int64_t wheel_at_ms;     /* slots before this are done */
    uint32_t nconns, nwheel; /* connections; those on the wheel */
    atomic_uint load;        /* nconns, for the others to see */
    int spare;               /* a descriptor to refuse a client with when there is no other */
    bool is_deaf;            /* it accepts no more */
    int64_t accept_at_ms;    /* accepting pauses until then; 0: it does not */
    bool ended, draining;
    struct plane__reader *pool;
    uint32_t npool;
    uint8_t read[PLANE__READ_BYTES];
};

struct wr_plane {
    uint32_t nthreads, max_connections;
    atomic_uint next_thread, connections;
    atomic_bool draining;
    bool is_internal;
    pthread_mutex_t lock; /* guards the conditions: nothing else */
    pthread_cond_t changed;
    atomic_uint waiters;
    struct plane__thread *threads;
    struct wr_listener *listeners[PLANE__LISTENERS];
    atomic_uint nlisteners;
    _Atomic int64_t starved_ms; /* when descriptors were out last */
};

struct plane__entry {
    struct wr_conn *conn;
    struct plane__member *member;
    uint32_t classes;
};
struct plane__part {
    struct plane__entry *v; /* the owning thread's */
    uint32_t n, cap;
    atomic_uint present; /* members, and posts that may add one */
};
struct wr_fanout {
    atomic_uint refs;
    struct wr_plane *plane;
    uint32_t nparts; /* its own, since a fanout may outlive the plane */
    atomic_uint size;
    atomic_uint of_class[PLANE__CLASSES];
    struct plane__part parts[];
};

/* plane.c */
void plane__post(struct plane__thread *t, struct plane__item *it);
void plane__schedule(struct wr_conn *c, int64_t due_ms); /* visit it then, or earlier */
struct wr_conn *plane__find(struct plane__thread *t, uint64_t id);
void plane__signal(struct wr_plane *p);
/* A place among the connections; the last two have one only to be told that there is none for them. */
enum plane__place { PLACE_NONE = 0, PLACE_OWN, PLACE_FULL, PLACE_DRAINING };
#define PLANE__REFUSED 256u /* of those at a time */
enum plane__place plane__place(struct wr_plane *p);
wr_err plane__reserve(struct wr_plane *p);
void plane__release(struct wr_plane *p);
struct wr_conn *conn__new(int fd, const struct wr_conn_opts *o);
void conn__options(struct wr_conn *c, const struct wr_conn_opts *o);
void plane__start(struct plane__thread *t, struct wr_conn *c); /* from here on it is the thread's */
/* The same from another thread; copies early. False: no memory, nothing was done. */
bool plane__hand(struct plane__thread *t, struct wr_conn *c, struct wr_slice early);
void plane__drain_one(struct wr_conn *c, const char *reason);

/* listen.c */
#define LISTEN_MAGIC 0x6c697374u
void listen__accept(struct plane__thread *t, struct wr_listener *l);
void listen__arm(struct plane__thread *t, bool on); /* all listeners, in this thread's epoll */
void listen__resume(struct plane__thread *t);       /* when a pause is over */
void listen__leave(struct wr_listener *l,
                   const struct wr_addr *peer); /* gives its place in the share back */
void listen__thread_ended(
    struct plane__thread *t); /* accepts no more; the last one closes the sockets */
void listen__free(struct wr_plane *p);

/* addr.c */
struct sockaddr_storage;
void addr__from(const struct sockaddr_storage *ss, struct wr_addr *out);
void addr__local(int fd, struct wr_addr *out);

/* split.c: the reading side of TCP */
void split__feed(struct wr_conn *c, const uint8_t *p, size_t n);
void split__resume(struct wr_conn *c);
void split__drop(struct wr_conn *c);

/* walk.c */
void walk__run(struct plane__thread *t, struct plane__item *it);
static inline uint32_t plane__thread_of(uint64_t id)
{
    return (uint32_t)(id >> 56) & 0xff;
}

/* queue.c */
void conn__enqueue(struct wr_conn *c, struct wr_frame *f); /* by the connection's policy */
void queue__push_last(struct wr_conn *c, struct wr_frame *f);
void queue__pop(struct wr_conn *c);
void queue__free(struct wr_conn *c);
uint32_t queue__iov(struct wr_conn *c, struct iovec *iov, uint32_t max, size_t *bytes);
void queue__written(struct wr_conn *c, size_t n);

/* conn.c */
void conn__dirty(struct wr_conn *c);
void conn__flush(struct wr_conn *c);
/* Writes until the queue is empty or the kernel takes no more; false when the connection is lost. Kills nothing and calls
 * nobody. */
bool conn__write(struct wr_conn *c);
void conn__read(struct wr_conn *c);
void conn__take(struct wr_conn *c, const uint8_t *p, size_t n); /* bytes from the peer */
void conn__timers(struct wr_conn *c);
void conn__kill(struct wr_conn *c, uint16_t code, const char *reason);
void conn__arm(struct wr_conn *c);
void conn__begin_close(struct wr_conn *c, uint16_t code, const char *reason, struct wr_frame *last);

/* fanout.c */
void fanout__leave_all(struct wr_conn *c);
void fanout__run_send(struct plane__thread *t, struct plane__item *it);
void fanout__run_each(struct plane__thread *t, struct plane__item *it);

/* ws_read.c: the reading side of WebSocket, by wslay */
void ws__feed(struct wr_conn *c, const uint8_t *p, size_t n);
/* Since when a message is incomplete; 0 = none is. */
int64_t ws__incomplete_since(const struct wr_conn *c);
void ws__drop(struct wr_conn *c);
void ws__pool_free(struct plane__thread *t);

/* metrics shared by the files (metrics.c) */
extern struct wr_gauge plane__g_conns, plane__g_inbox;
extern struct wr_counter plane__m_accepted, plane__m_closed, plane__m_slow, plane__m_media_dropped,
    plane__m_media_stalled, plane__m_sent_frames, plane__m_sent_bytes, plane__m_send_calls,
    plane__m_received, plane__m_protocol_errors, plane__m_dead_peers, plane__m_inbox_full,
    plane__m_refused, plane__m_share_full, plane__m_no_descriptors, plane__m_stream_stalled,
    plane__m_tcp_idle;

#endif
