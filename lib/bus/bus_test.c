/* SPDX-License-Identifier: MIT
 *
 * Claims about the bus, each made of both transports where it applies to both, and of what strangers can do to a port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus_priv.h"
#include "watchroom/v1/node.pb-c.h"
#include "wr_metrics.h"

/* ---- a service that does what the method says ------------------------------------------------------------------- */

struct service {
    struct wr_bus *bus;
    struct wr_bus_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct wr_call *held;                          /* the last "hold" call, unanswered */
    struct wr_call *all_held[BUS_SERVER_CONTEXTS]; /* and all of them */
    bool blocked;                                  /* in a "block" call, until it is false */
    _Atomic(const uint8_t *) body_at;
    unsigned holds;
};

static void handle(void *ctx, struct wr_call *call)
{
    struct service *s = ctx;
    if (wr_slice_is(call->method, "t/echo")) {
        s->body_at = call->body.p;
        wr_call_answer(call, wr_msg_copy(call->body));
    } else if (wr_slice_is(call->method, "t/refuse")) {
        wr_call_fail(call, WR_ERR_DENIED, "no %s today", "echo");
    } else if (wr_slice_is(call->method, "t/hold")) {
        pthread_mutex_lock(&s->lock);
        s->held = call;
        if (s->holds < WR_ARRAY_LEN(s->all_held))
            s->all_held[s->holds] = call;
        s->holds++;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    } else if (wr_slice_is(call->method, "t/block")) {
        pthread_mutex_lock(&s->lock);
        s->blocked = true;
        pthread_cond_broadcast(&s->changed);
        while (s->blocked)
            pthread_cond_wait(&s->changed, &s->lock);
        pthread_mutex_unlock(&s->lock);
        wr_call_answer(call, NULL);
    } else {
        wr_call_fail(call, WR_ERR_UNKNOWN_METHOD, "no such method");
    }
}

static void service_start(struct service *s, const char *url)
{
    struct wr_errmsg err = {""};
    *s = (struct service){.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&s->changed);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){.service = "test"}, &s->bus), WR_OK);
    assert_int_equal(wr_bus_serve(s->bus, url, handle, s, &s->server, &err), WR_OK);
}

static struct wr_call *service_take_held(struct service *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->held)
        pthread_cond_wait(&s->changed, &s->lock);
    struct wr_call *c = s->held;
    s->held = NULL;
    pthread_mutex_unlock(&s->lock);
    return c;
}

static bool metric_is(const char *line)
{
    struct wr_buf out = {0};
    wr_metrics_write(&out);
    wr_buf_char(&out, '\0');
    bool is = strstr((const char *)out.p, line) != NULL;
    wr_buf_free(&out);
    return is;
}

struct caller {
    struct wr_bus *bus;
    struct wr_bus_service *service;
};

static void caller_start(struct caller *c, const char *url)
{
    struct wr_errmsg err = {""};
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &c->bus), WR_OK);
    assert_int_equal(wr_bus_service_open(c->bus, "test", url, &c->service, &err), WR_OK);
}

static wr_err echo(struct caller *c, struct wr_slice body, uint32_t deadline_ms)
{
    struct wr_msg *m;
    struct wr_slice back;
    struct wr_errmsg err;
    wr_err e = wr_bus_call_wait(c->service, NULL, "t/echo", wr_msg_copy(body), deadline_ms, &m,
                                &back, &err);
    if (e != WR_OK)
        return e;
    bool same = wr_slice_eq(back, body);
    wr_msg_unref(m);
    return same ? WR_OK : WR_ERR_INTERNAL;
}

static void call_and_answer(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(echo(&c, wr_slice_str("hello"), 5000), WR_OK);
    assert_int_equal(echo(&c, wr_slice_of(NULL, 0), 5000), WR_OK);
    size_t n = 1 << 20;
    uint8_t *big = malloc(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (uint8_t)(i * 7);
    assert_int_equal(echo(&c, wr_slice_of(big, n), 5000), WR_OK);
    free(big);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/refuse", NULL, 5000, NULL, NULL, &err),
                     WR_ERR_DENIED);
    assert_string_equal(err.text, "no echo today");
    assert_int_equal(wr_bus_call_wait(c.service, "room", "t/nothing", NULL, 5000, NULL, NULL, &err),
                     WR_ERR_UNKNOWN_METHOD);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_call_is_answered(void **state)
{
    (void)state;
    call_and_answer("inproc://t-answer");
    call_and_answer("tcp://127.0.0.1:0");
}

static void test_inproc_body_is_passed_by_reference(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    service_start(&s, "inproc://t-ref");
    caller_start(&c, "inproc://t-ref");
    struct wr_msg *body = wr_msg_copy(wr_slice_str("the same bytes")), *back;
    const uint8_t *at = body->data;
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/echo", body, 5000, &back, NULL, NULL),
                     WR_OK);
    assert_ptr_equal(atomic_load(&s.body_at), at);
    wr_msg_unref(back);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void too_large(const char *url)
{
    struct service s;
    struct caller c;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    struct wr_errmsg err;
    struct wr_msg *m = wr_msg_new(0, WR_BUS_MAX_MSG_BYTES + 1);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/echo", m, 5000, NULL, NULL, &err),
                     WR_ERR_TOO_BIG);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_call_larger_than_the_bus_is_refused_by_the_sender(void **state)
{
    (void)state;
    too_large("inproc://t-large");
    too_large("tcp://127.0.0.1:0");
}

static void late_answer(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(echo(&c, wr_slice_str("up"), 5000), WR_OK);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/hold", NULL, 200, NULL, NULL, &err),
                     WR_ERR_TIMEOUT);
    assert_true(strlen(err.text) > 0);
    wr_call_answer(service_take_held(&s), NULL);
    assert_int_equal(echo(&c, wr_slice_str("still up"), 5000), WR_OK);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_deadline_ends_a_call_and_a_late_answer_harms_nothing(void **state)
{
    (void)state;
    late_answer("inproc://t-late");
    late_answer("tcp://127.0.0.1:0");
}

static void held_call(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    /* Its deadline is what is awaited here. */
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/hold", NULL, 5000, NULL, NULL, &err),
                     WR_ERR_TIMEOUT);
    pthread_mutex_lock(&s.lock);
    assert_int_equal(s.holds, 1);
    pthread_mutex_unlock(&s.lock);
    wr_call_answer(service_take_held(&s), NULL);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_call_that_takes_long_is_made_once(void **state)
{
    (void)state;
    held_call("inproc://t-held");
    held_call("tcp://127.0.0.1:0");
}

static void test_nobody_there_is_unavailable_at_the_deadline(void **state)
{
    (void)state;
    static const char *const urls[] = {"inproc://t-nobody", "tcp://127.0.0.1:9"};
    for (unsigned i = 0; i < WR_ARRAY_LEN(urls); i++) {
        struct caller c;
        struct wr_errmsg err;
        caller_start(&c, urls[i]);
        int64_t start = wr_mono_us();
        assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/echo", NULL, 300, NULL, NULL, &err),
                         WR_ERR_UNAVAILABLE);
        assert_true(wr_mono_us() - start >= 290000);
        assert_non_null(strstr(err.text, "test"));
        wr_bus_close(&c.bus);
    }
}

struct later {
    struct caller c;
    wr_err result;
};

static void *call_in_thread(void *arg)
{
    struct later *l = arg;
    l->result = echo(&l->c, wr_slice_str("waited"), 8000);
    return NULL;
}

static void starts_later(const char *url)
{
    struct later l;
    struct service s;
    pthread_t t;
    caller_start(&l.c, url);
    assert_int_equal(wr_thread_start(&t, "later", call_in_thread, &l), WR_OK);
    service_start(&s, url);
    pthread_join(t, NULL);
    assert_int_equal(l.result, WR_OK);
    wr_bus_close(&l.c.bus);
    wr_bus_close(&s.bus);
}

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    close(fd);
    return ntohs(a.sin_port);
}

static void test_call_waits_for_a_service_that_starts_later(void **state)
{
    (void)state;
    char url[64];
    starts_later("inproc://t-later");
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", free_port());
    starts_later(url);
}

static bool is_any_pending(struct wr_bus_service *s)
{
    pthread_mutex_lock(&s->lock);
    bool any = s->num_pending != 0;
    pthread_mutex_unlock(&s->lock);
    return any;
}

static void test_call_to_a_server_that_closed_a_moment_ago_waits_for_it_to_come_back(void **state)
{
    (void)state;
    struct service s;
    struct later l;
    struct wr_errmsg err;
    pthread_t t;
    service_start(&s, "inproc://t-back");
    caller_start(&l.c, "inproc://t-back");
    assert_int_equal(echo(&l.c, wr_slice_str("up"), 5000), WR_OK);
    /* The instance stays the same, and is never seen to be down. */
    wr_bus_server_close(&s.server);
    assert_int_equal(wr_thread_start(&t, "later", call_in_thread, &l), WR_OK);
    while (!is_any_pending(l.c.service))
        usleep(1000);
    assert_int_equal(wr_bus_serve(s.bus, "inproc://t-back", handle, &s, &s.server, &err), WR_OK);
    pthread_join(t, NULL);
    assert_int_equal(l.result, WR_OK);
    wr_bus_close(&l.c.bus);
    wr_bus_close(&s.bus);
}

static void test_address_in_use_names_the_address(void **state)
{
    (void)state;
    static const char *const urls[] = {"inproc://t-taken", "tcp://127.0.0.1:0"};
    for (unsigned i = 0; i < WR_ARRAY_LEN(urls); i++) {
        struct service s;
        struct wr_bus_server *second = NULL;
        struct wr_errmsg err = {""};
        service_start(&s, urls[i]);
        const char *url = wr_bus_server_url(s.server);
        assert_int_equal(wr_bus_serve(s.bus, url, handle, &s, &second, &err), WR_ERR_CONFLICT);
        assert_non_null(strstr(err.text, url));
        assert_int_equal(wr_bus_serve(s.bus, "http://x", handle, &s, &second, &err),
                         WR_ERR_INVALID);
        wr_bus_close(&s.bus);
    }
}

/* ---- instances -------------------------------------------------------------------------------------------------- */

struct changes {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ups, downs;
    char last_up[96];
};

static void on_change(void *ctx, const char *instance, enum wr_instance_state state)
{
    struct changes *c = ctx;
    pthread_mutex_lock(&c->lock);
    if (state == WR_INSTANCE_UP) {
        c->ups++;
        snprintf(c->last_up, sizeof c->last_up, "%s", instance);
    } else {
        c->downs++;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void wait_ups(struct changes *c, unsigned ups)
{
    pthread_mutex_lock(&c->lock);
    while (c->ups < ups)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void restarts(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    struct changes ch = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&ch.changed);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &c.bus), WR_OK);
    assert_int_equal(wr_bus_service_open(c.bus, "test", url, &c.service, &err), WR_OK);
    wr_bus_service_on_change(c.service, on_change, &ch);
    service_start(&s, url);
    wait_ups(&ch, 1);
    assert_string_equal(ch.last_up, wr_bus_instance(s.bus));
    wr_bus_close(&s.bus);
    service_start(&s, url);
    wait_ups(&ch, 2);
    assert_string_equal(ch.last_up, wr_bus_instance(s.bus));
    assert_true(ch.downs >= 1);
    assert_int_equal(echo(&c, wr_slice_str("again"), 5000), WR_OK);
    assert_true(wr_bus_service_is_up(c.service));
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_restart_is_told_as_a_new_instance(void **state)
{
    (void)state;
    char url[64];
    restarts("inproc://t-restart");
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", free_port());
    restarts(url);
}

struct slow_listener {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool entered, let_go, left;
};

static void on_change_slowly(void *ctx, const char *instance, enum wr_instance_state state)
{
    struct slow_listener *l = ctx;
    (void)instance, (void)state;
    pthread_mutex_lock(&l->lock);
    l->entered = true;
    pthread_cond_broadcast(&l->changed);
    while (!l->let_go)
        pthread_cond_wait(&l->changed, &l->lock);
    l->left = true;
    pthread_mutex_unlock(&l->lock);
}

static void *let_go_soon(void *arg)
{
    struct slow_listener *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->entered)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    usleep(100000); /* who does not wait has returned by then */
    pthread_mutex_lock(&l->lock);
    l->let_go = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void test_who_hears_of_instances_is_let_go_once_it_has_heard(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    pthread_t t;
    struct slow_listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&l.changed);
    caller_start(&c, "inproc://t-unheard");
    wr_bus_service_on_change(c.service, on_change_slowly, &l);
    service_start(&s, "inproc://t-unheard");
    pthread_mutex_lock(&l.lock);
    while (!l.entered)
        pthread_cond_wait(&l.changed, &l.lock);
    pthread_mutex_unlock(&l.lock);
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &l), WR_OK);
    wr_bus_service_on_change(c.service, NULL, NULL);
    assert_true(l.left);
    l.entered = false;
    wr_bus_close(&s.bus);
    wr_bus_close(&c.bus);
    assert_false(l.entered);
    pthread_join(t, NULL);
}

static void end_slowly(void *ctx, const struct wr_answer *a)
{
    (void)a;
    on_change_slowly(ctx, "", WR_INSTANCE_DOWN);
}

struct again {
    struct caller c;
    struct slow_listener l;
};

/* Calls from within the closing, and waits until the housekeeper tells that this failed. */
static void call_again(void *ctx, const struct wr_answer *a)
{
    struct again *g = ctx;
    (void)a;
    wr_bus_call(g->c.service, NULL, "t/echo", NULL, 5000, end_slowly, &g->l);
    pthread_mutex_lock(&g->l.lock);
    while (!g->l.entered)
        pthread_cond_wait(&g->l.changed, &g->l.lock);
    pthread_mutex_unlock(&g->l.lock);
}

static void test_service_is_closed_once_its_last_call_was_told(void **state)
{
    (void)state;
    struct again g = {.l.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t t;
    wr_cond_init(&g.l.changed);
    caller_start(&g.c, "inproc://t-nobody-there");
    wr_bus_call(g.c.service, NULL, "t/echo", NULL, 60000, call_again, &g);
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &g.l), WR_OK);
    struct wr_bus_service *s = g.c.service;
    wr_bus_service_close(&s);
    assert_true(g.l.left);
    pthread_join(t, NULL);
    wr_bus_close(&g.c.bus);
}

static void note_instance(void *ctx, const struct wr_instance *i)
{
    char(*seen)[BUS_URL_BYTES] = ctx;
    if (i->state == WR_INSTANCE_UP)
        snprintf(*seen, sizeof *seen, "%s", i->address);
}

static void test_name_is_resolved_to_addresses(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    char url[64], seen[BUS_URL_BYTES] = "", want[64];
    int port = free_port();
    snprintf(want, sizeof want, "tcp://127.0.0.1:%d", port);
    service_start(&s, want);
    snprintf(url, sizeof url, "tcp://localhost:%d", port);
    caller_start(&c, url);
    assert_int_equal(echo(&c, wr_slice_str("by name"), 8000), WR_OK);
    wr_bus_service_each(c.service, note_instance, &seen);
    assert_string_equal(seen, want);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

/* ---- many at once ----------------------------------------------------------------------------------------------- */

struct worker {
    struct caller *c;
    unsigned ok;
};

static void *call_many(void *arg)
{
    struct worker *w = arg;
    for (uint32_t i = 0; i < 200; i++) {
        uint8_t body[64];
        memset(body, (int)i, sizeof body);
        memcpy(body, &w, sizeof w);
        if (echo(w->c, wr_slice_of(body, sizeof body), 8000) == WR_OK)
            w->ok++;
    }
    return NULL;
}

static void many_callers(const char *url)
{
    struct service s;
    struct caller c;
    struct worker w[24];
    pthread_t t[WR_ARRAY_LEN(w)];
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    for (unsigned i = 0; i < WR_ARRAY_LEN(w); i++) {
        w[i] = (struct worker){.c = &c};
        assert_int_equal(wr_thread_start(&t[i], "many", call_many, &w[i]), WR_OK);
    }
    for (unsigned i = 0; i < WR_ARRAY_LEN(w); i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(w[i].ok, 200);
    }
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_many_threads_each_get_their_own_answer(void **state)
{
    (void)state;
    many_callers("inproc://t-many");
    many_callers("tcp://127.0.0.1:0");
}

struct storm {
    struct caller c;
    atomic_bool over;
    atomic_uint answered;
};

static void *call_until_over(void *arg)
{
    struct storm *st = arg;
    while (!atomic_load(&st->over))
        if (echo(&st->c, wr_slice_str("in the storm"), 2000) == WR_OK)
            atomic_fetch_add(&st->answered, 1);
    return NULL;
}

static void closes_under_its_callers(const char *address)
{
    struct storm st = {.over = false};
    struct service s;
    struct wr_errmsg err;
    pthread_t t[8];
    char url[BUS_URL_BYTES];
    service_start(&s, address);
    snprintf(url, sizeof url, "%s", wr_bus_server_url(s.server));
    caller_start(&st.c, url);
    for (unsigned i = 0; i < WR_ARRAY_LEN(t); i++)
        assert_int_equal(wr_thread_start(&t[i], "storm", call_until_over, &st), WR_OK);
    for (unsigned i = 0; i < 5; i++) {
        unsigned before = atomic_load(&st.answered);
        while (atomic_load(&st.answered) < before + 100)
            usleep(1000);
        wr_bus_server_close(&s.server);
        assert_int_equal(wr_bus_serve(s.bus, url, handle, &s, &s.server, &err), WR_OK);
    }
    atomic_store(&st.over, true);
    for (unsigned i = 0; i < WR_ARRAY_LEN(t); i++)
        pthread_join(t[i], NULL);
    wr_bus_close(&st.c.bus);
    wr_bus_close(&s.bus);
}

static void test_server_can_close_under_its_callers(void **state)
{
    (void)state;
    closes_under_its_callers("inproc://t-storm");
    closes_under_its_callers("tcp://127.0.0.1:0");
}

struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ended, busy, closed;
    bool called_inside;
};
static _Thread_local bool inside; /* this thread's wr_bus_call has not returned yet */

static void tally_done(void *ctx, const struct wr_answer *a)
{
    struct tally *t = ctx;
    pthread_mutex_lock(&t->lock);
    t->ended++;
    t->busy += a->code == WR_ERR_BUSY;
    t->closed += a->code == WR_ERR_CLOSED;
    t->called_inside |= inside;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void tally_calls(struct tally *t, struct wr_bus_service *s, const char *method, unsigned n)
{
    inside = true;
    for (unsigned i = 0; i < n; i++)
        wr_bus_call(s, NULL, method, NULL, 60000, tally_done, t);
    inside = false;
}

/* There were ten more than there is room for (and a Describe of the bus's own has a place for a moment): so many are
 * refused, and the others end when the caller closes. */
static void tally_check(struct tally *t, struct caller *c, unsigned all)
{
    pthread_mutex_lock(&t->lock);
    while (t->busy < 10)
        pthread_cond_wait(&t->changed, &t->lock);
    assert_int_equal(t->ended, t->busy);
    pthread_mutex_unlock(&t->lock);
    wr_bus_service_close(&c->service);
    assert_in_range(t->busy, 10, 11);
    assert_int_equal(t->ended, all);
    assert_int_equal(t->closed, all - t->busy);
    assert_false(t->called_inside);
}

static void test_full_queue_refuses_with_busy_and_every_call_ends_once(void **state)
{
    (void)state;
    /* Nobody answers there, so calls wait for an instance: that queue is bounded too. */
    struct caller c;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&t.changed);
    caller_start(&c, "inproc://t-full");
    tally_calls(&t, c.service, "t/echo", BUS_PENDING_MAX + 10);
    tally_check(&t, &c, BUS_PENDING_MAX + 10);
    wr_bus_close(&c.bus);
}

static void test_full_queue_of_an_instance_refuses_with_busy(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&t.changed);
    service_start(&s, "tcp://127.0.0.1:0");
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(echo(&c, wr_slice_str("up"), 5000), WR_OK);
    static const unsigned all = BUS_PEER_CONTEXTS + BUS_PEER_QUEUE + 10;
    tally_calls(&t, c.service, "t/hold", all);
    pthread_mutex_lock(&s.lock);
    while (s.holds < BUS_PEER_CONTEXTS)
        pthread_cond_wait(&s.changed, &s.lock);
    pthread_mutex_unlock(&s.lock);
    tally_check(&t, &c, all);
    assert_int_equal(s.holds, BUS_PEER_CONTEXTS);
    for (unsigned i = 0; i < BUS_PEER_CONTEXTS; i++)
        wr_call_answer(s.all_held[i], NULL);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_full_queue_of_an_inproc_server_refuses_with_busy(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&t.changed);
    service_start(&s, "inproc://t-full-server");
    caller_start(&c, "inproc://t-full-server");
    assert_int_equal(echo(&c, wr_slice_str("up"), 5000), WR_OK);
    tally_calls(&t, c.service, "t/block", 1);
    pthread_mutex_lock(&s.lock);
    while (!s.blocked)
        pthread_cond_wait(&s.changed, &s.lock);
    pthread_mutex_unlock(&s.lock);
    tally_calls(&t, c.service, "t/echo", BUS_SERVER_QUEUE + 10);
    assert_false(metric_is("\nwatchroom_bus_local_calls_refused_total 0\n"));
    pthread_mutex_lock(&t.lock);
    while (t.busy < 10)
        pthread_cond_wait(&t.changed, &t.lock);
    pthread_mutex_unlock(&t.lock);
    pthread_mutex_lock(&s.lock);
    s.blocked = false;
    pthread_cond_broadcast(&s.changed);
    pthread_mutex_unlock(&s.lock);
    wr_bus_close(&c.bus);
    assert_int_equal(t.ended, 1 + BUS_SERVER_QUEUE + 10);
    assert_false(t.called_inside);
    wr_bus_close(&s.bus);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

struct listener {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
    uint32_t last;
    bool disorder;
    char topic[64];
    const uint8_t *at;
};

static void on_event(void *ctx, struct wr_slice topic, struct wr_slice event, struct wr_msg *msg)
{
    struct listener *l = ctx;
    uint32_t n = 0;
    (void)msg;
    pthread_mutex_lock(&l->lock);
    if (event.n >= sizeof n)
        memcpy(&n, event.p, sizeof n);
    l->disorder = l->disorder || n <= l->last;
    l->last = n;
    l->at = event.p;
    l->count++;
    snprintf(l->topic, sizeof l->topic, "%.*s", (int)topic.n, (const char *)topic.p);
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static void publish(struct wr_bus_pub *p, const char *topic, uint32_t n)
{
    struct wr_msg *m = wr_msg_copy(wr_slice_of(&n, sizeof n));
    wr_bus_publish(p, topic, m);
}

/* Subscribing takes a moment: publish until the first one arrives. */
static uint32_t publish_until_heard(struct wr_bus_pub *p, const char *topic, struct listener *l,
                                    uint32_t n)
{
    pthread_mutex_lock(&l->lock);
    unsigned before = l->count;
    while (l->count == before) {
        pthread_mutex_unlock(&l->lock);
        publish(p, topic, ++n);
        pthread_mutex_lock(&l->lock);
        wr_cond_wait_until(&l->changed, &l->lock, wr_mono_us() + 20000);
    }
    while (l->last < n)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    return n;
}

static void events_of_a_service(const char *calls, const char *events)
{
    struct service s;
    struct caller c;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&l.changed);
    service_start(&s, calls);
    assert_int_equal(wr_bus_pub_open(s.bus, events, true, &pub, &err), WR_OK);
    caller_start(&c, wr_bus_server_url(s.server));
    const char *const prefixes[] = {"room/1\x01", "file/", NULL};
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, &l, &sub), WR_OK);
    uint32_t n = publish_until_heard(pub, "room/1", &l, 0);
    unsigned before = l.count;
    publish(pub, "room/12", ++n);
    publish(pub, "other/1", ++n);
    for (int i = 0; i < 500; i++)
        publish(pub, i % 2 ? "room/1" : "file/a", ++n);
    pthread_mutex_lock(&l.lock);
    while (l.last < n)
        pthread_cond_wait(&l.changed, &l.lock);
    assert_int_equal(l.count - before, 500);
    assert_false(l.disorder);
    pthread_mutex_unlock(&l.lock);
    wr_bus_sub_close(&sub);
    publish(pub, "room/1", ++n);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_events_of_a_service_arrive_in_order_and_by_topic(void **state)
{
    (void)state;
    events_of_a_service("inproc://t-ev", "inproc://t-ev/events");
    events_of_a_service("tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
}

/* How many of this process's connections end when their other side answers nothing for 20 s. */
static unsigned watched_connections(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        int idle_s = 0;
        unsigned unanswered_ms = 0;
        socklen_t a = sizeof idle_s, b = sizeof unanswered_ms;
        n += getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, &a) == 0 && idle_s == 5 &&
             getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, &b) == 0 &&
             unanswered_ms == 20000;
    }
    return n;
}

static void test_connections_for_calls_and_events_are_watched_at_both_ends(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *const prefixes[] = {"room/", NULL};
    wr_cond_init(&l.changed);
    service_start(&s, "tcp://127.0.0.1:0");
    assert_int_equal(wr_bus_pub_open(s.bus, "tcp://127.0.0.1:0", true, &pub, &err), WR_OK);
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, &l, &sub), WR_OK);
    publish_until_heard(pub, "room/1", &l, 0);
    while (watched_connections() < 4)
        usleep(1000);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

/* The bus asks this one for names: "moves.test" is where moves_to says, "slow.test" is nowhere, and that takes long. */
static _Atomic(const char *) moves_to;
static struct slow_listener resolver = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                        .changed = PTHREAD_COND_INITIALIZER};

WR_API int getaddrinfo(const char *restrict name, const char *restrict port,
                       const struct addrinfo *restrict hints, struct addrinfo **restrict all)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && strcmp(name, "slow.test") == 0) {
        on_change_slowly(&resolver, "", WR_INSTANCE_DOWN);
        return EAI_AGAIN;
    }
    return next(name && strcmp(name, "moves.test") == 0 ? moves_to : name, port, hints, all);
}

static void test_nobody_waits_for_a_resolver_that_does_not_answer(void **state)
{
    (void)state;
    struct caller c;
    struct wr_bus_sub *sub;
    const char *const prefixes[] = {"room/", NULL};
    pthread_t t;
    caller_start(&c, "tcp://slow.test:1");
    pthread_mutex_lock(&resolver.lock);
    while (!resolver.entered)
        pthread_cond_wait(&resolver.changed, &resolver.lock);
    pthread_mutex_unlock(&resolver.lock);
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, NULL, NULL, &sub), WR_OK);
    wr_bus_sub_close(&sub);
    wr_bus_close(&c.bus);
    pthread_mutex_lock(&resolver.lock);
    assert_false(resolver.left);
    pthread_mutex_unlock(&resolver.lock);
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &resolver), WR_OK);
    pthread_join(t, NULL);
}

static void service_with_lane(struct service *s, const char *address, int port,
                              struct wr_bus_pub **lane)
{
    char url[64];
    struct wr_errmsg err;
    snprintf(url, sizeof url, "tcp://%s:%d", address, port);
    service_start(s, url);
    snprintf(url, sizeof url, "tcp://%s:0", address);
    assert_int_equal(wr_bus_pub_open(s->bus, url, true, lane, &err), WR_OK);
}

static void test_lane_of_an_instance_that_moved_away_is_let_go(void **state)
{
    (void)state;
    struct service first, second;
    struct caller c;
    struct wr_bus_pub *lane;
    struct wr_bus_sub *sub;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *const prefixes[] = {"room/", NULL};
    char url[64];
    int port = free_port();
    wr_cond_init(&l.changed);
    moves_to = "127.0.0.2";
    service_with_lane(&first, moves_to, port, &lane);
    snprintf(url, sizeof url, "tcp://moves.test:%d", port);
    caller_start(&c, url);
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, &l, &sub), WR_OK);
    uint32_t n = publish_until_heard(lane, "room/1", &l, 0);
    assert_true(metric_is("\nwatchroom_bus_lanes 1\n"));

    wr_bus_close(&first.bus);
    moves_to = "127.0.0.3";
    service_with_lane(&second, moves_to, port, &lane);
    publish_until_heard(lane, "room/1", &l, n);
    while (!metric_is("\nwatchroom_bus_lanes 1\n"))
        usleep(1000);
    wr_bus_close(&c.bus);
    assert_true(metric_is("\nwatchroom_bus_lanes 0\n"));
    wr_bus_close(&second.bus);
}

static void on_event_slowly(void *ctx, struct wr_slice topic, struct wr_slice event,
                            struct wr_msg *msg)
{
    (void)topic, (void)event, (void)msg;
    on_change_slowly(ctx, "", WR_INSTANCE_UP);
}

static void test_slow_inproc_subscriber_loses_what_is_counted(void **state)
{
    (void)state;
    struct service s;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct slow_listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *const prefixes[] = {"media/", NULL};
    const char *url = "inproc://t-slow/stream";
    pthread_t t;
    wr_cond_init(&l.changed);
    service_start(&s, "inproc://t-slow");
    assert_int_equal(wr_bus_subscribe_url(s.bus, url, prefixes, on_event_slowly, &l, &sub, &err),
                     WR_OK);
    assert_int_equal(wr_bus_pub_open(s.bus, url, false, &pub, &err), WR_OK);
    publish(pub, "media/demo", 1);
    pthread_mutex_lock(&l.lock);
    while (!l.entered)
        pthread_cond_wait(&l.changed, &l.lock);
    pthread_mutex_unlock(&l.lock);
    for (uint32_t i = 0; i < BUS_MEDIA_QUEUE + 10; i++)
        publish(pub, "media/demo", 2 + i);
    assert_true(metric_is("\nwatchroom_bus_local_events_dropped_total 10\n"));
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &l), WR_OK);
    wr_bus_close(&s.bus);
    pthread_join(t, NULL);
}

/* ---- a service that is not ours --------------------------------------------------------------------------------- */

struct foreign {
    nng_socket rep;
    pthread_t thread;
    char url[64];
    pthread_mutex_t lock; /* guards what it says of itself */
    char instance[128];
    size_t num_lanes;
};

static struct wr_msg *foreign_describe(struct foreign *f)
{
    Watchroom__V1__NodeInfo info = WATCHROOM__V1__NODE_INFO__INIT;
    char text[40][64];
    char *lanes[WR_ARRAY_LEN(text)];
    pthread_mutex_lock(&f->lock);
    info.instance = f->instance;
    info.lanes = lanes;
    for (info.n_lanes = 0; info.n_lanes < f->num_lanes; info.n_lanes++) {
        lanes[info.n_lanes] = text[info.n_lanes];
        snprintf(text[info.n_lanes], sizeof text[0], "tcp://127.0.0.9:%zu", 1 + info.n_lanes);
    }
    struct wr_msg *m = wr_msg_pack(&info.base);
    pthread_mutex_unlock(&f->lock);
    return m;
}

static void *answer_as_foreign(void *arg)
{
    struct foreign *f = arg;
    nng_msg *m;
    while (nng_recvmsg(f->rep, &m, 0) == 0) {
        uint8_t head[BUS_ENVELOPE_MAX];
        struct wr_msg *body = foreign_describe(f);
        nng_msg_clear(m);
        nng_msg_append(m, head, bus__write_answer(head, WR_OK, NULL, body->len));
        nng_msg_append(m, body->data, body->len);
        wr_msg_unref(body);
        if (nng_sendmsg(f->rep, m, 0) != 0)
            nng_msg_free(m);
    }
    return NULL;
}

static void foreign_say(struct foreign *f, const char *instance, size_t num_lanes)
{
    pthread_mutex_lock(&f->lock);
    snprintf(f->instance, sizeof f->instance, "%s", instance);
    f->num_lanes = num_lanes;
    pthread_mutex_unlock(&f->lock);
}

static void foreign_start(struct foreign *f, const char *instance, size_t num_lanes)
{
    *f = (struct foreign){.lock = PTHREAD_MUTEX_INITIALIZER};
    foreign_say(f, instance, num_lanes);
    snprintf(f->url, sizeof f->url, "tcp://127.0.0.1:%d", free_port());
    assert_int_equal(nng_rep0_open(&f->rep), 0);
    assert_int_equal(nng_listen(f->rep, f->url, NULL, 0), 0);
    assert_int_equal(wr_thread_start(&f->thread, "foreign", answer_as_foreign, f), WR_OK);
}

static void foreign_end(struct foreign *f)
{
    nng_close(f->rep);
    pthread_join(f->thread, NULL);
}

static void test_instance_without_an_id_is_an_instance(void **state)
{
    (void)state;
    struct foreign f;
    struct caller c;
    struct wr_errmsg err;
    struct changes ch = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&ch.changed);
    foreign_start(&f, "", 0);
    caller_start(&c, f.url);
    wr_bus_service_on_change(c.service, on_change, &ch);
    wait_ups(&ch, 1);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/any", NULL, 5000, NULL, NULL, &err),
                     WR_OK);
    wr_bus_close(&c.bus);
    foreign_end(&f);
}

static void test_instance_with_an_endless_id_is_none(void **state)
{
    (void)state;
    struct foreign f;
    struct caller c;
    struct wr_errmsg err;
    char id[128];
    snprintf(id, sizeof id, "%0100d", 1);
    foreign_start(&f, id, 0);
    caller_start(&c, f.url);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/any", NULL, 500, NULL, NULL, &err),
                     WR_ERR_UNAVAILABLE);
    wr_bus_close(&c.bus);
    foreign_end(&f);
}

static void wait_metric(const char *line)
{
    while (!metric_is(line))
        usleep(1000);
}

static void test_lanes_are_followed_as_told_and_sixteen_at_most(void **state)
{
    (void)state;
    struct foreign f;
    struct caller c;
    struct wr_bus_sub *sub;
    const char *const prefixes[] = {"room/", NULL};
    foreign_start(&f, "foreign-1", 40);
    caller_start(&c, f.url);
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, NULL, &sub), WR_OK);
    wait_metric("\nwatchroom_bus_lanes 16\n");
    foreign_say(&f, "foreign-1", 3);
    wait_metric("\nwatchroom_bus_lanes 3\n");
    wr_bus_close(&c.bus);
    foreign_end(&f);
}

static void test_inproc_event_is_passed_by_reference(void **state)
{
    (void)state;
    struct service s;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&l.changed);
    const char *const prefixes[] = {"media/", NULL};
    service_start(&s, "inproc://t-evref");
    assert_int_equal(
        wr_bus_subscribe_url(s.bus, "inproc://t-evref/stream", prefixes, on_event, &l, &sub, &err),
        WR_OK);
    assert_int_equal(wr_bus_pub_open(s.bus, "inproc://t-evref/stream", false, &pub, &err), WR_OK);
    uint32_t n = 7;
    struct wr_msg *m = wr_msg_copy(wr_slice_of(&n, sizeof n));
    const uint8_t *at = m->data;
    wr_bus_publish(pub, "media/demo", m);
    pthread_mutex_lock(&l.lock);
    while (!l.count)
        pthread_cond_wait(&l.changed, &l.lock);
    assert_ptr_equal(l.at, at);
    assert_string_equal(l.topic, "media/demo");
    pthread_mutex_unlock(&l.lock);
    wr_bus_close(&s.bus);
}

/* ---- strangers on the port -------------------------------------------------------------------------------------- */

static int connect_to(const char *url)
{
    char host[BUS_URL_BYTES], port[16];
    assert_true(bus__split_tcp(url, host, sizeof host, port, sizeof port));
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)atoi(port)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void test_listener_survives_fin_then_reset_in_the_handshake(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    service_start(&s, "tcp://127.0.0.1:0");
    char url[BUS_URL_BYTES];
    snprintf(url, sizeof url, "%s", wr_bus_server_url(s.server));
    for (int i = 0; i < 40; i++) {
        int fd = connect_to(url);
        shutdown(fd, SHUT_WR);
        usleep((useconds_t)(i % 8) *
               1000); /* the fault is a race: the delay is its subject, not a wait for something */
        struct linger hard = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(fd);
    }
    caller_start(&c, url);
    assert_int_equal(echo(&c, wr_slice_str("alive"), 30000), WR_OK);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void probe_full(const struct sockaddr *a, socklen_t n, const char *url)
{
    int fds[8], listener = socket(a->sa_family, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, a, n), 0);
    assert_int_equal(listen(listener, 0), 0);
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++) {
        fds[i] = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], a, n); /* one or two fit */
    }
    int64_t start = wr_mono_us();
    assert_false(bus__probe_sp(url, BUS_SP_REQ));
    int64_t took = wr_mono_us() - start;
    assert_in_range(took, 900000, 10000000);
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++)
        close(fds[i]);
    close(listener);
}

static void test_probe_of_a_listener_that_accepts_nobody_ends(void **state)
{
    (void)state;
    char url[BUS_URL_BYTES];
    int port = free_port();
    struct sockaddr_in v4 = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    probe_full((struct sockaddr *)&v4, sizeof v4, url);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "/tmp/watchroom-test-probe-%d", (int)getpid());
    snprintf(url, sizeof url, "ipc://%s", un.sun_path);
    probe_full((struct sockaddr *)&un, sizeof un, url);
    unlink(un.sun_path);
}

static void send_all(int fd, const void *p, size_t n)
{
    (void)!send(fd, p, n, MSG_NOSIGNAL);
}

static void test_hostile_bytes_do_not_harm_the_others(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    service_start(&s, "tcp://127.0.0.1:0");
    const char *url = wr_bus_server_url(s.server);
    caller_start(&c, url);
    assert_int_equal(echo(&c, wr_slice_str("before"), 5000), WR_OK);

    static const uint8_t hello[8] = {0, 'S', 'P', 0, 0, BUS_SP_REQ, 0, 0};
    int fds[6];
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++)
        fds[i] = connect_to(url);
    send_all(fds[0], "GET / HTTP/1.1\r\n\r\n", 18);
    send_all(fds[1], hello, 8);
    send_all(fds[1], "\x40\0\0\0\0\0\0\0", 8); /* a length of 2^62 */
    send_all(fds[2], hello, 8);
    send_all(fds[2],
             "\0\0\0\0\0\0\0\x02"
             "ab",
             10); /* shorter than a request id */
    send_all(fds[3], hello, 8);
    send_all(fds[3], "\0\0\0\0\0\0\0\x09\x80\0\0\1\xff\xff\xff\xff\xff", 17); /* not a Call */
    send_all(fds[4], hello, 3);
    send_all(fds[5], hello, 8);
    send_all(fds[5],
             "\0\0\0\0\0\0\0\x10\x80\0\0\1\x0a\xff\xff\xff\xff\x0f"
             "abcdef",
             24); /* a field past the end */
    for (int i = 0; i < 20; i++)
        assert_int_equal(echo(&c, wr_slice_str("during"), 5000), WR_OK);
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++)
        close(fds[i]);
    assert_int_equal(echo(&c, wr_slice_str("after"), 5000), WR_OK);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_urls(void **state)
{
    (void)state;
    char out[64];
    assert_int_equal(bus__scheme("tcp://127.0.0.1:7101"), BUS_SCHEME_TCP);
    assert_int_equal(bus__scheme("tcp://[::1]:7101"), BUS_SCHEME_TCP);
    assert_int_equal(bus__scheme("tcp://127.0.0.1"), BUS_SCHEME_BAD);
    assert_int_equal(bus__scheme("tcp://:71"), BUS_SCHEME_BAD);
    assert_int_equal(bus__scheme("ws://x:1"), BUS_SCHEME_BAD);
    assert_true(wr_bus_resolve_url("tcp://*:7102", "tcp://10.0.0.7:7101", out, sizeof out));
    assert_string_equal(out, "tcp://10.0.0.7:7102");
    assert_true(wr_bus_resolve_url("inproc://hub/events", "inproc://hub", out, sizeof out));
    assert_string_equal(out, "inproc://hub/events");
    assert_false(wr_bus_resolve_url("tcp://*:7102", "tcp://10.0.0.7:7101", out, 10));
}

int main(int argc, char **argv)
{
    wr_log_set_level(WR_LOG_ERROR);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_call_is_answered),
        cmocka_unit_test(test_inproc_body_is_passed_by_reference),
        cmocka_unit_test(test_call_larger_than_the_bus_is_refused_by_the_sender),
        cmocka_unit_test(test_deadline_ends_a_call_and_a_late_answer_harms_nothing),
        cmocka_unit_test(test_call_that_takes_long_is_made_once),
        cmocka_unit_test(test_nobody_there_is_unavailable_at_the_deadline),
        cmocka_unit_test(test_call_waits_for_a_service_that_starts_later),
        cmocka_unit_test(test_call_to_a_server_that_closed_a_moment_ago_waits_for_it_to_come_back),
        cmocka_unit_test(test_address_in_use_names_the_address),
        cmocka_unit_test(test_restart_is_told_as_a_new_instance),
        cmocka_unit_test(test_who_hears_of_instances_is_let_go_once_it_has_heard),
        cmocka_unit_test(test_service_is_closed_once_its_last_call_was_told),
        cmocka_unit_test(test_name_is_resolved_to_addresses),
        cmocka_unit_test(test_many_threads_each_get_their_own_answer),
        cmocka_unit_test(test_server_can_close_under_its_callers),
        cmocka_unit_test(test_full_queue_refuses_with_busy_and_every_call_ends_once),
        cmocka_unit_test(test_full_queue_of_an_instance_refuses_with_busy),
        cmocka_unit_test(test_full_queue_of_an_inproc_server_refuses_with_busy),
        cmocka_unit_test(test_events_of_a_service_arrive_in_order_and_by_topic),
        cmocka_unit_test(test_connections_for_calls_and_events_are_watched_at_both_ends),
        cmocka_unit_test(test_instance_without_an_id_is_an_instance),
        cmocka_unit_test(test_instance_with_an_endless_id_is_none),
        cmocka_unit_test(test_lanes_are_followed_as_told_and_sixteen_at_most),
        cmocka_unit_test(test_slow_inproc_subscriber_loses_what_is_counted),
        cmocka_unit_test(test_inproc_event_is_passed_by_reference),
        cmocka_unit_test(test_lane_of_an_instance_that_moved_away_is_let_go),
        cmocka_unit_test(test_nobody_waits_for_a_resolver_that_does_not_answer),
        cmocka_unit_test(test_listener_survives_fin_then_reset_in_the_handshake),
        cmocka_unit_test(test_probe_of_a_listener_that_accepts_nobody_ends),
        cmocka_unit_test(test_hostile_bytes_do_not_harm_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
