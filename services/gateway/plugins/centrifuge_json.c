/* SPDX-License-Identifier: MIT
 *
 * Protocol `centrifuge-json` at /connection/websocket: the Centrifuge client protocol v2 in JSON, as much as carries a chat
 * with unmodified SDKs: connect, subscribe (positions, recovery, join and leave), unsubscribe, publish, history,
 * presence, presence_stats, ping and pong. Other commands get the protocol's own error. A channel is a room.
 *
 * A frame holds one JSON object a line. Embedded JSON (data, conn_info) passes byte for byte: the hub has checked it. An
 * entry of another type is shown as JSON: {"type":"text/plain","text":...}, or {"type":"image/png","base64":...} for what
 * is no text. rpc reaches the gateway's methods. Several answers to one frame go back in one frame. Facts of the protocol: https://centrifugal.dev/docs/transports/client_protocol */
#include "wr_json.h"
#include "wr_protocol.h"
#include "wr_base64.h"
#include "wr_id.h"
#include <stdio.h>

#define PING_S 25u
#define PONG_MS 8000u
#define CONNECT_MS 10000u
#define NAME_MAX_BYTES 64u

enum error_code {
    ERR_INTERNAL = 100,
    ERR_UNKNOWN_CHANNEL = 102,
    ERR_DENIED = 103,
    ERR_METHOD = 104,
    ERR_ALREADY = 105,
    ERR_LIMIT = 106,
    ERR_BAD_REQUEST = 107,
    ERR_NOT_AVAILABLE = 108,
    ERR_TOO_MANY = 111,
    ERR_POSITION = 112,
};

/* What the answer to a subscribe has to know of its request: it rides in the cookie above the id. */
enum sub_bits { BIT_RECOVER = 1u << 0, BIT_RECOVERABLE = 1u << 1, BIT_POSITIONED = 1u << 2 };

struct cf_conn {
    const struct wr_protocol_api *api;
    struct wr_protocol_conn *c;
    struct wr_buf *batch; /* answers to the frame that is being read; NULL otherwise */
    bool is_connected, is_ended;
    bool waits_pong; /* a ping is not answered */
    bool pong_check; /* the next wake looks for the pong, the one after pings */
};

struct command {
    uint32_t id;
    struct wr_slice body; /* the request object */
};

/* ---- out ---- */

static void close_conn(struct cf_conn *t, uint16_t code, const char *reason)
{
    if (t->is_ended)
        return;
    t->is_ended = true;
    if (t->batch && t->batch->n &&
        !t->batch->failed) { /* what was answered before goes out before */
        t->api->send(t->c, wr_slice_of(t->batch->p, t->batch->n), false);
        wr_buf_clear(t->batch);
    }
    t->api->close(t->c, code, reason);
}

static void bad_request(struct cf_conn *t)
{
    close_conn(t, 3501, "bad request");
}

/* One reply: into the frame's batch, or alone. */
static void reply(struct cf_conn *t, struct wr_buf *b)
{
    if (b->failed)
        close_conn(t, 3004, "out of memory");
    else if (t->batch) {
        if (t->batch->n)
            wr_buf_char(t->batch, '\n');
        wr_buf_add(t->batch, b->p, b->n);
    } else if (!t->is_ended) {
        t->api->send(t->c, wr_slice_of(b->p, b->n), false);
    }
    wr_buf_free(b);
}

static void reply_error(struct cf_conn *t, uint32_t id, enum error_code code, const char *message,
                        bool temporary)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "{\"id\":%u,\"error\":{\"code\":%u,\"message\":", id, (unsigned)code);
    wr_json_put_str(&b, message);
    wr_buf_str(&b, temporary ? ",\"temporary\":true}}" : "}}");
    reply(t, &b);
}

static void reply_not_available(struct cf_conn *t, uint32_t id)
{
    reply_error(t, id, ERR_NOT_AVAILABLE, "not available", false);
}

/* Errors of the gateway and the hub in the protocol's numbers. A temporary one says so, else SDKs give up for good. */
static void reply_wr_error(struct cf_conn *t, uint32_t id, enum wr_protocol_op op, wr_err e,
                           const char *text)
{
    switch (e) {
    case WR_ERR_INVALID:
        reply_error(t, id, ERR_BAD_REQUEST, "bad request", false);
        break;
    case WR_ERR_CONFLICT:
        reply_error(t, id, ERR_ALREADY, "already subscribed", false);
        break;
    case WR_ERR_TOO_BIG:
        reply_error(t, id, op == WR_PROTOCOL_SUBSCRIBE ? ERR_LIMIT : ERR_BAD_REQUEST,
                    op == WR_PROTOCOL_SUBSCRIBE ? "limit exceeded" : "bad request: too big", false);
        break;
    case WR_ERR_BUSY:
        reply_error(t, id, ERR_TOO_MANY, "too many requests", true);
        break;
    case WR_ERR_DENIED:
        reply_error(t, id, ERR_DENIED, text && *text ? text : "permission denied", false);
        break;
    case WR_ERR_NOT_FOUND:
        reply_error(t, id, ERR_UNKNOWN_CHANNEL, "unknown channel", false);
        break;
    case WR_ERR_POSITION:
        reply_error(t, id, ERR_POSITION, "unrecoverable position", false);
        break;
    default:
        reply_error(t, id, ERR_INTERNAL, text && *text ? text : "internal server error", true);
        break;
    }
}

static void add_info(struct wr_buf *b, const struct wr_protocol_info *i)
{
    wr_buf_str(b, "{\"user\":");
    wr_json_put_slice(b, i->user);
    wr_buf_str(b, ",\"client\":");
    wr_json_put_slice(b, i->client);
    if (i->conn_info.n) {
        wr_buf_str(b, ",\"conn_info\":");
        wr_buf_slice(b, i->conn_info);
    }
    if (i->chan_info.n) {
        wr_buf_str(b, ",\"chan_info\":");
        wr_buf_slice(b, i->chan_info);
    }
    wr_buf_char(b, '}');
}

static bool is_text(struct wr_slice type)
{
    return type.n > 5 && memcmp(type.p, "text/", 5) == 0;
}

static void add_data(struct wr_buf *b, const struct wr_protocol_pub *p)
{
    if (wr_protocol_is_json(p)) {
        wr_buf_slice(b, p->data);
        return;
    }
    wr_buf_str(b, "{\"type\":");
    wr_json_put_slice(b, p->type);
    if (is_text(p->type)) {
        wr_buf_str(b, ",\"text\":");
        wr_json_put_slice(b, p->data);
    } else {
        wr_buf_str(b, ",\"base64\":\"");
        wr_base64_add(b, p->data.p, p->data.n);
        wr_buf_char(b, '"');
    }
    wr_buf_char(b, '}');
}

enum { ENTRY_KIND_FILE = 2 }; /* watchroom.v1.EntryKind: the filestore's entries */

/* A publication without its channel. */
static void add_pub(struct wr_buf *b, const struct wr_protocol_pub *p)
{
    wr_buf_str(b, "{\"data\":");
    add_data(b, p);
    if (p->has_info) {
        wr_buf_str(b, ",\"info\":");
        add_info(b, &p->info);
    }
    if (p->kind == ENTRY_KIND_FILE) /* no client can say so of what it publishes */
        wr_buf_str(b, ",\"tags\":{\"kind\":\"file\"}");
    wr_buf_str(b, ",\"offset\":");
    wr_buf_u64(b, p->offset);
    if (p->time_ms > 0) {
        wr_buf_str(b, ",\"time\":");
        wr_buf_u64(b, (uint64_t)p->time_ms);
    }
    wr_buf_char(b, '}');
}

static void add_pubs(struct wr_buf *b, const struct wr_protocol_pub *pubs, size_t n)
{
    wr_buf_str(b, "\"publications\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            wr_buf_char(b, ',');
        add_pub(b, &pubs[i]);
    }
    wr_buf_char(b, ']');
}

static void push_begin(struct wr_buf *b, struct wr_slice room)
{
    wr_buf_str(b, "{\"push\":{\"channel\":");
    wr_json_put_slice(b, room);
}

static void encode_publications(uint32_t variant, struct wr_slice room,
                                const struct wr_protocol_pub *pubs, size_t n, struct wr_buf *out)
{
    (void)variant;
    for (size_t i = 0; i < n; i++) {
        if (i)
            wr_buf_char(out, '\n');
        push_begin(out, room);
        wr_buf_str(out, ",\"pub\":");
        add_pub(out, &pubs[i]);
        wr_buf_str(out, "}}");
    }
}

static void encode_member(struct wr_slice room, const char *what, const struct wr_protocol_info *i,
                          struct wr_buf *out)
{
    if (out->n)
        wr_buf_char(out, '\n');
    push_begin(out, room);
    wr_buf_fmt(out, ",\"%s\":{\"info\":", what);
    add_info(out, i);
    wr_buf_str(out, "}}}");
}

static void encode_members(uint32_t variant, struct wr_slice room,
                           const struct wr_protocol_info *joined, size_t n_joined,
                           const struct wr_protocol_info *left, size_t n_left, struct wr_buf *out)
{
    (void)variant;
    for (size_t i = 0; i < n_left; i++)
        encode_member(room, "leave", &left[i], out);
    for (size_t i = 0; i < n_joined; i++)
        encode_member(room, "join", &joined[i], out);
}

/* ---- commands ---- */

/* {"name":"Ann"} of a connect's data, cleaned; empty when there is none. */
static void conn_info_of(struct wr_slice request, struct wr_buf *out)
{
    struct wr_slice data, name;
    struct wr_buf text = {0};
    if (!wr_json_get(request, "data", &data) || !wr_json_is_object(data) ||
        !wr_json_get(data, "name", &name) || !wr_json_text(name, &text) || text.failed || !text.n)
        goto out;
    size_t n = 0;
    while (n < text.n) { /* whole characters up to the limit, none that moves a cursor */
        unsigned k = wr_utf8_len(text.p + n, text.n - n);
        if (!k || n + k > NAME_MAX_BYTES)
            break;
        if (text.p[n] < 0x20 || text.p[n] == 0x7f)
            text.p[n] = ' ';
        n += k;
    }
    if (n) {
        wr_buf_str(out, "{\"name\":");
        wr_json_put(out, text.p, n);
        wr_buf_char(out, '}');
    }
out:
    wr_buf_free(&text);
}

static uint32_t random_below(uint32_t n)
{
    uint32_t v;
    wr_random(&v, sizeof v);
    return v % n;
}

/* A connect's token, if there is one. False: the connection was closed. */
static bool sign_in(struct cf_conn *t, const struct command *cmd)
{
    struct wr_buf token = {0};
    struct wr_slice v;
    struct wr_errmsg why = {{0}};
    wr_err e = WR_OK;
    if (wr_json_get(cmd->body, "token", &v) && wr_json_text(v, &token) && token.n)
        e = t->api->sign_in(t->c, wr_slice_of(token.p, token.n), &why);
    wr_buf_free(&token);
    if (e != WR_OK)
        close_conn(t, e == WR_ERR_DENIED ? 3500 : 3004,
                   e == WR_ERR_DENIED ? "invalid token" : "out of memory");
    return e == WR_OK;
}

static void do_connect(struct cf_conn *t, const struct command *cmd)
{
    char client[37];
    struct wr_buf info = {0}, b = {0};
    if (t->is_connected) {
        bad_request(t);
        return;
    }
    if (!sign_in(t, cmd))
        return;
    conn_info_of(cmd->body, &info);
    wr_id_uuid(client);
    bool ok = !info.failed && t->api->identify(t->c, wr_slice_str(client), (struct wr_slice){0},
                                               wr_slice_of(info.p, info.n));
    wr_buf_free(&info);
    if (!ok) {
        close_conn(t, 3004, "out of memory");
        return;
    }
    t->is_connected = true;
    wr_buf_fmt(&b,
               "{\"id\":%u,\"connect\":{\"client\":\"%s\",\"version\":\"watchroom "
               "%s\",\"ping\":%u,\"pong\":true}}",
               cmd->id, client, WR_VERSION, PING_S);
    reply(t, &b);
    /* The first ping somewhere in the second half of the interval, so that clients that came together spread out. */
    t->api->wake(t->c, PING_S * 500 + random_below(PING_S * 500));
}

/* The channel of a request, which must have one. False: the connection was closed or an error sent. */
static bool channel_of(struct cf_conn *t, const struct command *cmd, struct wr_buf *room)
{
    struct wr_slice v;
    if (!wr_json_get(cmd->body, "channel", &v) || !wr_json_text(v, room) || room->failed) {
        bad_request(t);
        return false;
    }
    if (!wr_name_valid(wr_slice_of(room->p, room->n))) {
        reply_error(t, cmd->id, ERR_BAD_REQUEST, "bad request: no room can have this name", false);
        return false;
    }
    return true;
}

static bool flag_of(struct wr_slice o, const char *name)
{
    struct wr_slice v;
    bool b = false;
    return wr_json_get(o, name, &v) && wr_json_bool(v, &b) && b;
}

static uint64_t u64_of(struct wr_slice o, const char *name)
{
    struct wr_slice v;
    uint64_t n = 0;
    return wr_json_get(o, name, &v) && wr_json_u64(v, &n) ? n : 0;
}

/* An offset that is none ("3", -1, 2^64) must not mean the beginning: false, and answered. */
static bool offset_of(struct cf_conn *t, const struct command *cmd, struct wr_slice o,
                      uint64_t *offset)
{
    struct wr_slice v;
    *offset = 0;
    if (!wr_json_get(o, "offset", &v) || wr_slice_is(v, "null") || wr_json_u64(v, offset))
        return true;
    reply_error(t, cmd->id, ERR_BAD_REQUEST,
                "bad request: offset is not a whole number of up to 19 digits", false);
    return false;
}

static bool text_of(struct wr_slice o, const char *name, struct wr_buf *out)
{
    struct wr_slice v;
    return wr_json_get(o, name, &v) && wr_json_text(v, out) && out->n;
}

static void do_subscribe(struct cf_conn *t, const struct command *cmd)
{
    struct wr_buf room = {0}, epoch = {0};
    struct wr_slice delta, filter;
    if (!channel_of(t, cmd, &room))
        goto out;
    if (wr_json_get(cmd->body, "delta", &delta) && !wr_json_text_is(delta, "") &&
        !wr_json_text_is(delta, "fossil")) {
        bad_request(t);
        goto out;
    }
    if (u64_of(cmd->body, "type") || wr_json_get(cmd->body, "tf", &filter)) {
        reply_not_available(t, cmd->id);
        goto out;
    }
    uint64_t since;
    if (!offset_of(t, cmd, cmd->body, &since))
        goto out;
    (void)text_of(cmd->body, "epoch", &epoch);
    bool recover = flag_of(cmd->body, "recover");
    uint64_t bits = (recover ? BIT_RECOVER : 0u) |
                    (recover || flag_of(cmd->body, "recoverable") ? BIT_RECOVERABLE : 0u) |
                    (recover || flag_of(cmd->body, "positioned") ? BIT_POSITIONED : 0u);
    struct wr_protocol_subscribe req = {
        .room = wr_slice_of(room.p, room.n),
        .flags = (bits & (BIT_POSITIONED | BIT_RECOVERABLE) ? WR_SUB_POSITIONED : 0u) |
                 (recover ? WR_SUB_RECOVER : 0u) |
                 (u64_of(cmd->body, "flag") & 2u ? WR_SUB_REJECT : 0u) |
                 (flag_of(cmd->body, "join_leave") ? WR_SUB_JOIN_LEAVE : 0u),
        .since_offset = since,
        .since_epoch = wr_slice_of(epoch.p, epoch.n),
    };
    wr_err e = t->api->subscribe(t->c, &req, bits << 32 | cmd->id);
    if (e != WR_OK)
        reply_wr_error(t, cmd->id, WR_PROTOCOL_SUBSCRIBE, e, NULL);
out:
    wr_buf_free(&room);
    wr_buf_free(&epoch);
}

static void do_unsubscribe(struct cf_conn *t, const struct command *cmd)
{
    struct wr_buf room = {0}, b = {0};
    if (channel_of(t, cmd, &room)) {
        (void)t->api->unsubscribe(t->c, wr_slice_of(room.p, room.n));
        wr_buf_fmt(&b, "{\"id\":%u,\"unsubscribe\":{}}", cmd->id);
        reply(t, &b);
    }
    wr_buf_free(&room);
}

static void do_publish(struct cf_conn *t, const struct command *cmd)
{
    struct wr_buf room = {0};
    struct wr_slice data;
    if (!channel_of(t, cmd, &room)) {
        wr_buf_free(&room);
        return;
    }
    if (!wr_json_get(cmd->body, "data", &data) || u64_of(cmd->body, "type")) {
        reply_error(t, cmd->id, ERR_BAD_REQUEST, "bad request", false);
    } else {
        const struct wr_protocol_publish req = {.room = wr_slice_of(room.p, room.n), .data = data};
        wr_err e = t->api->publish(t->c, &req, cmd->id);
        if (e != WR_OK)
            reply_wr_error(t, cmd->id, WR_PROTOCOL_PUBLISH, e, NULL);
    }
    wr_buf_free(&room);
}

static void do_history(struct cf_conn *t, const struct command *cmd)
{
    struct wr_buf room = {0}, epoch = {0};
    struct wr_slice since, limit;
    int64_t n = 0;
    struct wr_protocol_history q = {.reverse = flag_of(cmd->body, "reverse")};
    if (!channel_of(t, cmd, &room))
        goto out;
    if (wr_json_get(cmd->body, "limit", &limit) && !wr_slice_is(limit, "null") &&
        (!wr_json_i64(limit, &n) || n < -1)) {
        reply_error(t, cmd->id, ERR_BAD_REQUEST, "bad request: limit", false);
        goto out;
    }
    if (wr_json_get(cmd->body, "since", &since) && wr_json_is_object(since)) {
        q.has_since = true;
        if (!offset_of(t, cmd, since, &q.since_offset))
            goto out;
        (void)text_of(since, "epoch", &epoch);
        q.since_epoch = wr_slice_of(epoch.p, epoch.n);
    }
    if (q.reverse && q.has_since && q.since_offset == 0) {
        reply_error(t, cmd->id, ERR_BAD_REQUEST, "bad request: nothing is before offset 0", false);
        goto out;
    }
    q.room = wr_slice_of(room.p, room.n);
    q.limit = n > INT32_MAX ? INT32_MAX : (int32_t)n;
    wr_err e = t->api->history(t->c, &q, cmd->id);
    if (e != WR_OK)
        reply_wr_error(t, cmd->id, WR_PROTOCOL_HISTORY, e, NULL);
out:
    wr_buf_free(&room);
    wr_buf_free(&epoch);
}

static void presence_(struct cf_conn *t, const struct command *cmd, bool stats)
{
    struct wr_buf room = {0};
    if (channel_of(t, cmd, &room)) {
        wr_err e = t->api->presence(t->c, wr_slice_of(room.p, room.n), stats, cmd->id);
        if (e != WR_OK)
            reply_wr_error(t, cmd->id, WR_PROTOCOL_PRESENCE, e, NULL);
    }
    wr_buf_free(&room);
}

static void do_presence(struct cf_conn *t, const struct command *cmd)
{
    presence_(t, cmd, false);
}

static void do_presence_stats(struct cf_conn *t, const struct command *cmd)
{
    presence_(t, cmd, true);
}

static void do_rpc(struct cf_conn *t, const struct command *cmd)
{
    struct wr_buf method = {0};
    struct wr_slice args = {0};
    (void)text_of(cmd->body, "method", &method);
    (void)wr_json_get(cmd->body, "data", &args);
    wr_err e = t->api->call(t->c, wr_slice_of(method.p, method.n), args, cmd->id);
    if (e == WR_ERR_UNKNOWN_METHOD)
        /* 104 is the protocol's word for it, but a server without methods says 108, which is what SDKs' suites ask for. */
        reply_not_available(t, cmd->id);
    else if (e != WR_OK)
        reply_wr_error(t, cmd->id, WR_PROTOCOL_CALL, e, NULL);
    wr_buf_free(&method);
}

static void do_unavailable(struct cf_conn *t, const struct command *cmd)
{
    reply_not_available(t, cmd->id);
}

static const struct {
    const char *name;
    void (*run)(struct cf_conn *t, const struct command *cmd);
} commands[] = {
    {"connect", do_connect},
    {"subscribe", do_subscribe},
    {"unsubscribe", do_unsubscribe},
    {"publish", do_publish},
    {"presence", do_presence},
    {"presence_stats", do_presence_stats},
    {"history", do_history},
    {"ping", do_unavailable},
    {"rpc", do_rpc},
    {"refresh", do_unavailable},
    {"sub_refresh", do_unavailable},
};

static bool id_of(struct wr_slice v, uint32_t *id)
{
    uint64_t n;
    if (!wr_json_u64(v, &n) || n > UINT32_MAX)
        return false;
    *id = (uint32_t)n;
    return true;
}

static void run_command(struct cf_conn *t, struct wr_slice object)
{
    struct command cmd = {0};
    struct wr_slice v;
    if (wr_json_get(object, "id", &v) && !id_of(v, &cmd.id)) {
        bad_request(t);
        return;
    }
    if (wr_json_get(object, "send", &v) && t->is_connected) {
        close_conn(t, 3508, "not available: nobody takes messages without a channel here");
        return;
    }
    size_t i = 0;
    while (i < WR_ARRAY_LEN(commands) && !wr_json_get(object, commands[i].name, &cmd.body))
        i++;
    bool known = i < WR_ARRAY_LEN(commands);
    if (cmd.id == 0 && !known && t->is_connected) { /* {}: a pong */
        t->waits_pong = false;
        return;
    }
    if (cmd.id == 0 || (known && !wr_json_is_object(cmd.body)) || (!t->is_connected && i != 0)) {
        bad_request(t);
        return;
    }
    if (known)
        commands[i].run(t, &cmd);
    else
        reply_error(t, cmd.id, ERR_METHOD, "method not found", false);
}

/* Valid or not, what is nested too deep was not read to its end, so that one command with such data is refused and not
 * the connection with all its rooms. True: it was answered. */
static bool answer_too_deep(struct cf_conn *t, struct wr_slice line)
{
    const char *why = NULL;
    struct wr_slice v;
    uint32_t id;
    while (line.n && (line.p[0] == ' ' || line.p[0] == '\t' || line.p[0] == '\r'))
        line = wr_slice_of(line.p + 1, line.n - 1);
    if (!t->is_connected || wr_json_check(line, &why) != WR_JSON_BAD || !why ||
        !strstr(why, "nested") || !wr_json_is_object(line) || !wr_json_get(line, "id", &v) ||
        !id_of(v, &id) || id == 0)
        return false;
    reply_error(t, id, ERR_BAD_REQUEST, "bad request: JSON that is nested more than 64 deep",
                false);
    return true;
}

static void run_lines(struct cf_conn *t, struct wr_slice m)
{
    const uint8_t *p = m.p, *end = m.p + m.n;
    while (p < end && !t->is_ended) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        const uint8_t *stop = nl ? nl : end;
        struct wr_slice line = wr_slice_of(p, (size_t)(stop - p)), object;
        if (wr_json_value(line, &object) && wr_json_is_object(object))
            run_command(t, object);
        else if (!answer_too_deep(t, line))
            bad_request(t);
        p = stop + 1;
    }
}

static void message(void *cs, struct wr_slice m, bool binary)
{
    struct cf_conn *t = cs;
    struct wr_buf batch = {0};
    if (t->is_ended)
        return;
    if (!m.n || (binary && !wr_utf8_valid(m.p, m.n))) {
        bad_request(t);
        return;
    }
    t->batch = &batch;
    run_lines(t, m);
    t->batch = NULL;
    if (batch.failed)
        close_conn(t, 3004, "out of memory");
    else if (batch.n && !t->is_ended)
        t->api->send(t->c, wr_slice_of(batch.p, batch.n), false);
    wr_buf_free(&batch);
}

/* ---- answers from the gateway ---- */

static void result_subscribe(struct cf_conn *t, uint32_t id, uint64_t bits,
                             const struct wr_protocol_result *r)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "{\"id\":%u,\"subscribe\":{", id);
    wr_buf_str(&b, "\"epoch\":");
    wr_json_put_slice(&b, r->epoch);
    wr_buf_str(&b, ",\"offset\":");
    wr_buf_u64(&b, r->offset);
    if (bits & BIT_RECOVERABLE)
        wr_buf_str(&b, ",\"recoverable\":true");
    if (bits & (BIT_RECOVERABLE | BIT_POSITIONED))
        wr_buf_str(&b, ",\"positioned\":true");
    if (bits & BIT_RECOVER) {
        wr_buf_str(&b, r->recovered ? ",\"recovered\":true,\"was_recovering\":true"
                                    : ",\"was_recovering\":true");
        if (r->num_pubs) {
            wr_buf_char(&b, ',');
            add_pubs(&b, r->pubs, r->num_pubs);
        }
    }
    wr_buf_str(&b, "}}");
    reply(t, &b);
}

static void result_presence(struct cf_conn *t, uint32_t id, const struct wr_protocol_result *r)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "{\"id\":%u,\"presence\":{\"presence\":{", id);
    for (size_t i = 0; i < r->num_members; i++) {
        if (i)
            wr_buf_char(&b, ',');
        wr_json_put_slice(&b, r->members[i].client);
        wr_buf_char(&b, ':');
        add_info(&b, &r->members[i]);
    }
    wr_buf_str(&b, "}}}");
    reply(t, &b);
}

static void result_call(struct cf_conn *t, uint32_t id, const struct wr_protocol_result *r)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "{\"id\":%u,\"rpc\":{\"data\":", id);
    wr_buf_slice(&b, r->data);
    wr_buf_str(&b, "}}");
    reply(t, &b);
}

static void result_history(struct cf_conn *t, uint32_t id, const struct wr_protocol_result *r)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "{\"id\":%u,\"history\":{", id);
    add_pubs(&b, r->pubs, r->num_pubs);
    wr_buf_str(&b, ",\"epoch\":");
    wr_json_put_slice(&b, r->epoch);
    wr_buf_str(&b, ",\"offset\":");
    wr_buf_u64(&b, r->offset);
    wr_buf_str(&b, "}}");
    reply(t, &b);
}

static void result(void *cs, const struct wr_protocol_result *r)
{
    struct cf_conn *t = cs;
    uint32_t id = (uint32_t)r->cookie;
    struct wr_buf b = {0};
    if (t->is_ended)
        return;
    if (r->code != WR_OK) {
        reply_wr_error(t, id, r->op, r->code, r->message);
        return;
    }
    switch (r->op) {
    case WR_PROTOCOL_SUBSCRIBE:
        result_subscribe(t, id, r->cookie >> 32, r);
        break;
    case WR_PROTOCOL_PUBLISH:
        wr_buf_fmt(&b, "{\"id\":%u,\"publish\":{}}", id);
        reply(t, &b);
        break;
    case WR_PROTOCOL_HISTORY:
        result_history(t, id, r);
        break;
    case WR_PROTOCOL_PRESENCE:
        result_presence(t, id, r);
        break;
    case WR_PROTOCOL_CALL:
        result_call(t, id, r);
        break;
    case WR_PROTOCOL_PRESENCE_STATS:
        wr_buf_fmt(&b, "{\"id\":%u,\"presence_stats\":{\"num_clients\":%u,\"num_users\":%u}}", id,
                   r->num_clients, r->num_users);
        reply(t, &b);
        break;
    }
}

/* Codes below 2500 are final for an SDK, with the others it subscribes again. */
static void unsubscribed(void *cs, struct wr_slice room, wr_err why)
{
    struct cf_conn *t = cs;
    struct wr_buf b = {0};
    push_begin(&b, room);
    wr_buf_str(&b, why == WR_ERR_DENIED
                       ? ",\"unsubscribe\":{\"code\":2000,\"reason\":\"permission denied\"}}}"
                       : ",\"unsubscribe\":{\"code\":2500,\"reason\":\"insufficient state\"}}}");
    reply(t, &b);
}

/* ---- keep-alive ---- */

static void wake(void *cs)
{
    struct cf_conn *t = cs;
    if (t->is_ended)
        return;
    if (!t->is_connected) {
        close_conn(t, 3502, "stale");
    } else if (t->pong_check) {
        t->pong_check = false;
        if (t->waits_pong)
            close_conn(t, 3012, "no pong");
        else
            t->api->wake(t->c, PING_S * 1000 - PONG_MS);
    } else {
        t->waits_pong = t->pong_check = true;
        t->api->send(t->c, wr_slice_str("{}"), false);
        t->api->wake(t->c, PONG_MS);
    }
}

static void open_(void *state, const struct wr_protocol_api *api, struct wr_protocol_conn *c,
                  void *cs, const struct wr_protocol_open *o)
{
    (void)state;
    (void)o;
    struct cf_conn *t = cs;
    t->api = api;
    t->c = c;
    api->wake(c, CONNECT_MS);
}

static const char *const subprotocols[] = {"centrifuge-json", NULL};

static const struct wr_protocol_endpoint endpoints[] = {
    {.transport = WR_PROTOCOL_WEBSOCKET,
     .at = "/connection/websocket",
     .subprotocols = subprotocols,
     .ping_ms = 60000, /* the protocol has its own pings */
     .pong_ms = 10000},
    {0}};

WR_PLUGIN_EXPORT const struct wr_protocol_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(struct wr_protocol_plugin, WR_KIND_PROTOCOL, "centrifuge-json",
                           WR_VERSION,
                           "Centrifuge client protocol in JSON at /connection/websocket"),
    .conn_size = sizeof(struct cf_conn),
    .endpoints = endpoints,
    .open = open_,
    .message = message,
    .result = result,
    .unsubscribed = unsubscribed,
    .wake = wake,
    .encode_publications = encode_publications,
    .encode_members = encode_members,
};
