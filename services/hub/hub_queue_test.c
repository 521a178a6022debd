/* SPDX-License-Identifier: MIT
 *
 * Claims about queues of calls: full, expired, closed. The calls are real ones, over the bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_queue.h"
#include "wr_clock.h"
#include "wr_thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

HUB_QUEUE_METRICS(metrics, "test");

/* What a call takes beside its body; four small ones fit, and as many bytes of bodies. */
#define CALL_BYTES (sizeof(struct wr_call) + sizeof(struct wr_msg) + WR_MSG_HEADROOM)
#define BYTES (4 * CALL_BYTES + 1000)
enum { CALLS = 4 };

struct rig {
    struct hub_queue queue;
    struct wr_bus *server_bus, *bus;
    struct wr_bus_server *server;
    struct wr_bus_service *service;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_uint handled;  /* calls that the handler has put */
    unsigned answers[16]; /* by code */
};

static void handle(void *ctx, struct wr_call *call)
{
    struct rig *r = ctx;
    hub_queue__put(&r->queue, call);
    atomic_fetch_add(&r->handled, 1);
}

static int setup(void **state)
{
    static int serial;
    char url[64];
    struct rig *r = calloc(1, sizeof *r);
    struct wr_errmsg err;
    assert_non_null(r);
    snprintf(url, sizeof url, "inproc://queue-%d", serial++);
    pthread_mutex_init(&r->lock, NULL);
    wr_cond_init(&r->changed);
    assert_int_equal(hub_queue__init(&r->queue, CALLS, BYTES, &metrics), WR_OK);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){.service = "t"}, &r->server_bus), WR_OK);
    assert_int_equal(wr_bus_serve(r->server_bus, url, handle, r, &r->server, &err), WR_OK);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &r->bus), WR_OK);
    assert_int_equal(wr_bus_service_open(r->bus, "t", url, &r->service, &err), WR_OK);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    hub_queue__close(&r->queue);
    hub_queue__fini(&r->queue);
    wr_bus_close(&r->bus);
    wr_bus_close(&r->server_bus);
    free(r);
    return 0;
}

static void done(void *ctx, const struct wr_answer *a)
{
    struct rig *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->answers[a->code]++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void call(struct rig *r, size_t bytes, uint32_t deadline_ms)
{
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, bytes);
    memset(m->data, 0, bytes);
    wr_bus_call(r->service, NULL, "t/t", m, deadline_ms, done, r);
}

static void send(struct rig *r, size_t bytes, uint32_t deadline_ms)
{
    unsigned before = atomic_load(&r->handled);
    call(r, bytes, deadline_ms);
    for (int i = 0; atomic_load(&r->handled) == before && i < 10000; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&r->handled), before + 1);
}

static void expect_answers(struct rig *r, wr_err code, unsigned n)
{
    int64_t until = wr_mono_us() + 10000000;
    pthread_mutex_lock(&r->lock);
    while (r->answers[code] < n && wr_cond_wait_until(&r->changed, &r->lock, until))
        ;
    unsigned got = r->answers[code];
    pthread_mutex_unlock(&r->lock);
    assert_int_equal(got, n);
}

/* Into the queue, and then its caller gives up. A short deadline may pass on the way there: such a call is made again. */
static void send_that_expires(struct rig *r)
{
    unsigned before = atomic_load(&r->handled);
    for (uint32_t ms = 30; atomic_load(&r->handled) == before; ms *= 2) {
        pthread_mutex_lock(&r->lock);
        unsigned n = r->answers[WR_ERR_TIMEOUT];
        pthread_mutex_unlock(&r->lock);
        call(r, 10, ms);
        expect_answers(r, WR_ERR_TIMEOUT, n + 1);
    }
}

static size_t take(struct rig *r, size_t max, size_t max_bytes, bool *ended)
{
    struct wr_call *calls[16];
    size_t n = hub_queue__take(&r->queue, calls, max, max_bytes, 0, ended);
    for (size_t i = 0; i < n; i++)
        wr_call_answer(calls[i], NULL);
    return n;
}

static void test_full_queue_refuses_at_once(void **state)
{
    struct rig *r = *state;
    bool ended;
    uint64_t before = atomic_load(&metrics.full.value);
    for (int i = 0; i < CALLS; i++)
        send(r, 10, 5000);
    assert_int_equal(atomic_load(&metrics.depth.value), CALLS);
    send(r, 10, 5000);
    expect_answers(r, WR_ERR_BUSY, 1);
    assert_int_equal(atomic_load(&metrics.full.value), before + 1);
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), CALLS);
    expect_answers(r, WR_OK, CALLS);
    assert_int_equal(atomic_load(&metrics.depth.value), 0);
    send(r, 10, 5000);
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), 1);
}

static void test_bytes_are_bounded_as_well(void **state)
{
    struct rig *r = *state;
    bool ended;
    send(r, 900 + 2 * CALL_BYTES, 5000);
    send(r, 200, 5000); /* its body alone would fit */
    expect_answers(r, WR_ERR_BUSY, 1);
    send(r, 100, 5000);
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), 2);
    send(r, 900 + 2 * CALL_BYTES, 5000);
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), 1);
}

static void test_take_is_bounded_and_in_order(void **state)
{
    struct rig *r = *state;
    bool ended;
    for (int i = 0; i < CALLS; i++)
        send(r, 100, 5000);
    assert_int_equal(take(r, 1, SIZE_MAX, &ended), 1);
    assert_int_equal(take(r, 16, 250, &ended), 2);
    assert_int_equal(take(r, 16, 1, &ended), 1); /* one comes always, however large */
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), 0);
    assert_false(ended);
}

static void test_expired_calls_are_not_handed_out(void **state)
{
    struct rig *r = *state;
    bool ended;
    uint64_t before = atomic_load(&metrics.expired.value);
    send_that_expires(r);
    send_that_expires(r);
    send(r, 10, 5000);
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), 1);
    assert_int_equal(atomic_load(&metrics.expired.value), before + 2);
}

static void test_closed_queue_gives_what_it_has_and_then_ends(void **state)
{
    struct rig *r = *state;
    bool ended;
    send(r, 10, 5000);
    hub_queue__close(&r->queue);
    send(r, 10, 5000);
    expect_answers(r, WR_ERR_CLOSED, 1);
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), 1);
    assert_int_equal(take(r, 16, SIZE_MAX, &ended), 0);
    assert_true(ended);
}

static void test_left_over_calls_are_answered(void **state)
{
    struct rig *r = *state;
    send(r, 10, 5000);
    hub_queue__fini(&r->queue);
    expect_answers(r, WR_ERR_CLOSED, 1);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CLAIM(test_full_queue_refuses_at_once),
        CLAIM(test_bytes_are_bounded_as_well),
        CLAIM(test_take_is_bounded_and_in_order),
        CLAIM(test_expired_calls_are_not_handed_out),
        CLAIM(test_closed_queue_gives_what_it_has_and_then_ends),
        CLAIM(test_left_over_calls_are_answered),
    };
    return cmocka_run_group_tests_name("hub queue", tests, NULL, NULL) ? 1 : 0;
}
