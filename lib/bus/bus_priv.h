/* SPDX-License-Identifier: MIT
 *
 * The inside of the bus: what its files share. Two transports stand behind the same few functions each: bus_local
 * (inproc://, by reference) and bus_nng (tcp://, ipc://).
 *
 * Lock order: bus -> service -> (registry of bus_local | a peer's transport). Callbacks of users run with none held. */
#ifndef WR_BUS_BUS_PRIV_H
#define WR_BUS_BUS_PRIV_H

#include "wr_bus.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_thread.h"

#include <pthread.h>

enum {
    BUS_URL_BYTES = 256,
    BUS_SERVER_QUEUE = 8192, /* calls waiting for a local server's thread */
    BUS_SERVER_QUEUE_BYTES =
        256 << 20, /* memory of their messages: uploads' pieces have a bound of their own */
    BUS_PENDING_MAX = 8192,       /* calls waiting for an instance to come up, per service */
    BUS_PENDING_BYTES = 64 << 20, /* memory of their messages */
    BUS_PEER_CONTEXTS = 64,       /* calls in flight to one NNG instance */
    BUS_PEER_QUEUE = 8192,        /* calls waiting for one of these contexts */
    BUS_SERVER_CONTEXTS = 128,
    BUS_LANE_QUEUE = 8192,     /* messages, pub and sub side; NNG's limit */
    BUS_LANE_BYTES = 64 << 20, /* memory of the messages in an in-process subscription's queue */
    BUS_MEDIA_QUEUE = 512,     /* a stream's own socket: frames are large, and old ones worthless */
    BUS_DESCRIBE_EVERY_US = 1000000,
    BUS_DOWN_AFTER_US = 3000000,
    BUS_RESOLVE_EVERY_US = 2000000,
    BUS_TICK_US = 100000,
    BUS_MAX_LANES = 16, /* that an instance tells, and that are followed */
};

#define BUS_DESCRIBE_METHOD "watchroom.v1.Node/Describe"

/* ---- bus.c ------------------------------------------------------------------------------------------------------ */

struct wr_bus {
    char instance[96];
    char service[64];
    char **plugins;
    size_t num_plugins;
    uint32_t max_entry_bytes;
    int64_t started_ms, started_us;

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;  /* something for the housekeeper */
    struct wr_bus_server *servers;
    struct wr_bus_pub *pubs;
    struct wr_bus_service *services;
    struct wr_bus_sub *subs;
    struct bus_op *failed; /* waiting for the housekeeper to tell their callers */
    unsigned failing;      /* threads that tell them */
    unsigned walking;      /* threads that walk the four lists without the lock */
    pthread_cond_t walked; /* walking or failing became 0 */
    bool draining, closing, kicked, looked_up;
    char reason[301];
    int64_t cpu_at_us, cpu_us; /* for the load figure */
    double load;

    pthread_t housekeeper, prober;
    atomic_int in_flight; /* calls being handled by our servers */
    atomic_uint trace;
};

/* Encoded NodeInfo of this instance. */
struct wr_msg *bus__describe(struct wr_bus *bus);
/* Tells the callers of ops that failed inside wr_bus_call: all that failed before have been told on return, by whichever
 * thread. No lock held. */
void bus__run_failed(struct wr_bus *bus);
/* What is opened on a bus stands in one of its lists from bus__join_LIST to bus__leave_LIST, which waits for threads that
 * walk the lists: afterwards none of them knows the member. No lock held; not by a thread that walks. */
#define BUS_LISTS(X)            \
    X(wr_bus_server, servers)   \
    X(wr_bus_pub, pubs)         \
    X(wr_bus_service, services) \
    X(wr_bus_sub, subs)
#define X(type, list)                                          \
    void bus__join_##list(struct wr_bus *bus, struct type *m); \
    void bus__leave_##list(struct wr_bus *bus, struct type *m);
BUS_LISTS(X)
#undef X
/* Makes the housekeeper look now. */
void bus__kick(struct wr_bus *bus);
/* Makes the prober take what a lookup found. */
void bus__looked_up(struct wr_bus *bus);

/* ---- bus_envelope.c --------------------------------------------------------------------------------------------- */

struct bus_call_view {
    struct wr_slice method, trace_id, body;
    uint32_t deadline_ms;
};
struct bus_answer_view {
    uint32_t code;
    struct wr_slice text, body;
};
/* False when the bytes are not such a message. Slices are borrowed. */
bool bus__parse_call(struct wr_slice bytes, struct bus_call_view *out);
bool bus__parse_answer(struct wr_slice bytes, struct bus_answer_view *out);
/* Splits "topic 0x00 event"; false without a zero byte. */
bool bus__parse_event(struct wr_slice bytes, struct wr_slice *topic, struct wr_slice *event);
#define BUS_ENVELOPE_MAX 640
/* Write everything up to the body's first byte; return its length (at most BUS_ENVELOPE_MAX). */
size_t bus__write_call(uint8_t *to, const char *method, const char *trace_id, uint32_t deadline_ms,
                       size_t body_n);
size_t bus__write_answer(uint8_t *to, wr_err code, const char *text, size_t body_n);
/* True when the topic begins with one of the prefixes ("\x01" at a prefix's end: must be equal). */
bool bus__topic_matches(const char *const *prefixes, struct wr_slice topic);

/* ---- bus_url.c -------------------------------------------------------------------------------------------------- */

enum bus_scheme { BUS_SCHEME_BAD, BUS_SCHEME_INPROC, BUS_SCHEME_TCP, BUS_SCHEME_IPC };
enum bus_scheme bus__scheme(const char *url);
/* The same, and says what an address looks like when it is BAD. */
enum bus_scheme bus__scheme_or_say(const char *url, struct wr_errmsg *err);
/* Host and port of tcp://host:port or tcp://[v6]:port. */
bool bus__split_tcp(const char *url, char *host, size_t host_n, char *port, size_t port_n);
/* Calls fn with "tcp://address:port" for each address of the name; false when it cannot be resolved now. */
bool bus__resolve(const char *url, void (*fn)(void *ctx, const char *url), void *ctx);
/* tcp:// with a host that must be resolved. */
bool bus__is_name(const char *url);

/* ---- bus_lookup.c ----------------------------------------------------------------------------------------------- */

struct bus_lookup;
/* Resolves those of the URLs that are names, meanwhile; the prober is woken at its end. NULL when there are none (or no
 * thread). */
struct bus_lookup *bus__lookup_start(struct wr_bus *bus, char *const *urls, size_t n);
bool bus__lookup_ended(struct bus_lookup *l);
/* What an ended one found; false when some name could not be resolved. */
bool bus__lookup_each(struct bus_lookup *l, void (*fn)(void *ctx, const char *url), void *ctx);
/* Forgets it, ended or not, and does not wait. NULL is fine. */
void bus__lookup_leave(struct bus_lookup **l);

/* ---- bus_server.c ----------------------------------------------------------------------------------------------- */

struct bus_call {
    struct wr_call pub;
    struct wr_bus_server *server;
    /* Sends the answer (moves body) and frees the call. Set by the transport. */
    void (*reply)(struct bus_call *c, wr_err code, const char *text, struct wr_msg *body);
    void *transport;
};

struct wr_bus_server {
    struct wr_bus *bus;
    char url[BUS_URL_BYTES];
    wr_bus_handler_fn handler;
    void *ctx;
    const struct bus_server_ops *ops;
    void *impl;
    atomic_int owed; /* calls handed to the handler and not answered */
    struct wr_bus_server *next;
};

struct bus_server_ops {
    wr_err (*listen)(struct wr_bus_server *s, struct wr_errmsg *err);
    void (*stop)(struct wr_bus_server *s); /* no new calls after it; waits for running handlers */
    void (*free)(struct wr_bus_server *s);
    /* Its listener was asked for a sign of life. NULL when it cannot die. The prober's thread. */
    void (*probed)(struct wr_bus_server *s, bool alive);
};
extern const struct bus_server_ops bus_local_server_ops, bus_nng_server_ops;
/* Transport -> handler. `c` is complete but for method..deadline, which come from the envelope or the local caller. */
void bus__serve_call(struct bus_call *c);

/* ---- bus_pub.c -------------------------------------------------------------------------------------------------- */

struct wr_bus_pub {
    struct wr_bus *bus;
    char url[BUS_URL_BYTES];
    bool lane;
    const struct bus_pub_ops *ops;
    void *impl;
    struct wr_bus_pub *next;
};
struct bus_pub_ops {
    wr_err (*open)(struct wr_bus_pub *p, struct wr_errmsg *err);
    void (*publish)(struct wr_bus_pub *p, const char *topic,
                    struct wr_msg *event); /* moves event */
    void (*close)(struct wr_bus_pub *p);
    void (*probed)(struct wr_bus_pub *p, bool alive);
};
extern const struct bus_pub_ops bus_local_pub_ops, bus_nng_pub_ops;

/* ---- bus_service.c, bus_peer.c: the calling side ------------------------------------------------------------------ */

struct bus_peer;

/* One call on its way out. */
struct bus_op {
    struct wr_bus_service *service;
    struct bus_peer *peer; /* who has it; a reference */
    char *route_key;
    char *address; /* the one instance that it is for, or NULL */
    char method[96];
    char trace_id[32];
    struct wr_msg *body;
    int64_t deadline_us, start_us;
    wr_err fail_code; /* with fail_text, while in bus->failed */
    const char *fail_text;
    wr_bus_done_fn done;
    void *ctx;
    struct bus_op *next;
};
/* Runs done and frees. Slices of `a` are borrowed. */
void bus__op_finish(struct bus_op *op, const struct wr_answer *a);
void bus__op_fail(struct bus_op *op, wr_err code, const char *text);
void bus__ops_fail(struct bus_op *all, wr_err code, const char *text);
/* Takes those past their deadline out of a queue, under its lock. */
struct bus_op *bus__ops_take_late(struct bus_op **head, struct bus_op ***tail, size_t *n,
                                  int64_t now_us);
/* The same from the housekeeper's thread: for failures found inside wr_bus_call. `text` is static. */
void bus__op_fail_later(struct bus_op *op, wr_err code, const char *text);

struct bus_peer_ops {
    void (*open)(struct bus_peer *p);
    /* Takes the op. False: nobody is there now, and the op is still the caller's. */
    bool (*call)(struct bus_peer *p, struct bus_op *op);
    void (*expire)(struct bus_peer *p,
                   int64_t now_us); /* fails ops past their deadline; may be NULL */
    /* Every op gets CLOSED before it returns; calls from then on are not taken. Once. */
    void (*close)(struct bus_peer *p);
    void (*free)(struct bus_peer *p); /* after close; nobody has a reference any more */
};
extern const struct bus_peer_ops bus_local_peer_ops, bus_nng_peer_ops;

struct bus_peer {
    struct wr_bus_service *service;
    char url[BUS_URL_BYTES];
    const struct bus_peer_ops *ops;
    void *impl;
    atomic_int refs;
    atomic_int in_flight;
    atomic_bool connected_anew, lost; /* set by the transport, taken by the housekeeper */
    /* guarded by the service's lock: */
    bool up, describing, wanted;
    bool forgotten; /* out of the list: what it says now comes too late */
    int64_t last_ok_us, describe_at_us;
    bool nameless; /* what it said of itself is no use, which was logged */
    char instance[96];
    struct wr_msg *info;
    struct bus_peer *next;
};
struct bus_peer *bus__peer_new(struct wr_bus_service *s, const char *url);
void bus__peer_unref(struct bus_peer *p);
/* Asks a peer to describe itself when it is time; marks it down when it has been silent for too long. Housekeeper. */
void bus__peer_tick(struct bus_peer *p, int64_t now_us);
/* Any successful answer shows that the peer lives. Who it is, as far as it said, is copied out; `instance` may be NULL. */
void bus__peer_alive(struct bus_peer *p, char (*instance)[96]);

struct wr_bus_service {
    struct wr_bus *bus;
    char name[64];
    char **urls;
    size_t num_urls;
    pthread_mutex_t lock; /* guards all below but resolve_at_us and lookup, the prober's */
    struct bus_peer *peers;
    struct bus_op *pending, **pending_tail;
    size_t num_pending;
    size_t pending_bytes;    /* memory of their messages */
    struct wr_bus_sub *subs; /* following this service's lanes */
    int64_t resolve_at_us;
    struct bus_lookup *lookup; /* under way, or NULL */
    bool closing;
    wr_bus_change_fn on_change;
    void *change_ctx;
    unsigned telling; /* threads in on_change */
    pthread_cond_t told;
    struct wr_bus_service *next;
};
void bus__service_tick(struct wr_bus_service *s, int64_t now_us);
/* Sends what waited for an instance. No lock held. */
void bus__service_flush(struct wr_bus_service *s);
/* Has names resolved, and takes what was found; closing a peer may block. Prober thread. */
void bus__service_resolve(struct wr_bus_service *s, int64_t now_us);

/* ---- bus_sub.c -------------------------------------------------------------------------------------------------- */

struct wr_bus_sub {
    struct wr_bus *bus;
    struct wr_bus_service *service; /* NULL for one URL */
    char **prefixes;
    wr_bus_event_fn fn;
    void *ctx;
    const struct bus_sub_ops *ops;
    void *impl;
    unsigned depth; /* queue, messages */
    struct wr_bus_sub *next, *next_of_service;
};
struct bus_sub_ops {
    wr_err (*open)(struct wr_bus_sub *s);
    /* Also when it is there already. `peer_url`: whose lane it is, "" = the subscriber's own choice. */
    wr_err (*add)(struct wr_bus_sub *s, const char *url, const char *peer_url);
    /* Of what was added for that instance, all but these n goes. May be NULL. */
    void (*keep)(struct wr_bus_sub *s, const char *peer_url, char (*urls)[BUS_URL_BYTES], size_t n);
    void (*tick)(struct wr_bus_sub *s, int64_t now_us); /* housekeeper; may be NULL */
    void (*close)(struct wr_bus_sub *s);                /* waits for fn */
};
extern const struct bus_sub_ops bus_local_sub_ops, bus_nng_sub_ops;
/* A peer told its lanes: these are followed, others of its no more. n is 0 when its address was forgotten. Service lock
 * held. */
void bus__sub_lanes(struct wr_bus_service *s, const char *peer_url, char **lanes, size_t n);

/* ---- bus_probe.c ------------------------------------------------------------------------------------------------ */

/* Connects to a listener of our own as a stranger would; false when it did not react in 1 s. Blocks that long. */
bool bus__probe_sp(const char *url, uint16_t protocol);
#define BUS_SP_REQ 48
#define BUS_SP_SUB 33

#endif
