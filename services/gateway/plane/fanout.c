/* SPDX-License-Identifier: MIT
 *
 * Fan-outs: sets of connections that frames are sent to. Each thread has the part with its own connections and is the only
 * one to touch it; `present` counts members and posts that may add one, so that a sender skips threads without any. */
#include "plane_priv.h"
#include <stdlib.h>

struct wr_fanout *wr_fanout_new(struct wr_plane *p)
{
    struct wr_fanout *g = calloc(1, sizeof *g + p->nthreads * sizeof g->parts[0]);
    if (!g)
        return NULL;
    atomic_init(&g->refs, 1);
    g->plane = p;
    g->nparts = p->nthreads;
    return g;
}

static struct wr_fanout *group_ref(struct wr_fanout *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void wr_fanout_unref(struct wr_fanout **gp)
{
    struct wr_fanout *g = *gp;
    *gp = NULL;
    if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < g->nparts; i++)
        free(g->parts[i].v);
    free(g);
}

static void count_classes(struct wr_fanout *g, uint32_t classes, int by)
{
    for (uint32_t i = 0; i < PLANE__CLASSES; i++)
        if (classes & (1u << i))
            atomic_fetch_add_explicit(&g->of_class[i], (unsigned)by, memory_order_relaxed);
}

static bool part_grow(struct plane__part *p)
{
    if (p->n < p->cap)
        return true;
    uint32_t cap = p->cap ? p->cap * 2 : 4;
    struct plane__entry *v = realloc(p->v, cap * sizeof *v);
    if (!v)
        return false;
    p->v = v;
    p->cap = cap;
    return true;
}

bool wr_fanout_add(struct wr_fanout *g, struct wr_conn *c, uint32_t classes)
{
    struct plane__part *p = &g->parts[c->t->index];
    for (struct plane__member *m = c->members; m; m = m->next)
        if (m->fanout == g)
            return true;
    if (c->state == CONN_DEAD)
        return true;
    struct plane__member *m = malloc(sizeof *m);
    if (!m || !part_grow(p)) {
        free(m);
        return false;
    }
    *m = (struct plane__member){.fanout = group_ref(g), .index = p->n, .next = c->members};
    c->members = m;
    p->v[p->n++] = (struct plane__entry){c, m, classes};
    atomic_fetch_add(&p->present, 1);
    atomic_fetch_add_explicit(&g->size, 1, memory_order_relaxed);
    count_classes(g, classes, 1);
    return true;
}

static void member_remove(struct wr_conn *c, struct plane__member *m)
{
    struct wr_fanout *g = m->fanout;
    struct plane__part *p = &g->parts[c->t->index];
    count_classes(g, p->v[m->index].classes, -1);
    p->v[m->index] = p->v[--p->n];
    p->v[m->index].member->index = m->index;
    if (p->n == 0) {
        free(p->v);
        p->v = NULL;
        p->cap = 0;
    }
    atomic_fetch_sub(&p->present, 1);
    atomic_fetch_sub_explicit(&g->size, 1, memory_order_relaxed);
    free(m);
    wr_fanout_unref(&g);
}

void wr_fanout_remove(struct wr_fanout *g, struct wr_conn *c)
{
    for (struct plane__member **at = &c->members; *at; at = &(*at)->next) {
        if ((*at)->fanout != g)
            continue;
        struct plane__member *m = *at;
        *at = m->next;
        member_remove(c, m);
        return;
    }
}

void fanout__leave_all(struct wr_conn *c)
{
    while (c->members) {
        struct plane__member *m = c->members;
        c->members = m->next;
        member_remove(c, m);
    }
}

bool wr_fanout_is_empty(const struct wr_fanout *g)
{
    for (uint32_t i = 0; i < g->nparts; i++)
        if (atomic_load(&g->parts[i].present))
            return false;
    return true;
}

size_t wr_fanout_size(const struct wr_fanout *g)
{
    return atomic_load_explicit(&g->size, memory_order_relaxed);
}

size_t wr_fanout_size_of(const struct wr_fanout *g, uint32_t classes)
{
    unsigned most = 0;
    for (uint32_t i = 0; i < PLANE__CLASSES; i++) {
        if (classes & (1u << i)) {
            unsigned n = atomic_load_explicit(&g->of_class[i], memory_order_relaxed);
            most = WR_MAX(most, n);
        }
    }
    return most;
}

void wr_fanout_post(struct wr_fanout *g, struct wr_conn_id id, wr_conn_fn fn, void *arg)
{
    uint32_t ti = plane__thread_of(id.v);
    struct plane__item *it = calloc(1, sizeof *it);
    if (!it || ti >= g->plane->nthreads)
        abort(); /* a request would be lost: there is no going on without a few bytes */
    it->kind = ITEM_POST;
    it->fanout = group_ref(g);
    it->u.post.id = id.v;
    it->u.post.fn = fn;
    it->u.post.arg = arg;
    atomic_fetch_add(&g->parts[ti].present, 1);
    plane__post(&g->plane->threads[ti], it);
}

wr_err wr_fanout_send(struct wr_fanout *g, struct wr_frame *const *frames, size_t n,
                      uint32_t classes)
{
    struct wr_plane *p = g->plane;
    struct plane__item *items[PLANE__THREADS_MAX] = {
        0}; /* all or none: a part must not get it twice */
    size_t bytes = 0;
    wr_err e = WR_ERR_BUSY;
    for (size_t k = 0; k < n; k++)
        bytes += frames[k]->head + frames[k]->bytes + plane__frame_overhead(frames[k]);
    bytes += sizeof(struct plane__item) +
             n * sizeof(struct wr_frame *); /* in each thread's inbox */
    for (uint32_t i = 0; i < p->nthreads; i++) {
        if (atomic_load(&g->parts[i].present) &&
            (atomic_load(&p->threads[i].inbox_sends) >= PLANE__INBOX_ITEMS ||
             atomic_load(&p->threads[i].inbox_bytes) >= PLANE__INBOX_BYTES)) {
            wr_count(&plane__m_inbox_full, 1);
            return WR_ERR_BUSY;
        }
    }
    for (uint32_t i = 0; i < p->nthreads; i++) {
        if (!atomic_load(&g->parts[i].present))
            continue;
        items[i] = malloc(sizeof *items[i] + n * sizeof items[i]->frames[0]);
        if (!items[i])
            goto out;
    }
    for (uint32_t i = 0; i < p->nthreads; i++) {
        struct plane__item *it = items[i];
        if (!it)
            continue;
        *it = (struct plane__item){
            .kind = ITEM_SEND, .fanout = group_ref(g), .classes = classes, .u.send = {n, bytes}};
        for (size_t k = 0; k < n; k++)
            it->frames[k] = wr_frame_ref(frames[k]);
        plane__post(&p->threads[i], it);
        items[i] = NULL;
    }
    e = WR_OK;
out:
    for (uint32_t i = 0; i < p->nthreads; i++)
        free(items[i]);
    return e;
}

void fanout__run_send(struct plane__thread *t, struct plane__item *it)
{
    struct plane__part *p = &it->fanout->parts[t->index];
    for (uint32_t i = 0; i < p->n; i++) {
        struct plane__entry *e = &p->v[i];
        if (!(e->classes & it->classes))
            continue;
        for (size_t k = 0; k < it->u.send.n && e->conn->state == CONN_OPEN; k++)
            conn__enqueue(e->conn, it->frames[k]);
    }
    for (size_t k = 0; k < it->u.send.n; k++)
        wr_frame_unref(it->frames[k]);
}

void wr_fanout_each(struct wr_fanout *g, uint32_t classes, wr_member_fn fn, struct wr_msg *arg)
{
    for (uint32_t i = 0; i < g->plane->nthreads; i++) {
        if (!atomic_load(&g->parts[i].present))
            continue;
        struct plane__item *it = calloc(1, sizeof *it);
        if (!it)
            abort();
        *it = (struct plane__item){.kind = ITEM_EACH,
                                   .fanout = group_ref(g),
                                   .classes = classes,
                                   .u.each = {fn, arg ? wr_msg_ref(arg) : NULL}};
        plane__post(&g->plane->threads[i], it);
    }
}

void fanout__run_each(struct plane__thread *t, struct plane__item *it)
{
    struct plane__part *p = &it->fanout->parts[t->index];
    /* Backwards: fn may remove the member it is called for, whose place the last one takes. */
    for (uint32_t i = p->n; i-- > 0;)
        if (i < p->n && (p->v[i].classes & it->classes))
            it->u.each.fn(p->v[i].conn, it->u.each.arg);
    wr_msg_unref(it->u.each.arg);
}
