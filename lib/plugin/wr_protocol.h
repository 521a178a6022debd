/* SPDX-License-Identifier: MIT
 *
 * Plugin kind `protocol`: a wire format between a client's connection and rooms. A protocol sees a connection, not a socket;
 * the gateway gives it whole messages and carries out what it asks for: subscribe, publish, history, presence, calls.
 *
 * Where it is served is a table of endpoints. What a room sends to its members is encoded once for each *variant* in use (say
 * JSON in text, protobuf in binary), however many connections have picked it; what one client alone gets, the protocol
 * writes itself.
 *
 * Threads. open, message, result, unsubscribed, wake and close of one connection run on that connection's thread, one
 * after another; different connections' at the same time. encode_* run on the rooms' thread and on connections' threads
 * at the same time: they must be pure functions of their arguments. No slot may block.
 *
 * Every asynchronous request of the api is answered by exactly one `result` with the request's cookie, unless the
 * connection closes first. The result never comes inside the call that asked. Publications of a room come only after
 * its subscribe result: in order, without gap, without duplicates.
 *
 * ABI 2.0: endpoints in place of path and subprotocols; variants in place of `binary`, and encode_* are told which; entries
 * have a type; publish takes a struct; call; unsubscribed says why. */
#ifndef WR_PLUGIN_WR_PROTOCOL_H
#define WR_PLUGIN_WR_PROTOCOL_H

#include "wr_buf.h"
#include "wr_err.h"
#include "wr_plugin.h"

struct wr_protocol_conn; /* the gateway's handle of a connection */

/* ---- where it is served ------------------------------------------------------------------------------------------ */

enum wr_protocol_transport {
    WR_PROTOCOL_END = 0,   /* ends a table of endpoints */
    WR_PROTOCOL_WEBSOCKET, /* messages are WebSocket messages, text or binary */
    /* Not served by this version, which refuses a protocol that has such an endpoint: */
    WR_PROTOCOL_HTTP_STREAM, /* out: pieces of an endless answer; in: the request's body */
    WR_PROTOCOL_SSE, /* out: events (text/event-stream), text alone; in: the request's query */
    /* Served, when gateway.ports gives it a port. Bytes both ways: `split` finds the messages in what comes (binary, as `message`
     * is told them), what is sent goes out as it is. The request has no path, query nor headers; a client that says nothing
     * whole for 60 s is closed; one that ended its half has the answers to what it asked, then the end. */
    WR_PROTOCOL_TCP,
};

/* Where the first message ends in what has arrived and was not taken: its bytes with their framing (more than 0), 0 when
 * more is needed, or one of these. `message` gets them as they are. Called again with the same bytes and more behind them;
 * pure. More than hub.max_message_bytes without an end close the connection. */
#define WR_PROTOCOL_SPLIT_BAD ((ptrdiff_t)-1)      /* this becomes no message: closed (1002) */
#define WR_PROTOCOL_SPLIT_TOO_LONG ((ptrdiff_t)-2) /* the message will be too long: closed (1009) */
typedef ptrdiff_t (*wr_protocol_split_fn)(struct wr_slice bytes);

struct wr_protocol_endpoint {
    enum wr_protocol_transport transport;
    const char *at; /* a path: "/ws"; of TCP a name in gateway.ports: "stt" */
    const char *const
        *subprotocols; /* WebSocket: accepted Sec-WebSocket-Protocol names, NULL-ended; or NULL */
    uint32_t ping_ms,
        pong_ms; /* WebSocket: pings by the gateway; 0 = gateway.ping_ms, gateway.pong_ms */
    wr_protocol_split_fn split; /* TCP: required */
};

/* One encoded form of what a room sends. The first of the table is what a connection has that picked none. */
struct wr_protocol_variant {
    const char *name; /* NULL ends the table */
    bool binary;      /* its messages are binary, not text */
};
#define WR_PROTOCOL_VARIANTS 8u /* of one protocol at most */

/* ---- entries ----------------------------------------------------------------------------------------------------- */

struct wr_protocol_info {
    struct wr_slice user, client;         /* text */
    struct wr_slice conn_info, chan_info; /* JSON on one line, or empty */
};

/* An entry of a room: bytes with a type. The hub has checked them once, where they entered: JSON is valid and on one line,
 * text/... is UTF-8; nothing has to be parsed to pass it on. */
struct wr_protocol_pub {
    uint64_t offset;
    int64_t time_ms;
    uint32_t kind; /* watchroom.v1.EntryKind */
    bool has_info;
    struct wr_protocol_info info;
    struct wr_slice type; /* media type in lower case, "text/plain"; empty = JSON */
    struct wr_slice data;
};
static inline bool wr_protocol_is_json(const struct wr_protocol_pub *p)
{
    return p->type.n == 0;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

enum wr_protocol_sub_flags {
    WR_SUB_POSITIONED =
        1u << 0, /* told by `unsubscribed` when the room's epoch changes or entries are lost */
    WR_SUB_JOIN_LEAVE = 1u << 1, /* wants encode_members messages */
    WR_SUB_RECOVER = 1u << 2,    /* since is the last position that the client has */
    WR_SUB_REJECT =
        1u << 3, /* with RECOVER: WR_ERR_POSITION and no membership when it cannot be recovered */
};
struct wr_protocol_subscribe {
    struct wr_slice room;
    uint32_t flags;
    uint64_t since_offset;
    struct wr_slice since_epoch; /* empty accepts any */
};

struct wr_protocol_publish {
    struct wr_slice room;
    struct wr_slice type; /* media type, at most 127 bytes; empty = JSON */
    struct wr_slice data; /* of JSON: without raw newlines */
};

struct wr_protocol_history {
    struct wr_slice room;
    int32_t limit; /* 0 = position only, -1 = as many as the gateway gives (300) */
    bool reverse, has_since;
    uint64_t since_offset;
    struct wr_slice since_epoch;
};

enum wr_protocol_op {
    WR_PROTOCOL_SUBSCRIBE = 1,
    WR_PROTOCOL_PUBLISH,
    WR_PROTOCOL_HISTORY,
    WR_PROTOCOL_PRESENCE,
    WR_PROTOCOL_PRESENCE_STATS,
    WR_PROTOCOL_CALL,
};

/* The answer to a request; everything is borrowed for the time of the call. */
struct wr_protocol_result {
    enum wr_protocol_op op;
    uint64_t cookie;
    wr_err code;         /* DENIED: he may not, and message says what */
    const char *message; /* for a person, on an error; never NULL */
    struct wr_slice room;
    struct wr_slice epoch; /* subscribe, publish, history */
    uint64_t offset;       /* subscribe: the room's top; publish: the entry's; history: top */
    int64_t time_ms;       /* publish */
    bool recovered;        /* subscribe with WR_SUB_RECOVER: pubs are all that came after since */
    const struct wr_protocol_pub *pubs; /* subscribe, history */
    size_t num_pubs;
    uint32_t num_clients, num_users;
    const struct wr_protocol_info *members; /* presence */
    size_t num_members;
    struct wr_slice data; /* call: JSON on one line */
};

/* What the gateway does for a protocol; all on the connection's thread, none blocks. */
struct wr_protocol_api {
    uint32_t size; /* of this table: later versions append */
    /* One message to this client. Text must be valid UTF-8. */
    void (*send)(struct wr_protocol_conn *c, struct wr_slice message, bool binary);
    /* Closes after what was sent. A reason is required, plain text, at most 123 bytes. */
    void (*close)(struct wr_protocol_conn *c, uint16_t code, const char *reason);
    /* For a protocol whose own message carries a token: what the client may do is what it says, no longer what his
     * connection said as it came in. Before identify. Errors with a sentence: DENIED, BUSY. */
    wr_err (*sign_in)(struct wr_protocol_conn *c, struct wr_slice token, struct wr_errmsg *why);
    /* Who the client is from now on: connection id (unique), user (empty: the one that the policy knows), JSON for
     * ClientInfo or empty. Copied. Call it before the first subscribe or publish. */
    bool (*identify)(struct wr_protocol_conn *c, struct wr_slice client, struct wr_slice user,
                     struct wr_slice conn_info);
    struct wr_protocol_info (*info)(
        struct wr_protocol_conn *c); /* borrowed until the next identify */
    /* The variant (its index in the table) in which this connection gets what rooms send. Before the first subscribe; a
     * later one does nothing. */
    void (*pick)(struct wr_protocol_conn *c, uint32_t variant);
    /* `wake` runs in about ms; replaces an earlier one; 0 = never. */
    void (*wake)(struct wr_protocol_conn *c, uint32_t ms);
    /* Errors at once, then no result comes: INVALID (room name), CONFLICT (subscribed already), TOO_BIG (too many
     * rooms), BUSY (queue full). Who may not hears it by the result, here as everywhere: DENIED with a sentence. */
    wr_err (*subscribe)(struct wr_protocol_conn *c, const struct wr_protocol_subscribe *req,
                        uint64_t cookie);
    /* True when it was subscribed (or on its way to be): nothing of that room is sent any more. */
    bool (*unsubscribe)(struct wr_protocol_conn *c, struct wr_slice room);
    bool (*is_subscribed)(struct wr_protocol_conn *c, struct wr_slice room);
    /* Everything is copied. Errors at once: INVALID (room name, type), TOO_BIG, BUSY (too much waits). */
    wr_err (*publish)(struct wr_protocol_conn *c, const struct wr_protocol_publish *req,
                      uint64_t cookie);
    wr_err (*history)(struct wr_protocol_conn *c, const struct wr_protocol_history *req,
                      uint64_t cookie);
    wr_err (*presence)(struct wr_protocol_conn *c, struct wr_slice room, bool stats_only,
                       uint64_t cookie);
    /* A method of the gateway ("room.send"): args are a checked JSON value, or empty. Errors at once: UNKNOWN_METHOD, INVALID
     * (args), BUSY, and those of what the method does. docs/plugins.md lists the methods. */
    wr_err (*call)(struct wr_protocol_conn *c, struct wr_slice method, struct wr_slice args,
                   uint64_t cookie);
    /* Requests of this connection that are not answered yet. */
    uint32_t (*pending)(struct wr_protocol_conn *c);
    /* Stops and resumes reading from this client. */
    void (*pause)(struct wr_protocol_conn *c, bool pause);
};

struct wr_protocol_open {
    const struct wr_protocol_endpoint *endpoint; /* where he came in */
    const char *subprotocol; /* of the endpoint's, the one that was agreed on; "" = none */
    const char *query;       /* raw query string, "" when none */
    const char *client;      /* the client's address */
    /* Decoded `name` of the query; false when it is missing or too long. */
    bool (*param)(const struct wr_protocol_open *o, const char *name, char *out, size_t n);
};

/* ---- the plugin -------------------------------------------------------------------------------------------------- */

struct wr_protocol_plugin {
    struct wr_plugin
        base; /* state_size: state of the protocol in this gateway, shared by its connections */
    size_t conn_size; /* bytes of zeroed state that each connection has */
    const struct wr_protocol_endpoint *endpoints; /* at least one, ended by {0}. Required. */
    const struct wr_protocol_variant *variants;   /* ended by {0}; NULL = one, in text */
    /* A client came. Required. */
    void (*open)(void *state, const struct wr_protocol_api *api, struct wr_protocol_conn *c,
                 void *cs, const struct wr_protocol_open *o);
    /* A whole message of it. Required. */
    void (*message)(void *cs, struct wr_slice message, bool binary);
    /* The answer to a request. Required. */
    void (*result)(void *cs, const struct wr_protocol_result *r);
    /* The gateway ended a subscription. POSITION: entries may be missing, of a positioned one; DENIED: he may not look into
     * the room any more. Optional. */
    void (*unsubscribed)(void *cs, struct wr_slice room, wr_err why);
    void (*wake)(void *cs); /* Optional. */
    /* The client is gone: free what cs points to. Optional. */
    void (*close)(void *cs);
    /* Appends one message with these entries of a room, n >= 1, in the variant. Nothing appended: nothing is sent.
     * Required. */
    void (*encode_publications)(uint32_t variant, struct wr_slice room,
                                const struct wr_protocol_pub *pubs, size_t n, struct wr_buf *out);
    /* Appends one message that says who left and who came; who is in both left first, and came again. Optional. */
    void (*encode_members)(uint32_t variant, struct wr_slice room,
                           const struct wr_protocol_info *joined, size_t n_joined,
                           const struct wr_protocol_info *left, size_t n_left, struct wr_buf *out);
    /* Before the handshake: refuses a client with 400 and the sentence in why. On an HTTP thread. Optional. */
    wr_err (*check)(const struct wr_protocol_open *o, struct wr_errmsg *why);
};

/* ---- for the loader and the gateway (wr_protocol.c) -------------------------------------------------------------- */

/* The variants that it has: at least 1. */
WR_API uint32_t wr_protocol_num_variants(const struct wr_protocol_plugin *p);
WR_API bool wr_protocol_is_binary(const struct wr_protocol_plugin *p, uint32_t variant);
/* Are its tables whole? INVALID with a sentence: no endpoint, a path without '/', TCP without split, too many variants. */
WR_API WR_MUST_USE wr_err wr_protocol_check(const struct wr_protocol_plugin *p,
                                            struct wr_errmsg *why);
/* Does this version serve all of its endpoints? UNAVAILABLE with a sentence that names the one that it does not. ports:
 * gateway.ports. */
WR_API WR_MUST_USE wr_err wr_protocol_served(const struct wr_protocol_plugin *p, const char *ports,
                                             struct wr_errmsg *why);
/* Is each of gateway.ports the place of an endpoint of one of the n protocols? INVALID with a sentence. */
WR_API WR_MUST_USE wr_err wr_protocol_ports_used(const char *ports,
                                                 const struct wr_protocol_plugin *const *p,
                                                 size_t n, struct wr_errmsg *why);

#endif
