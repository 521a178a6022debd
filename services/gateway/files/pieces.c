/* SPDX-License-Identifier: MIT
 *
 * A download whose bytes come over the bus: each time the client has taken enough, the next piece is asked for, so that two
 * pieces a reader are in memory, and no thread waits. */
#include <stdio.h>
#include <stdlib.h>

#include "files_priv.h"
#include "wr_metrics.h"
#include "watchroom/v1/files.numbers.h"
#include "wr_pb.h"

#define READS_MAX 256u     /* such downloads at once */
#define PIECE (512u << 10) /* of a read while there are few downloads */
#define PIECE_OF_MANY (128u << 10)
#define FEW 16u

WR_COUNTER(by_read, "watchroom_files_downloads_total", "way=\"read\"",
           "Downloads begun, by the way in which their bytes come");
WR_COUNTER(bytes_read, "watchroom_files_read_bytes_total", NULL,
           "Bytes of downloads asked from filestores piece by piece");
WR_GAUGE(active, "watchroom_files_downloads_by_read_active", NULL,
         "Downloads by pieces in progress");

/* `at` is the connection's thread's (more); refs counts the source and the read in flight. */
struct pieces {
    struct wr_files *f;
    struct wr_http_to to; /* set before each read */
    atomic_uint refs;
    char id[FILES_ID_ROOM];
    uint64_t at, end; /* next byte to ask for; behind the last */
    size_t asked;     /* of the read in flight: there is one at a time */
};

static void unref(struct pieces *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    atomic_fetch_sub(&p->f->reads, 1);
    wr_gauge_add(&active, -1);
    free(p);
}

static struct wr_msg *pack_read(const char *id, uint64_t offset, uint32_t n)
{
    Watchroom__V1__ReadRequest q = WATCHROOM__V1__READ_REQUEST__INIT;
    char copy[FILES_ID_ROOM];
    snprintf(copy, sizeof copy, "%s", id);
    q.id = copy;
    q.offset = offset;
    q.length = n;
    return wr_msg_pack(&q.base);
}

/* The data field of a ReadResponse, where it lies. */
static struct wr_slice data_of(struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    struct wr_slice data = {0};
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f))
        if (f.number == WR_PB_READ_RESPONSE_DATA && f.wire == 2)
            data = f.bytes;
    return r.bad ? (struct wr_slice){0} : data;
}

/* On a thread of the bus. The head has promised all of it: what cannot be read ends the connection early, and the client
 * sees that bytes are missing. */
static void handle_read(void *ctx, const struct wr_answer *a)
{
    struct pieces *p = ctx;
    struct wr_slice data = a->code == WR_OK ? data_of(a->body) : (struct wr_slice){0};
    if (data.n && data.n == p->asked) {
        wr_count(&bytes_read, data.n);
        wr_http_give(p->to, wr_msg_ref(a->msg), data);
    } else {
        wr_http_give_up(p->to);
    }
    unref(p);
}

static void pieces_more(struct wr_http_to to, void *user)
{
    struct pieces *p = user;
    uint32_t size = atomic_load(&p->f->reads) <= FEW ? PIECE : PIECE_OF_MANY;
    uint32_t n = (uint32_t)WR_MIN(size, p->end - p->at);
    if (!n)
        return; /* all was given */
    struct wr_msg *q = pack_read(p->id, p->at, n);
    if (!q) {
        wr_http_give_up(to);
        return;
    }
    p->to = to;
    p->at += n;
    p->asked = n;
    atomic_fetch_add(&p->refs, 1);
    files_ask(p->f, p->id, "watchroom.v1.Files/Read", q, DISK_MS, handle_read, p);
}

static void pieces_end(void *user, bool is_whole)
{
    (void)is_whole;
    unref(user);
}

void pieces_send(struct wr_files *f, struct wr_http_later **l, const char *id, int status,
                 const char *lines, uint64_t first, uint64_t n)
{
    static const struct wr_http_source source = {.more = pieces_more, .end = pieces_end};
    struct pieces *p = calloc(1, sizeof *p);
    bool fits = atomic_fetch_add(&f->reads, 1) < READS_MAX;
    if (!p || !fits) {
        atomic_fetch_sub(&f->reads, 1);
        free(p);
        files_fail_later(l, CORS_LINES, WR_ERR_BUSY,
                         p ? "too many downloads at once: try again in a moment"
                           : "the gateway is out of memory");
        return;
    }
    *p = (struct pieces){.f = f, .at = first, .end = first + n};
    atomic_init(&p->refs, 1);
    snprintf(p->id, sizeof p->id, "%s", id);
    wr_gauge_add(&active, 1);
    wr_count(&by_read, 1);
    wr_http_later_pieces(l, status, lines, (int64_t)n, &source, p);
}
