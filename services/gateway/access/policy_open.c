/* SPDX-License-Identifier: MIT
 *
 * The policy `open`: everybody is the same guest, and everybody may everything. It is built in, so that a gateway without
 * plugins has one. */
#include "access_priv.h"

static bool may(void *state, const struct wr_auth_who *who, enum wr_verb verb,
                const struct wr_object *what, struct wr_errmsg *why)
{
    (void)state;
    (void)who;
    (void)verb;
    (void)what;
    (void)why;
    return true;
}

const struct wr_auth_plugin access__policy_open = {
    .base = WR_PLUGIN_BASE(struct wr_auth_plugin, WR_KIND_AUTH, "open", WR_VERSION,
                           "Everybody may everything"),
    .may = may,
};
