/* SPDX-License-Identifier: MIT
 *
 * Newcomers beside silent connections: --silent connections are held that say nothing, or half a request's head, and are made again
 * where the server ends them; meanwhile --handshakes WebSocket clients come, --window at a time, and leave as soon as they are
 * in. A handshake's time is from before connect() to the whole 101. Silent ones and newcomers have addresses of their own. */
#include "client.h"
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SILENT_SOURCES 20
#define HALF_HEAD "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: webso"
#define EVENTS_PER_ROUND 256

struct silent {
    int fd;
    bool spoke;
};

static struct {
    struct bench_client client;
    struct sockaddr_in address;
    int silent_epoll;
    struct silent *silent;
    size_t silents;
    uint64_t again; /* silent connections that the server ended, and that were made again */
    int64_t *begun_ns;
    uint64_t done, refused;
    char why[200];
    struct bench_hist delay;
} load;

/* Every second one says nothing at all, the others stop in the middle of a head. */
static void be_silent(size_t i)
{
    struct silent *silent = &load.silent[i];
    silent->fd = bench_dial(&load.address, i % SILENT_SOURCES + 1);
    silent->spoke = i % 2 == 0;
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLRDHUP | (silent->spoke ? 0u : (uint32_t)EPOLLOUT), .data.u64 = i};
    if (epoll_ctl(load.silent_epoll, EPOLL_CTL_ADD, silent->fd, &event) != 0)
        bench_die("epoll_ctl: %s", strerror(errno));
}

static void silent_event(size_t i, uint32_t events)
{
    struct silent *silent = &load.silent[i];
    if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
        bench_reset(silent->fd);
        load.again++;
        be_silent(i);
        return;
    }
    if ((events & EPOLLOUT) != 0 && !silent->spoke) {
        silent->spoke = send(silent->fd, HALF_HEAD, sizeof(HALF_HEAD) - 1, MSG_NOSIGNAL) > 0;
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = i};
        epoll_ctl(load.silent_epoll, EPOLL_CTL_MOD, silent->fd, &event);
    }
    if ((events & EPOLLIN) != 0) { /* an answer to nothing: 408; the end comes behind it */
        char text[512];
        (void)!recv(silent->fd, text, sizeof(text), 0);
    }
}

static void look_after_silent(void)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    int count = epoll_wait(load.silent_epoll, events, EVENTS_PER_ROUND, 0);
    for (int i = 0; i < count; i++)
        silent_event((size_t)events[i].data.u64, events[i].events);
}

static void hold_silent(size_t count)
{
    load.silents = count;
    load.silent = bench_calloc(count, sizeof(struct silent));
    load.silent_epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < count; i++) {
        be_silent(i);
        if (i % 64 == 63) { /* not more at once than a listener's queue takes */
            bench_sleep_until(bench_now_ns() + 5 * BENCH_NS_PER_MS);
            look_after_silent();
        }
    }
    int64_t until_ns = bench_now_ns() + BENCH_NS_PER_S; /* all have said what they say */
    while (bench_now_ns() < until_ns) {
        bench_sleep_until(bench_now_ns() + 10 * BENCH_NS_PER_MS);
        look_after_silent();
    }
}

static void on_message(struct bench_conn *conn, uint8_t opcode, const uint8_t *data, size_t size,
                       int64_t now_ns)
{
    (void)conn, (void)opcode, (void)data, (void)size, (void)now_ns;
}

static void on_open(struct bench_conn *conn)
{
    load.done++;
    bench_hist_add(&load.delay, bench_now_ns() - load.begun_ns[conn->index]);
    load.begun_ns[conn->index] = 0;
    bench_conn_end(conn);
}

static void on_refused(struct bench_conn *conn, const char *what)
{
    (void)conn;
    snprintf(load.why, sizeof(load.why), "%s", what);
}

static void on_close(struct bench_conn *conn)
{
    load.refused += load.begun_ns[conn->index] != 0;
    load.begun_ns[conn->index] = 0;
}

/* Returns how many newcomers came in time. */
static uint64_t let_newcomers_come(uint64_t total, const char *path, int64_t end_ns)
{
    uint64_t begun = 0;
    while (load.done + load.refused < total && bench_now_ns() < end_ns) {
        for (size_t i = 0; i < load.client.count && begun < total; i++)
            if (load.begun_ns[i] == 0) {
                load.begun_ns[i] = bench_now_ns();
                bench_client_connect(&load.client, i, path, true, NULL);
                begun++;
            }
        int64_t step_ns = bench_now_ns() + 20 * BENCH_NS_PER_MS;
        bench_client_poll(&load.client, step_ns < end_ns ? step_ns : end_ns);
        look_after_silent();
    }
    return begun;
}

int main(int argc, char **argv)
{
    static const struct bench_client_ops ops = {.on_open = on_open,
                                                .on_message = on_message,
                                                .on_close = on_close,
                                                .on_refused = on_refused};
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    const char *host = bench_arg(&args, "host", "127.0.0.1");
    int port = (int)bench_arg_num(&args, "port", 8000);
    const char *path = bench_arg(&args, "path", "/ws");
    size_t silent = (size_t)bench_arg_num(&args, "silent", 2000);
    uint64_t handshakes = (uint64_t)bench_arg_num(&args, "handshakes", 10000);
    size_t window = (size_t)bench_arg_num(&args, "window", 16);
    double most_s = bench_arg_num(&args, "most", 60);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);

    bench_need_files(silent + window + 64);
    bench_loopback(&load.address, host, port);
    bench_client_init(&load.client, &ops, host, port, window);
    load.begun_ns = bench_calloc(window, sizeof(int64_t));
    struct bench_use alone = bench_pids_use(&pids);
    hold_silent(silent);
    struct bench_use before = bench_pids_use(&pids);
    double own_before = bench_own_cpu_s();
    let_newcomers_come(handshakes, path, bench_now_ns() + (int64_t)(most_s * 1e9));
    struct bench_use after = bench_pids_use(&pids);
    double wall = (double)(after.at_ns - before.at_ns) / 1e9, cpu = after.cpu_s - before.cpu_s;
    /* Who is still outside waits at least until now: without this a server that lets few in would look fast. */
    uint64_t waiting = 0;
    for (size_t i = 0; i < window; i++)
        if (load.begun_ns[i] != 0) {
            bench_hist_add(&load.delay, bench_now_ns() - load.begun_ns[i]);
            waiting++;
        }
    if (load.refused > 0)
        fprintf(stderr, "bench: %llu handshakes were refused: %.190s\n",
                (unsigned long long)load.refused, load.why);
    printf("{\"silent\":%zu,\"again\":%llu,\"done\":%llu,\"done_pct\":%.3f,\"refused\":%llu,"
           "\"waiting\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"per_s\":%.0f,"
           "\"cpu_us\":%.2f,\"silent_kb\":%.3f,\"rss_mb\":%.2f,\"server_core_pct\":%.1f,"
           "\"client_core_pct\":%.1f}\n",
           silent, (unsigned long long)load.again, (unsigned long long)load.done,
           100.0 * (double)load.done / (double)handshakes, (unsigned long long)load.refused,
           (unsigned long long)waiting, bench_hist_ms(&load.delay, 0.5),
           bench_hist_ms(&load.delay, 0.99), (double)load.delay.max_ns / 1e6,
           (double)load.done / wall, load.done > 0 ? cpu * 1e6 / (double)load.done : 0.0,
           silent > 0 ? (before.rss_kb - alone.rss_kb) / (double)silent : 0.0, after.rss_kb / 1024,
           100 * cpu / wall, 100 * (bench_own_cpu_s() - own_before) / wall);
    for (size_t i = 0; i < silent; i++)
        bench_reset(load.silent[i].fd);
    close(load.silent_epoll);
    bench_client_fini(&load.client);
    free(load.silent);
    free(load.begun_ns);
    return 0;
}
