/* SPDX-License-Identifier: MIT
 *
 * The chain of message filters that the configuration names ("words=mask:foo|bar,slow=2"), in order. */
#ifndef HUB_FILTERS_H
#define HUB_FILTERS_H

#include "wr_filter.h"
#include "wr_plugins.h"

struct hub_filter {
    const struct wr_filter_plugin *plugin;
    void *state;
};

struct hub_filters {
    struct hub_filter *list;
    size_t n;
};

/* Finds and opens the filters of the text. On an error nothing is left open, and err says which filter and why. */
WR_MUST_USE wr_err hub_filters__init(struct hub_filters *f, const char *text,
                                     const struct wr_plugins *plugins, struct wr_errmsg *err);
/* Accepts zeroed memory. */
void hub_filters__fini(struct hub_filters *f);
/* Shows msg to filter i. */
static inline enum wr_filter_verdict hub_filters__apply(const struct hub_filters *f, size_t i,
                                                        struct wr_filter_msg *msg,
                                                        struct wr_errmsg *why)
{
    return f->list[i].plugin->apply(f->list[i].state, msg, why);
}

#endif
