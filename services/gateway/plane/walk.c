/* SPDX-License-Identifier: MIT
 *
 * Walking connections in pages, for people who look at them: each page is one item of one thread, so that no thread stops
 * for longer than a page takes. */
#include "plane_priv.h"
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define PAGE_MAX 256u
#define LOOKS_MAX 8192u /* empty places are passed over, but not for ever in one turn */

static void look(struct plane__thread *t, const struct wr_conn *c, struct wr_conn_seen *s)
{
    struct tcp_info info = {.tcpi_state = 0};
    socklen_t n = sizeof info;
    *s = (struct wr_conn_seen){.id = {c->id},
                               .peer = c->peer,
                               .transport = (enum wr_transport)c->transport,
                               .kind = c->kind,
                               .is_closing = c->state == CONN_CLOSING,
                               .user = c->user,
                               .ops = c->ops,
                               .queued = c->q.bytes,
                               .age_ms = (uint32_t)(t->now_ms - c->since_ms),
                               .quiet_ms = (uint32_t)(t->now_ms - c->rx_ms)};
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
        return; /* no TCP socket */
    s->tcp_state = info.tcpi_state;
    s->rtt_us = info.tcpi_rtt;
    s->unacked = info.tcpi_unacked;
    int unsent = 0;
    if (ioctl(c->fd, SIOCOUTQNSD, &unsent) == 0)
        s->unsent = (uint32_t)unsent;
}

static uint64_t cursor(uint32_t thread, uint32_t slot)
{
    return (uint64_t)thread << 56 | slot;
}

void walk__run(struct plane__thread *t, struct plane__item *it)
{
    uint32_t slot = it->u.walk.slot, given = 0, looked = 0;
    for (; slot < t->nslots && given < it->u.walk.n && looked < LOOKS_MAX; slot++, looked++) {
        struct wr_conn *c = t->slots[slot];
        if (!c || c->state == CONN_DEAD || c->is_internal)
            continue;
        struct wr_conn_seen s;
        look(t, c, &s);
        it->u.walk.fn(it->u.walk.ctx, &s);
        given++;
    }
    bool more_here = slot < t->nslots, more_after = t->index + 1 < t->plane->nthreads;
    uint64_t next = more_here ? cursor(t->index, slot) : more_after ? cursor(t->index + 1, 0) : 0;
    it->u.walk.done(it->u.walk.ctx, (struct wr_conn_id){next});
}

void wr_plane_each(struct wr_plane *p, struct wr_conn_id from, uint32_t n, wr_conn_seen_fn fn,
                   wr_page_done_fn done, void *ctx)
{
    uint32_t ti = WR_MIN(plane__thread_of(from.v), p->nthreads - 1);
    struct plane__item *it = calloc(1, sizeof *it);
    if (!it)
        abort(); /* done must run exactly once */
    it->kind = ITEM_WALK;
    it->u.walk.slot = (uint32_t)from.v & 0xffffffu;
    it->u.walk.n = n < 1 ? 1 : WR_MIN(n, PAGE_MAX);
    it->u.walk.fn = fn;
    it->u.walk.done = done;
    it->u.walk.ctx = ctx;
    plane__post(&p->threads[ti], it);
}
