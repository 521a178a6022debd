/* SPDX-License-Identifier: MIT
 *
 * Filter `null`: lets every message pass as it is. What a filter is, at its least. */
#include "wr_filter.h"

static enum wr_filter_verdict apply(void *state, struct wr_filter_msg *msg, struct wr_errmsg *why)
{
    (void)state;
    (void)msg;
    (void)why;
    return WR_FILTER_PASS;
}

WR_PLUGIN_EXPORT const struct wr_filter_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(struct wr_filter_plugin, WR_KIND_FILTER, "null", WR_VERSION,
                           "Lets every message pass"),
    .apply = apply,
};
