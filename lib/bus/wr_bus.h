/* SPDX-License-Identifier: MIT
 *
 * The bus: calls with a deadline, events by topic, and which instances of a service are alive.
 *
 * Addresses are URLs. tcp:// and ipc:// are NNG (req0/rep0, pub0/sub0; any language can speak it, docs/bus.md).
 * inproc:// is a queue inside the process that passes messages by reference: no copy, no encoding of the envelope.
 * Callers see no difference.
 *
 * Threads. A server's handler, a call's `done` and a subscriber's handler run on threads of the bus. They must not block
 * (no disk, no lock that is held across work) and never run inside the function that started them. Different calls'
 * handlers may run at the same time; events of one subscription run one after another. */
#ifndef WR_BUS_WR_BUS_H
#define WR_BUS_WR_BUS_H

#include "wr_err.h"
#include "wr_msg.h"

struct wr_bus;
struct wr_metrics;

#define WR_BUS_MAX_MSG_BYTES (4u << 20) /* larger messages are refused on both sides */
#define WR_BUS_DEFAULT_DEADLINE_MS 5000u

struct wr_bus_opts {
    const char
        *service; /* "hub", "gateway", ...: what Node/Describe says; NULL for a mere client */
    const char *const *plugins; /* NULL-ended names for Node/Describe; may be NULL */
    uint32_t max_entry_bytes;   /* of a hub, for Node/Describe; else 0 */
};

/* Opens a node of the bus with an instance id of its own. Errors: BUSY (no threads). */
WR_API WR_MUST_USE wr_err wr_bus_open(const struct wr_bus_opts *opts, struct wr_bus **out);
/* Ends servers, services and subscriptions that are still open, waits for their callbacks, frees. NULL is fine. */
WR_API void wr_bus_close(struct wr_bus **bus);
/* "<service>-<16 characters>", new at each wr_bus_open. Valid until close. */
WR_API const char *wr_bus_instance(const struct wr_bus *bus);
/* Why the service is not well, for Node/Describe (`watchroom health`); "" when it is. Copied, cut at 300 bytes. Thread: any. */
WR_API void wr_bus_set_reason(struct wr_bus *bus, const char *reason);
/* Node/Describe says draining from now on; peers send nothing new. */
WR_API void wr_bus_drain(struct wr_bus *bus);

/* ---- serving calls ---------------------------------------------------------------------------------------------- */

/* A call that is being handled. The handler owns it until it answers, on any thread, exactly once. */
struct wr_call {
    struct wr_slice method; /* "watchroom.v1.Hub/Publish"; borrowed from msg */
    struct wr_slice body;   /* encoded request; borrowed from msg */
    struct wr_msg
        *msg; /* take a reference to keep method, body or parts of them longer than the call */
    char trace_id[65];
    int64_t deadline_us; /* wr_mono_us() when the caller gives up */
};

typedef void (*wr_bus_handler_fn)(void *ctx, struct wr_call *call);

/* Moves `body` (may be NULL for an empty one, or when code is an error). `text` may be NULL. Frees the call. */
WR_API void wr_call_answer(struct wr_call *call, struct wr_msg *body);
WR_API void wr_call_fail(struct wr_call *call, wr_err code, const char *fmt, ...) WR_PRINTF(3, 4);

struct wr_bus_server;
/* Serves calls at url (inproc://name, tcp://127.0.0.1:7101; port 0 takes a free one, see wr_bus_server_url).
 * Node/Describe is answered by the bus itself. Listens anew by itself when the listener died.
 * Errors: CONFLICT (address in use), INVALID (not a URL of ours), with text in err (may be NULL). */
WR_API WR_MUST_USE wr_err wr_bus_serve(struct wr_bus *bus, const char *url,
                                       wr_bus_handler_fn handler, void *ctx,
                                       struct wr_bus_server **out, struct wr_errmsg *err);
WR_API const char *wr_bus_server_url(const struct wr_bus_server *s);
/* No new calls; waits for running handlers (not for answers still owed). NULL is fine. */
WR_API void wr_bus_server_close(struct wr_bus_server **s);

/* ---- publishing events ------------------------------------------------------------------------------------------ */

struct wr_bus_pub;
/* A pub socket. `lane` true lists it in Node/Describe (host "*" for tcp), so that subscribers of the service find it. */
WR_API WR_MUST_USE wr_err wr_bus_pub_open(struct wr_bus *bus, const char *url, bool lane,
                                          struct wr_bus_pub **out, struct wr_errmsg *err);
WR_API const char *wr_bus_pub_url(const struct wr_bus_pub *p);
/* Sends topic, 0x00 and the encoded Event. Never blocks; a subscriber whose queue is full loses the oldest.
 * Moves `event`, which must not be changed any more; the caller may hold references. */
WR_API void wr_bus_publish(struct wr_bus_pub *p, const char *topic, struct wr_msg *event);
WR_API void wr_bus_pub_close(struct wr_bus_pub **p);

/* ---- calling a service ------------------------------------------------------------------------------------------ */

struct wr_bus_service;
/* All instances behind `urls` (one URL, or several with commas). Host names are resolved every 2 s; each address is an
 * instance, dialled and described; one that does not answer for 3 s is out until it answers again. Never fails for a
 * peer that is down. Errors: INVALID with text. */
WR_API WR_MUST_USE wr_err wr_bus_service_open(struct wr_bus *bus, const char *name,
                                              const char *urls, struct wr_bus_service **out,
                                              struct wr_errmsg *err);
WR_API void wr_bus_service_close(struct wr_bus_service **s);

struct wr_answer {
    wr_err code;
    struct wr_slice text; /* what went wrong, for a person; borrowed */
    struct wr_slice body; /* encoded response; borrowed from msg */
    struct wr_msg *msg;   /* reference it to keep body; NULL on local errors */
    const char *instance; /* who answered; "" when nobody did; borrowed */
};
typedef void (*wr_bus_done_fn)(void *ctx, const struct wr_answer *answer);

/* Calls one instance: that which rendezvous hashing of route_key over the live ones names, or the least busy when
 * route_key is NULL. Moves body (the encoded request; NULL = empty). `done` runs exactly once, later:
 * with the answer, or UNAVAILABLE (no live instance within the deadline), TIMEOUT, TOO_BIG, BUSY (queue full), CLOSED.
 * The call may reach the service twice (resent after a lost connection): methods are idempotent.
 * done == NULL: fire and forget. Any thread, never blocks. */
WR_API void wr_bus_call(struct wr_bus_service *s, const char *route_key, const char *method,
                        struct wr_msg *body, uint32_t deadline_ms, wr_bus_done_fn done, void *ctx);
/* The same, waiting: for threads that may block. On WR_OK *answer holds a reference to the message behind *body. On an
 * error err has the text. Never from a callback of the bus. */
WR_API WR_MUST_USE wr_err wr_bus_call_wait(struct wr_bus_service *s, const char *route_key,
                                           const char *method, struct wr_msg *body,
                                           uint32_t deadline_ms, struct wr_msg **answer,
                                           struct wr_slice *body_out, struct wr_errmsg *err);

/* The same to one instance, by its address (wr_instance.address). While nobody is up there the call waits for it until its
 * deadline. For callers that keep something for each instance (an order, a lease) and choose by wr_bus_route_score. */
WR_API void wr_bus_call_at(struct wr_bus_service *s, const char *address, const char *method,
                           struct wr_msg *body, uint32_t deadline_ms, wr_bus_done_fn done,
                           void *ctx);
WR_API WR_MUST_USE wr_err wr_bus_call_wait_at(struct wr_bus_service *s, const char *address,
                                              const char *method, struct wr_msg *body,
                                              uint32_t deadline_ms, struct wr_msg **answer,
                                              struct wr_slice *body_out, struct wr_errmsg *err);
/* Rendezvous hashing: a route key's calls go to that live address whose score is the largest (the first of equals, in the
 * order of wr_bus_service_each). */
WR_API uint64_t wr_bus_route_score(struct wr_slice route_key, const char *address);

enum wr_instance_state { WR_INSTANCE_DOWN, WR_INSTANCE_UP };
struct wr_instance {
    const char *service;
    const char *address; /* URL that was dialled */
    const char *id;      /* instance id that it told last, "" when none yet */
    enum wr_instance_state state;
    struct wr_msg *info; /* newest encoded NodeInfo, NULL when none came yet; borrowed */
};
/* Called for each known instance, under the service's lock: copy and return. */
WR_API void wr_bus_service_each(struct wr_bus_service *s,
                                void (*fn)(void *ctx, const struct wr_instance *i), void *ctx);
/* `fn` runs when an instance comes (also again under a new instance id) or goes. Set it before the first call, and to NULL
 * before ctx is freed: when this returns, the one before runs no more. Not from fn itself. */
typedef void (*wr_bus_change_fn)(void *ctx, const char *instance, enum wr_instance_state state);
WR_API void wr_bus_service_on_change(struct wr_bus_service *s, wr_bus_change_fn fn, void *ctx);
/* True while at least one instance is up. */
WR_API bool wr_bus_service_is_up(struct wr_bus_service *s);

/* ---- subscribing ------------------------------------------------------------------------------------------------ */

struct wr_bus_sub;
/* topic without its 0x00; event is the encoded Event within msg (reference msg to keep it). */
typedef void (*wr_bus_event_fn)(void *ctx, struct wr_slice topic, struct wr_slice event,
                                struct wr_msg *msg);
/* All events of all lanes of all instances of a service whose topic begins with one of the prefixes (NULL-ended list).
 * A prefix that should match one topic exactly ends in "\x01". One thread delivers them in each publisher's order. */
WR_API WR_MUST_USE wr_err wr_bus_subscribe_service(struct wr_bus_service *s,
                                                   const char *const *prefixes, wr_bus_event_fn fn,
                                                   void *ctx, struct wr_bus_sub **out);
/* One pub socket by its URL (a stream's own). It is redialled by itself. */
WR_API WR_MUST_USE wr_err wr_bus_subscribe_url(struct wr_bus *bus, const char *url,
                                               const char *const *prefixes, wr_bus_event_fn fn,
                                               void *ctx, struct wr_bus_sub **out,
                                               struct wr_errmsg *err);
/* After it returns, fn does not run any more. Not from fn itself. */
WR_API void wr_bus_sub_close(struct wr_bus_sub **sub);

/* Replaces host "*" in a URL that an instance told (event_url, lanes) by the host of the address it was dialled at.
 * Writes at most n bytes with the NUL; false when it does not fit. */
WR_API bool wr_bus_resolve_url(const char *told, const char *dialled, char *out, size_t n);
/* The address of the instance with that id, for wr_bus_resolve_url; false when unknown. */
WR_API bool wr_bus_service_address(struct wr_bus_service *s, const char *instance, char *out,
                                   size_t n);

#endif
