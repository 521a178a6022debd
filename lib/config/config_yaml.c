/* SPDX-License-Identifier: MIT
 *
 * The YAML side: libyaml loads the document, this walks it along the schema and refuses what does not fit, naming file,
 * line and key. The walk is as deep as the schema, so neither deep nesting nor a cycle of aliases can lead it astray. */
#include "config_priv.h"

#include "wr_buf.h"
#include "wr_id.h"
#include "wr_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define MAX_NAMED 10000 /* streams, rooms: more than anybody has, fewer than would hurt */

struct walk {
    struct wr_config *c;
    const char *file;
    yaml_document_t *doc;
    struct wr_errmsg *err;
};

static size_t line_of(const yaml_node_t *n)
{
    return n->start_mark.line + 1;
}

/* "file:line: key: text"; always WR_ERR_INVALID. */
static wr_err refuse(struct walk *w, size_t line, const char *key, const char *fmt, ...)
    WR_PRINTF(4, 5);
static wr_err refuse(struct walk *w, size_t line, const char *key, const char *fmt, ...)
{
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    wr_errmsg_set(w->err, "%.120s:%zu: %.80s%s%s", w->file, line, key, *key ? ": " : "", text);
    return WR_ERR_INVALID;
}

static const char *kind_of(const yaml_node_t *n)
{
    return n->type == YAML_MAPPING_NODE    ? "a mapping"
           : n->type == YAML_SEQUENCE_NODE ? "a list"
                                           : "a single value";
}

static bool is_plain_null(const yaml_node_t *n)
{
    if (n->type != YAML_SCALAR_NODE || n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *s = (const char *)n->data.scalar.value;
    return !*s || !strcmp(s, "~") || !strcmp(s, "null") || !strcmp(s, "Null") || !strcmp(s, "NULL");
}

/* The scalar's text, or NULL with the error set. */
static const char *scalar_text(struct walk *w, const yaml_node_t *n, const char *key)
{
    if (n->type != YAML_SCALAR_NODE) {
        refuse(w, line_of(n), key, "needs a single value, here is %s", kind_of(n));
        return NULL;
    }
    if (strlen((const char *)n->data.scalar.value) != n->data.scalar.length) {
        refuse(w, line_of(n), key, "holds a NUL byte; remove it");
        return NULL;
    }
    if (is_plain_null(n)) {
        refuse(w, line_of(n), key, "has no value; give one, or remove the line for the default");
        return NULL;
    }
    return (const char *)n->data.scalar.value;
}

static wr_err store_list(struct walk *w, void *base, const struct config_key *k, const char *key,
                         const yaml_node_t *n)
{
    struct wr_buf b = {0};
    struct wr_errmsg why = {""};
    wr_err e = WR_OK;
    for (yaml_node_item_t *i = n->data.sequence.items.start;
         e == WR_OK && i < n->data.sequence.items.top; i++) {
        const yaml_node_t *item = yaml_document_get_node(w->doc, *i);
        const char *text = scalar_text(w, item, key);
        if (!text)
            e = WR_ERR_INVALID;
        else if (strchr(text, ','))
            e = refuse(w, line_of(item), key, "\"%.40s\" holds a comma; make it two entries", text);
        else
            wr_buf_fmt(&b, "%s%s", b.n ? "," : "", text);
    }
    wr_buf_char(&b, '\0');
    if (e == WR_OK && b.failed)
        e = WR_ERR_BUSY;
    if (e == WR_OK && (e = config__store(base, k, (const char *)b.p, &why)) == WR_ERR_INVALID)
        refuse(w, line_of(n), key, "%s", why.text);
    wr_buf_free(&b);
    return e;
}

static wr_err store(struct walk *w, void *base, const struct config_key *k, const char *key,
                    const yaml_node_t *n)
{
    struct wr_errmsg why = {""};
    if ((k->type == CONFIG_LIST || k->type == CONFIG_PORTS) && n->type == YAML_SEQUENCE_NODE)
        return store_list(w, base, k, key, n);
    const char *text = scalar_text(w, n, key);
    if (!text)
        return WR_ERR_INVALID;
    wr_err e = config__store(base, k, text, &why);
    return e == WR_ERR_INVALID ? refuse(w, line_of(n), key, "%s", why.text) : e;
}

typedef wr_err (*pair_fn)(struct walk *w, void *ctx, const char *path, const char *name,
                          const yaml_node_t *key, const yaml_node_t *value);

/* Calls fn for each pair of a mapping, its name checked to be a text that was not there before. */
static wr_err each_pair(struct walk *w, const char *path, const yaml_node_t *n, pair_fn fn,
                        void *ctx)
{
    struct wr_map seen = {0};
    wr_err e = WR_OK;
    if (n->type != YAML_MAPPING_NODE)
        return refuse(w, line_of(n), path, "needs a mapping (key: value lines), here is %s",
                      kind_of(n));
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start;
         e == WR_OK && p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(w->doc, p->key);
        const yaml_node_t *value = yaml_document_get_node(w->doc, p->value);
        const char *name = key && value ? scalar_text(w, key, path) : NULL;
        if (!name) {
            e = WR_ERR_INVALID;
            break;
        }
        const yaml_node_t *before = wr_map_get(&seen, wr_slice_str(name));
        if (before)
            e = refuse(w, line_of(key), path, "%.60s is here twice, first in line %zu; keep one",
                       name, line_of(before));
        else if (!wr_map_put(&seen, wr_slice_str(name), (void *)(uintptr_t)key))
            e = WR_ERR_BUSY;
        else
            e = fn(w, ctx, path, name, key, value);
    }
    wr_map_free(&seen);
    return e;
}

static const char *name_in_keys(const void *ctx, size_t i)
{
    return ((const struct config_key *)ctx)[i].key;
}

static wr_err unknown_key(struct walk *w, const yaml_node_t *key, const char *full,
                          const char *near)
{
    if (near)
        return refuse(w, line_of(key), full, "no such key; did you mean %s?", near);
    return refuse(w, line_of(key), full,
                  "no such key; remove it, or look into examples/watchroom.yml for what there is");
}

static wr_err stream_pair(struct walk *w, void *ctx, const char *path, const char *name,
                          const yaml_node_t *key, const yaml_node_t *value)
{
    char full[320];
    snprintf(full, sizeof full, "%s.%s", path, name);
    for (size_t i = 0; i < config__num_stream_keys; i++)
        if (!strcmp(config__stream_keys[i].key, name))
            return store(w, ctx, &config__stream_keys[i], full, value);
    return unknown_key(
        w, key, full,
        config__nearest(name, name_in_keys, config__stream_keys, config__num_stream_keys));
}

static wr_err check_name(struct walk *w, const char *path, const char *name, const yaml_node_t *key,
                         size_t have)
{
    if (!wr_name_valid(wr_slice_str(name)))
        return refuse(w, line_of(key), path,
                      "\"%.40s\" cannot be a name; use up to 255 bytes of text without / and \\ "
                      "and without a leading dot",
                      name);
    if (have >= MAX_NAMED)
        return refuse(w, line_of(key), path, "more than %d entries", MAX_NAMED);
    return WR_OK;
}

static wr_err streams_pair(struct walk *w, void *ctx, const char *path, const char *name,
                           const yaml_node_t *key, const yaml_node_t *value)
{
    char full[300];
    (void)ctx;
    snprintf(full, sizeof full, "%s.%s", path, name);
    wr_err e = check_name(w, path, name, key, w->c->num_streams);
    if (e)
        return e;
    struct wr_config_stream *s = config__add_stream(w->c, name);
    if (!s)
        return WR_ERR_BUSY;
    if (value->type == YAML_SCALAR_NODE)
        return store(w, s, &config__stream_keys[0], full, value);
    if (value->type != YAML_MAPPING_NODE)
        return refuse(w, line_of(value), full, "needs a URL or a mapping with url:, here is %s",
                      kind_of(value));
    e = each_pair(w, full, value, stream_pair, s);
    if (e == WR_OK && !*s->url)
        e = refuse(w, line_of(value), full, "has no url; add url: rtsp://...");
    return e;
}

static wr_err history_pair(struct walk *w, void *ctx, const char *path, const char *name,
                           const yaml_node_t *key, const yaml_node_t *value)
{
    char full[340];
    snprintf(full, sizeof full, "%s.%s", path, name);
    for (size_t i = 0; i < config__num_history_keys; i++)
        if (!strcmp(config__history_keys[i].key, name))
            return store(w, ctx, &config__history_keys[i], full, value);
    return unknown_key(
        w, key, full,
        config__nearest(name, name_in_keys, config__history_keys, config__num_history_keys));
}

static const char *name_in_words(const void *ctx, size_t i)
{
    return ((const char *const *)ctx)[i];
}

static wr_err room_pair(struct walk *w, void *ctx, const char *path, const char *name,
                        const yaml_node_t *key, const yaml_node_t *value)
{
    static const char *const words[] = {"stream", "history"};
    static const struct config_key stream_key = {
        "stream", CONFIG_TEXT, offsetof(struct wr_config_room, stream), 0, 255, NULL, NULL};
    char full[320];
    snprintf(full, sizeof full, "%s.%s", path, name);
    if (!strcmp(name, "stream") && strchr(path, '*'))
        return refuse(w, line_of(key), full,
                      "a name with * stands for rooms that fit, and those have no stream by it; "
                      "remove the line, or name the room");
    if (!strcmp(name, "stream"))
        return store(w, ctx, &stream_key, full, value);
    if (!strcmp(name, "history"))
        return each_pair(w, full, value, history_pair, ctx);
    return unknown_key(w, key, full,
                       config__nearest(name, name_in_words, words, WR_ARRAY_LEN(words)));
}

static wr_err rooms_pair(struct walk *w, void *ctx, const char *path, const char *name,
                         const yaml_node_t *key, const yaml_node_t *value)
{
    char full[300];
    (void)ctx;
    snprintf(full, sizeof full, "%s.%s", path, name);
    wr_err e = check_name(w, path, name, key, w->c->num_rooms + w->c->num_room_patterns);
    if (e)
        return e;
    struct wr_config_room *r = config__add_room(w->c, name);
    if (!r)
        return WR_ERR_BUSY;
    return is_plain_null(value) ? WR_OK : each_pair(w, full, value, room_pair, r);
}

static wr_err section_pair(struct walk *w, void *ctx, const char *path, const char *name,
                           const yaml_node_t *key, const yaml_node_t *value)
{
    char full[300];
    const char *names[64];
    size_t n = 0, prefix = strlen(path) + 1;
    (void)ctx;
    snprintf(full, sizeof full, "%s.%s", path, name);
    for (size_t i = 0; i < config__num_keys; i++) {
        const struct config_key *k = &config__keys[i];
        if (!strcmp(k->key, full))
            return store(w, w->c, k, full, value);
        if (!strncmp(k->key, full, prefix) && n < WR_ARRAY_LEN(names))
            names[n++] = k->key + prefix;
    }
    return unknown_key(w, key, full, config__nearest(name, name_in_words, names, n));
}

static wr_err top_pair(struct walk *w, void *ctx, const char *path, const char *name,
                       const yaml_node_t *key, const yaml_node_t *value)
{
    const char *names[16];
    size_t n = 0;
    (void)ctx;
    (void)path;
    for (size_t i = 0; i < config__num_sections; i++) {
        const char *section = config__sections[i];
        names[n++] = section;
        if (strcmp(section, name))
            continue;
        if (is_plain_null(value)) /* a section whose lines are all comments */
            return WR_OK;
        if (!strcmp(name, "streams"))
            return each_pair(w, name, value, streams_pair, NULL);
        if (!strcmp(name, "rooms"))
            return each_pair(w, name, value, rooms_pair, NULL);
        return each_pair(w, name, value, section_pair, NULL);
    }
    for (size_t i = 0; i < config__num_keys; i++) {
        if (strchr(config__keys[i].key, '.'))
            continue; /* of a section */
        if (!strcmp(config__keys[i].key, name))
            return store(w, w->c, &config__keys[i], name, value);
        names[n++] = config__keys[i].key;
    }
    return unknown_key(w, key, name, config__nearest(name, name_in_words, names, n));
}

static const char *stream_name(const void *ctx, size_t i)
{
    return ((const struct wr_config *)ctx)->streams[i].name;
}

/* The pair of that name; NULL when there is none. The walk has seen to it that every key of the document is a scalar. */
static const yaml_node_pair_t *pair_named(struct walk *w, const yaml_node_t *map, const char *name)
{
    if (map->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++)
        if (!strcmp((const char *)yaml_document_get_node(w->doc, p->key)->data.scalar.value, name))
            return p;
    return NULL;
}

/* The line of a room's `stream:`, once more through the document: rooms may stand before the streams they name. */
static size_t line_of_room(struct walk *w, const yaml_node_t *root, const char *room)
{
    const char *path[] = {"rooms", room, "stream"};
    const yaml_node_t *at = root;
    size_t line = line_of(root);
    for (size_t i = 0; i < WR_ARRAY_LEN(path); i++) {
        const yaml_node_pair_t *p = pair_named(w, at, path[i]);
        if (!p)
            break;
        line = line_of(yaml_document_get_node(w->doc, p->key));
        at = yaml_document_get_node(w->doc, p->value);
    }
    return line;
}

static wr_err check_references(struct walk *w, const yaml_node_t *root)
{
    for (size_t i = 0; i < w->c->num_rooms; i++) {
        const struct wr_config_room *r = &w->c->rooms[i];
        char full[300];
        if (!*r->stream || wr_config_stream_named(w->c, wr_slice_str(r->stream)))
            continue;
        snprintf(full, sizeof full, "rooms.%s.stream", r->name);
        const char *near = config__nearest(r->stream, stream_name, w->c, w->c->num_streams);
        if (near)
            return refuse(w, line_of_room(w, root, r->name), full,
                          "no stream is named \"%.60s\"; did you mean %.60s?", r->stream, near);
        return refuse(w, line_of_room(w, root, r->name), full,
                      "no stream is named \"%.60s\"; add it under streams:", r->stream);
    }
    return WR_OK;
}

static wr_err syntax_error(struct walk *w, const yaml_parser_t *p)
{
    if (p->error == YAML_MEMORY_ERROR)
        return WR_ERR_BUSY;
    size_t line = p->error == YAML_READER_ERROR ? 1 : p->problem_mark.line + 1;
    if (p->error == YAML_READER_ERROR)
        return refuse(w, line, "", "not UTF-8 text (byte %zu): %s; save the file as UTF-8",
                      p->problem_offset, p->problem ? p->problem : "unreadable");
    return refuse(w, line, "", "not valid YAML: %s%s%s; check indentation, colons and quotes",
                  p->problem ? p->problem : "unreadable", p->context ? " " : "",
                  p->context ? p->context : "");
}

static wr_err walk_document(struct walk *w)
{
    yaml_node_t *root = yaml_document_get_root_node(w->doc);
    if (!root || is_plain_null(root))
        return WR_OK;
    wr_err e = each_pair(w, "", root, top_pair, NULL);
    return e == WR_OK ? check_references(w, root) : e;
}

wr_err config__read_yaml(struct wr_config *c, const char *name, struct wr_slice text,
                         struct wr_errmsg *err)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    struct walk w = {.c = c, .file = name ? name : "", .doc = &doc, .err = err};
    wr_err e;
    if (!yaml_parser_initialize(&parser))
        return WR_ERR_BUSY;
    yaml_parser_set_input_string(&parser, text.n ? text.p : (const uint8_t *)"", text.n);
    if (!yaml_parser_load(&parser, &doc)) {
        e = syntax_error(&w, &parser);
        goto out;
    }
    e = walk_document(&w);
    yaml_document_delete(&doc);
    if (e)
        goto out;
    if (!yaml_parser_load(&parser, &doc)) {
        e = syntax_error(&w, &parser);
        goto out;
    }
    const yaml_node_t *second = yaml_document_get_root_node(&doc);
    if (second)
        e = refuse(
            &w, line_of(second), "",
            "a second document begins here; the configuration is one document, remove the ---");
    yaml_document_delete(&doc);
out:
    yaml_parser_delete(&parser);
    return e;
}
