/* SPDX-License-Identifier: MIT
 *
 * Access: the one place that is asked for rights. Where a connection or request comes in, it is told who that is (an
 * identity, once); before anything is done for him, the door asks wr_may. What the answer is, a policy says: an auth plugin,
 * or policy_open.c (gateway.auth: open), by which everybody may everything.
 *
 * Every function may be called from any thread and does not block. */
#ifndef WR_GATEWAY_ACCESS_WR_ACCESS_H
#define WR_GATEWAY_ACCESS_WR_ACCESS_H

#include "wr_auth.h"
#include "wr_plugins.h"

struct wr_access;
struct wr_identity; /* immutable, shared by reference */
struct wr_http_req;

/* Opens the policy that `auth` names: "name" or "name=args". Errors with text: NOT_FOUND (no such plugin), what its open
 * says, BUSY (memory). plugins are borrowed until close. */
WR_MUST_USE wr_err wr_access_open(const char *auth, const struct wr_plugins *plugins,
                                  struct wr_access **out, struct wr_errmsg *err);
/* After the last identity is gone. NULL is fine. */
void wr_access_close(struct wr_access **a);
/* The policy's name. */
const char *wr_access_policy(const struct wr_access *a);

/* Who is it? On WR_OK *out has one reference. Errors with a sentence: DENIED, BUSY (memory). */
WR_MUST_USE wr_err wr_access_identify(struct wr_access *a, const struct wr_auth_request *req,
                                      struct wr_identity **out, struct wr_errmsg *why);
struct wr_identity *wr_identity_ref(struct wr_identity *i);
void wr_identity_unref(struct wr_identity *i); /* NULL is fine */
const struct wr_auth_who *wr_identity_who(const struct wr_identity *i);

/* The question. WR_OK, or WR_ERR_DENIED with the sentence that he is told. A NULL identity may nothing. `why` may be NULL. */
WR_MUST_USE wr_err wr_may(const struct wr_identity *who, enum wr_verb verb, struct wr_object what,
                          struct wr_errmsg *why);

static inline struct wr_object wr_the_server(void)
{
    return (struct wr_object){.kind = WR_OBJECT_SERVER};
}
static inline struct wr_object wr_the_room(struct wr_slice name)
{
    return (struct wr_object){.kind = WR_OBJECT_ROOM, .name = name};
}
static inline struct wr_object wr_the_stream(struct wr_slice name)
{
    return (struct wr_object){.kind = WR_OBJECT_STREAM, .name = name};
}

/* ---- HTTP (access_http.c) ---------------------------------------------------------------------------------------- */

/* Who sends this request. NULL: he was answered 401 (or 503), and there is nothing left to do. The caller has a reference. */
WR_MUST_USE struct wr_identity *wr_access_enter(struct wr_access *a, struct wr_http_req *req);
/* For a request that somebody entered with: false after he was answered 403 with the sentence. */
WR_MUST_USE bool wr_access_ask(const struct wr_identity *who, struct wr_http_req *req,
                               enum wr_verb verb, struct wr_object what);
/* Both, for a request that ends with its answer. */
WR_MUST_USE bool wr_access_admits(struct wr_access *a, struct wr_http_req *req, enum wr_verb verb,
                                  struct wr_object what);

/* ---- while connected --------------------------------------------------------------------------------------------- */

/* A door with connections that last until somebody ends them (rooms, streams; not requests that end by themselves, such as
 * downloads and pieces of uploads: those are asked about once, as they come): fn runs when rights changed, on the thread that changed them, and may not block; it
 * sees to it that each of the door's connections is asked about again (wr_may with the identity that it has). Add before
 * the first client, remove before ctx goes: fn does not run any more when remove has returned. Errors: BUSY (memory). */
typedef void (*wr_access_changed_fn)(void *ctx);
WR_MUST_USE wr_err wr_access_on_change(struct wr_access *a, wr_access_changed_fn fn, void *ctx);
void wr_access_off_change(struct wr_access *a, wr_access_changed_fn fn, void *ctx);
/* To be called about every second, by one thread: the doors are told when somebody's session may be over. Who is asked about
 * then and is still in his time is remembered for the next one. */
void wr_access_tick(struct wr_access *a);

#endif
