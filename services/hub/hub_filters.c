/* SPDX-License-Identifier: MIT
 *
 * Parsing and opening of the filter chain. */
#include "hub_filters.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_FILTERS = 32 };

static void list_names(const struct wr_plugins *plugins, char *out, size_t n)
{
    const char **names = wr_plugins_names(plugins, 1u << WR_KIND_FILTER);
    size_t at = 0;
    snprintf(out, n, "none");
    for (size_t i = 0; names && names[i] && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%s%s", i ? ", " : "", names[i]);
    free(names);
}

/* `word` is "name" or "name=args". */
static wr_err open_one(struct hub_filters *f, char *word, const struct wr_plugins *plugins,
                       struct wr_errmsg *err)
{
    char *args = strchr(word, '=');
    char names[128];
    if (args)
        *args++ = '\0';
    const struct wr_filter_plugin *p = wr_plugins_find(plugins, WR_KIND_FILTER, word);
    if (!p) {
        list_names(plugins, names, sizeof names);
        wr_errmsg_set(
            err, "hub.filters: no filter plugin `%s` (there is: %s): `watchroom plugins` lists all",
            word, names);
        return WR_ERR_NOT_FOUND;
    }
    void *state = wr_plugin_state(&p->base);
    if (!state) {
        wr_errmsg_set(err, "hub.filters: out of memory");
        return WR_ERR_BUSY;
    }
    struct wr_errmsg why = {{0}};
    wr_err e = WR_PLUGIN_HAS(p, open) ? p->open(state, args ? args : "", &why) : WR_OK;
    if (e != WR_OK) {
        wr_errmsg_set(err, "hub.filters: %s: %.200s", word, why.text);
        free(state);
        return e;
    }
    f->list[f->n++] = (struct hub_filter){.plugin = p, .state = state};
    return WR_OK;
}

wr_err hub_filters__init(struct hub_filters *f, const char *text, const struct wr_plugins *plugins,
                         struct wr_errmsg *err)
{
    char *copy = strdup(text ? text : ""), *rest = copy, *word;
    wr_err e = WR_OK;
    *f = (struct hub_filters){.list = calloc(MAX_FILTERS, sizeof *f->list)};
    if (!copy || !f->list) {
        wr_errmsg_set(err, "hub.filters: out of memory");
        e = WR_ERR_BUSY;
    }
    while (e == WR_OK && (word = strsep(&rest, ",")) != NULL) {
        word += strspn(word, " \t");
        if (*word == '\0')
            continue;
        if (f->n == MAX_FILTERS) {
            wr_errmsg_set(err, "hub.filters: more than %d filters", MAX_FILTERS);
            e = WR_ERR_INVALID;
        } else {
            e = open_one(f, word, plugins, err);
        }
    }
    free(copy);
    if (e != WR_OK)
        hub_filters__fini(f);
    return e;
}

void hub_filters__fini(struct hub_filters *f)
{
    while (f->n) {
        struct hub_filter *one = &f->list[--f->n];
        if (WR_PLUGIN_HAS(one->plugin, close))
            one->plugin->close(one->state);
        free(one->state);
    }
    free(f->list);
    f->list = NULL;
}
