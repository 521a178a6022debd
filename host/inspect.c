/* SPDX-License-Identifier: MIT
 *
 * `watchroom plugins` and `watchroom check`: what is there, and whether the configuration fits it. */
#include "host.h"
#include "wr_protocol.h"
#include "wr_store.h"

#include <stdio.h>
#include <string.h>

struct listing {
    size_t accepted, refused;
};

static void print_entry(void *ctx, const struct wr_plugin_entry *e)
{
    struct listing *l = ctx;
    if (e->table) {
        l->accepted++;
        printf("%-8s %-20s %-8s %s\n         %s\n",
               wr_plugin_kind_name((enum wr_plugin_kind)e->table->kind), e->table->name,
               e->table->version, e->table->description, e->path);
    } else {
        l->refused++;
        printf("refused  %s\n         %s\n", e->path, e->why);
    }
}

int host_plugins(const struct host_options *o)
{
    struct listing l = {0};
    struct wr_config *c = host_config_load(o);
    struct wr_plugins *p = c ? host_plugins_load(c, NULL) : NULL;
    int code = c ? HOST_FAILED : HOST_USAGE;
    if (p) {
        wr_plugins_each(p, print_entry, &l);
        printf("%zu plugins, %zu refused (watchroom %s, plugin ABI %u.%u)\n", l.accepted, l.refused,
               WR_VERSION, WR_PLUGIN_ABI_MAJOR, WR_PLUGIN_ABI_MINOR);
        code = l.refused ? HOST_FAILED : HOST_OK;
    }
    wr_plugins_free(&p);
    wr_config_free(&c);
    return code;
}

/* Every name of a comma-separated list ("name" or "name=arguments") is a plugin of the kind. */
static bool names_known(const struct wr_plugins *p, const char *key, enum wr_plugin_kind kind,
                        const char *list)
{
    bool ok = true;
    for (const char *at = list; *at;) {
        char name[128];
        size_t n = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)WR_MIN(strcspn(at, ",="), sizeof name - 1), at);
        if (!wr_plugins_find(p, kind, name)) {
            host_say("%s: there is no %s plugin \"%s\"; `watchroom plugins` lists what there is",
                     key, wr_plugin_kind_name(kind), name);
            ok = false;
        }
        at += n + (at[n] == ',');
    }
    return ok;
}

/* Of protocols that are there: does the gateway serve where they want to be, and has every port one that wants it? */
static bool protocols_served(const struct wr_plugins *p, const char *list, const char *ports)
{
    const struct wr_protocol_plugin *all[64];
    size_t num = 0;
    bool ok = true;
    for (const char *at = list; *at;) {
        char name[128];
        struct wr_errmsg why = {{0}};
        size_t n = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)WR_MIN(n, sizeof name - 1), at);
        const struct wr_protocol_plugin *one = wr_plugins_find(p, WR_KIND_PROTOCOL, name);
        if (one && wr_protocol_served(one, ports, &why) != WR_OK) {
            host_say("gateway.protocols: %s", why.text);
            ok = false;
        }
        if (one && num < WR_ARRAY_LEN(all))
            all[num++] = one;
        at += n + (at[n] == ',');
    }
    struct wr_errmsg why = {{0}};
    if (wr_protocol_ports_used(ports, all, num, &why) != WR_OK) {
        host_say("gateway.ports: %s", why.text);
        ok = false;
    }
    return ok;
}

static bool policy_known(const struct wr_plugins *p, const char *auth)
{
    char name[128]; /* without the arguments, which may have commas */
    snprintf(name, sizeof name, "%.*s", (int)WR_MIN(strcspn(auth, "="), sizeof name - 1), auth);
    return strcmp(name, "open") == 0 || names_known(p, "gateway.auth", WR_KIND_AUTH, name);
}

/* The store's arguments, as the store itself reads them. */
static bool store_args_fit(const struct wr_plugins *p, const char *text)
{
    char name[128];
    struct wr_errmsg why = {{0}};
    snprintf(name, sizeof name, "%.*s", (int)WR_MIN(strcspn(text, "="), sizeof name - 1), text);
    const struct wr_store_plugin *store = wr_plugins_find(p, WR_KIND_STORE, name);
    if (!store || wr_store_check(store, wr_store_args(text), &why) == WR_OK)
        return true; /* one that is not there was told */
    host_say("hub.store: %s", why.text);
    return false;
}

int host_check(const struct host_options *o)
{
    struct wr_config *c = host_config_load(o);
    struct wr_plugins *p = c ? host_plugins_load(c, NULL) : NULL;
    int code = HOST_USAGE;
    if (p) {
        bool ok = names_known(p, "hub.store", WR_KIND_STORE, c->hub.store);
        ok = store_args_fit(p, c->hub.store) && ok;
        ok = names_known(p, "hub.filters", WR_KIND_FILTER, c->hub.filters) && ok;
        ok = names_known(p, "filestore.blob", WR_KIND_BLOB, c->filestore.blob) && ok;
        ok = names_known(p, "gateway.protocols", WR_KIND_PROTOCOL, c->gateway.protocols) && ok;
        ok = protocols_served(p, c->gateway.protocols, c->gateway.ports) && ok;
        ok = policy_known(p, c->gateway.auth) && ok;
        ok = names_known(p, "gateway.muxers", WR_KIND_MUXER, c->gateway.muxers) && ok;
        if (ok) {
            printf("%s is fine: %zu stream%s, %zu room%s, page on %s, data in %s\n",
                   *c->file ? c->file : "The default configuration", c->num_streams,
                   c->num_streams == 1 ? "" : "s", c->num_rooms, c->num_rooms == 1 ? "" : "s",
                   c->gateway.listen, c->data);
            code = HOST_OK;
        }
    }
    wr_plugins_free(&p);
    wr_config_free(&c);
    return code;
}
