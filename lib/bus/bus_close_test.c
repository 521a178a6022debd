/* SPDX-License-Identifier: MIT
 *
 * Claims about closing sockets of NNG, whose 1.5.2 loses a task when a pipe is closed in the middle of a transfer and then
 * closes no socket of the process any more. */
#include "bus_test_kit.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "wr_process.h"

/* ---- a camera that never rests, and who watches it -------------------------------------------------------------- */

enum { FRAME_BYTES = 1000000, VIEWERS = 400 };

_Noreturn static void film(struct wr_bus_pub *pub)
{
    static const uint8_t frame[FRAME_BYTES];
    for (;;) {
        struct timespec rest = {.tv_nsec = 300000};
        wr_bus_publish(pub, "media/a", wr_msg_copy(wr_slice_of(frame, sizeof frame)));
        nanosleep(&rest, NULL); /* the pace of the load, nothing is waited for */
    }
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

static void await_frames(struct viewer *v, unsigned n)
{
    pthread_mutex_lock(&v->lock);
    while (v->frames < n)
        pthread_cond_wait(&v->changed, &v->lock);
    pthread_mutex_unlock(&v->lock);
}

/* ---- when NNG's reaper hangs all the same ----------------------------------------------------------------------- */

/* Runs on the thread that lets pipes go, and keeps it. */
static void hold_the_reaper(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    int *reached = arg;
    (void)pipe, (void)ev;
    (void)!write(*reached, "1", 1);
    for (;;)
        pause();
}

static void *close_it(void *arg)
{
    nng_close(*(nng_socket *)arg);
    return NULL;
}

static void make_the_reaper_hang(void)
{
    static nng_socket a, b;
    static int reached[2];
    pthread_t closer;
    char byte;
    assert_int_equal(pipe(reached), 0);
    assert_int_equal(nng_pair0_open(&a), 0);
    assert_int_equal(nng_pair0_open(&b), 0);
    nng_pipe_notify(a, NNG_PIPE_EV_REM_POST, hold_the_reaper, &reached[1]);
    assert_int_equal(nng_listen(a, "inproc://t-reaper", NULL, 0), 0);
    assert_int_equal(nng_dial(b, "inproc://t-reaper", NULL, 0), 0);
    /* Ends a's pipe too, whose end is told on the reaper's thread. */
    assert_int_equal(wr_thread_start(&closer, "close", close_it, &b), WR_OK);
    pthread_detach(closer);
    assert_int_equal(read(reached[0], &byte, 1), 1);
}

/* A server and a publisher in a process of their own, which fork()s before there are threads. */
struct other {
    pid_t pid;
    char calls[BUS_URL_BYTES], events[BUS_URL_BYTES];
};

static void answer(void *ctx, struct wr_call *call)
{
    (void)ctx;
    wr_call_answer(call, wr_msg_copy(call->body));
}

static void other_start(struct other *o, bool films)
{
    int told[2];
    assert_int_equal(pipe(told), 0);
    o->pid = fork();
    assert_true(o->pid >= 0);
    if (o->pid == 0) {
        struct wr_bus *bus;
        struct wr_bus_server *server;
        struct wr_errmsg err;
        struct wr_bus_pub *pub;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (wr_bus_open(&(struct wr_bus_opts){.service = "test"}, &bus) ||
            wr_bus_serve(bus, "tcp://127.0.0.1:0", answer, NULL, &server, &err) ||
            wr_bus_pub_open(bus, "tcp://127.0.0.1:0", false, &pub, &err))
            _exit(1);
        snprintf(o->calls, sizeof o->calls, "%s", wr_bus_server_url(server));
        snprintf(o->events, sizeof o->events, "%s", wr_bus_pub_url(pub));
        (void)!write(told[1], o, sizeof *o);
        if (!films)
            for (;;)
                pause();
        film(pub);
    }
    struct other told_us = {0};
    assert_int_equal(read(told[0], &told_us, sizeof told_us), sizeof told_us);
    told_us.pid = o->pid;
    *o = told_us;
    close(told[0]);
    close(told[1]);
}

static void other_end(struct other *o)
{
    kill(o->pid, SIGKILL);
    waitpid(o->pid, NULL, 0);
}

/* A socket of ours is to be closed. */
static void closes(struct other *o)
{
    const char *const prefixes[] = {"media/a\x01", NULL};
    struct viewer v = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct wr_bus *bus;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &bus), WR_OK);
    assert_int_equal(wr_bus_subscribe_url(bus, o->events, prefixes, on_frame, &v, &sub, &err),
                     WR_OK);
    await_frames(&v, 1);
    make_the_reaper_hang();
    wr_bus_sub_close(&sub); /* returns all the same */
    assert_true(metric_is("watchroom_bus_sockets_abandoned_total 1\n"));
}

/* Others connect and go away. */
static void listens(struct other *o)
{
    struct wr_bus *bus;
    struct wr_bus_pub *pub;
    struct wr_errmsg err;
    (void)o;
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){.service = "test"}, &bus), WR_OK);
    assert_int_equal(wr_bus_pub_open(bus, "tcp://127.0.0.1:0", true, &pub, &err), WR_OK);
    make_the_reaper_hang();
}

/* An instance that we call dies. */
static void calls(struct other *o)
{
    struct wr_bus *bus;
    struct wr_bus_service *service;
    struct wr_errmsg err;
    struct wr_slice back;
    struct wr_msg *m;
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &bus), WR_OK);
    assert_int_equal(wr_bus_service_open(bus, "test", o->calls, &service, &err), WR_OK);
    assert_int_equal(wr_bus_call_wait(service, NULL, "t/echo", wr_msg_copy(wr_slice_str("a")), 5000,
                                      &m, &back, &err),
                     WR_OK);
    wr_msg_unref(m);
    make_the_reaper_hang();
    other_end(o);
}

static void test_a_process_that_cannot_let_go_of_connections_ends_to_be_started_again(void **state)
{
    void (*const scenes[])(struct other *) = {closes, listens, calls};
    pid_t pids[WR_ARRAY_LEN(scenes)];
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(scenes); i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            struct other o;
            sigset_t term;
            sigemptyset(&term);
            sigaddset(&term, SIGTERM);
            pthread_sigmask(SIG_BLOCK, &term, NULL);
            other_start(&o, scenes[i] == closes);
            scenes[i](&o);
            bool early = wr_process_failed();
            int sig = sigtimedwait(&term, NULL, &(struct timespec){.tv_sec = 90});
            kill(o.pid, SIGKILL);
            _exit(!early && sig == SIGTERM && wr_process_failed() ? 0 : 1);
        }
    }
    for (size_t i = 0; i < WR_ARRAY_LEN(scenes); i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        print_message("scene %zu\n", i);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* Its own end comes when it hangs, and not when its machine stood still. */
_Noreturn static void hang_and_be_paused(int told, int go_on)
{
    struct other o;
    sigset_t term;
    char byte;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    other_start(&o, true);
    closes(&o);
    (void)!write(told, "1", 1);
    (void)!read(go_on, &byte, 1);
    bool early = sigtimedwait(&term, NULL, &(struct timespec){.tv_sec = 3}) == SIGTERM;
    int sig = sigtimedwait(&term, NULL, &(struct timespec){.tv_sec = 60});
    kill(o.pid, SIGKILL);
    _exit(!early && sig == SIGTERM ? 0 : 1);
}

static void test_a_pause_of_the_whole_process_is_not_taken_for_a_hang(void **state)
{
    int told[2], go_on[2], status;
    char byte;
    (void)state;
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(go_on), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        hang_and_be_paused(told[1], go_on[0]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    kill(pid, SIGSTOP);
    nanosleep(&(struct timespec){.tv_sec = 12}, NULL); /* the pause */
    kill(pid, SIGCONT);
    assert_int_equal(write(go_on[1], "1", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- viewers that come and go ----------------------------------------------------------------------------------- */

static void test_a_subscriber_can_leave_in_the_middle_of_a_frame(void **state)
{
    const char *const prefixes[] = {"media/a\x01", NULL};
    struct other camera; /* in another process: its part of NNG is not what is tested */
    struct wr_bus *bus;
    struct wr_errmsg err = {""};
    (void)state;
    other_start(&camera, true);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &bus), WR_OK);
    for (unsigned i = 0; i < VIEWERS; i++) {
        struct viewer v = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        struct wr_bus_sub *sub;
        assert_int_equal(
            wr_bus_subscribe_url(bus, camera.events, prefixes, on_frame, &v, &sub, &err), WR_OK);
        await_frames(&v, 1 + i % 3);
        wr_bus_sub_close(&sub);
        assert_true(metric_is("watchroom_bus_sockets_abandoned_total 0\n"));
    }
    wr_bus_close(&bus);
    other_end(&camera);
    assert_true(metric_is("watchroom_bus_sockets_abandoned_total 0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* These first: their processes are forked while there are no threads. */
        cmocka_unit_test(test_a_process_that_cannot_let_go_of_connections_ends_to_be_started_again),
        cmocka_unit_test(test_a_pause_of_the_whole_process_is_not_taken_for_a_hang),
        cmocka_unit_test(test_a_subscriber_can_leave_in_the_middle_of_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
