/* SPDX-License-Identifier: MIT
 *
 * What a worker is asked: a request's head as civetweb gets it, written anew by the front. */
#include "front_priv.h"
#include "wr_id.h"
#include <stdlib.h>
#include <strings.h>

struct http__ask *http__ask_ref(struct http__ask *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void http__ask_unref(struct http__ask *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    union {
        const uint8_t *in;
        void *out;
    } p = {.in = a->body.p};
    free(p.out);
    http__unref(a->http);
    free(a);
}

/* Those of the connection, which the plane has dealt with, and copies of our own. */
static bool is_passed_on(struct wr_slice name)
{
    static const char *const own[] = {"Connection",
                                      "Keep-Alive",
                                      "Proxy-Connection",
                                      "Transfer-Encoding",
                                      "Content-Length",
                                      "Expect",
                                      "TE",
                                      "Trailer",
                                      "Host",
                                      HTTP__ASK_HEADER};
    for (size_t i = 0; i < WR_ARRAY_LEN(own); i++)
        if (name.n == strlen(own[i]) && strncasecmp((const char *)name.p, own[i], name.n) == 0)
            return false;
    return true;
}

static char *put(char *to, const void *p, size_t n)
{
    if (n) /* of an empty value p may be NULL */
        memcpy(to, p, n);
    return to + n;
}

static char *put_text(char *to, const char *text)
{
    return put(to, text, strlen(text));
}

/* The head as civetweb gets it, written anew: one Host, an origin-form target, no word of the connection's. */
struct http__ask *front__ask_new(struct http__front *f, const struct http__head *h)
{
    size_t n = h->method.n + h->target.n + h->host.n + 200;
    for (uint32_t i = 0; i < h->num_fields; i++)
        n += h->fields[i].name.n + h->fields[i].value.n + 4;
    struct http__ask *a = malloc(sizeof *a + n);
    if (!a)
        return NULL;
    *a = (struct http__ask){.http = f->h,
                            .plane = f->h->plane,
                            .conn = wr_conn_id(f->c),
                            .no = ++f->no,
                            .peer = *wr_conn_peer(f->c),
                            .keep_alive = h->keep_alive && !f->is_draining,
                            .is_11 = h->is_11,
                            .is_head = wr_slice_is(h->method, "HEAD"),
                            .wants_upgrade = h->wants_upgrade,
                            .expects_continue = h->expects_continue,
                            .is_chunked = h->is_chunked,
                            .content_length = h->content_length};
    atomic_init(&a->refs, 1);
    atomic_init(&a->rest_over, false);
    atomic_fetch_add_explicit(&f->h->refs, 1, memory_order_relaxed);
    char *to = put(a->text, h->method.p, h->method.n);
    *to++ = ' ';
    to = h->target.n ? put(to, h->target.p, h->target.n) : put_text(to, "/");
    to = put_text(to, " HTTP/1.1\r\n" HTTP__ASK_HEADER ": ");
    wr_hex(to, f->h->secret, HTTP__SECRET);
    to += 2 * HTTP__SECRET;
    a->slot_at = (size_t)(to - a->text);
    to = put_text(to, "00000000\r\nHost: ");
    a->host = wr_slice_of(to, h->host.n);
    to = put(to, h->host.p, h->host.n);
    to = put_text(to, "\r\n");
    for (uint32_t i = 0; i < h->num_fields; i++) {
        const struct http__field *x = &h->fields[i];
        if (!is_passed_on(x->name))
            continue;
        to = put(to, x->name.p, x->name.n);
        to = put_text(to, ": ");
        to = put(to, x->value.p, x->value.n);
        to = put_text(to, "\r\n");
    }
    to = put_text(to, "\r\n");
    a->n_text = (size_t)(to - a->text);
    return a;
}
