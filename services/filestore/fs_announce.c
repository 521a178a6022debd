/* SPDX-License-Identifier: MIT
 *
 * The announcer: a list of uploads whose room does not know yet, a bounded number of Hub/Publish calls in flight, retries
 * with back-off. */
#include "fs_announce.h"

#include <stdio.h>
#include <stdlib.h>

#include "watchroom/v1/hub.pb-c.h"
#include "wr_buf.h"
#include "wr_bus.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_json.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_thread.h"

#define IN_FLIGHT_MAX 16u

WR_COUNTER(announced_total, "watchroom_files_announced_total", NULL,
           "Finished files whose room got an entry");
WR_COUNTER(announce_retries, "watchroom_files_announce_retries_total", NULL,
           "Tries to tell a room about a file that the hub did not answer with yes");

struct attempt {
    struct fs_announcer *a;
    struct fs_upload *u;
};

static void entry_json(struct wr_buf *b, struct fs_upload *u)
{
    char hex[65];
    wr_hex(hex, u->sha256, sizeof u->sha256);
    wr_buf_str(b, "{\"type\":\"file\"");
    if (u->name[0]) {
        wr_buf_str(b, ",\"name\":");
        wr_json_put_str(b, u->name);
    }
    wr_buf_fmt(b, ",\"file\":{\"id\":\"%s\",\"name\":", u->id);
    wr_json_put_str(b, u->filename);
    wr_buf_fmt(b, ",\"size\":%llu,\"type\":", (unsigned long long)u->length);
    wr_json_put_str(b, u->filetype);
    wr_buf_fmt(b, ",\"sha256\":\"%s\",\"url\":\"/files/%s\"}}", hex, u->id);
}

/* 8 to 32 bytes for the hub: ids of ours have 26 characters; longer ones of other callers are hashed. */
static size_t entry_key(const char *id, uint8_t out[32])
{
    size_t n = strlen(id);
    memcpy(out, "file:", 5);
    if (n <= 27) {
        memcpy(out + 5, id, n);
        return n + 5;
    }
    uint8_t sha[EVP_MAX_MD_SIZE];
    if (EVP_Digest(id, n, sha, NULL, EVP_sha256(), NULL) != 1)
        memcpy(sha, id, 27);
    memcpy(out + 5, sha, 27);
    return 32;
}

static struct wr_msg *publish_request(struct fs_upload *u)
{
    struct wr_buf json = {0};
    uint8_t key[32];
    entry_json(&json, u);
    Watchroom__V1__PublishItem item = WATCHROOM__V1__PUBLISH_ITEM__INIT, *items = &item;
    Watchroom__V1__PublishRequest req = WATCHROOM__V1__PUBLISH_REQUEST__INIT;
    item.room = u->room;
    item.kind = WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_FILE;
    item.key = (ProtobufCBinaryData){entry_key(u->id, key), key};
    item.data = (ProtobufCBinaryData){json.n, json.p};
    req.n_items = 1;
    req.items = &items;
    struct wr_msg *m = json.failed ? NULL : wr_msg_pack(&req.base);
    wr_buf_free(&json);
    return m;
}

static wr_err result_of(const struct wr_answer *answer, struct wr_errmsg *why)
{
    if (answer->code != WR_OK) {
        wr_errmsg_set(why, "%.*s", (int)WR_MIN(answer->text.n, 200), (const char *)answer->text.p);
        return answer->code;
    }
    Watchroom__V1__PublishResponse *r = watchroom__v1__publish_response__unpack(
        NULL, answer->body.n, answer->body.p);
    wr_err e = r && r->n_results == 1 ? wr_err_from_wire(r->results[0]->code) : WR_ERR_INTERNAL;
    if (e != WR_OK)
        wr_errmsg_set(why, "%.200s",
                      r && r->n_results == 1 ? r->results[0]->message
                                             : "the hub's answer makes no sense");
    if (r)
        watchroom__v1__publish_response__free_unpacked(r, NULL);
    return e;
}

static void remembered(struct fs_op *op)
{
    if (op->code != WR_OK && op->code != WR_ERR_GONE && op->code != WR_ERR_NOT_FOUND)
        wr_warn("files.announced_not_recorded", "id=%s %s: told once more after the next start",
                op->u->id, op->text.text);
    free(op);
}

static void remember(struct fs_upload *u)
{
    struct fs_op *op = calloc(1, sizeof *op);
    if (!op)
        return; /* told once more after the next start; the key makes it the same entry */
    op->kind = FS_OP_ANNOUNCED;
    op->done = remembered;
    op->u = fs_upload_ref(u);
    fs_store_do(u->store, op);
}

static void retry_later(struct fs_announcer *a, struct fs_upload *u)
{
    static const int64_t waits_s[] = {1, 2, 5, 10};
    wr_count(&announce_retries, 1);
    pthread_mutex_lock(&u->lock);
    u->announce_at_us = wr_mono_us() +
                        1000000 * waits_s[WR_MIN(u->announce_tries, WR_ARRAY_LEN(waits_s) - 1)];
    u->announce_tries++;
    pthread_mutex_unlock(&u->lock);
    fs_announcer_add(a, u);
}

/* Lets go of one that take_due gave. */
static void end_attempt(struct fs_announcer *a, struct fs_upload *u)
{
    fs_upload_unref(u);
    pthread_mutex_lock(&a->lock);
    if (--a->in_flight == 0)
        pthread_cond_broadcast(&a->idle);
    pthread_mutex_unlock(&a->lock);
}

static void handle_answer(void *ctx, const struct wr_answer *answer)
{
    struct attempt *t = ctx;
    struct fs_announcer *a = t->a;
    struct fs_upload *u = t->u;
    free(t);
    struct wr_errmsg why = {{0}};
    wr_err e = result_of(answer, &why);
    if (e == WR_OK) {
        wr_count(&announced_total, 1);
        remember(u);
    } else if (e == WR_ERR_INVALID || e == WR_ERR_DENIED || e == WR_ERR_TOO_BIG) {
        wr_warn("files.not_announced", "id=%s room=%s refused for good: %s", u->id, u->room,
                why.text);
        remember(u);
    } else {
        if (u->announce_tries == 0)
            wr_warn("files.announce_waits", "id=%s room=%s %s", u->id, u->room, why.text);
        retry_later(a, u);
    }
    end_attempt(a, u);
}

void fs_announcer_init(struct fs_announcer *a, struct wr_bus_service *hub)
{
    *a = (struct fs_announcer){.hub = hub};
    pthread_mutex_init(&a->lock, NULL);
    wr_cond_init(&a->idle);
}

void fs_announcer_add(struct fs_announcer *a, struct fs_upload *u)
{
    pthread_mutex_lock(&a->lock);
    struct fs_upload **at = &a->head;
    while (*at && *at != u)
        at = &(*at)->announce_next;
    if (!*at && !a->stopping) {
        u->announce_next = NULL;
        *at = fs_upload_ref(u);
    }
    pthread_mutex_unlock(&a->lock);
}

static struct fs_upload *take_due(struct fs_announcer *a, int64_t now_us)
{
    struct fs_upload *u = NULL;
    pthread_mutex_lock(&a->lock);
    if (!a->stopping && a->in_flight < IN_FLIGHT_MAX)
        for (struct fs_upload **at = &a->head; *at; at = &(*at)->announce_next)
            if ((*at)->announce_at_us <= now_us) {
                u = *at;
                *at = u->announce_next;
                a->in_flight++;
                break;
            }
    pthread_mutex_unlock(&a->lock);
    return u;
}

/* It may have been deleted while it waited for the hub. */
static bool is_there(struct fs_upload *u)
{
    pthread_mutex_lock(&u->lock);
    bool is = u->state == FS_COMPLETE;
    pthread_mutex_unlock(&u->lock);
    return is;
}

void fs_announcer_run(struct fs_announcer *a)
{
    struct fs_upload *u;
    while ((u = take_due(a, wr_mono_us()))) {
        if (!is_there(u)) {
            end_attempt(a, u);
            continue;
        }
        struct attempt *t = malloc(sizeof *t);
        struct wr_msg *m = t ? publish_request(u) : NULL;
        if (!m) {
            free(t);
            retry_later(a, u);
            end_attempt(a, u);
            return;
        }
        *t = (struct attempt){a, u};
        wr_bus_call(a->hub, u->room, "watchroom.v1.Hub/Publish", m, WR_BUS_DEFAULT_DEADLINE_MS,
                    handle_answer, t);
    }
}

void fs_announcer_stop(struct fs_announcer *a)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    while (a->in_flight)
        pthread_cond_wait(&a->idle, &a->lock);
    struct fs_upload *u;
    while ((u = a->head)) {
        a->head = u->announce_next;
        fs_upload_unref(u);
    }
    pthread_mutex_unlock(&a->lock);
}

void fs_announcer_fini(struct fs_announcer *a)
{
    pthread_cond_destroy(&a->idle);
    pthread_mutex_destroy(&a->lock);
}
