/* SPDX-License-Identifier: MIT
 *
 * The turns of a request that makes an upload or brings bytes of one, and how it is answered. Each step begins something
 * and returns; upload_priv.h has the table of turns. */
#include "upload_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "wr_id.h"
#include "wr_metrics.h"

WR_GAUGE(active, "watchroom_files_uploads_active", NULL, "Request bodies of uploads in progress");

/* ---- answers --------------------------------------------------------------------------------------------------------- */

static void over(struct upload *u)
{
    u->turn = UPLOAD_OVER;
    handover_leave(u->f->handover, u);
    if (u->has_body) {
        atomic_fetch_sub(&u->f->uploads, 1);
        wr_gauge_add(&active, -1);
    }
    upload__unref(u);
}

/* Who made an upload hears where it is, whatever became of its first bytes, or it would make another one. */
static void location_of(const struct upload *u, char out[128])
{
    out[0] = 0;
    if (u->is_created)
        snprintf(out, 128, "Location: /files/%s\r\n", u->id);
}

static void refuse(struct upload *u, int status, const char *lines, const char *text)
{
    char all[FILES_LINES_ROOM];
    snprintf(all, sizeof all, "%s%s", TUS_LINES, lines);
    wr_http_later_error(&u->later, status, all, "%s", text);
    over(u);
}

static void refuse_code(struct upload *u, const char *lines, wr_err code, const char *text)
{
    char all[FILES_LINES_ROOM];
    snprintf(all, sizeof all, "%s%s", TUS_LINES, lines);
    files_fail_later(&u->later, all, code, text);
    over(u);
}

/* 409 with the offset that the upload is at. */
static void handle_offset(struct upload *u, const struct upload_reply *r)
{
    char lines[256], location[128];
    location_of(u, location);
    snprintf(lines, sizeof lines, "%s", location);
    Watchroom__V1__Upload *up = r->code == WR_OK
                                    ? watchroom__v1__upload__unpack(NULL, r->body.n, r->body.p)
                                    : NULL;
    if (up) {
        snprintf(lines, sizeof lines, "%sUpload-Offset: %llu\r\n", location,
                 (unsigned long long)up->offset);
        watchroom__v1__upload__free_unpacked(up, NULL);
    }
    refuse(u, 409, lines, u->text.text);
}

/* The disk has no room for a new upload's first bytes: the client sends all of it anew, or nothing. */
static void handle_removed(struct upload *u, const struct upload_reply *r)
{
    char location[128] = "";
    if (r->code != WR_OK)
        location_of(u, location);
    refuse_code(u, location, u->code, u->text.text);
}

/* The filestore refused what came, or there was something else that cannot be gone on with. */
static void answer_failure(struct upload *u)
{
    char location[128];
    if (u->code == WR_ERR_CONFLICT && (u->is_created || !u->is_new) &&
        upload__ask(u, "watchroom.v1.Files/Stat", files_pack_stat(u->id), DISK_MS, handle_offset,
                    false))
        return;
    if (u->code == WR_ERR_NO_SPACE && u->is_created &&
        upload__ask(u, "watchroom.v1.Files/Delete", files_pack_delete(u->id), CALL_MS,
                    handle_removed, false))
        return;
    location_of(u, location);
    refuse_code(u, location, u->code, u->text.text);
}

static void answer_kept(struct upload *u, const char *offset)
{
    char lines[FILES_LINES_ROOM];
    snprintf(lines, sizeof lines, "%s%s", TUS_LINES, offset);
    wr_http_later_reply(&u->later, u->is_created ? 201 : 204, NULL, lines, (struct wr_slice){0});
    over(u);
}

/* What became of the body. */
static void answer_body(struct upload *u)
{
    char offset[256], location[128];
    location_of(u, location);
    snprintf(offset, sizeof offset, "Upload-Offset: %llu\r\n%s", (unsigned long long)u->durable,
             location);
    bool is_made = u->is_created && (u->how == UPLOAD_STALLED || u->how == UPLOAD_DRAINING);
    switch (is_made ? UPLOAD_WHOLE : u->how) { /* it is made, and is to be gone on with there */
    case UPLOAD_WHOLE:
        answer_kept(u, offset);
        break;
    case UPLOAD_TOO_LONG:
        refuse(u, 413, offset,
               "the body goes on past the upload's length: the bytes up to it were kept");
        break;
    case UPLOAD_STALLED:
        refuse(u, 408, offset,
               "the upload made no progress: what came was kept; go on at the offset");
        break;
    case UPLOAD_MALFORMED:
        refuse(u, 400, offset,
               "the chunked coding of the body is broken: what came before was kept");
        break;
    case UPLOAD_DRAINING:
        refuse(u, 503, "Retry-After: 2\r\n",
               "the server restarts: what came was kept; go on at the offset in a moment");
        break;
    default:
        refuse(u, 400, location, "the body ended before its Content-Length: what came was kept");
    }
}

static void answer(struct upload *u)
{
    if (u->code != WR_OK)
        answer_failure(u);
    else
        answer_body(u);
}

/* ---- creation -------------------------------------------------------------------------------------------------------- */

static void answer_created(struct upload *u)
{
    char lines[FILES_LINES_ROOM], location[128];
    location_of(u, location);
    snprintf(lines, sizeof lines, "%s%s%s", TUS_LINES, location,
             u->says_offset ? "Upload-Offset: 0\r\n" : "");
    wr_http_later_reply(&u->later, 201, NULL, lines, (struct wr_slice){0});
    over(u);
}

/* Nobody will ever ask for it. */
static void forget_created(struct upload *u)
{
    files_ask(u->f, u->id, "watchroom.v1.Files/Delete", files_pack_delete(u->id), CALL_MS, NULL,
              NULL);
    refuse(u, 503, "", "the client left before its upload was made");
}

static void handle_created(struct upload *u, const struct upload_reply *r)
{
    if (r->code != WR_OK) {
        upload__fail(u, r->code, r->text.text);
        upload__next(u, UPLOAD_ANSWERING);
        return;
    }
    u->is_created = true;
    if (u->is_gone)
        forget_created(u);
    else if (u->has_body)
        upload__next(u, UPLOAD_ACQUIRING);
    else
        answer_created(u);
}

static void create(struct upload *u)
{
    struct wr_msg *body = u->create;
    u->create = NULL;
    if (!upload__ask(u, "watchroom.v1.Files/Create", body, CALL_MS, handle_created, false))
        upload__next(u, UPLOAD_ANSWERING);
}

/* ---- the write side --------------------------------------------------------------------------------------------------- */

static void handle_acquired(struct upload *u, const struct upload_reply *r)
{
    Watchroom__V1__AcquireResponse *a = r->code == WR_OK ? watchroom__v1__acquire_response__unpack(
                                                               NULL, r->body.n, r->body.p)
                                                         : NULL;
    struct wr_errmsg why;
    if (a && a->upload && files_may(u->who, WR_VERB_SEND_FILES, a->upload->room, &why) != WR_OK) {
        upload__fail(u, WR_ERR_DENIED, why.text);
    } else if (a && a->upload) {
        u->fence = a->fence;
        u->end = a->upload->length;
    } else if (r->code != WR_OK) {
        upload__fail(u, r->code, r->text.text);
    } else {
        upload__fail(u, WR_ERR_INTERNAL, "the filestore's answer makes no sense");
    }
    if (a)
        watchroom__v1__acquire_response__free_unpacked(a, NULL);
    if (u->code != WR_OK) {
        upload__next(u, UPLOAD_ANSWERING);
    } else if (u->said > 0 && (u->at > u->end || (uint64_t)u->said > u->end - u->at)) {
        char line[64];
        snprintf(line, sizeof line, "Upload-Offset: %llu\r\n", (unsigned long long)u->at);
        u->turn = UPLOAD_ANSWERING;
        refuse(u, 413, line, "the body is longer than what is left of Upload-Length");
    } else {
        upload__next(u, UPLOAD_FLOWING);
    }
}

/* Takes the write side of the upload at its offset: whoever wrote before is fenced off. */
static void acquire(struct upload *u)
{
    Watchroom__V1__AcquireRequest q = WATCHROOM__V1__ACQUIRE_REQUEST__INIT;
    uint8_t nonce[16];
    wr_random(nonce, sizeof nonce);
    q.id = u->id;
    q.offset = u->at;
    q.nonce = (ProtobufCBinaryData){sizeof nonce, nonce};
    if (!upload__ask(u, "watchroom.v1.Files/Acquire", wr_msg_pack(&q.base), CALL_MS,
                     handle_acquired, false))
        upload__next(u, UPLOAD_ANSWERING);
}

/* ---- turns ----------------------------------------------------------------------------------------------------------- */

static void (*const enter[])(struct upload *u) = {
    [UPLOAD_CREATING] = create,      [UPLOAD_ACQUIRING] = acquire,
    [UPLOAD_FLOWING] = upload__flow, [UPLOAD_SETTLING] = upload__settle,
    [UPLOAD_ANSWERING] = answer,
};

void upload__next(struct upload *u, enum upload_turn turn)
{
    u->turn = turn;
    enter[turn](u);
}

void upload__fail(struct upload *u, wr_err code, const char *text)
{
    if (u->code != WR_OK)
        return;
    u->code = code;
    wr_errmsg_set(&u->text, "%s", text);
}

void upload__ref(struct upload *u)
{
    atomic_fetch_add(&u->refs, 1);
}

void upload__unref(struct upload *u)
{
    if (atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    wr_identity_unref(u->who);
    wr_msg_unref(u->create);
    free(u);
}

static void run_reply(struct wr_http_body *b, void *arg)
{
    struct upload_reply *r = arg;
    (void)b; /* the upload knows its body */
    r->on(r->u, r);
    wr_msg_unref(r->msg);
    upload__unref(r->u);
    free(r);
}

static void handle_answer(void *ctx, const struct wr_answer *a)
{
    struct upload_reply *r = ctx;
    r->code = a->code;
    if (a->code == WR_OK && a->msg) {
        r->msg = wr_msg_ref(a->msg);
        r->body = a->body;
    } else if (a->code != WR_OK) {
        files_text(a, &r->text);
    }
    wr_http_body_post(r->u->to, run_reply, r);
}

bool upload__ask(struct upload *u, const char *method, struct wr_msg *body, uint32_t ms,
                 upload_reply_fn on, bool is_large)
{
    struct upload_reply *r = body ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        wr_msg_unref(body);
        upload__fail(u, WR_ERR_BUSY, "the gateway is out of memory");
        return false;
    }
    *r = (struct upload_reply){.u = u, .on = on, .is_large = is_large};
    upload__ref(u);
    files_ask(u->f, u->id, method, body, ms, handle_answer, r);
    return true;
}

/* ---- start ----------------------------------------------------------------------------------------------------------- */

static void handle_gone(void *user)
{
    struct upload *u = user;
    u->is_gone = true;
}

static bool take_slot(struct wr_files *f)
{
    if (atomic_fetch_add(&f->uploads, 1) < f->max_uploads && !atomic_load(&f->draining))
        return true;
    atomic_fetch_sub(&f->uploads, 1);
    return false;
}

void upload_start(struct wr_files *f, struct wr_http_req *r, const struct upload_request *q)
{
    bool has_body = !q->create || r->is_chunked || r->content_length > 0;
    struct upload *u = calloc(1, sizeof *u);
    if (!u || (has_body && !take_slot(f))) {
        files_fail(r, TUS_LINES, WR_ERR_BUSY,
                   u ? "too many uploads at once: try again in a moment"
                     : "the gateway is out of memory");
        wr_msg_unref(q->create);
        free(u);
        return;
    }
    *u = (struct upload){.f = f,
                         .who = wr_identity_ref(q->who),
                         .create = q->create,
                         .is_new = q->create,
                         .has_body = has_body,
                         .says_offset = q->says_offset,
                         .said = r->content_length,
                         .at = q->offset,
                         .end = q->length};
    snprintf(u->id, sizeof u->id, "%s", q->id);
    atomic_init(&u->refs, 2); /* the body's and the answer's */
    wr_gauge_add(&active, has_body);
    u->later = wr_http_take_body(
        r, &upload__body_ops, u,
        &(struct wr_http_park){.gone = handle_gone, .user = u, .deadline_ms = ANSWER_MS});
    if (!u->later) { /* it was answered, and nothing will run */
        upload__unref(u);
        over(u); /* NOLINT(clang-analyzer-unix.Malloc): there were two references */
    }
}
