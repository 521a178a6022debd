/* SPDX-License-Identifier: MIT
 *
 * Plugins that do not fit, one per WR_BAD_* definition: the loader's test builds each and expects its refusal. */
#include "wr_filter.h"
#include "wr_metrics.h"

WR_COUNTER(seen, "watchroom_test_bad_plugin_total", NULL, "Never counted");

#if defined(WR_BAD_SYMBOL)
extern int wr_there_is_no_such_function(void);
static enum wr_filter_verdict apply(void *state, struct wr_filter_msg *msg, struct wr_errmsg *why)
{
    (void)state, (void)msg, (void)why;
    return wr_there_is_no_such_function() ? WR_FILTER_PASS : WR_FILTER_REFUSE;
}
#elif !defined(WR_BAD_SLOT)
static enum wr_filter_verdict apply(void *state, struct wr_filter_msg *msg, struct wr_errmsg *why)
{
    (void)state, (void)msg, (void)why;
    return WR_FILTER_PASS;
}
#endif

#if !defined(WR_BAD_TABLE)
WR_PLUGIN_EXPORT extern const struct wr_filter_plugin wr_plugin_table;
const struct wr_filter_plugin wr_plugin_table = {
    .base = {.abi_major = WR_PLUGIN_ABI_MAJOR,
             .abi_minor = WR_PLUGIN_ABI_MINOR,
             .size = sizeof(struct wr_filter_plugin),
             .kind = WR_KIND_FILTER,
             .name = "bad",
             .version = "1.0",
             .description = "Made to be refused"},
#if !defined(WR_BAD_SLOT)
    .apply = apply,
#endif
};
#endif
#if defined(WR_BAD_TABLE)
WR_PLUGIN_EXPORT extern enum wr_filter_verdict (*const wr_other)(void *, struct wr_filter_msg *,
                                                                 struct wr_errmsg *);
enum wr_filter_verdict (*const wr_other)(void *, struct wr_filter_msg *,
                                         struct wr_errmsg *) = apply;
#endif
