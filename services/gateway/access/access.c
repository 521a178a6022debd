/* SPDX-License-Identifier: MIT
 *
 * The policy in force, identities, and the question. */
#include "access_priv.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_metrics.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

WR_COUNTER(refused_in, "watchroom_gateway_refused_total", "at=\"door\"",
           "Clients that the policy did not let in");
WR_COUNTER(refused_do, "watchroom_gateway_refused_total", "at=\"question\"",
           "Things that the policy did not let a client do");

enum { MAX_TEXT_BYTES = 255, MAX_DOORS = 8 };

struct wr_identity {
    atomic_uint refs;
    struct wr_access *access;
    struct wr_auth_who who; /* slices into bytes */
    uint8_t bytes[];
};

struct door {
    wr_access_changed_fn fn;
    void *ctx;
};

struct wr_access {
    const struct wr_auth_plugin *policy;
    void *state;
    bool is_open;
    struct wr_auth_host host;
    /* Shared by all whom the policy knows nothing of: thousands of guests cost one. */
    struct wr_identity *guest;
    atomic_int_least64_t due_us; /* when the first session that is known to end is over */
    pthread_mutex_t lock;        /* guards doors; held while they are told */
    struct door doors[MAX_DOORS];
    size_t num_doors;
};

/* ---- identities ---- */

static void note_end(struct wr_access *a, int64_t expires_us)
{
    int_least64_t due = atomic_load_explicit(&a->due_us, memory_order_relaxed);
    while (expires_us && expires_us < due &&
           !atomic_compare_exchange_weak(&a->due_us, &due, expires_us))
        ;
}

static struct wr_identity *identity_new(struct wr_access *a, const struct wr_auth_who *who)
{
    struct wr_identity *i = calloc(1, sizeof *i + who->user.n + who->name.n);
    if (!i)
        return NULL;
    atomic_init(&i->refs, 1);
    i->access = a;
    i->who = *who;
    if (who->user.n)
        memcpy(i->bytes, who->user.p, who->user.n);
    if (who->name.n)
        memcpy(i->bytes + who->user.n, who->name.p, who->name.n);
    i->who.user.p = i->bytes;
    i->who.name.p = i->bytes + who->user.n;
    note_end(a, who->expires_us);
    return i;
}

struct wr_identity *wr_identity_ref(struct wr_identity *i)
{
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
    return i;
}

void wr_identity_unref(struct wr_identity *i)
{
    if (i && atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) == 1)
        free(i);
}

const struct wr_auth_who *wr_identity_who(const struct wr_identity *i)
{
    return &i->who;
}

static bool is_text(struct wr_slice s)
{
    return s.n <= MAX_TEXT_BYTES && wr_utf8_valid(s.p, s.n);
}

wr_err wr_access_identify(struct wr_access *a, const struct wr_auth_request *req,
                          struct wr_identity **out, struct wr_errmsg *why)
{
    struct wr_auth_who who = {0};
    *out = NULL;
    wr_err e = WR_PLUGIN_HAS(a->policy, identify) ? a->policy->identify(a->state, req, &who, why)
                                                  : WR_OK;
    if (e == WR_OK && (!is_text(who.user) || !is_text(who.name))) {
        wr_errmsg_set(why, "the policy %s gave a name that is too long or not UTF-8",
                      a->policy->base.name);
        return WR_ERR_INTERNAL;
    }
    if (e != WR_OK) {
        wr_count(&refused_in, 1);
        if (!why->text[0])
            wr_errmsg_set(why, "you may not come in");
        return e;
    }
    bool is_guest = !who.user.n && !who.name.n && !who.rights && !who.expires_us;
    *out = is_guest ? wr_identity_ref(a->guest) : identity_new(a, &who);
    if (!*out)
        wr_errmsg_set(why, "the server is out of memory; try again");
    return *out ? WR_OK : WR_ERR_BUSY;
}

/* ---- the question ---- */

static const char *const whats[WR_VERB_COUNT] = {[WR_VERB_INVALID] = "do that in",
#define X(symbol, name, what) [WR_VERB_##symbol] = (what),
                                                 WR_VERB_TABLE(X)
#undef X
};

static void stock_sentence(enum wr_verb verb, const struct wr_object *what, struct wr_errmsg *why)
{
    const char *verb_text = whats[(unsigned)verb < WR_VERB_COUNT ? verb : WR_VERB_INVALID];
    if (what->kind == WR_OBJECT_ROOM || what->kind == WR_OBJECT_STREAM)
        wr_errmsg_set(why, "you may not %s the %s %.*s", verb_text,
                      what->kind == WR_OBJECT_ROOM ? "room" : "stream",
                      (int)WR_MIN(what->name.n, (size_t)100), (const char *)what->name.p);
    else
        wr_errmsg_set(why, "you may not %s this server", verb_text);
}

wr_err wr_may(const struct wr_identity *who, enum wr_verb verb, struct wr_object what,
              struct wr_errmsg *why)
{
    struct wr_errmsg unread;
    why = why ? why : &unread;
    why->text[0] = 0;
    bool is_over = who && who->who.expires_us && wr_mono_us() >= who->who.expires_us;
    if (who && !is_over && verb > WR_VERB_INVALID && verb < WR_VERB_COUNT &&
        who->access->policy->may(who->access->state, &who->who, verb, &what, why)) {
        note_end(who->access, who->who.expires_us);
        return WR_OK;
    }
    wr_count(&refused_do, 1);
    if (is_over)
        wr_errmsg_set(why, "your session is over: sign in again");
    else if (!why->text[0])
        stock_sentence(verb, &what, why);
    return WR_ERR_DENIED;
}

/* ---- while connected ---- */

wr_err wr_access_on_change(struct wr_access *a, wr_access_changed_fn fn, void *ctx)
{
    pthread_mutex_lock(&a->lock);
    bool ok = a->num_doors < MAX_DOORS;
    if (ok)
        a->doors[a->num_doors++] = (struct door){fn, ctx};
    pthread_mutex_unlock(&a->lock);
    return ok ? WR_OK : WR_ERR_BUSY;
}

void wr_access_off_change(struct wr_access *a, wr_access_changed_fn fn, void *ctx)
{
    pthread_mutex_lock(&a->lock);
    size_t n = 0;
    for (size_t i = 0; i < a->num_doors; i++)
        if (a->doors[i].fn != fn || a->doors[i].ctx != ctx)
            a->doors[n++] = a->doors[i];
    a->num_doors = n;
    pthread_mutex_unlock(&a->lock);
}

static void changed(void *ctx)
{
    struct wr_access *a = ctx;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->num_doors; i++)
        a->doors[i].fn(a->doors[i].ctx);
    pthread_mutex_unlock(&a->lock);
}

void wr_access_tick(struct wr_access *a)
{
    if (wr_mono_us() < atomic_load_explicit(&a->due_us, memory_order_relaxed))
        return;
    atomic_store(&a->due_us, INT64_MAX); /* before they ask: who is not over yet says so again */
    changed(a);
}

/* ---- life ---- */

static wr_err policy_named(const char *name, const struct wr_plugins *plugins,
                           const struct wr_auth_plugin **out, struct wr_errmsg *err)
{
    *out = strcmp(name, access__policy_open.base.name) == 0
               ? &access__policy_open
               : wr_plugins_find(plugins, WR_KIND_AUTH, name);
    if (*out)
        return WR_OK;
    wr_errmsg_set(err,
                  "gateway.auth: there is no auth plugin \"%s\"; \"open\" is built in, and "
                  "`watchroom plugins` lists the others",
                  name);
    return WR_ERR_NOT_FOUND;
}

static wr_err policy_open(struct wr_access *a, const char *args, struct wr_errmsg *err)
{
    struct wr_errmsg why = {{0}};
    wr_err e = WR_PLUGIN_HAS(a->policy, open) ? a->policy->open(a->state, args, &a->host, &why)
                                              : WR_OK;
    a->is_open = e == WR_OK;
    if (e != WR_OK)
        wr_errmsg_set(err, "gateway.auth: %s: %.200s", a->policy->base.name,
                      why.text[0] ? why.text : wr_err_text(e));
    return e;
}

wr_err wr_access_open(const char *auth, const struct wr_plugins *plugins, struct wr_access **out,
                      struct wr_errmsg *err)
{
    struct wr_access *a = calloc(1, sizeof *a);
    char *name = strdup(auth), *args = name ? strchr(name, '=') : NULL;
    const struct wr_auth_who nobody = {0};
    wr_err e = WR_ERR_BUSY;
    if (a) {
        pthread_mutex_init(&a->lock, NULL);
        atomic_init(&a->due_us, INT64_MAX);
    }
    if (!a || !name)
        goto out;
    if (args)
        *args++ = 0;
    a->host = (struct wr_auth_host){.size = sizeof a->host, .ctx = a, .changed = changed};
    e = policy_named(name, plugins, &a->policy, err);
    if (e == WR_OK) {
        a->state = wr_plugin_state(&a->policy->base);
        a->guest = identity_new(a, &nobody);
        e = a->state && a->guest ? policy_open(a, args ? args : "", err) : WR_ERR_BUSY;
    }
out:
    if (e == WR_ERR_BUSY && !err->text[0])
        wr_errmsg_set(err, "gateway.auth: out of memory");
    free(name);
    *out = a;
    if (e != WR_OK)
        wr_access_close(out);
    return e;
}

void wr_access_close(struct wr_access **ap)
{
    struct wr_access *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    if (a->is_open && WR_PLUGIN_HAS(a->policy, close))
        a->policy->close(a->state);
    wr_identity_unref(a->guest);
    free(a->state);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

const char *wr_access_policy(const struct wr_access *a)
{
    return a->policy->base.name;
}
