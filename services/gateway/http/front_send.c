/* SPDX-License-Identifier: MIT
 *
 * Answers that do not fit into one frame: a file's bytes, which the kernel takes from its descriptor, and pieces, which
 * their source gives when there is room for them. */
#include "ahead.h"
#include "front_priv.h"
#include "wr_clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct front__sending {
    int fd;
    uint64_t offset; /* of the file's next byte; of pieces, how many were given */
    uint64_t left;
    uint64_t here_until; /* bytes before it need no disk */
    bool is_reading;     /* those at offset are brought from it */
    struct http__pace pace;
    /* pieces: */
    const struct wr_http_source *source;
    void *user;
    bool chunked, is_ended, was_asked, is_bounded;
};

/* ---- files ---- */

void front__sending_end(struct http__front *f, bool is_whole)
{
    struct front__sending *s = f->out;
    f->out = NULL;
    if (!s)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    if (s->source)
        s->source->end(s->user, is_whole);
    free(s);
}

static bool sending_new(struct http__front *f, struct http__verdict *v)
{
    f->keep = v->keep;
    f->out = calloc(1, sizeof *f->out);
    if (!f->out) {
        http__verdict_drop(v);
        wr_conn_cut(f->c);
        return false;
    }
    *f->out = (struct front__sending){.fd = v->fd,
                                      .offset = v->offset,
                                      .left = v->kind == HTTP__FILE ? v->n
                                              : v->length >= 0      ? (uint64_t)v->length
                                                                    : 0,
                                      .source = v->source,
                                      .user = v->user,
                                      .chunked = v->chunked,
                                      .is_bounded = v->kind == HTTP__FILE || v->length >= 0};
    http__pace_begin(&f->out->pace, f->out->offset, wr_mono_ms());
    v->fd = -1;
    v->source = NULL;
    return true;
}

/* Bytes of a file on their way from the disk. */
struct reading {
    struct wr_plane *plane;
    struct wr_conn_id conn;
    uint32_t no;
    uint64_t until;
};

static void handle_here(struct wr_conn *c, void *arg)
{
    struct reading *r = arg;
    struct http__front *f = c ? front__of(c) : NULL;
    if (f && f->state == FRONT_FILE && f->no == r->no) {
        f->out->is_reading = false;
        f->out->here_until = r->until;
        front__file_turn(f);
    }
    free(r);
}

static void tell_here(void *ctx)
{
    struct reading *r = ctx;
    wr_plane_post(r->plane, r->conn, handle_here, r);
}

/* The next turn's bytes need no disk. False: somebody else waits for it, and then the turn comes. */
static bool is_here(struct http__front *f)
{
    struct front__sending *s = f->out;
    size_t n = (size_t)WR_MIN(s->left, HTTP__FILE_TURN);
    if (s->offset < s->here_until || !f->h->ahead || http__ahead_is_here(s->fd, s->offset, n))
        return true;
    n = (size_t)WR_MIN(s->left, HTTP__AHEAD_BYTES);
    struct reading *r = malloc(sizeof *r);
    if (r)
        *r = (struct reading){f->h->plane, wr_conn_id(f->c), f->no, s->offset + n};
    s->is_reading = r && http__ahead_read(f->h->ahead, s->fd, s->offset, n, tell_here, r);
    if (!s->is_reading)
        free(r);
    return !s->is_reading;
}

/* One turn of a file: half a MiB at most, so that the thread's others have theirs. */
void front__file_turn(struct http__front *f)
{
    struct front__sending *s = f->out;
    uint64_t turn = HTTP__FILE_TURN;
    if (s->is_reading || !is_here(f))
        return;
    while (s->left && turn) {
        ptrdiff_t n = wr_conn_send_file(f->c, s->fd, s->offset, (size_t)WR_MIN(s->left, turn));
        if (n == -1) /* shorter than was promised */
            wr_conn_cut(f->c);
        if (n <= 0)
            return;
        s->offset += (uint64_t)n;
        s->left -= (uint64_t)n;
        turn -= (uint64_t)n;
    }
    if (s->left) {
        wr_conn_again(f->c);
        return;
    }
    front__sending_end(f, true);
    front__answered(f, f->keep);
    front__go_on(f);
}

void front__file(struct http__front *f, struct http__verdict *v)
{
    if (!v->frame || v->n == 0) {
        if (v->fd >= 0)
            (void)close(v->fd);
        v->fd = -1;
        front__reply(f, v);
        return;
    }
    struct wr_frame *head = v->frame;
    if (!sending_new(f, v))
        return;
    front__stop_waiting(f);
    f->state = FRONT_FILE;
    wr_conn_more_follows(f->c);
    front__say(f, head);
    v->frame = NULL;
    free(v);
}

/* ---- pieces ---- */

static struct wr_http_to to_of(struct http__front *f)
{
    return (struct wr_http_to){f->h->plane, wr_conn_id(f->c), f->no};
}

static void ask_for_more(struct http__front *f)
{
    struct front__sending *s = f->out;
    if (s->is_ended || s->was_asked || wr_conn_queued(f->c) >= HTTP__LOW_BYTES)
        return;
    s->was_asked = true;
    s->source->more(to_of(f), s->user);
}

void front__pieces_turn(struct http__front *f)
{
    if (!f->out->is_ended) {
        ask_for_more(f);
        return;
    }
    if (wr_conn_queued(f->c))
        return;
    front__sending_end(f, true);
    front__answered(f, f->keep);
    front__go_on(f);
}

void front__pieces(struct http__front *f, struct http__verdict *v)
{
    struct wr_frame *head = v->frame;
    bool none = v->no_body || v->length == 0;
    if (!sending_new(f, v))
        return;
    front__stop_waiting(f);
    f->state = FRONT_PIECES;
    f->out->is_ended = none;
    front__say(f, head);
    v->frame = NULL;
    free(v);
    if (!none)
        ask_for_more(f);
}

enum given { GIVEN_BYTES, GIVEN_END, GIVEN_UP };
struct gift {
    uint32_t no;
    enum given what;
    struct wr_msg *msg;
    struct wr_slice bytes;
};

static void put_piece(struct http__front *f, const struct gift *g)
{
    struct front__sending *s = f->out;
    char line[24];
    int n = s->chunked ? snprintf(line, sizeof line, "%zx\r\n", g->bytes.n) : 0;
    struct wr_frame_part parts[3] = {{.bytes = wr_slice_of(line, (size_t)n)},
                                     {.bytes = g->bytes, .msg = g->msg},
                                     {.bytes = wr_slice_str(s->chunked ? "\r\n" : "")}};
    if (g->bytes.n == 0)
        return;
    if (s->is_bounded && g->bytes.n > s->left) {
        wr_conn_cut(f->c);
        return;
    }
    if (s->is_bounded)
        s->left -= g->bytes.n;
    s->offset += g->bytes.n;
    front__say(f, wr_frame_plain_of(parts, 3));
    s->was_asked = false;
    if (s->is_bounded && s->left == 0)
        s->is_ended = true;
    else
        ask_for_more(f);
}

static void put_end(struct http__front *f)
{
    struct front__sending *s = f->out;
    if (s->is_ended)
        return;
    if (s->is_bounded && s->left) {
        wr_conn_cut(f->c);
        return;
    }
    s->is_ended = true;
    if (s->chunked)
        front__say(f, wr_frame_plain(wr_slice_str("0\r\n\r\n")));
    wr_conn_again(f->c);
}

static void run_gift(struct wr_conn *c, void *arg)
{
    struct gift *g = arg;
    struct http__front *f = front__of(c);
    if (f && f->state == FRONT_PIECES && f->no == g->no) {
        if (g->what == GIVEN_BYTES && !f->out->is_ended)
            put_piece(f, g);
        else if (g->what == GIVEN_END)
            put_end(f);
        else if (g->what == GIVEN_UP)
            wr_conn_cut(c);
    }
    wr_msg_unref(g->msg);
    free(g);
}

static void post_gift(struct wr_http_to to, enum given what, struct wr_msg *msg,
                      struct wr_slice bytes)
{
    size_t copied = msg ? 0 : bytes.n;
    struct gift *g = malloc(sizeof *g + copied);
    if (!g)
        abort(); /* an answer would never end */
    *g = (struct gift){to.no, what, msg, bytes};
    if (copied) {
        memcpy(g + 1, bytes.p, copied);
        g->bytes = wr_slice_of(g + 1, copied);
    }
    wr_plane_post(to.plane, to.conn, run_gift, g);
}

void wr_http_give(struct wr_http_to to, struct wr_msg *msg, struct wr_slice bytes)
{
    post_gift(to, GIVEN_BYTES, msg, bytes);
}

void wr_http_give_end(struct wr_http_to to)
{
    post_gift(to, GIVEN_END, NULL, (struct wr_slice){0});
}

void wr_http_give_up(struct wr_http_to to)
{
    post_gift(to, GIVEN_UP, NULL, (struct wr_slice){0});
}

/* ---- pace ---- */

void front__sending_look(struct http__front *f, int64_t now_ms)
{
    struct front__sending *s = f->out;
    uint64_t queued = wr_conn_queued(f->c);
    bool is_file = f->state == FRONT_FILE, waits = is_file ? !s->is_reading : queued != 0;
    uint64_t moved = is_file ? s->offset : s->offset - WR_MIN(s->offset, queued);
    if (!http__pace_is_slow(&s->pace, moved, waits, now_ms, f->h->patience_ms))
        return;
    wr_count(&http__m_slow_readers, 1);
    wr_conn_reset(f->c);
}
