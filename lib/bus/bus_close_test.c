/* SPDX-License-Identifier: MIT
 *
 * Claims about closing sockets of NNG, whose 1.5.2 loses a task when a pipe is closed in the middle of a transfer and then
 * closes no socket of the process any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "bus_priv.h"
#include "wr_metrics.h"
#include "wr_process.h"

static bool metric_is(const char *line)
{
    struct wr_buf out = {0};
    wr_metrics_write(&out);
    wr_buf_char(&out, '\0');
    bool is = strstr((const char *)out.p, line) != NULL;
    wr_buf_free(&out);
    return is;
}

/* ---- a camera that never rests, and viewers that come and go ---------------------------------------------------- */

enum { FRAME_BYTES = 1000000, VIEWERS = 400 };

struct camera {
    struct wr_bus_pub *pub;
    atomic_bool off;
};

static void *film(void *arg)
{
    struct camera *c = arg;
    static const uint8_t frame[FRAME_BYTES];
    while (!atomic_load(&c->off)) {
        struct timespec rest = {.tv_nsec = 300000};
        wr_bus_publish(c->pub, "media/a", wr_msg_copy(wr_slice_of(frame, sizeof frame)));
        nanosleep(&rest, NULL); /* the pace of the load, nothing is waited for */
    }
    return NULL;
}

struct viewer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned frames;
};

static void on_frame(void *ctx, struct wr_slice topic, struct wr_slice event, struct wr_msg *msg)
{
    struct viewer *v = ctx;
    (void)topic, (void)event, (void)msg;
    pthread_mutex_lock(&v->lock);
    v->frames++;
    pthread_cond_signal(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

static void test_a_subscriber_can_leave_in_the_middle_of_a_frame(void **state)
{
    struct wr_bus *bus, *viewers;
    struct camera camera = {0};
    struct wr_errmsg err = {""};
    pthread_t thread;
    (void)state;
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){.service = "test"}, &bus), WR_OK);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &viewers), WR_OK);
    assert_int_equal(wr_bus_pub_open(bus, "tcp://127.0.0.1:0", false, &camera.pub, &err), WR_OK);
    assert_int_equal(wr_thread_start(&thread, "film", film, &camera), WR_OK);
    for (unsigned i = 0; i < VIEWERS; i++) {
        struct viewer v = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        const char *const prefixes[] = {"media/a\x01", NULL};
        struct wr_bus_sub *sub;
        assert_int_equal(wr_bus_subscribe_url(viewers, wr_bus_pub_url(camera.pub), prefixes,
                                              on_frame, &v, &sub, &err),
                         WR_OK);
        pthread_mutex_lock(&v.lock);
        while (v.frames <= i % 3)
            pthread_cond_wait(&v.changed, &v.lock);
        pthread_mutex_unlock(&v.lock);
        wr_bus_sub_close(&sub);
        assert_true(metric_is("watchroom_bus_sockets_abandoned_total 0\n"));
    }
    atomic_store(&camera.off, true);
    pthread_join(thread, NULL);
    wr_bus_close(&viewers);
    wr_bus_close(&bus);
    assert_true(metric_is("watchroom_bus_sockets_abandoned_total 0\n"));
}

/* ---- when NNG's reaper hangs all the same ----------------------------------------------------------------------- */

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open, reached;
};

/* Runs on the thread that lets pipes go, and keeps it. */
static void hold_the_reaper(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct gate *g = arg;
    (void)pipe, (void)ev;
    pthread_mutex_lock(&g->lock);
    g->reached = true;
    pthread_cond_broadcast(&g->changed);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void *close_it(void *arg)
{
    nng_close(*(nng_socket *)arg);
    return NULL;
}

static void test_a_process_that_cannot_let_go_of_its_sockets_ends_to_be_started_again(void **state)
{
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    nng_socket a, b;
    sigset_t term;
    pthread_t closer;
    (void)state;
    assert_int_equal(nng_pair0_open(&a), 0);
    assert_int_equal(nng_pair0_open(&b), 0);
    nng_pipe_notify(a, NNG_PIPE_EV_REM_POST, hold_the_reaper, &gate);
    assert_int_equal(nng_listen(a, "inproc://t-reaper", NULL, 0), 0);
    assert_int_equal(nng_dial(b, "inproc://t-reaper", NULL, 0), 0);

    /* Blocked before the bus has threads, so that it is ours to take. */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    struct wr_bus *bus, *peer;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err = {""};
    struct viewer v = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const char *const prefixes[] = {"media/a\x01", NULL};
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){.service = "test"}, &bus), WR_OK);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &peer), WR_OK);
    assert_int_equal(wr_bus_pub_open(bus, "tcp://127.0.0.1:0", true, &pub, &err), WR_OK);
    assert_int_equal(
        wr_bus_subscribe_url(peer, wr_bus_pub_url(pub), prefixes, on_frame, &v, &sub, &err), WR_OK);
    pthread_mutex_lock(&v.lock);
    while (!v.frames) {
        wr_bus_publish(pub, "media/a", wr_msg_copy(wr_slice_str("f")));
        wr_cond_wait_until(&v.changed, &v.lock, wr_mono_us() + 20000);
    }
    pthread_mutex_unlock(&v.lock);

    /* Ends a's pipe too, whose end is told on the reaper's thread. */
    assert_int_equal(wr_thread_start(&closer, "close", close_it, &b), WR_OK);
    pthread_mutex_lock(&gate.lock);
    while (!gate.reached)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    wr_bus_sub_close(&sub); /* returns all the same */
    assert_true(metric_is("watchroom_bus_sockets_abandoned_total 1\n"));
    assert_false(wr_process_failed());
    assert_int_equal(sigtimedwait(&term, NULL, &(struct timespec){.tv_sec = 30}), SIGTERM);
    assert_true(wr_process_failed());

    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    pthread_join(closer, NULL);
    nng_close(a);
    wr_bus_close(&peer);
    wr_bus_close(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_subscriber_can_leave_in_the_middle_of_a_frame),
        cmocka_unit_test(test_a_process_that_cannot_let_go_of_its_sockets_ends_to_be_started_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
