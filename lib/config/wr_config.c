/* SPDX-License-Identifier: MIT
 *
 * The configuration as a whole: defaults of the shape, then the file, then the environment; look-ups and the end. */
#include "config_priv.h"

#include "wr_id.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE_BYTES (1u << 20)

static const char *key_name(const void *ctx, size_t i)
{
    return ((const struct config_key *)ctx)[i].key;
}

static const struct config_key *find_key(const char *key)
{
    for (size_t i = 0; i < config__num_keys; i++)
        if (!strcmp(config__keys[i].key, key))
            return &config__keys[i];
    return NULL;
}

static bool is_text(enum config_type t)
{
    return t == CONFIG_TEXT || t == CONFIG_LIST || t == CONFIG_PORTS || t == CONFIG_LISTEN ||
           t == CONFIG_BUS || t == CONFIG_BUSES || t == CONFIG_URL || t == CONFIG_CHOICE;
}

static wr_err set_default(void *base, const struct config_key *k)
{
    struct wr_errmsg err = {""};
    if (k->def && (*k->def || k->min == 0))
        return config__store(base, k, k->def, &err);
    if (is_text(k->type)) {
        char **at = (char **)(void *)((char *)base + k->offset);
        if (!*at && !(*at = strdup("")))
            return WR_ERR_BUSY;
    }
    return WR_OK;
}

struct wr_config_stream *config__add_stream(struct wr_config *c, const char *name)
{
    struct wr_config_stream *s = reallocarray(c->streams, c->num_streams + 1, sizeof *s);
    if (!s)
        return NULL;
    c->streams = s;
    s += c->num_streams;
    *s = (struct wr_config_stream){.name = strdup(name)};
    c->num_streams++;
    for (size_t i = 0; i < config__num_stream_keys; i++)
        if (set_default(s, &config__stream_keys[i]))
            return NULL;
    return s->name ? s : NULL;
}

struct wr_config_room *config__add_room(struct wr_config *c, const char *name)
{
    bool is_pattern = strchr(name, '*') != NULL;
    struct wr_config_room **list = is_pattern ? &c->room_patterns : &c->rooms;
    size_t *n = is_pattern ? &c->num_room_patterns : &c->num_rooms;
    struct wr_config_room *r = reallocarray(*list, *n + 1, sizeof *r);
    if (!r)
        return NULL;
    *list = r;
    r += *n;
    *r = (struct wr_config_room){.name = strdup(name), .stream = strdup("")};
    ++*n;
    return r->name && r->stream ? r : NULL;
}

static wr_err set_bus_defaults(struct wr_config *c, enum wr_config_shape shape)
{
    static const struct {
        const char *key, *inproc, *tcp;
    } table[] = {
        {"bus.hub", "inproc://hub", "tcp://127.0.0.1:7101"},
        {"bus.hub_listen", "inproc://hub", "tcp://127.0.0.1:7101"},
        {"bus.hub_events", "inproc://hub/events", "tcp://127.0.0.1:7102"},
        {"bus.ingest", "inproc://ingest", "tcp://127.0.0.1:7201"},
        {"bus.ingest_listen", "inproc://ingest", "tcp://127.0.0.1:7201"},
        {"bus.ingest_events", "inproc://ingest/events", "tcp://127.0.0.1:7202"},
        {"bus.filestore", "inproc://filestore", "tcp://127.0.0.1:7301"},
        {"bus.filestore_listen", "inproc://filestore", "tcp://127.0.0.1:7301"},
        {"bus.filestore_events", "inproc://filestore/events", "tcp://127.0.0.1:7302"},
    };
    struct wr_errmsg err = {""};
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++)
        if (config__store(c, find_key(table[i].key),
                          shape == WR_SHAPE_SPLIT ? table[i].tcp : table[i].inproc, &err))
            return WR_ERR_BUSY;
    return WR_OK;
}

static struct wr_config *new_config(const char *name, enum wr_config_shape shape)
{
    struct wr_config *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->file = strdup(name ? name : "");
    bool ok = c->file && set_bus_defaults(c, shape) == WR_OK;
    for (size_t i = 0; ok && i < config__num_keys; i++)
        if (strncmp(config__keys[i].key, "bus.", 4) != 0)
            ok = set_default(c, &config__keys[i]) == WR_OK;
    if (!ok)
        wr_config_free(&c);
    return c;
}

/* With nothing configured there is something to see; and a stream that no room shows gets a room of its own name, so that
 * one line of YAML makes a camera appear. */
static wr_err add_implied(struct wr_config *c)
{
    if (c->num_streams == 0 && c->num_rooms == 0) {
        struct wr_config_stream *s = config__add_stream(c, "demo");
        char *url = s ? strdup("synthetic:") : NULL;
        if (!url)
            return WR_ERR_BUSY;
        free(s->url);
        s->url = url;
    }
    for (size_t i = 0; i < c->num_streams; i++) {
        const char *name = c->streams[i].name;
        bool shown = wr_config_room_named(c, wr_slice_str(name)) != NULL;
        for (size_t j = 0; !shown && j < c->num_rooms; j++)
            shown = !strcmp(c->rooms[j].stream, name);
        if (shown)
            continue;
        struct wr_config_room *r = config__add_room(c, name);
        char *stream = r ? strdup(name) : NULL;
        if (!stream)
            return WR_ERR_BUSY;
        free(r->stream);
        r->stream = stream;
    }
    return WR_OK;
}

static wr_err read_environment(struct wr_config *c, struct wr_errmsg *err)
{
    for (size_t i = 0; i < config__num_keys; i++) {
        char name[64];
        struct wr_errmsg why = {""};
        snprintf(name, sizeof name, "WATCHROOM_%s", config__keys[i].key);
        for (char *p = name; *p; p++)
            *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
        const char *value = getenv(name);
        if (!value || !*value) /* compose files pass unset variables on as empty ones */
            continue;
        wr_err e = config__store(c, &config__keys[i], value, &why);
        if (e) {
            wr_errmsg_set(err, "environment: %s: %s", name, why.text);
            return e;
        }
    }
    return WR_OK;
}

static wr_err finish(struct wr_config **c, wr_err e, struct wr_config **out, struct wr_errmsg *err)
{
    if (e == WR_OK)
        e = add_implied(*c);
    if (e == WR_ERR_BUSY)
        wr_errmsg_set(err, "out of memory while the configuration was read");
    if (e)
        wr_config_free(c);
    *out = *c;
    return e;
}

wr_err wr_config_parse(const char *name, struct wr_slice text, enum wr_config_shape shape,
                       struct wr_config **out, struct wr_errmsg *err)
{
    struct wr_config *c = new_config(name, shape);
    return finish(&c, c ? config__read_yaml(c, name, text, err) : WR_ERR_BUSY, out, err);
}

static wr_err read_file(const char *file, char **text, size_t *n, struct wr_errmsg *err)
{
    wr_err e = WR_OK;
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    *text = NULL;
    if (fd < 0 || fstat(fd, &st) < 0) {
        e = wr_err_from_errno(errno);
        wr_errmsg_set(err,
                      "%s: cannot be read (%s); check the path behind --config and its permissions",
                      file, strerror(errno));
        goto out;
    }
    if (S_ISDIR(st.st_mode)) {
        e = WR_ERR_INVALID;
        wr_errmsg_set(err, "%s: is a folder; --config wants the YAML file itself", file);
        goto out;
    }
    if (!(*text = malloc(MAX_FILE_BYTES + 1))) {
        e = WR_ERR_BUSY;
        goto out;
    }
    /* Until end of file rather than st_size: it may be a pipe or /dev/stdin. */
    for (*n = 0; *n <= MAX_FILE_BYTES;) {
        ssize_t got = read(fd, *text + *n, MAX_FILE_BYTES + 1 - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            e = wr_err_from_errno(errno);
            wr_errmsg_set(err, "%s: cannot be read (%s)", file, strerror(errno));
        }
        if (got <= 0)
            break;
        *n += (size_t)got;
    }
    if (*n > MAX_FILE_BYTES) {
        e = WR_ERR_TOO_BIG;
        wr_errmsg_set(err, "%s: is longer than %u bytes; is it the right file?", file,
                      MAX_FILE_BYTES);
    }
out:
    if (fd >= 0)
        close(fd);
    return e;
}

wr_err wr_config_load(const char *file, enum wr_config_shape shape, struct wr_config **out,
                      struct wr_errmsg *err)
{
    char *text = NULL;
    size_t n = 0;
    wr_err e;
    struct wr_config *c = new_config(file, shape);
    *out = NULL;
    if (!c)
        e = WR_ERR_BUSY;
    else if (!file || !*file)
        e = WR_OK;
    else if ((e = read_file(file, &text, &n, err)) == WR_OK)
        e = config__read_yaml(c, file, wr_slice_of(text, n), err);
    if (e == WR_OK)
        e = read_environment(c, err);
    free(text);
    return finish(&c, e, out, err);
}

wr_err wr_config_set(struct wr_config *c, const char *key, const char *value, struct wr_errmsg *err)
{
    struct wr_errmsg why = {""};
    const struct config_key *k = find_key(key);
    if (!k) {
        const char *near = config__nearest(key, key_name, config__keys, config__num_keys);
        wr_errmsg_set(err, "%.60s: no such key%s%s%s", key, near ? "; did you mean " : "",
                      near ? near : "", near ? "?" : "");
        return WR_ERR_INVALID;
    }
    wr_err e = config__store(c, k, value, &why);
    if (e)
        wr_errmsg_set(err, "%s: %s", key, why.text);
    return e;
}

static void free_rooms(struct wr_config_room *rooms, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(rooms[i].name);
        free(rooms[i].stream);
    }
    free(rooms);
}

void wr_config_free(struct wr_config **pc)
{
    struct wr_config *c = *pc;
    if (!c)
        return;
    for (size_t i = 0; i < config__num_keys; i++)
        if (is_text(config__keys[i].type))
            free(*(char **)(void *)((char *)c + config__keys[i].offset));
    for (size_t i = 0; i < c->num_streams; i++) {
        free(c->streams[i].name);
        free(c->streams[i].url);
        free(c->streams[i].transport);
    }
    free_rooms(c->rooms, c->num_rooms);
    free_rooms(c->room_patterns, c->num_room_patterns);
    free(c->streams);
    free(c->file);
    free(c);
    *pc = NULL;
}

const struct wr_config_stream *wr_config_stream_named(const struct wr_config *c,
                                                      struct wr_slice name)
{
    for (size_t i = 0; i < c->num_streams; i++)
        if (wr_slice_is(name, c->streams[i].name))
            return &c->streams[i];
    return NULL;
}

const struct wr_config_room *wr_config_room_named(const struct wr_config *c, struct wr_slice name)
{
    for (size_t i = 0; i < c->num_rooms; i++)
        if (wr_slice_is(name, c->rooms[i].name))
            return &c->rooms[i];
    return NULL;
}

/* Takes what the room or pattern says and nobody has said before. */
static void take_history(const struct wr_config_room *r, uint64_t *count, int64_t *age_ms)
{
    if (*count == 0)
        *count = r->history_count;
    if (*age_ms == 0)
        *age_ms = r->history_age_ms;
}

void wr_config_history(const struct wr_config *c, struct wr_slice name, uint64_t *count,
                       int64_t *age_ms)
{
    const struct wr_config_room *own = wr_config_room_named(c, name);
    *count = 0;
    *age_ms = 0;
    if (own)
        take_history(own, count, age_ms);
    for (size_t i = 0; i < c->num_room_patterns; i++)
        if (wr_name_like(name, c->room_patterns[i].name))
            take_history(&c->room_patterns[i], count, age_ms);
    if (*count == 0)
        *count = c->hub.history_count;
    if (*age_ms == 0)
        *age_ms = c->hub.history_age_ms;
}
