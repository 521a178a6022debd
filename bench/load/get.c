/* SPDX-License-Identifier: MIT
 *
 * Small requests: --clients connections, kept alive, ask for --path again as soon as they are answered. So the server is always
 * busy, and what it uses of its core in --seconds, divided by the answers, is what one costs it. */
#include "http.h"
#include "load.h"

#include <stdio.h>

static struct {
    struct bench_http http;
    char request[512];
    size_t request_len;
    bool measuring;
    uint64_t answers, bytes;
    struct bench_hist delay;
} load;

static void on_answer(struct bench_http_conn *conn, int64_t now_ns)
{
    if (conn->status != 200)
        bench_die("%s answered:\n%.600s", load.http.host, conn->head);
    if (load.measuring) {
        load.answers++;
        load.bytes = conn->length;
        bench_hist_add(&load.delay, now_ns - conn->begun_ns);
    }
    bench_http_ask(conn, load.request, load.request_len);
}

static void run_until(int64_t until_ns)
{
    while (bench_now_ns() < until_ns)
        bench_http_poll(&load.http, until_ns);
}

int main(int argc, char **argv)
{
    static const struct bench_http_ops ops = {.on_answer = on_answer};
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    const char *host = bench_arg(&args, "host", "127.0.0.1");
    int port = (int)bench_arg_num(&args, "port", 8000);
    const char *path = bench_arg(&args, "path", "/");
    size_t clients = (size_t)bench_arg_num(&args, "clients", 64);
    double warm_s = bench_arg_num(&args, "warm", 0.5), seconds = bench_arg_num(&args, "seconds", 3);
    int64_t nap_us = (int64_t)bench_arg_num(&args, "nap-us", 100);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);

    bench_http_init(&load.http, &ops, host, port, clients);
    load.http.nap_ns = nap_us * 1000;
    load.request_len = (size_t)snprintf(load.request, sizeof(load.request),
                                        "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path,
                                        load.http.host);
    for (size_t i = 0; i < clients; i++)
        bench_http_ask(&load.http.conns[i], load.request, load.request_len);
    run_until(bench_now_ns() + (int64_t)(warm_s * 1e9));
    struct bench_use before = bench_pids_use(&pids);
    double own_before = bench_own_cpu_s();
    load.measuring = true;
    run_until(bench_now_ns() + (int64_t)(seconds * 1e9));
    struct bench_use after = bench_pids_use(&pids);
    double wall = (double)(after.at_ns - before.at_ns) / 1e9, cpu = after.cpu_s - before.cpu_s;
    if (load.answers == 0)
        bench_die("no answer in %.1f s", seconds);
    printf("{\"clients\":%zu,\"answers\":%llu,\"per_s\":%.0f,\"body_bytes\":%llu,\"opened\":%llu,"
           "\"cpu_us\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"rss_mb\":%.2f,"
           "\"server_core_pct\":%.1f,\"client_core_pct\":%.1f}\n",
           clients, (unsigned long long)load.answers, (double)load.answers / wall,
           (unsigned long long)load.bytes, (unsigned long long)load.http.opened,
           cpu * 1e6 / (double)load.answers, bench_hist_ms(&load.delay, 0.5),
           bench_hist_ms(&load.delay, 0.99), after.rss_kb / 1024, 100 * cpu / wall,
           100 * (bench_own_cpu_s() - own_before) / wall);
    bench_http_fini(&load.http);
    return 0;
}
