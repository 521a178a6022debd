/* SPDX-License-Identifier: MIT
 *
 * Clients: a connection of the plane, its protocol, and its memberships. What a protocol asks for becomes work for the rooms
 * thread (or a call to the hub); the answer comes back as a reply posted to the connection's thread. */
#include "line.h"
#include "wr_json.h"
#include "wr_buf.h"
#include "wr_id.h"
#include "wr_pb.h"
#include "watchroom/v1/hub.numbers.h"
#include <endian.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define CLIENT_MAGIC 0x77726363u

struct wr_protocol_conn {
    uint32_t magic;
    uint32_t pending;
    uint32_t form; /* what rooms send to it: an index of the gateway's forms */
    struct rooms__protocol *protocol;
    const struct rooms__door *door;
    const char *subprotocol;      /* of the door's; "" = none */
    struct wr_conn *conn;         /* NULL before open */
    struct wr_identity *identity; /* what it may do */
    struct rooms__person *who;    /* what others see of it; NULL before identify */
    struct rooms__sub *subs;
    uint32_t nsubs;
    struct line line;
    bool is_paused, is_full; /* reading stops: the protocol wants it, too much is unanswered */
    bool is_answering;       /* what is sent now it asked for */
    uint64_t from;           /* his address, in a few bytes (publish_key) */
    bool is_ended;           /* TCP: the peer ended its half, and waits for answers */
    char *query;             /* until open */
    char *addr;              /* until identify */
    uint8_t cs[] __attribute__((aligned(16)));
};

static struct wr_protocol_conn *client_of(struct wr_conn *c)
{
    struct wr_protocol_conn *cl = wr_conn_user(c);
    return cl && cl->magic == CLIENT_MAGIC ? cl : NULL;
}

static struct rooms__sub **sub_find(struct wr_protocol_conn *cl, struct wr_slice room)
{
    for (struct rooms__sub **at = &cl->subs; *at; at = &(*at)->client_next)
        if (wr_slice_eq(rooms__sub_room(*at), room))
            return at;
    return NULL;
}

/* Takes a membership off the client's list, out of its fanout, and tells the rooms thread. */
static void sub_remove(struct wr_protocol_conn *cl, struct rooms__sub **at)
{
    struct rooms__sub *s = *at;
    line__hurry(cl->protocol->rooms, &cl->line, s);
    *at = s->client_next;
    cl->nsubs--;
    s->gone = true;
    if (s->fanout && cl->conn)
        wr_fanout_remove(s->fanout, cl->conn);
    struct rooms__job *j = rooms__job_new(JOB_UNSUBSCRIBE);
    j->u.sub = s;
    rooms__job_post(cl->protocol->rooms, j);
}

/* ---- replies ---- */

struct rooms__reply *rooms__reply_new(enum wr_protocol_op op, uint64_t cookie)
{
    struct rooms__reply *p = calloc(1, sizeof *p);
    if (!p)
        abort(); /* every request has its answer */
    p->r.op = op;
    p->r.cookie = cookie;
    return p;
}

bool rooms__reply_hold(struct rooms__reply *p, struct wr_msg *m)
{
    struct wr_msg **v = realloc(p->msgs, (p->nmsgs + 1) * sizeof(struct wr_msg *));
    if (!v)
        return false;
    p->msgs = v;
    p->msgs[p->nmsgs++] = wr_msg_ref(m);
    return true;
}

void rooms__reply_fail(struct rooms__reply *p, wr_err code, struct wr_slice text)
{
    p->r.code = code;
    p->r.num_pubs = p->r.num_members = 0;
    size_t n = WR_MIN(text.n, sizeof p->text - 1);
    if (n)
        memcpy(p->text, text.p, n);
    else
        n = (size_t)snprintf(p->text, sizeof p->text, "%s", wr_err_text(code));
    while (n && !wr_utf8_valid(p->text, n)) /* cut within a character */
        n--;
    p->text[n] = 0;
}

void rooms__reply_free(struct rooms__reply *p)
{
    rooms__sub_unref(p->sub);
    for (size_t i = 0; i < p->nmsgs; i++)
        wr_msg_unref(p->msgs[i]);
    free(p->msgs);
    free(p->pubs);
    free(p->members);
    wr_buf_free(&p->data);
    free(p);
}

/* ---- rights ---- */

static wr_err may(const struct wr_protocol_conn *cl, enum wr_verb verb, struct wr_slice room,
                  struct wr_errmsg *why)
{
    return wr_may(cl->identity, verb, wr_the_room(room), why);
}

/* Ends a subscription and tells the protocol. */
static void sub_end(struct wr_protocol_conn *cl, struct wr_slice room, wr_err why)
{
    struct rooms__sub **at = sub_find(cl, room);
    if (!at)
        return;
    sub_remove(cl, at);
    if (WR_PLUGIN_HAS(cl->protocol->plugin, unsubscribed))
        cl->protocol->plugin->unsubscribed(cl->cs, room, why);
}

void clients__insufficient(struct wr_conn *c, const struct wr_msg *room)
{
    struct wr_protocol_conn *cl = client_of(c);
    if (cl)
        sub_end(cl, wr_msg_slice(room), WR_ERR_POSITION);
}

void clients__ask_again(struct wr_conn *c, const struct wr_msg *room)
{
    struct wr_protocol_conn *cl = client_of(c);
    if (cl && may(cl, WR_VERB_SEE, wr_msg_slice(room), NULL) != WR_OK)
        sub_end(cl, wr_msg_slice(room), WR_ERR_DENIED);
}

/* He may not: an answer like every other, so that it can have the sentence. */
static wr_err deny(struct wr_protocol_conn *cl, enum wr_protocol_op op, uint64_t cookie,
                   const struct wr_errmsg *why)
{
    struct rooms__reply *p = rooms__reply_new(op, cookie);
    rooms__reply_fail(p, WR_ERR_DENIED, wr_slice_str(why->text));
    cl->pending++;
    rooms__reply_post(cl->protocol->rooms, wr_conn_id(cl->conn), p);
    return WR_OK;
}

/* The subscription's answer is told; then the fanout: what the room sends next follows it. */
static void after_subscribed(struct wr_protocol_conn *cl, struct rooms__reply *p)
{
    struct rooms__sub *s = p->sub;
    if (!s || s->gone) /* refused before there was one; the protocol gave it back before */
        return;
    if (p->r.code != WR_OK) {
        struct rooms__sub **at = sub_find(cl, rooms__sub_room(s));
        if (at && *at == s)
            sub_remove(cl, at);
        return;
    }
    s->fanout = p->fanout;
    uint32_t classes = CLASS_PUBS | (s->flags & WR_SUB_POSITIONED ? CLASS_POSITIONED : 0u) |
                       (s->flags & WR_SUB_JOIN_LEAVE ? CLASS_JOIN_LEAVE : 0u);
    if (!wr_fanout_add(s->fanout, cl->conn, classes))
        wr_conn_close(cl->conn, 1011, "out of memory");
    else if (may(cl, WR_VERB_SEE, rooms__sub_room(s), NULL) != WR_OK) /* not any more */
        sub_end(cl, rooms__sub_room(s), WR_ERR_DENIED);
}

/* Who ended his half has his answers first. */
static void end_answered(struct wr_protocol_conn *cl)
{
    if (!cl->pending)
        wr_conn_close(cl->conn, 1000, "the client ended");
}

static void pause_reading(struct wr_protocol_conn *cl)
{
    wr_conn_pause(cl->conn, cl->is_paused || cl->is_full);
}

/* Reading goes on when half of what was too much is answered. */
static void look_at_pending(struct wr_protocol_conn *cl)
{
    bool is_full = cl->is_full ? cl->pending >= ROOMS__PENDING_PER_CLIENT / 2
                               : cl->pending >= ROOMS__PENDING_PER_CLIENT;
    if (is_full == cl->is_full)
        return;
    cl->is_full = is_full;
    pause_reading(cl);
}

static enum line_kind kind_of(enum wr_protocol_op op)
{
    if (op == WR_PROTOCOL_SUBSCRIBE)
        return LINE_SUBSCRIBE;
    return op == WR_PROTOCOL_PUBLISH || op == WR_PROTOCOL_CALL ? LINE_PUBLISH : LINE_READ;
}

static void run_reply(struct wr_conn *c, void *arg)
{
    struct rooms__reply *p = arg;
    struct wr_protocol_conn *cl = c ? client_of(c) : NULL;
    if (cl) {
        cl->pending--;
        p->r.message = p->text;
        p->r.epoch = p->epoch[0] ? wr_slice_str(p->epoch) : p->r.epoch;
        if (p->finish && p->r.code == WR_OK)
            p->finish(p);
        cl->is_answering = kind_of(p->r.op) != LINE_PUBLISH;
        cl->protocol->plugin->result(cl->cs, &p->r);
        cl->is_answering = false;
        if (p->r.op == WR_PROTOCOL_SUBSCRIBE)
            after_subscribed(cl, p);
        cl->line.is_full = wr_conn_queued(c) > LINE_LOW_BYTES;
        if (p->lane)
            line__done(cl->protocol->rooms, &cl->line, p->lane, kind_of(p->r.op));
        look_at_pending(cl);
        if (cl->is_ended)
            end_answered(cl);
    }
    rooms__reply_free(p);
}

void rooms__reply_post(struct wr_rooms *rs, struct wr_conn_id conn, struct rooms__reply *p)
{
    if (p->fanout)
        wr_fanout_post(p->fanout, conn, run_reply, p);
    else
        wr_plane_post(rs->env->plane, conn, run_reply, p);
}

/* ---- the api ---- */

static void api_send(struct wr_protocol_conn *cl, struct wr_slice message, bool binary)
{
    enum wr_ws_op op = binary ? WR_WS_BINARY : WR_WS_TEXT;
    if (cl->is_answering)
        wr_conn_answer_bytes(cl->conn, op, message);
    else
        wr_conn_send_bytes(cl->conn, op, message);
}

static void api_close(struct wr_protocol_conn *cl, uint16_t code, const char *reason)
{
    wr_conn_close(cl->conn, code, reason);
}

static wr_err api_sign_in(struct wr_protocol_conn *cl, struct wr_slice token, struct wr_errmsg *why)
{
    const struct wr_auth_request req = {
        .client = cl->addr ? cl->addr : "", .path = "", .query = "", .token = token};
    struct wr_identity *identity;
    why->text[0] = 0;
    wr_err e = wr_access_identify(cl->protocol->rooms->env->access, &req, &identity, why);
    if (e != WR_OK)
        return e;
    wr_identity_unref(cl->identity);
    cl->identity = identity;
    return WR_OK;
}

static bool api_identify(struct wr_protocol_conn *cl, struct wr_slice client, struct wr_slice user,
                         struct wr_slice conn_info)
{
    if (!user.n)
        user = wr_identity_who(cl->identity)->user;
    struct rooms__person *who = rooms__person_new(client, user, conn_info);
    if (!who)
        return false;
    rooms__person_unref(cl->who);
    cl->who = who;
    free(cl->addr); /* he has signed in by now, if he wants to */
    cl->addr = NULL;
    return true;
}

static struct wr_protocol_info api_info(struct wr_protocol_conn *cl)
{
    return cl->who ? cl->who->info : (struct wr_protocol_info){0};
}

static void api_pick(struct wr_protocol_conn *cl, uint32_t variant)
{
    if (!cl->subs && variant < wr_protocol_num_variants(cl->protocol->plugin))
        cl->form = cl->protocol->first_form + variant;
}

static void api_wake(struct wr_protocol_conn *cl, uint32_t ms)
{
    wr_conn_wake(cl->conn, ms);
}

static struct rooms__sub *sub_new(struct wr_protocol_conn *cl,
                                  const struct wr_protocol_subscribe *req, uint64_t cookie,
                                  bool may_recover)
{
    struct rooms__sub *s = calloc(1, sizeof *s + req->room.n);
    if (!s)
        return NULL;
    atomic_init(&s->refs, 2); /* the client's and the room's; both go by JOB_UNSUBSCRIBE */
    s->conn = wr_conn_id(cl->conn);
    s->form = cl->form;
    s->flags = req->flags;
    s->cookie = cookie;
    s->since = req->since_offset;
    if (req->since_epoch.n < sizeof s->since_epoch && may_recover)
        memcpy(s->since_epoch, req->since_epoch.n ? (const char *)req->since_epoch.p : "",
               req->since_epoch.n);
    else
        s->since_epoch[0] = '?'; /* none of ours is so: it matches nothing */
    s->who = rooms__person_ref(cl->who);
    s->name_len = (uint16_t)req->room.n;
    memcpy(s->name, req->room.p, req->room.n);
    s->lane = line__lane(&cl->line, req->room);
    s->client_next = cl->subs;
    cl->subs = s;
    cl->nsubs++;
    return s;
}

static wr_err api_subscribe(struct wr_protocol_conn *cl, const struct wr_protocol_subscribe *req,
                            uint64_t cookie)
{
    if (!wr_name_valid(req->room) || !cl->who)
        return WR_ERR_INVALID;
    if (sub_find(cl, req->room))
        return WR_ERR_CONFLICT;
    if (cl->nsubs >= ROOMS__SUBS_PER_CLIENT)
        return WR_ERR_TOO_BIG;
    if (cl->pending >= ROOMS__PENDING_MAX)
        return WR_ERR_BUSY;
    struct wr_errmsg why;
    if (may(cl, WR_VERB_SEE, req->room, &why) != WR_OK)
        return deny(cl, WR_PROTOCOL_SUBSCRIBE, cookie, &why);
    /* What he missed is the past: who may not read it comes in as if it were gone. */
    bool may_recover = !(req->flags & WR_SUB_RECOVER) ||
                       may(cl, WR_VERB_HEAR_PAST, req->room, NULL) == WR_OK;
    struct rooms__sub *s = sub_new(cl, req, cookie, may_recover);
    if (!s)
        return WR_ERR_BUSY;
    cl->pending++;
    struct rooms__job *j = rooms__job_new(JOB_SUBSCRIBE);
    j->u.sub = s;
    line__add(cl->protocol->rooms, &cl->line, s->lane,
              &(struct line_work){.kind = LINE_SUBSCRIBE, .job = j, .sub = s});
    return WR_OK;
}

static bool api_unsubscribe(struct wr_protocol_conn *cl, struct wr_slice room)
{
    struct rooms__sub **at = sub_find(cl, room);
    if (at)
        sub_remove(cl, at);
    return at != NULL;
}

static bool api_is_subscribed(struct wr_protocol_conn *cl, struct wr_slice room)
{
    return sub_find(cl, room) != NULL;
}

static bool outbox_admits(struct wr_rooms *rs, size_t bytes)
{
    unsigned items = atomic_fetch_add(&rs->outbox_items, 1);
    size_t before = atomic_fetch_add(&rs->outbox_bytes, bytes);
    if (items < ROOMS__OUTBOX_ITEMS && before < ROOMS__OUTBOX_BYTES) {
        wr_gauge_add(&rooms__g_outbox, 1);
        return true;
    }
    atomic_fetch_sub(&rs->outbox_items, 1);
    atomic_fetch_sub(&rs->outbox_bytes, bytes);
    wr_count(&rooms__m_outbox_full, 1);
    return false;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_of(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    while (*text)
        h = (h ^ (uint8_t)*text++) * UINT64_C(0x100000001b3);
    return h;
}

/* Of the sender and what he said. Who has no user is known by what he calls himself and by his address: his connection is
 * another one when he says it again. */
static bool sum_up(const struct wr_protocol_conn *cl, struct wr_slice data, uint8_t key[16])
{
    const struct wr_protocol_info *who = &cl->who->info;
    const uint64_t head[] = {who->user.n, who->user.n ? 0 : who->conn_info.n,
                             who->user.n ? 0 : cl->from};
    struct wr_buf b = {0};
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    wr_buf_add(&b, head, sizeof head);
    wr_buf_slice(&b, who->user.n ? who->user : who->conn_info);
    wr_buf_slice(&b, data);
    bool ok = !b.failed && EVP_Digest(b.p, b.n, sum, &n, EVP_sha256(), NULL) == 1;
    if (ok)
        memcpy(key, sum, 16);
    wr_buf_free(&b);
    return ok;
}

/* What makes a message that is published again the same message: the same sender, and the same bytes with an id in them that is
 * long enough to be meant so ("id" of the data, 8 to 128 bytes), else a key of ours for the gateway's own retries. The id alone
 * would let one client's message stand in the way of another's. */
static void publish_key(const struct wr_protocol_conn *cl, bool is_json, struct wr_slice data,
                        uint8_t key[16])
{
    struct wr_rooms *rs = cl->protocol->rooms;
    struct wr_slice id;
    if (is_json && wr_json_get(data, "id", &id) && wr_json_is_string(id) && id.n >= 8 + 2 &&
        id.n <= 128 + 2 && sum_up(cl, data, key))
        return;
    /* Big-endian: keys that follow one another lie side by side in the store's index, on one page of it and not on ten. */
    uint64_t k = htobe64(atomic_fetch_add(&rs->next_key, 1));
    memcpy(key, rs->boot, 8);
    memcpy(key + 8, &k, 8);
}

wr_err clients__publish(struct wr_protocol_conn *cl, const struct wr_protocol_publish *req,
                        uint64_t cookie, rooms__finish_fn finish)
{
    struct wr_rooms *rs = cl->protocol->rooms;
    struct wr_slice room = req->room, type = req->type, data = req->data;
    if (!wr_name_valid(room) || !cl->who || !data.n || type.n > ROOMS__TYPE_BYTES)
        return WR_ERR_INVALID;
    if (data.n > atomic_load(&rs->max_message))
        return WR_ERR_TOO_BIG;
    if (cl->pending >= ROOMS__PENDING_MAX)
        return WR_ERR_BUSY;
    struct wr_errmsg why;
    if (may(cl, WR_VERB_TALK, room, &why) != WR_OK)
        return deny(cl, finish ? WR_PROTOCOL_CALL : WR_PROTOCOL_PUBLISH, cookie, &why);
    if (!outbox_admits(rs, sizeof(struct rooms__publish) + room.n + type.n + data.n))
        return WR_ERR_BUSY;
    struct rooms__publish *p = malloc(sizeof *p + room.n + type.n + data.n);
    if (!p)
        abort(); /* it is counted in already */
    *p = (struct rooms__publish){.conn = wr_conn_id(cl->conn),
                                 .cookie = cookie,
                                 .deadline_us = wr_mono_us() + ROOMS__PUBLISH_MS * 1000,
                                 .who = rooms__person_ref(cl->who),
                                 .finish = finish};
    publish_key(cl, !type.n, data, p->key);
    memcpy(p->bytes, room.p, room.n);
    if (type.n)
        memcpy(p->bytes + room.n, type.p, type.n);
    memcpy(p->bytes + room.n + type.n, data.p, data.n);
    p->room = wr_slice_of(p->bytes, room.n);
    p->type = wr_slice_of(p->bytes + room.n, type.n);
    p->data = wr_slice_of(p->bytes + room.n + type.n, data.n);
    cl->pending++;
    struct rooms__job *j = rooms__job_new(JOB_PUBLISH);
    j->u.publish = p;
    p->lane = line__lane(&cl->line, room);
    line__add(rs, &cl->line, p->lane, &(struct line_work){.kind = LINE_PUBLISH, .job = j});
    return WR_OK;
}

static wr_err api_publish(struct wr_protocol_conn *cl, const struct wr_protocol_publish *req,
                          uint64_t cookie)
{
    return clients__publish(cl, req, cookie, NULL);
}

static wr_err api_call(struct wr_protocol_conn *cl, struct wr_slice method, struct wr_slice args,
                       uint64_t cookie)
{
    const struct rooms__method *m = calls__find(method);
    return m ? m->run(cl, args, cookie) : WR_ERR_UNKNOWN_METHOD;
}

/* A bus thread. */
static void on_history(void *ctx, const struct wr_answer *a)
{
    struct rooms__reply *p = ctx;
    struct rooms__pubs pubs = {0};
    if (a->code != WR_OK) {
        rooms__reply_fail(p, a->code, wr_err_outside(a->code, a->text));
    } else if (!rooms__parse_history(a->body, &pubs) || (a->msg && !rooms__reply_hold(p, a->msg))) {
        rooms__pubs_free(&pubs);
        wr_count(&rooms__m_bad_bus, 1);
        rooms__reply_fail(p, WR_ERR_INTERNAL, wr_slice_str("the hub gave a malformed answer"));
    } else {
        p->pubs = pubs.v;
        p->r.pubs = pubs.v;
        p->r.num_pubs = pubs.n;
        p->r.offset = pubs.top;
        memcpy(p->epoch, pubs.epoch.n ? (const char *)pubs.epoch.p : "", pubs.epoch.n);
        pubs.v = NULL;
        rooms__pubs_free(&pubs);
    }
    struct wr_rooms *rs = p->rooms;
    rooms__reply_post(rs, p->conn, p);
    atomic_fetch_sub(&rs->calls, 1);
}

void clients__ask_history(struct wr_rooms *rs, struct wr_msg *body, struct rooms__reply *p)
{
    wr_bus_call(rs->env->hub, p->room, "watchroom.v1.Hub/History", body, ROOMS__PUBLISH_MS,
                on_history, p);
}

static wr_err api_history(struct wr_protocol_conn *cl, const struct wr_protocol_history *q,
                          uint64_t cookie)
{
    struct wr_rooms *rs = cl->protocol->rooms;
    if (!wr_name_valid(q->room))
        return WR_ERR_INVALID;
    if (cl->pending >= ROOMS__PENDING_MAX)
        return WR_ERR_BUSY;
    struct wr_errmsg why;
    if (may(cl, WR_VERB_HEAR_PAST, q->room, &why) != WR_OK)
        return deny(cl, WR_PROTOCOL_HISTORY, cookie, &why);
    uint32_t limit = q->limit < 0 || q->limit > (int32_t)ROOMS__RECOVER_MAX ? ROOMS__RECOVER_MAX
                                                                            : (uint32_t)q->limit;
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, q->room.n + q->since_epoch.n + 80);
    if (!m)
        return WR_ERR_BUSY;
    uint8_t *at = wr_pb_bytes(m->data, WR_PB_HISTORY_REQUEST_ROOM, q->room);
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_HAS_SINCE, q->has_since);
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_SINCE_OFFSET, q->since_offset);
    at = wr_pb_bytes(at, WR_PB_HISTORY_REQUEST_SINCE_EPOCH, q->since_epoch);
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_LIMIT, limit);
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_REVERSE, q->reverse);
    m->len = (size_t)(at - m->data);
    struct rooms__reply *p = rooms__reply_new(WR_PROTOCOL_HISTORY, cookie);
    p->rooms = rs;
    p->conn = wr_conn_id(cl->conn);
    memcpy(p->room, q->room.p, q->room.n);
    p->r.room = wr_slice_of(p->room, q->room.n);
    p->lane = line__lane(&cl->line, q->room);
    cl->pending++;
    line__add(rs, &cl->line, p->lane,
              &(struct line_work){.kind = LINE_READ, .history = m, .reply = p});
    return WR_OK;
}

static wr_err api_presence(struct wr_protocol_conn *cl, struct wr_slice room, bool stats_only,
                           uint64_t cookie)
{
    struct wr_rooms *rs = cl->protocol->rooms;
    if (!wr_name_valid(room))
        return WR_ERR_INVALID;
    if (cl->pending >= ROOMS__PENDING_MAX)
        return WR_ERR_BUSY;
    enum wr_protocol_op op = stats_only ? WR_PROTOCOL_PRESENCE_STATS : WR_PROTOCOL_PRESENCE;
    struct wr_errmsg why;
    if (may(cl, WR_VERB_SEE, room, &why) != WR_OK)
        return deny(cl, op, cookie, &why);
    struct rooms__job *j = rooms__job_new(JOB_PRESENCE);
    struct rooms__reply *p = rooms__reply_new(op, cookie);
    p->rooms = rs;
    p->conn = wr_conn_id(cl->conn);
    memcpy(p->room, room.p, room.n);
    p->r.room = wr_slice_of(p->room, room.n);
    memcpy(j->u.presence.room, room.p, room.n);
    j->u.presence.reply = p;
    p->lane = line__lane(&cl->line, room);
    cl->pending++;
    line__add(rs, &cl->line, p->lane, &(struct line_work){.kind = LINE_READ, .job = j, .reply = p});
    return WR_OK;
}

static uint32_t api_pending(struct wr_protocol_conn *cl)
{
    return cl->pending;
}

static void api_pause(struct wr_protocol_conn *cl, bool pause)
{
    cl->is_paused = pause;
    pause_reading(cl);
}

static const struct wr_protocol_api api = {
    .size = sizeof(struct wr_protocol_api),
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
    .pause = api_pause,
};

/* ---- the connection ---- */

static bool open_param(const struct wr_protocol_open *o, const char *name, char *out, size_t n)
{
    return wr_http_query_param(o->query, name, out, n);
}

static void on_open(struct wr_conn *c, void *user)
{
    struct wr_protocol_conn *cl = user;
    cl->conn = c;
    char addr[64]; /* identify lets go of the other */
    (void)snprintf(addr, sizeof addr, "%s", cl->addr);
    struct wr_protocol_open o = {.endpoint = cl->door->endpoint,
                                 .subprotocol = cl->subprotocol,
                                 .query = cl->query,
                                 .client = addr,
                                 .param = open_param};
    cl->protocol->plugin->open(cl->protocol->state, &api, cl, cl->cs, &o);
    free(cl->query);
    cl->query = NULL;
}

static void on_message(struct wr_conn *c, void *user, enum wr_ws_op op, struct wr_slice bytes)
{
    struct wr_protocol_conn *cl = user;
    cl->line.is_full = wr_conn_queued(c) > LINE_LOW_BYTES;
    cl->protocol->plugin->message(cl->cs, bytes, op == WR_WS_BINARY);
    look_at_pending(cl);
}

static void on_drained(struct wr_conn *c, void *user)
{
    struct wr_protocol_conn *cl = user;
    (void)c;
    line__resume(cl->protocol->rooms, &cl->line);
}

static void on_wake(struct wr_conn *c, void *user)
{
    (void)c;
    struct wr_protocol_conn *cl = user;
    if (WR_PLUGIN_HAS(cl->protocol->plugin, wake))
        cl->protocol->plugin->wake(cl->cs);
}

static void client_free(struct wr_protocol_conn *cl)
{
    wr_identity_unref(cl->identity);
    rooms__person_unref(cl->who);
    free(cl->query);
    free(cl->addr);
    cl->magic = 0;
    free(cl);
}

static void on_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)c;
    (void)why;
    struct wr_protocol_conn *cl = user;
    bool was_open = cl->conn != NULL;
    cl->conn = NULL; /* its fanouts were left already */
    line__end(cl->protocol->rooms, &cl->line);
    while (cl->subs)
        sub_remove(cl, &cl->subs);
    if (was_open && WR_PLUGIN_HAS(cl->protocol->plugin, close))
        cl->protocol->plugin->close(cl->cs);
    client_free(cl);
}

static const struct wr_conn_ops ops = {.open = on_open,
                                       .message = on_message,
                                       .drained = on_drained,
                                       .wake = on_wake,
                                       .close = on_close};

static const char *subprotocol(const struct wr_protocol_endpoint *e, const struct wr_http_req *req)
{
    for (const char *const *s = e->subprotocols; s && *s; s++)
        if (wr_http_offers(req, *s))
            return *s;
    return NULL;
}

/* NULL when memory is out. Moves identity, also then. */
static struct wr_protocol_conn *client_new(const struct rooms__door *d, const char *query,
                                           const char *addr, struct wr_identity *identity)
{
    struct wr_protocol_conn *cl = calloc(1, sizeof *cl + d->protocol->plugin->conn_size);
    if (!cl) {
        wr_identity_unref(identity);
        return NULL;
    }
    cl->magic = CLIENT_MAGIC;
    cl->identity = identity;
    cl->protocol = d->protocol;
    cl->form = d->protocol->first_form;
    cl->door = d;
    cl->query = strdup(query);
    cl->addr = strdup(addr);
    cl->from = hash_of(addr);
    cl->subprotocol = "";
    if (cl->query && cl->addr)
        return cl;
    client_free(cl);
    return NULL;
}

static uint32_t or_default(uint32_t ms, uint32_t by_default)
{
    return ms ? ms : by_default;
}

/* An HTTP worker. */
static void handle_upgrade(void *ctx, struct wr_http_req *req)
{
    const struct rooms__door *d = ctx;
    const struct wr_protocol_plugin *p = d->protocol->plugin;
    const struct wr_gateway_env *env = d->protocol->rooms->env;
    const char *agreed = subprotocol(d->endpoint, req);
    struct wr_errmsg why = {{0}};
    struct wr_protocol_open asked = {.endpoint = d->endpoint,
                                     .subprotocol = agreed ? agreed : "",
                                     .query = req->query,
                                     .client = req->client,
                                     .param = open_param};
    if (WR_PLUGIN_HAS(p, check) && p->check(&asked, &why) != WR_OK) {
        wr_http_error(req, 400, "%s", why.text);
        return;
    }
    struct wr_identity *identity = wr_access_enter(env->access, req);
    if (!identity)
        return;
    struct wr_protocol_conn *cl = client_new(d, req->query, req->client, identity);
    if (!cl) {
        wr_http_error(req, 503, "the server is out of memory; try again");
        return;
    }
    cl->subprotocol = asked.subprotocol;
    struct wr_conn_opts o = {
        .transport = WR_TRANSPORT_WS,
        .policy = WR_QUEUE_CHAT,
        .ops = &ops,
        .user = cl,
        .queue_bytes = env->config->gateway.chat_queue_bytes,
        .ping_ms = or_default(d->endpoint->ping_ms, env->config->gateway.ping_ms),
        .pong_ms = or_default(d->endpoint->pong_ms, env->config->gateway.pong_ms),
        .max_message = atomic_load(&d->protocol->rooms->max_message)};
    (void)wr_http_upgrade(req, agreed, &o); /* on an error the client was told, and on_close ran */
}

/* ---- on TCP ---- */

static ptrdiff_t on_split(struct wr_conn *c, void *user, struct wr_slice bytes)
{
    const struct wr_protocol_conn *cl = user;
    (void)c;
    return cl->door->endpoint->split(bytes);
}

static void on_half_closed(struct wr_conn *c, void *user)
{
    struct wr_protocol_conn *cl = user;
    (void)c;
    cl->is_ended = true;
    end_answered(cl);
}

static const struct wr_conn_ops tcp_ops = {.open = on_open,
                                           .message = on_message,
                                           .split = on_split,
                                           .half_closed = on_half_closed,
                                           .drained = on_drained,
                                           .wake = on_wake,
                                           .close = on_close};

bool clients__accept(const struct rooms__door *d, const struct wr_addr *peer,
                     struct wr_conn_opts *o)
{
    const struct wr_gateway_env *env = d->protocol->rooms->env;
    char addr[WR_ADDR_TEXT];
    const struct wr_auth_request asked = {
        .client = wr_addr_text(peer, addr), .path = "", .query = ""};
    struct wr_identity *identity = NULL;
    struct wr_errmsg why = {{0}};
    if (wr_access_identify(env->access, &asked, &identity, &why) != WR_OK)
        return false;
    struct wr_protocol_conn *cl = client_new(d, "", addr, identity);
    if (!cl)
        return false;
    *o = (struct wr_conn_opts){.transport = WR_TRANSPORT_TCP,
                               .policy = WR_QUEUE_CHAT,
                               .ops = &tcp_ops,
                               .user = cl,
                               .queue_bytes = env->config->gateway.chat_queue_bytes,
                               .max_message = atomic_load(&d->protocol->rooms->max_message)};
    return true;
}

static wr_err add_door(struct wr_rooms *rs, struct rooms__protocol *protocol,
                       const struct wr_protocol_endpoint *e, struct wr_errmsg *err)
{
    struct rooms__door *d = calloc(1, sizeof *d);
    if (!d)
        return WR_ERR_BUSY;
    *d = (struct rooms__door){.next = rs->doors, .protocol = protocol, .endpoint = e};
    rs->doors = d;
    if (e->transport == WR_PROTOCOL_TCP)
        return WR_OK; /* it listens when all is there (ports.c) */
    struct wr_http_route r = {.path = e->at,
                              .methods = WR_GET,
                              .upgrade_only = true,
                              .handler = handle_upgrade,
                              .ctx = d};
    wr_err code = wr_http_add(rs->env->http, &r);
    if (code != WR_OK)
        wr_errmsg_set(err, "gateway.protocols: no room for the route %s", e->at);
    return code;
}

wr_err clients__routes(struct wr_rooms *rs, struct rooms__protocol *protocol, struct wr_errmsg *err)
{
    wr_err code = WR_OK;
    for (const struct wr_protocol_endpoint *e = protocol->plugin->endpoints;
         e->transport != WR_PROTOCOL_END && code == WR_OK; e++)
        code = add_door(rs, protocol, e, err);
    return code;
}
