/* SPDX-License-Identifier: MIT
 *
 * Protocol `text` at /ws: plain lines, as the chat example of gorilla/websocket speaks them, so that its page works
 * unchanged. A message in is one line (newlines become spaces); messages out may hold several lines joined by newline.
 * ?room= names the room, "lobby" without it. What other protocols publish is written as "name: text". */
#include "wr_json.h"
#include "wr_protocol.h"
#include "wr_id.h"
#include <stdio.h>

#define MANY_PENDING \
    64u /* so many unacknowledged lines stop the reading of more: TCP slows the sender down */

struct text_conn {
    const struct wr_protocol_api *api;
    struct wr_protocol_conn *c;
    uint16_t room_len;
    bool is_paused;
    char room[256];
};

static bool is_room_named(const char *query)
{
    for (const char *at = query; at; at = strchr(at, '&')) {
        at += *at == '&';
        if (strncmp(at, "room=", 5) == 0)
            return at[5] && at[5] != '&';
    }
    return false;
}

/* The room that a query names, "lobby" when it names none; false when there can be no such room. */
static bool room_of(const struct wr_protocol_open *o, char room[256])
{
    bool named = is_room_named(o->query);
    if (!named)
        (void)snprintf(room, 256, "lobby");
    return !named || (o->param(o, "room", room, 256) && wr_name_valid(wr_slice_str(room)));
}

static wr_err check(const struct wr_protocol_open *o, struct wr_errmsg *why)
{
    char room[256];
    if (room_of(o, room))
        return WR_OK;
    wr_errmsg_set(why, "room: there can be no room of that name; use up to 255 bytes of UTF-8 "
                       "without '/', '\\', control and format "
                       "characters, and no '.' in front");
    return WR_ERR_INVALID;
}

static void open_(void *state, const struct wr_protocol_api *api, struct wr_protocol_conn *c,
                  void *cs, const struct wr_protocol_open *o)
{
    (void)state;
    struct text_conn *t = cs;
    char client[37];
    t->api = api;
    t->c = c;
    (void)room_of(o, t->room);
    t->room_len = (uint16_t)strlen(t->room);
    wr_id_uuid(client);
    struct wr_protocol_subscribe sub = {.room = wr_slice_of(t->room, t->room_len)};
    if (!api->identify(c, wr_slice_str(client), (struct wr_slice){0}, (struct wr_slice){0}))
        api->close(c, 1011, "out of memory");
    else if (api->subscribe(c, &sub, 0) != WR_OK)
        api->close(c, 1008, "there can be no room of that name");
    else /* until it is in the room: a line sent at once would come before its own place there, and not come back */
        api->pause(c, t->is_paused = true);
}

/* One message stays one line. */
static void add_flat(struct wr_slice text, struct wr_buf *out)
{
    for (size_t i = 0; i < text.n; i++)
        wr_buf_char(out, text.p[i] == '\n' || text.p[i] == '\r' ? ' ' : (char)text.p[i]);
}

/* The line between its blanks, newlines as spaces, as a JSON message. */
static void line_to_json(struct wr_slice line, struct wr_buf *flat, struct wr_buf *out)
{
    add_flat(line, flat);
    size_t from = 0, to = flat->n;
    while (from < to && (flat->p[from] == ' ' || flat->p[from] == '\t'))
        from++;
    while (to > from && (flat->p[to - 1] == ' ' || flat->p[to - 1] == '\t'))
        to--;
    if (from == to)
        return;
    wr_buf_str(out, "{\"text\":");
    wr_json_put(out, flat->p + from, to - from);
    wr_buf_char(out, '}');
}

/* A call without an answer may have been stored all the same: that is not told as "not sent". */
static const char *what_became(wr_err e)
{
    bool open = e == WR_ERR_TIMEOUT || e == WR_ERR_UNAVAILABLE || e == WR_ERR_CLOSED;
    return open ? "not confirmed" : "not sent";
}

static void complain(struct text_conn *t, const char *what, const char *why)
{
    char line[320];
    int n = snprintf(line, sizeof line, "(%s: %.200s)", what, why);
    t->api->send(t->c, wr_slice_of(line, (size_t)n), false);
}

static void message(void *cs, struct wr_slice m, bool binary)
{
    struct text_conn *t = cs;
    struct wr_buf flat = {0}, json = {0};
    if (binary && !wr_utf8_valid(m.p, m.n)) {
        t->api->close(t->c, 1007, "lines must be UTF-8");
        return;
    }
    line_to_json(m, &flat, &json);
    if (json.n && !json.failed) {
        const struct wr_protocol_publish req = {.room = wr_slice_of(t->room, t->room_len),
                                                .data = wr_slice_of(json.p, json.n)};
        wr_err e = t->api->publish(t->c, &req, 0);
        if (e != WR_OK)
            complain(t, "not sent",
                     e == WR_ERR_BUSY ? "too many messages wait; try again in a moment"
                                      : wr_err_text(e));
    }
    wr_buf_free(&flat);
    wr_buf_free(&json);
    if (!t->is_paused && t->api->pending(t->c) >= MANY_PENDING) {
        t->is_paused = true;
        t->api->pause(t->c, true);
    }
}

/* As much of a sentence as a close frame holds (RFC 6455 section 5.5), in whole characters. */
static const char *reason_of(const char *sentence, char out[124])
{
    size_t n = strlen(sentence);
    n = WR_MIN(n, (size_t)123);
    memcpy(out, sentence, n);
    while (n && !wr_utf8_valid(out, n))
        n--;
    out[n] = 0;
    return out;
}

static void result(void *cs, const struct wr_protocol_result *r)
{
    struct text_conn *t = cs;
    char reason[124];
    if (t->is_paused && t->api->pending(t->c) < MANY_PENDING / 2) {
        t->is_paused = false;
        t->api->pause(t->c, false);
    }
    if (r->code == WR_OK)
        return;
    if (r->op == WR_PROTOCOL_SUBSCRIBE && r->code == WR_ERR_DENIED)
        t->api->close(t->c, 1008, reason_of(r->message, reason));
    else if (r->op == WR_PROTOCOL_SUBSCRIBE)
        t->api->close(t->c, 1013, "the room is not available now; try again");
    else
        complain(t, what_became(r->code), r->message);
}

static void unsubscribed(void *cs, struct wr_slice room, wr_err why)
{
    struct text_conn *t = cs;
    (void)room;
    if (why == WR_ERR_DENIED)
        t->api->close(t->c, 1008, "you may not look into this room any more");
    else
        t->api->close(t->c, 1013, "lines of this room may be missing; come again");
}

/* ---- out ---- */

/* A string member as part of a line; false when it is missing or empty. */
static bool add_member(struct wr_slice object, const char *name, struct wr_buf *out,
                       const char *after)
{
    struct wr_slice v;
    size_t from = out->n;
    if (!wr_json_get(object, name, &v) || !wr_json_text(v, out) || out->n == from)
        return false;
    for (size_t i = from; i < out->n; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r')
            out->p[i] = ' '; /* one message stays one line */
    wr_buf_str(out, after);
    return true;
}

static bool add_file(struct wr_slice data, struct wr_buf *out)
{
    struct wr_slice type, file, size;
    uint64_t n = 0;
    if (!wr_json_get(data, "type", &type) || !wr_json_text_is(type, "file") ||
        !wr_json_get(data, "file", &file) || !wr_json_is_object(file))
        return false;
    if (!add_member(data, "name", out, " "))
        wr_buf_str(out, "somebody ");
    wr_buf_str(out, "shared ");
    if (!add_member(file, "name", out, " "))
        wr_buf_str(out, "a file ");
    if (wr_json_get(file, "size", &size) && wr_json_u64(size, &n))
        wr_buf_fmt(out, "(%llu B) ", (unsigned long long)n);
    if (!add_member(file, "url", out, "") && out->n)
        out->n--; /* the blank */
    return true;
}

enum { ENTRY_KIND_FILE = 2 }; /* watchroom.v1.EntryKind: the filestore's entries */

static void add_json(const struct wr_protocol_pub *p, struct wr_buf *out)
{
    struct wr_slice value = p->data, text;
    if (p->kind == ENTRY_KIND_FILE && wr_json_is_object(value) && add_file(value, out))
        return;
    if (wr_json_is_object(value) && wr_json_get(value, "text", &text) && wr_json_is_string(text)) {
        (void)add_member(value, "name", out, ": ");
        (void)add_member(value, "text", out, "");
        return;
    }
    wr_buf_slice(out, value);
}

/* Whole characters of UTF-8. Lines end up in terminals, which obey control characters: those are shown by their symbols
 * (U+2400 on), the eight-bit ones (U+0080 to U+009F) as unknown. */
static void add_shown(struct wr_slice line, struct wr_buf *out)
{
    for (size_t i = 0; i < line.n; i++) {
        uint8_t c = line.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            wr_buf_str(out, "\xe2\x90");
            wr_buf_char(out, (char)(c == 0x7f ? 0xa1 : 0x80 + c));
        } else if (c == 0xc2 && i + 1 < line.n && line.p[i + 1] < 0xa0) {
            wr_buf_str(out, "\xef\xbf\xbd");
            i++;
        } else {
            wr_buf_char(out, (char)c);
        }
    }
}

static void add_line(const struct wr_protocol_pub *p, struct wr_buf *out)
{
    struct wr_buf line = {0};
    if (wr_protocol_is_json(p))
        add_json(p, &line);
    else if (p->type.n > 5 && memcmp(p->type.p, "text/", 5) == 0)
        add_flat(p->data, &line);
    else /* bytes that no terminal shows */
        wr_buf_fmt(&line, "(%zu B of %.*s)", p->data.n, (int)p->type.n, (const char *)p->type.p);
    add_shown(wr_slice_of(line.p, line.n), out);
    out->failed |= line.failed;
    wr_buf_free(&line);
}

static void encode_publications(uint32_t variant, struct wr_slice room,
                                const struct wr_protocol_pub *pubs, size_t n, struct wr_buf *out)
{
    (void)variant;
    (void)room;
    for (size_t i = 0; i < n; i++) {
        if (i)
            wr_buf_char(out, '\n');
        add_line(&pubs[i], out);
    }
}

static const struct wr_protocol_endpoint endpoints[] = {
    {.transport = WR_PROTOCOL_WEBSOCKET, .at = "/ws"}, {0}};

WR_PLUGIN_EXPORT const struct wr_protocol_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(
        struct wr_protocol_plugin, WR_KIND_PROTOCOL, "text", WR_VERSION,
        "Plain lines at /ws?room=, as the gorilla/websocket chat page speaks them"),
    .conn_size = sizeof(struct text_conn),
    .endpoints = endpoints,
    .open = open_,
    .message = message,
    .result = result,
    .unsubscribed = unsubscribed,
    .encode_publications = encode_publications,
    .check = check,
};
