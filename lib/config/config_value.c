/* SPDX-License-Identifier: MIT
 *
 * One value: from the text that a person wrote in YAML, in a variable or behind a flag, to the field of its type. */
#include "config_priv.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit byte_units[] = {{"B", 1},
                                         {"KiB", 1024},
                                         {"MiB", 1u << 20},
                                         {"GiB", 1u << 30},
                                         {"TiB", UINT64_C(1) << 40},
                                         {"kB", 1000},
                                         {"KB", 1000},
                                         {"MB", 1000000},
                                         {"GB", 1000000000},
                                         {"TB", UINT64_C(1000000000000)},
                                         {NULL, 0}};
static const struct unit time_units[] = {{"ms", 1},      {"s", 1000},    {"m", 60000},
                                         {"min", 60000}, {"h", 3600000}, {"d", 86400000},
                                         {NULL, 0}};

/* Digits, then nothing (times `bare`, refused when that is 0) or one of the units. */
static bool parse_number(const char *s, const struct unit *units, uint64_t bare, uint64_t *out)
{
    uint64_t v = 0;
    const char *p = s;
    if (!isdigit((unsigned char)*p))
        return false;
    for (; isdigit((unsigned char)*p) || (*p == '_' && p != s); p++)
        if (*p != '_' && (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
                          __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)))
            return false;
    while (*p == ' ')
        p++;
    if (!*p)
        return bare != 0 && !__builtin_mul_overflow(v, bare, out);
    for (; units && units->name; units++)
        if (!strcmp(p, units->name))
            return !__builtin_mul_overflow(v, units->factor, out);
    return false;
}

static wr_err number(const char *value, const struct unit *units, uint64_t bare,
                     const char *example, uint64_t *out, struct wr_errmsg *err)
{
    if (!parse_number(value, units, bare, out)) {
        wr_errmsg_set(err, "\"%.40s\" is not %s; write it like %s", value,
                      units == byte_units   ? "a size"
                      : units == time_units ? "a time"
                                            : "a number",
                      example);
        return WR_ERR_INVALID;
    }
    return WR_OK;
}

static wr_err bounded(const struct config_key *k, uint64_t v, const char *what,
                      struct wr_errmsg *err)
{
    if (v >= k->min && v <= k->max)
        return WR_OK;
    wr_errmsg_set(err, "%" PRIu64 "%s is out of bounds; use %" PRIu64 " to %" PRIu64 "%s", v, what,
                  k->min, k->max, what);
    return WR_ERR_INVALID;
}

static wr_err set_text(void *at, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return WR_ERR_BUSY;
    free(*(char **)at);
    *(char **)at = copy;
    return WR_OK;
}

static bool has_control(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

static wr_err store_text(void *at, const struct config_key *k, const char *value,
                         struct wr_errmsg *err)
{
    if (strlen(value) < k->min) {
        wr_errmsg_set(err, "must not be empty; give a value or leave the key out for the default");
        return WR_ERR_INVALID;
    }
    if (k->max && strlen(value) > k->max) {
        wr_errmsg_set(err, "is longer than %" PRIu64 " bytes; shorten it", k->max);
        return WR_ERR_INVALID;
    }
    if (has_control(value)) {
        wr_errmsg_set(err, "holds a control character; remove it");
        return WR_ERR_INVALID;
    }
    return set_text(at, value);
}

static bool port_valid(const char *s)
{
    size_t n = strlen(s);
    return n >= 1 && n <= 5 && strspn(s, "0123456789") == n && strtoul(s, NULL, 10) <= 65535;
}

/* "ADDR:PORT", "[v6]:PORT", ":PORT" (every address) or "PORT" (this machine only). */
static bool normalise_listen(const char *value, char *out, size_t n)
{
    unsigned char addr[16];
    char host[64] = "127.0.0.1";
    const char *colon = strrchr(value, ':');
    const char *port = colon ? colon + 1 : value;
    if (!port_valid(port))
        return false;
    if (colon) {
        size_t len = (size_t)(colon - value);
        if (len >= sizeof host)
            return false;
        snprintf(host, sizeof host, "%.*s", (int)(len ? len : 7), len ? value : "0.0.0.0");
    }
    if (!strcmp(host, "localhost"))
        snprintf(host, sizeof host, "127.0.0.1");
    if (!strcmp(host, "*"))
        snprintf(host, sizeof host, "0.0.0.0");
    size_t len = strlen(host);
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, addr) != 1)
            return false;
        host[len - 1] = ']';
    } else if (inet_pton(AF_INET, host, addr) != 1) {
        return false;
    }
    return snprintf(out, n, "%s:%s", host, port) < (int)n;
}

static wr_err store_listen(void *at, const struct config_key *k, const char *value,
                           struct wr_errmsg *err)
{
    char text[80];
    if (k->min == 0 && (!*value || !strcmp(value, "off") || !strcmp(value, "none")))
        return set_text(at, "");
    if (!normalise_listen(value, text, sizeof text)) {
        wr_errmsg_set(err,
                      "\"%.60s\" is not ADDRESS:PORT; write it like 127.0.0.1:8000 (or "
                      "0.0.0.0:8000 for every address)",
                      value);
        return WR_ERR_INVALID;
    }
    return set_text(at, text);
}

static bool port_name_valid(const char *s)
{
    return *s && strlen(s) < 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
               strlen(s);
}

/* One of gateway.ports into text, which has those before it; false: it is not one, or one of them has its name. */
static bool add_port(const char *item, char *text, size_t room)
{
    char name[80], address[80], before[64], taken[80];
    size_t n = strcspn(item, "="), have = strlen(text);
    snprintf(name, sizeof name, "%.*s", (int)n, item);
    if (item[n] != '=' || n >= sizeof name || !port_name_valid(name) ||
        !normalise_listen(item + n + 1, address, sizeof address))
        return false;
    for (const char *at = text; wr_config_next_port(&at, before, taken);)
        if (!strcmp(before, name))
            return false;
    int len = snprintf(text + have, room - have, "%s%s=%s", have ? "," : "", name, address);
    return len > 0 && (size_t)len < room - have;
}

static wr_err store_ports(void *at, const char *value, struct wr_errmsg *err)
{
    char text[4000] = "", item[160];
    for (const char *p = value; *p;) {
        size_t n = strcspn(p, ",");
        const char *first = p + strspn(p, " ");
        snprintf(item, sizeof item, "%.*s", (int)(p + n > first ? p + n - first : 0), first);
        for (size_t len = strlen(item); len && item[len - 1] == ' ';)
            item[--len] = '\0';
        if (!add_port(item, text, sizeof text)) {
            wr_errmsg_set(
                err,
                "\"%.60s\" is not NAME=ADDRESS:PORT with a name of its own; write it like "
                "lines=127.0.0.1:9000",
                item);
            return WR_ERR_INVALID;
        }
        p += n + (p[n] == ',');
    }
    return set_text(at, text);
}

bool wr_config_next_port(const char **at, char name[64], char address[80])
{
    size_t n = strcspn(*at, ","), eq = strcspn(*at, "=,");
    if (!n)
        return false;
    snprintf(name, 64, "%.*s", (int)eq, *at);
    snprintf(address, 80, "%.*s", (int)(eq < n ? n - eq - 1 : 0), *at + eq + (eq < n));
    *at += n + ((*at)[n] == ',');
    return true;
}

static bool bus_url_valid(const char *p, size_t n)
{
    static const char *const schemes[] = {"inproc://", "tcp://", "ipc://"};
    for (size_t i = 0; i < WR_ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (n > len && !strncmp(p, schemes[i], len)) {
            if (i != 1)
                return true;
            const char *colon = memrchr(p + len, ':', n - len);
            char port[8] = "";
            if (!colon || colon == p + len || (size_t)(p + n - colon) > sizeof port)
                return false;
            memcpy(port, colon + 1, (size_t)(p + n - colon) - 1);
            return port_valid(port);
        }
    }
    return false;
}

static wr_err store_bus(void *at, const struct config_key *k, const char *value,
                        struct wr_errmsg *err)
{
    bool ok = *value && !has_control(value) && strlen(value) <= 2000;
    for (const char *p = value; ok && p;) {
        const char *comma = k->type == CONFIG_BUSES ? strchr(p, ',') : NULL;
        ok = bus_url_valid(p, comma ? (size_t)(comma - p) : strlen(p));
        p = comma ? comma + 1 : NULL;
    }
    if (!ok) {
        wr_errmsg_set(err,
                      "\"%.60s\" is not a bus address; write it like tcp://127.0.0.1:7101, "
                      "ipc:///run/hub or inproc://hub",
                      value);
        return WR_ERR_INVALID;
    }
    return set_text(at, value);
}

static wr_err store_url(void *at, const struct config_key *k, const char *value,
                        struct wr_errmsg *err)
{
    static const char *const schemes[] = {"rtsp://", "rtsps://", "synthetic:"};
    for (size_t i = 0; i < WR_ARRAY_LEN(schemes); i++)
        if (!strncasecmp(value, schemes[i], strlen(schemes[i])))
            return store_text(at, k, value, err);
    /* The value itself stays out of the sentence: it may hold a password. */
    wr_errmsg_set(
        err, "this kind of source cannot be opened; use rtsp://..., rtsps://... or synthetic:");
    return WR_ERR_INVALID;
}

static wr_err store_bool(void *at, const char *value, struct wr_errmsg *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < WR_ARRAY_LEN(words); i++)
        if (!strcasecmp(value, words[i])) {
            *(bool *)at = i % 2 == 1;
            return WR_OK;
        }
    wr_errmsg_set(err, "\"%.40s\" is neither true nor false; write one of them", value);
    return WR_ERR_INVALID;
}

static wr_err store_choice(void *at, const struct config_key *k, const char *value,
                           struct wr_errmsg *err)
{
    size_t n = strlen(value);
    for (const char *p = k->choices; n && (p = strstr(p, value)); p += n)
        if ((p == k->choices || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0') &&
            !strchr(value, ' '))
            return set_text(at, value);
    wr_errmsg_set(err, "\"%.40s\" is not known here; use one of: %s", value, k->choices);
    return WR_ERR_INVALID;
}

wr_err config__store(void *base, const struct config_key *k, const char *value,
                     struct wr_errmsg *err)
{
    void *at = (char *)base + k->offset;
    uint64_t v = 0;
    wr_err e;
    switch (k->type) {
    case CONFIG_TEXT:
    case CONFIG_LIST:
        return store_text(at, k, value, err);
    case CONFIG_PORTS:
        return store_ports(at, value, err);
    case CONFIG_LISTEN:
        return store_listen(at, k, value, err);
    case CONFIG_BUS:
    case CONFIG_BUSES:
        return store_bus(at, k, value, err);
    case CONFIG_URL:
        return store_url(at, k, value, err);
    case CONFIG_BOOL:
        return store_bool(at, value, err);
    case CONFIG_CHOICE:
        return store_choice(at, k, value, err);
    case CONFIG_COUNT:
    case CONFIG_COUNT64:
        if ((e = number(value, NULL, 1, "100", &v, err)) || (e = bounded(k, v, "", err)))
            return e;
        break;
    case CONFIG_BYTES:
    case CONFIG_BYTES64:
        if ((e = number(value, byte_units, 1, "64KiB, 4MiB or 2GiB", &v, err)) ||
            (e = bounded(k, v, " bytes", err)))
            return e;
        break;
    case CONFIG_MS:
        if ((e = number(value, time_units, 1, "500ms or 3s", &v, err)) ||
            (e = bounded(k, v, " ms", err)))
            return e;
        break;
    case CONFIG_AGE:
    case CONFIG_WAIT:
        if ((e = number(value, time_units, 0, "10s, 12h or 30d, with its unit", &v, err)) ||
            (e = bounded(k, v, " ms", err)))
            return e;
        break;
    case CONFIG_HOURS:
        if ((e = number(value, time_units, 3600000, "24h or 7d", &v, err)))
            return e;
        v /= 3600000;
        if ((e = bounded(k, v, " hours", err)))
            return e;
        break;
    case CONFIG_INVALID:
        wr_errmsg_set(err, "has no type in the schema");
        return WR_ERR_INTERNAL;
    }
    if (k->type == CONFIG_COUNT64 || k->type == CONFIG_BYTES64)
        *(uint64_t *)at = v;
    else if (k->type == CONFIG_AGE)
        *(int64_t *)at = (int64_t)v;
    else
        *(uint32_t *)at = (uint32_t)v;
    return WR_OK;
}

/* Levenshtein distance of two short words; words past 48 bytes count as far apart. */
static unsigned distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    unsigned row[MAX + 1];
    size_t na = strlen(a), nb = strlen(b);
    if (na > MAX || nb > MAX)
        return 1000;
    for (size_t j = 0; j <= nb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned swap = diagonal +
                            (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            row[j] = WR_MIN(swap, WR_MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[nb];
}

const char *config__nearest(const char *word, const char *(*name_of)(const void *ctx, size_t i),
                            const void *ctx, size_t n)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)WR_MIN(strlen(word) / 2 + 1, 4u);
    for (size_t i = 0; i < n; i++) {
        const char *name = name_of(ctx, i);
        unsigned d = name ? distance(word, name) : 1000;
        if (d < best_distance) {
            best = name;
            best_distance = d;
        }
    }
    return best;
}
