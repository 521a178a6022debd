/* SPDX-License-Identifier: MIT
 *
 * The reading side of raw TCP: the protocol's split finds messages in the bytes. A connection has memory for bytes only
 * while a message is incomplete or it is paused: at most one message, and what one read brought behind it. */
#include "plane_priv.h"
#include <stdlib.h>

struct plane__tail {
    size_t n, cap;
    uint8_t bytes[];
};

static void fail(struct wr_conn *c, uint16_t code, const char *why)
{
    wr_count(&plane__m_protocol_errors, 1);
    conn__begin_close(c, code, why, NULL);
}

/* Gives the whole messages at the start of p; returns how many bytes they were. */
static size_t give(struct wr_conn *c, const uint8_t *p, size_t n)
{
    size_t at = 0;
    while (at < n && c->state == CONN_OPEN && !c->paused) {
        size_t seen = WR_MIN(n - at, (size_t)c->max_message);
        ptrdiff_t len = c->ops->split(c, c->user, wr_slice_of(p + at, seen));
        if (len == 0 && n - at < c->max_message)
            return at;
        if (len == 0 || len == WR_SPLIT_TOO_LONG) {
            fail(c, 1009, "message over the limit");
            return n;
        }
        if (len < 0 || (size_t)len > seen) {
            fail(c, 1002, "protocol error");
            return n;
        }
        c->message_ms = c->t->now_ms;
        wr_count(&plane__m_received, 1);
        c->ops->message(c, c->user, WR_WS_BINARY, wr_slice_of(p + at, (size_t)len));
        at += (size_t)len;
    }
    return c->state == CONN_OPEN ? at : n;
}

/* Keeps bytes behind those that are kept. */
static bool keep(struct wr_conn *c, const uint8_t *p, size_t n)
{
    struct plane__tail *t = c->tail;
    size_t have = t ? t->n : 0;
    if (!t || t->cap - have < n) {
        size_t cap = 256;
        while (cap < have + n)
            cap *= 2;
        struct plane__tail *bigger = realloc(t, sizeof *t + cap);
        if (!bigger)
            return false;
        bigger->n = have;
        bigger->cap = cap;
        c->tail = t = bigger;
    }
    memcpy(t->bytes + have, p, n);
    t->n = have + n;
    return true;
}

void split__resume(struct wr_conn *c)
{
    struct plane__tail *t = c->tail;
    if (!t)
        return;
    c->tail = NULL; /* a callback may pause or close */
    size_t done = give(c, t->bytes, t->n);
    if (done < t->n) {
        memmove(t->bytes, t->bytes + done, t->n - done);
        t->n -= done;
        c->tail = t;
    } else {
        free(t);
    }
}

void split__feed(struct wr_conn *c, const uint8_t *p, size_t n)
{
    size_t done = c->tail ? 0 : give(c, p, n);
    if (done == n)
        return;
    bool had = c->tail != NULL;
    if (!keep(c, p + done, n - done))
        conn__begin_close(c, 1011, "out of memory", NULL);
    else if (had)
        split__resume(c);
}

void split__drop(struct wr_conn *c)
{
    free(c->tail);
    c->tail = NULL;
}
