/* SPDX-License-Identifier: MIT
 *
 * The command line, and the configuration with it on top. */
#include "host.h"

#include "wr_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT 8000
#define DEFAULT_HEALTH "127.0.0.1:8001"

static bool is_service(const char *s)
{
    for (size_t i = 0; i < HOST_SERVICES; i++)
        if (!strcmp(host_services[i], s))
            return true;
    return false;
}

static const char **place_of(struct host_options *o, const char *flag, size_t n)
{
    const struct {
        const char *name;
        const char **at;
    } flags[] = {{"--listen", &o->listen},
                 {"--health", &o->health},
                 {"--data", &o->data},
                 {"--config", &o->config},
                 {"--web", &o->web}};
    for (size_t i = 0; i < WR_ARRAY_LEN(flags); i++)
        if (strlen(flags[i].name) == n && !strncmp(flags[i].name, flag, n))
            return flags[i].at;
    if (n == 5 && !strncmp(flag, "--set", n))
        return &o->sets[o->num_sets++];
    return NULL;
}

static bool parse_flag(struct host_options *o, int *i)
{
    const char *flag = o->argv[*i];
    const char *equals = strchr(flag, '=');
    if (!strcmp(flag, "--help") || !strcmp(flag, "-h"))
        return o->help = true;
    if (!strcmp(flag, "--split")) {
        o->split = true;
        return true;
    }
    size_t n = equals ? (size_t)(equals - flag) : strlen(flag);
    if (o->num_sets == HOST_MAX_SETS && n == 5 && !strncmp(flag, "--set", n)) {
        host_say("--set can be given %d times; a file for --config has room for more",
                 HOST_MAX_SETS);
        return false;
    }
    const char **at = place_of(o, flag, n);
    if (!at) {
        host_say("there is no flag \"%.60s\"; `watchroom help` lists them", flag);
        return false;
    }
    if (!equals && *i + 1 >= o->argc) {
        host_say("%s needs a value behind it", flag);
        return false;
    }
    *at = equals ? equals + 1 : o->argv[++*i];
    return true;
}

bool host_options_parse(int argc, char **argv, struct host_options *o)
{
    bool wants_file = argc > 1 && (!strcmp(argv[1], "backup") || !strcmp(argv[1], "restore") ||
                                   !strcmp(argv[1], "verify"));
    *o = (struct host_options){.argv = argv, .argc = argc, .config = getenv("WATCHROOM_CONFIG")};
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1]) {
            if (!parse_flag(o, &i))
                return false;
        } else if (wants_file && o->file) {
            host_say("\"%.40s\" is one file too many: name one, or none for the standard stream",
                     argv[i]);
            return false;
        } else if (wants_file) {
            o->file = argv[i];
        } else if (o->service) {
            host_say("\"%.40s\" is one service too many: name one, or none for all", argv[i]);
            return false;
        } else if (!is_service(argv[i])) {
            host_say("there is no service \"%.40s\"; there are: gateway, hub, ingest, filestore",
                     argv[i]);
            return false;
        } else {
            o->service = argv[i];
        }
    }
    if (o->split && o->service) {
        host_say("--split runs all four services; leave out either it or \"%s\"", o->service);
        return false;
    }
    return true;
}

static bool set(struct wr_config *c, const char *flag, const char *key, const char *value)
{
    struct wr_errmsg err = {""};
    if (!value || wr_config_set(c, key, value, &err) == WR_OK)
        return true;
    host_say("%s: %s", flag, err.text);
    return false;
}

/* --listen of a service other than the gateway: calls there, events on the port after it. */
static bool set_bus_listen(struct wr_config *c, const char *service, const char *listen)
{
    char key[32], url[128];
    const char *colon = strrchr(listen, ':');
    unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;
    snprintf(key, sizeof key, "bus.%s_listen", service);
    if (strstr(listen, "://"))
        return set(c, "--listen", key, listen);
    snprintf(url, sizeof url, "tcp://%.100s", listen);
    if (!set(c, "--listen", key, url))
        return false;
    snprintf(key, sizeof key, "bus.%s_events", service);
    snprintf(url, sizeof url, "tcp://%.*s:%lu", colon ? (int)WR_MIN(colon - listen, 90) : 0, listen,
             port ? port + 1 : 0);
    return set(c, "--listen", key, url);
}

static bool apply_sets(struct wr_config *c, const struct host_options *o)
{
    for (size_t i = 0; i < o->num_sets; i++) {
        char key[64];
        const char *equals = strchr(o->sets[i], '=');
        if (!equals) {
            host_say("--set %.60s: write it like --set gateway.max_uploads=8", o->sets[i]);
            return false;
        }
        snprintf(key, sizeof key, "%.*s", (int)WR_MIN(equals - o->sets[i], 63), o->sets[i]);
        if (!set(c, "--set", key, equals + 1))
            return false;
    }
    return true;
}

/* Health moves with the page when nobody said where it is to be, so that a second server needs one flag and not two. */
static bool place_health(struct wr_config *c)
{
    char address[32];
    unsigned long port = strtoul(strrchr(c->gateway.listen, ':') + 1, NULL, 10);
    if (port == DEFAULT_PORT || strcmp(c->gateway.health, DEFAULT_HEALTH) != 0)
        return true;
    snprintf(address, sizeof address, "127.0.0.1:%lu", port && port < 65535 ? port + 1 : 0);
    return set(c, "--health", "gateway.health", address);
}

struct wr_config *host_config_load(const struct host_options *o)
{
    struct wr_config *c = NULL;
    struct wr_errmsg err = {""};
    enum wr_config_shape shape = o->split || o->service ? WR_SHAPE_SPLIT : WR_SHAPE_ALL_IN_ONE;
    if (wr_config_load(o->config, shape, &c, &err)) {
        host_say("%s", err.text);
        return NULL;
    }
    bool to_gateway = !o->service || !strcmp(o->service, "gateway");
    bool ok = set(c, "--data", "data", o->data) && set(c, "--web", "gateway.web", o->web) &&
              set(c, "--health", "gateway.health", o->health) && apply_sets(c, o);
    if (ok && o->listen)
        ok = to_gateway ? set(c, "--listen", "gateway.listen", o->listen)
                        : set_bus_listen(c, o->service, o->listen);
    ok = ok && (o->health || place_health(c));
    if (!ok)
        wr_config_free(&c);
    return c;
}

struct wr_plugins *host_plugins_load(const struct wr_config *c, const char *service)
{
    struct wr_plugins *p = NULL;
    char folders[8192];
    const char *skip[HOST_SERVICES + 1] = {NULL};
    for (size_t i = 0, n = 0; service && i < HOST_SERVICES; i++)
        if (strcmp(host_services[i], service) != 0)
            skip[n++] = host_services[i];
    if (wr_plugins_default_folders(c->plugin_path, folders, sizeof folders) ||
        wr_plugins_load_without(folders, skip, &p))
        host_say("the plugins cannot be loaded: plugin_path is too long, or memory is out");
    return p;
}
