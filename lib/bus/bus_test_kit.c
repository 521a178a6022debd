/* SPDX-License-Identifier: MIT
 *
 * What the bus's tests share (bus_test_kit.h). */
#include "bus_test_kit.h"

#include <arpa/inet.h>
#include <sys/socket.h>

void service_handle(void *ctx, struct wr_call *call)
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

void service_start(struct service *s, const char *url)
{
    struct wr_errmsg err = {""};
    *s = (struct service){.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&s->changed);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){.service = "test"}, &s->bus), WR_OK);
    assert_int_equal(wr_bus_serve(s->bus, url, service_handle, s, &s->server, &err), WR_OK);
}

struct wr_call *service_take_held(struct service *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->held)
        pthread_cond_wait(&s->changed, &s->lock);
    struct wr_call *c = s->held;
    s->held = NULL;
    pthread_mutex_unlock(&s->lock);
    return c;
}

bool metric_is(const char *line)
{
    struct wr_buf out = {0};
    wr_metrics_write(&out);
    wr_buf_char(&out, '\0');
    bool is = strstr((const char *)out.p, line) != NULL;
    wr_buf_free(&out);
    return is;
}

void caller_start(struct caller *c, const char *url)
{
    struct wr_errmsg err = {""};
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &c->bus), WR_OK);
    assert_int_equal(wr_bus_service_open(c->bus, "test", url, &c->service, &err), WR_OK);
}

wr_err echo(struct caller *c, struct wr_slice body, uint32_t deadline_ms)
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

int free_port(void)
{
    /* Sixteen for each of the processes that ctest has running: their numbers are neighbours. */
    enum { FIRST = 10000, RANGE = 2000, SHARE = 16 };
    static unsigned next;
    for (unsigned tries = 0; tries < RANGE; tries++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        const int one = 1;
        unsigned port = FIRST + ((unsigned)getpid() * SHARE + next++) % RANGE;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        a.sin_port = htons((uint16_t)port);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        bool is_free = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
        close(fd);
        if (is_free)
            return (int)port;
    }
    fail_msg("127.0.0.1 has no free port from %d to %d", FIRST, FIRST + RANGE - 1);
    return 0;
}

void on_change(void *ctx, const char *instance, enum wr_instance_state state)
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

void wait_ups(struct changes *c, unsigned ups)
{
    pthread_mutex_lock(&c->lock);
    while (c->ups < ups)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

void on_change_slowly(void *ctx, const char *instance, enum wr_instance_state state)
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

void *let_go_soon(void *arg)
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

void on_event(void *ctx, struct wr_slice topic, struct wr_slice event, struct wr_msg *msg)
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

void publish(struct wr_bus_pub *p, const char *topic, uint32_t n)
{
    struct wr_msg *m = wr_msg_copy(wr_slice_of(&n, sizeof n));
    wr_bus_publish(p, topic, m);
}

/* Subscribing takes a moment: publish until the first one arrives. */
uint32_t publish_until_heard(struct wr_bus_pub *p, const char *topic, struct listener *l,
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
