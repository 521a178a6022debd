/* SPDX-License-Identifier: MIT
 *
 * Policy `deny`, for tests: everybody may everything but the verbs that its argument lists ("deny=talk+hear_past"), and
 * nobody comes in when "enter" is among them. A request with the header X-Deny sets another list from then on. A request with
 * ?user= is that user, with ?expired= his session is over, and with ?lasts= it is so many milliseconds long. A token is the user's name, and "wrong" is none. */
#include "wr_auth.h"
#include "wr_clock.h"
#include <stdatomic.h>
#include <stdlib.h>

#define ENTER 0u /* in the place of WR_VERB_INVALID */

struct deny {
    const struct wr_auth_host *host;
    atomic_uint verbs; /* mask: 1u << verb */
};

static unsigned verbs_of(const char *list)
{
    static const char *const names[WR_VERB_COUNT] = {"enter",
#define X(symbol, name, what) name,
                                                     WR_VERB_TABLE(X)
#undef X
    };
    unsigned mask = 0;
    while (*list) {
        size_t n = strcspn(list, "+");
        for (unsigned i = 0; i < WR_VERB_COUNT; i++)
            if (strlen(names[i]) == n && memcmp(names[i], list, n) == 0)
                mask |= 1u << i;
        list += n + (list[n] != 0);
    }
    return mask;
}

static wr_err open_(void *state, const char *args, const struct wr_auth_host *host,
                    struct wr_errmsg *err)
{
    struct deny *d = state;
    if (strcmp(args, "nonsense") == 0) {
        wr_errmsg_set(err, "\"%s\" is not a list of verbs", args);
        return WR_ERR_INVALID;
    }
    d->host = host;
    atomic_init(&d->verbs, verbs_of(args));
    return WR_OK;
}

static wr_err identify(void *state, const struct wr_auth_request *req, struct wr_auth_who *out,
                       struct wr_errmsg *why)
{
    struct deny *d = state;
    const char *list = req->header ? req->header(req->header_ctx, "X-Deny") : NULL;
    if (list) {
        atomic_store(&d->verbs, verbs_of(list));
        d->host->changed(d->host->ctx);
    }
    if (atomic_load(&d->verbs) & 1u << ENTER) {
        wr_errmsg_set(why, "nobody comes in today");
        return WR_ERR_DENIED;
    }
    if (wr_slice_is(req->token, "wrong")) {
        wr_errmsg_set(why, "the token is wrong");
        return WR_ERR_DENIED;
    }
    out->user = req->token;
    if (strncmp(req->query, "user=", 5) == 0)
        out->user = wr_slice_str(req->query + 5);
    if (strstr(req->query, "expired="))
        out->expires_us = 1;
    const char *lasts = strstr(req->query, "lasts=");
    if (lasts)
        out->expires_us = wr_mono_us() + strtoll(lasts + 6, NULL, 10) * 1000;
    return WR_OK;
}

static bool may(void *state, const struct wr_auth_who *who, enum wr_verb verb,
                const struct wr_object *what, struct wr_errmsg *why)
{
    struct deny *d = state;
    (void)who;
    (void)what;
    if (verb == WR_VERB_RECORD)
        wr_errmsg_set(why, "the tape is full");
    return !(atomic_load(&d->verbs) & 1u << verb);
}

WR_PLUGIN_EXPORT const struct wr_auth_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_auth_plugin, struct deny, WR_KIND_AUTH, "deny", "1.0",
                                 "Refuses the verbs that it is told to, for tests"),
    .open = open_,
    .identify = identify,
    .may = may,
};
