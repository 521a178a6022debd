/* SPDX-License-Identifier: MIT
 *
 * A socket of NNG that can be closed: it knows its pipes, ends their connections first and has bounded patience with
 * nng_close. */
#include "bus_nng.h"

#include "wr_metrics.h"
#include "wr_process.h"

#include <stdlib.h>

WR_COUNTER(abandoned_sockets, "watchroom_bus_sockets_abandoned_total", NULL,
           "Sockets of the bus that did not close in time");

enum { CLOSE_US = 2000000, CLOSE_AGAIN_US = 100000, HALF_US = 200000, PROBES_UNMOVED = 5 };

static void remember(struct bus_nng_sock *s, nng_pipe pipe, int dialer)
{
    if (s->num_pipes == s->cap_pipes) {
        size_t cap = s->cap_pipes ? s->cap_pipes * 2 : 8;
        struct bus_nng_pipe *more = realloc(s->pipes, cap * sizeof *more);
        if (!more)
            return; /* it will be closed the rough way */
        s->pipes = more;
        s->cap_pipes = cap;
    }
    s->pipes[s->num_pipes++] = (struct bus_nng_pipe){pipe, dialer};
}

static void forget(struct bus_nng_sock *s, nng_pipe pipe)
{
    for (size_t i = 0; i < s->num_pipes; i++)
        if (nng_pipe_id(s->pipes[i].id) == nng_pipe_id(pipe)) {
            s->pipes[i] = s->pipes[--s->num_pipes];
            break;
        }
    s->removed++;
}

/* REM_POST may come before ADD_POST, but nothing comes before ADD_PRE. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct bus_nng_sock *s = arg;
    int dialer = nng_dialer_id(nng_pipe_dialer(pipe)); /* -1: a listener's */
    pthread_mutex_lock(&s->lock);
    bool leaving = s->leaving;
    if (ev == NNG_PIPE_EV_ADD_PRE)
        remember(s, pipe, dialer);
    else if (ev == NNG_PIPE_EV_REM_POST)
        forget(s, pipe);
    bool tells = s->fn && !leaving;
    s->telling += tells;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);

    if (leaving && ev == NNG_PIPE_EV_ADD_PRE)
        nng_pipe_close(pipe); /* nothing moves on it yet, so nothing can be lost */
    if (!leaving && ev == NNG_PIPE_EV_ADD_POST)
        bus_nng__watch(pipe);
    if (!tells)
        return;
    s->fn(s->ctx, ev);
    pthread_mutex_lock(&s->lock);
    s->telling--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

int64_t bus_nng__awake_us(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int64_t asked_us, awake_us;
    pthread_mutex_lock(&lock);
    int64_t now = wr_mono_us();
    if (asked_us)
        awake_us += WR_MIN(now - asked_us, 1000000);
    asked_us = now;
    now = awake_us;
    pthread_mutex_unlock(&lock);
    return now;
}

bool bus_nng__connected(struct bus_nng_sock *s, nng_dialer dialer, nng_pipe *pipe)
{
    bool found = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->num_pipes && !found; i++) {
        found = s->pipes[i].dialer == nng_dialer_id(dialer);
        if (found && pipe)
            *pipe = s->pipes[i].id;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void bus_nng__fail(void)
{
    wr_process_fail("bus.stuck",
                    "NNG does not let go of connections any more, so nothing that is lost would be "
                    "dialled again: this process ends, to be started anew");
}

void bus_nng__expect_removal(struct bus_nng_sock *s)
{
    pthread_mutex_lock(&s->lock);
    s->unmoved = s->removed == s->seen ? s->unmoved + 1 : 0;
    s->seen = s->removed;
    bool stuck = s->unmoved >= PROBES_UNMOVED;
    pthread_mutex_unlock(&s->lock);
    if (stuck)
        bus_nng__fail();
}

int bus_nng__open(struct bus_nng_sock *s, int (*open)(nng_socket *), bus_nng_pipe_fn fn, void *ctx)
{
    *s = (struct bus_nng_sock){.fn = fn, .ctx = ctx};
    int rv = open(&s->id);
    if (rv != 0)
        return rv;
    pthread_mutex_init(&s->lock, NULL);
    wr_cond_init(&s->changed);
    /* Sizes are limited before anything is dialled or listened: the default lets a length prefix reserve gigabytes. */
    nng_socket_set_size(s->id, NNG_OPT_RECVMAXSZ, WR_BUS_MAX_MSG_BYTES);
    nng_socket_set_ms(s->id, NNG_OPT_RECONNMINT, 200);
    nng_socket_set_ms(s->id, NNG_OPT_RECONNMAXT, 1000);
    nng_socket_set_bool(s->id, NNG_OPT_TCP_KEEPALIVE, true);
    nng_socket_set_bool(s->id, NNG_OPT_TCP_NODELAY, true);
    nng_pipe_notify(s->id, NNG_PIPE_EV_ADD_PRE, on_pipe, s);
    nng_pipe_notify(s->id, NNG_PIPE_EV_ADD_POST, on_pipe, s);
    nng_pipe_notify(s->id, NNG_PIPE_EV_REM_POST, on_pipe, s);
    return 0;
}

struct closing {
    nng_socket sock;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool closed;
    int64_t since_us; /* of bus_nng__awake_us */
    void *keep;
    struct closing *next;
};

static pthread_mutex_t abandoned_lock = PTHREAD_MUTEX_INITIALIZER;
static struct closing *abandoned; /* for ever: their sockets may still call back */

static bool hangs_since(int64_t us)
{
    bool hangs = false;
    pthread_mutex_lock(&abandoned_lock);
    for (struct closing *c = abandoned; c && !hangs; c = c->next) {
        pthread_mutex_lock(&c->lock);
        hangs = !c->closed && c->since_us <= us;
        pthread_mutex_unlock(&c->lock);
    }
    pthread_mutex_unlock(&abandoned_lock);
    return hangs;
}

void bus_nng__watch_closes(void)
{
    if (hangs_since(bus_nng__awake_us() - BUS_NNG_STUCK_US))
        bus_nng__fail();
}

/* Lock held. A copy of the pipes that there are, NULL without memory; the caller frees it. */
static nng_pipe *copy_pipes(const struct bus_nng_sock *s)
{
    nng_pipe *pipes = calloc(s->num_pipes + 1, sizeof *pipes);
    for (size_t i = 0; pipes && i < s->num_pipes; i++)
        pipes[i] = s->pipes[i].id;
    return pipes;
}

/* Ends the connections by one of the two ways, and waits until NNG has seen it. */
static void end_pipes(struct bus_nng_sock *s, bool (*end)(const nng_pipe *, size_t),
                      int64_t until_us)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->num_pipes;
    nng_pipe *pipes = n ? copy_pipes(s) : NULL;
    pthread_mutex_unlock(&s->lock);
    bool all = pipes && end(pipes, n);
    free(pipes);
    pthread_mutex_lock(&s->lock);
    while (all && s->num_pipes && wr_cond_wait_until(&s->changed, &s->lock, until_us))
        ;
    pthread_mutex_unlock(&s->lock);
}

/* Ends the connections; fn runs no more on return. Who does not end its own direction when ours has ended is cut. */
static void leave(struct bus_nng_sock *s, int64_t until_us)
{
    pthread_mutex_lock(&s->lock);
    s->leaving = true;
    pthread_mutex_unlock(&s->lock);
    end_pipes(s, bus_nng__end, WR_MIN(until_us, wr_mono_us() + HALF_US));
    end_pipes(s, bus_nng__cut, until_us);
    pthread_mutex_lock(&s->lock);
    while (s->telling)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void *close_socket(void *arg)
{
    struct closing *c = arg;
    nng_close(c->sock);
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void destroy(struct bus_nng_sock *s)
{
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s->pipes);
}

bool bus_nng__close(struct bus_nng_sock *s, void *keep)
{
    struct closing *c = calloc(1, sizeof *c);
    pthread_t thread;
    if (!c)
        abort();
    /* Pipes are let go by one thread of NNG. While that one hangs no other socket closes either, and a process would
     * spend two seconds on each: it has the patience once. */
    int64_t patience = hangs_since(INT64_MAX) ? CLOSE_AGAIN_US : CLOSE_US;
    leave(s, wr_mono_us() + patience / 2);
    c->sock = s->id;
    c->keep = keep;
    c->since_us = bus_nng__awake_us();
    pthread_mutex_init(&c->lock, NULL);
    wr_cond_init(&c->done);
    if (wr_thread_start(&thread, "bus-close", close_socket, c) != WR_OK) {
        close_socket(c);
        free(c);
        destroy(s);
        return true;
    }
    int64_t until = wr_mono_us() + patience;
    pthread_mutex_lock(&c->lock);
    while (!c->closed && wr_cond_wait_until(&c->done, &c->lock, until))
        ;
    bool closed = c->closed;
    pthread_mutex_unlock(&c->lock);
    if (closed) {
        pthread_join(thread, NULL);
        pthread_mutex_destroy(&c->lock);
        pthread_cond_destroy(&c->done);
        free(c);
        destroy(s);
        return true;
    }
    pthread_detach(thread);
    wr_count(&abandoned_sockets, 1);
    wr_warn("bus.close", "a bus socket did not close within %d ms and was abandoned",
            (int)(patience / 1000));
    pthread_mutex_lock(&abandoned_lock);
    c->next = abandoned;
    abandoned = c;
    pthread_mutex_unlock(&abandoned_lock);
    return false;
}
