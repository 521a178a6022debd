/* SPDX-License-Identifier: MIT
 *
 * Plugin kind `auth`: a policy. It says who somebody is, once, where a connection or request comes in, and whether he may do
 * a thing, each time that somebody asks for it. The gateway asks one policy (gateway.auth); its doors know none by name.
 *
 * Threads. identify and may run on any thread, several at the same time, and may not block: they answer from memory. What a
 * policy has to fetch (keys, a list of users) it fetches by itself and then calls `changed`. */
#ifndef WR_PLUGIN_WR_AUTH_H
#define WR_PLUGIN_WR_AUTH_H

#include "wr_err.h"
#include "wr_plugin.h"

/* What somebody may do. symbol, name (as in a configuration), what it is: "you may not <what it is>" is a sentence. */
#define WR_VERB_TABLE(X)                                                         \
    X(SEE, "see", "look into")                       /* picture, talk, people */ \
    X(HEAR_PAST, "hear_past", "read the history of") /* recordings */            \
    X(TALK, "talk", "write in")                      /* messages, danmaku */     \
    X(SEND_FILES, "send_files", "send files to")                                 \
    X(GET_FILES, "get_files", "get files of")                                    \
    X(PUBLISH, "publish", "publish a picture in") /* talk-back too */            \
    X(CONTROL, "control", "move the cameras of")                                 \
    X(MODERATE, "moderate", "moderate") /* remove what others wrote */           \
    X(RECORD, "record", "record")                                                \
    X(CLIP, "clip", "cut clips of")                                              \
    X(INVITE, "invite", "invite people to")                                      \
    X(ADMIN, "admin", "administer") /* streams, rooms, users */

enum wr_verb {
    WR_VERB_INVALID = 0,
#define X(symbol, name, what) WR_VERB_##symbol,
    WR_VERB_TABLE(X)
#undef X
        WR_VERB_COUNT
};

enum wr_object_kind {
    WR_OBJECT_INVALID = 0,
    WR_OBJECT_SERVER, /* all of it: lists, operators' pages; no name */
    WR_OBJECT_ROOM,
    WR_OBJECT_STREAM,
};
struct wr_object {
    enum wr_object_kind kind;
    struct wr_slice name; /* borrowed for the question */
};

/* What comes in: a request, or the first message of a protocol that carries its own token. Borrowed for the call. */
struct wr_auth_request {
    const char *client;    /* the client's address, as gateway.trusted_proxies lets it be told */
    const char *path;      /* decoded; "" when it is not HTTP */
    const char *query;     /* raw, without '?'; "" when there is none */
    struct wr_slice token; /* what a protocol's own message carried; empty = none */
    /* A header's value or NULL; ctx is header_ctx. NULL when it is not HTTP. */
    const char *(*header)(const void *ctx, const char *name);
    const void *header_ctx;
};

/* Who it is. rights are the policy's own: nobody else reads them. */
struct wr_auth_who {
    struct wr_slice user; /* stable id, empty = a guest without one; at most 255 bytes of UTF-8 */
    struct wr_slice name; /* for people, may be empty; at most 255 bytes of UTF-8 */
    uint64_t rights;
    int64_t expires_us; /* wr_mono_us; from then on he may nothing; 0 = never */
};

/* What the gateway gives a policy when it opens; valid until close has returned. */
struct wr_auth_host {
    uint32_t size; /* of this table: later versions append */
    void *ctx;
    /* Rights are others than they were, of whomever: every long-lived connection is asked about again. ctx is the one
     * above. Any thread; not from inside open and close. */
    void (*changed)(void *ctx);
};

struct wr_auth_plugin {
    struct wr_plugin base;
    /* `args` is the text behind "name=" in gateway.auth, or "". Optional. */
    wr_err (*open)(void *state, const char *args, const struct wr_auth_host *host,
                   struct wr_errmsg *err);
    void (*close)(void *state); /* Optional. */
    /* Fills *out (zeroed before), whose slices are copied when it returns. DENIED: nobody comes in so; write into why what
     * would help. Optional: without it everybody is the same guest. */
    wr_err (*identify)(void *state, const struct wr_auth_request *req, struct wr_auth_who *out,
                       struct wr_errmsg *why);
    /* May he? A sentence in why is told to him instead of the stock one. Required. */
    bool (*may)(void *state, const struct wr_auth_who *who, enum wr_verb verb,
                const struct wr_object *what, struct wr_errmsg *why);
};

#endif
