/* SPDX-License-Identifier: MIT
 *
 * A gateway made of paper (protocol_kit.h). */
#include "protocol_kit.h"
#include "wr_json.h"
#include "wr_plugins.h"
#include <stdio.h>
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void api_send(struct wr_protocol_conn *k, struct wr_slice m, bool binary)
{
    must(!k->close_code); /* nothing may follow a close */
    must(binary || wr_utf8_valid(m.p, m.n));
    wr_buf_slice(&k->sent, m);
    wr_buf_char(&k->sent, '\n');
    k->nsent++;
}

static void api_close(struct wr_protocol_conn *k, uint16_t code, const char *reason)
{
    must(code >= 1000 && code < 5000 && reason && reason[0] && strlen(reason) <= 123);
    if (k->close_code)
        return;
    k->close_code = code;
    (void)snprintf(k->close_reason, sizeof k->close_reason, "%s", reason);
}

static wr_err api_sign_in(struct wr_protocol_conn *k, struct wr_slice token, struct wr_errmsg *why)
{
    must(!k->client[0] && token.n);
    if (!wr_slice_is(token, "wrong"))
        return WR_OK;
    wr_errmsg_set(why, "the token is wrong");
    return WR_ERR_DENIED;
}

static bool api_identify(struct wr_protocol_conn *k, struct wr_slice client, struct wr_slice user,
                         struct wr_slice conn_info)
{
    must(client.n == 36 && user.n < 256);
    (void)snprintf(k->client, sizeof k->client, "%.*s", (int)client.n, (const char *)client.p);
    (void)snprintf(k->conn_info, sizeof k->conn_info, "%.*s", (int)conn_info.n,
                   conn_info.n ? (const char *)conn_info.p : "");
    return true;
}

static struct wr_protocol_info api_info(struct wr_protocol_conn *k)
{
    return (struct wr_protocol_info){.client = wr_slice_str(k->client)};
}

static void api_pick(struct wr_protocol_conn *k, uint32_t variant)
{
    must(!k->nsubscribed && variant < wr_protocol_num_variants(k->plugin));
    k->variant = variant;
}

static void api_wake(struct wr_protocol_conn *k, uint32_t ms)
{
    k->wake_ms = ms;
}

static wr_err ask(struct wr_protocol_conn *k, enum wr_protocol_op op, struct wr_slice room,
                  uint64_t cookie)
{
    if (!room.n || room.n > 255)
        return WR_ERR_INVALID;
    if (k->refuse != WR_OK)
        return k->refuse;
    if (k->nasks == KIT_ASKS)
        return WR_ERR_BUSY;
    struct kit_ask *a = &k->asks[k->nasks++];
    *a = (struct kit_ask){.op = op, .cookie = cookie};
    memcpy(a->room, room.p, room.n);
    return WR_OK;
}

static size_t find(struct wr_protocol_conn *k, struct wr_slice room)
{
    size_t i = 0;
    while (i < k->nsubscribed && !wr_slice_is(room, k->subscribed[i]))
        i++;
    return i;
}

static wr_err api_subscribe(struct wr_protocol_conn *k, const struct wr_protocol_subscribe *r,
                            uint64_t cookie)
{
    if (find(k, r->room) < k->nsubscribed)
        return WR_ERR_CONFLICT;
    if (k->nsubscribed == WR_ARRAY_LEN(k->subscribed))
        return WR_ERR_TOO_BIG;
    wr_err e = ask(k, WR_PROTOCOL_SUBSCRIBE, r->room, cookie);
    if (e == WR_OK) {
        k->asks[k->nasks - 1].flags = r->flags;
        k->asks[k->nasks - 1].since = r->since_offset;
        char *to = k->subscribed[k->nsubscribed++];
        memset(to, 0, sizeof k->subscribed[0]);
        memcpy(to, r->room.p, r->room.n);
    }
    return e;
}

static bool api_unsubscribe(struct wr_protocol_conn *k, struct wr_slice room)
{
    size_t i = find(k, room);
    if (i == k->nsubscribed)
        return false;
    memmove(k->subscribed[i], k->subscribed[--k->nsubscribed], sizeof k->subscribed[0]);
    return true;
}

static bool api_is_subscribed(struct wr_protocol_conn *k, struct wr_slice room)
{
    return find(k, room) < k->nsubscribed;
}

static wr_err api_publish(struct wr_protocol_conn *k, const struct wr_protocol_publish *req,
                          uint64_t cookie)
{
    must(req->type.n || !req->data.n || !memchr(req->data.p, '\n', req->data.n));
    wr_err e = ask(k, WR_PROTOCOL_PUBLISH, req->room, cookie);
    if (e == WR_OK) {
        wr_buf_slice(&k->published, req->data);
        wr_buf_char(&k->published, '\n');
    }
    return e;
}

static wr_err api_history(struct wr_protocol_conn *k, const struct wr_protocol_history *q,
                          uint64_t cookie)
{
    must(q->limit >= -1);
    return ask(k, WR_PROTOCOL_HISTORY, q->room, cookie);
}

static wr_err api_presence(struct wr_protocol_conn *k, struct wr_slice room, bool stats,
                           uint64_t cookie)
{
    return ask(k, stats ? WR_PROTOCOL_PRESENCE_STATS : WR_PROTOCOL_PRESENCE, room, cookie);
}

static wr_err api_call(struct wr_protocol_conn *k, struct wr_slice method, struct wr_slice args,
                       uint64_t cookie)
{
    if (!wr_slice_is(method, "kit.echo"))
        return WR_ERR_UNKNOWN_METHOD;
    struct wr_slice v;
    must(!args.n || wr_json_value(args, &v));
    wr_err e = ask(k, WR_PROTOCOL_CALL, wr_slice_str("r"), cookie);
    if (e == WR_OK) {
        wr_buf_clear(&k->echo);
        wr_buf_slice(&k->echo, args.n ? args : wr_slice_str("null"));
    }
    return e;
}

static uint32_t api_pending(struct wr_protocol_conn *k)
{
    return (uint32_t)k->nasks;
}

static void api_pause(struct wr_protocol_conn *k, bool pause)
{
    k->is_paused = pause;
}

static const struct wr_protocol_api api = {.size = sizeof api,
                                           .send = api_send,
                                           .close = api_close,
                                           .sign_in = api_sign_in,
                                           .identify = api_identify,
                                           .info = api_info,
                                           .pick = api_pick,
                                           .wake = api_wake,
                                           .subscribe = api_subscribe,
                                           .unsubscribe = api_unsubscribe,
                                           .is_subscribed = api_is_subscribed,
                                           .publish = api_publish,
                                           .history = api_history,
                                           .presence = api_presence,
                                           .call = api_call,
                                           .pending = api_pending,
                                           .pause = api_pause};

static bool param(const struct wr_protocol_open *o, const char *name, char *out, size_t n)
{
    size_t nn = strlen(name);
    const char *at = strstr(o->query, name);
    if (!at || at[nn] != '=')
        return false;
    return (size_t)snprintf(out, n, "%.*s", (int)strcspn(at + nn + 1, "&"), at + nn + 1) < n;
}

void kit_open(struct wr_protocol_conn *k, const struct wr_protocol_plugin *p, const char *query)
{
    memset(k, 0, sizeof *k);
    k->plugin = p;
    k->state = calloc(1, p->base.state_size + 1);
    k->cs = calloc(1, p->conn_size + 1);
    must(k->state && k->cs);
    struct wr_protocol_open o = {.endpoint = p->endpoints,
                                 .subprotocol = "",
                                 .query = query,
                                 .client = "127.0.0.1",
                                 .param = param};
    p->open(k->state, &api, k, k->cs, &o);
}

void kit_message(struct wr_protocol_conn *k, struct wr_slice m, bool binary)
{
    if (!k->close_code)
        k->plugin->message(k->cs, m, binary);
}

void kit_say(struct wr_protocol_conn *k, const char *text)
{
    kit_message(k, wr_slice_str(text), false);
}

bool kit_answer(struct wr_protocol_conn *k, wr_err code)
{
    static const struct wr_protocol_info ann = {
        .client = {(const uint8_t *)"c-1", 3},
        .conn_info = {(const uint8_t *)"{\"name\":\"Ann\"}", 14}};
    static const struct wr_protocol_pub pubs[] = {
        {.offset = 4,
         .time_ms = 1000,
         .kind = 1,
         .has_info = true,
         .info = {.client = {(const uint8_t *)"c-1", 3}},
         .data = {(const uint8_t *)"{\"text\":\"four\"}", 15}},
        {.offset = 5, .time_ms = 2000, .kind = 1, .data = {(const uint8_t *)"[5]", 3}}};
    if (!k->nasks)
        return false;
    struct kit_ask a = k->asks[0];
    memmove(k->asks, k->asks + 1, --k->nasks * sizeof k->asks[0]);
    bool recovers = a.op == WR_PROTOCOL_SUBSCRIBE && (a.flags & WR_SUB_RECOVER) && a.since == 3;
    if (code == WR_OK && (a.flags & WR_SUB_RECOVER) && (a.flags & WR_SUB_REJECT) && !recovers)
        code = WR_ERR_POSITION;
    struct wr_protocol_result r = {.op = a.op,
                                   .cookie = a.cookie,
                                   .code = code,
                                   .message = code ? wr_err_text(code) : "",
                                   .room = wr_slice_str(a.room),
                                   .epoch = wr_slice_str("abcdefgh"),
                                   .offset = 5};
    if (code == WR_OK && (recovers || a.op == WR_PROTOCOL_HISTORY)) {
        r.pubs = pubs;
        r.num_pubs = 2;
        r.recovered = recovers;
        r.offset = recovers ? 3 : 5;
    }
    if (code == WR_OK && a.op == WR_PROTOCOL_PRESENCE) {
        r.members = &ann;
        r.num_members = 1;
    }
    if (code == WR_OK && a.op == WR_PROTOCOL_CALL)
        r.data = wr_slice_of(k->echo.p, k->echo.n);
    r.num_clients = r.num_users = 1;
    if (k->close_code)
        return true;
    k->plugin->result(k->cs, &r);
    if (code != WR_OK && a.op == WR_PROTOCOL_SUBSCRIBE)
        (void)api_unsubscribe(k, r.room);
    return true;
}

const char *kit_sent(struct wr_protocol_conn *k)
{
    wr_buf_char(&k->sent, 0);
    must(!k->sent.failed);
    k->sent.n = 0;
    return (const char *)k->sent.p;
}

void kit_close(struct wr_protocol_conn *k)
{
    if (WR_PLUGIN_HAS(k->plugin, close))
        k->plugin->close(k->cs);
    free(k->cs);
    free(k->state);
    wr_buf_free(&k->sent);
    wr_buf_free(&k->published);
    wr_buf_free(&k->echo);
}
