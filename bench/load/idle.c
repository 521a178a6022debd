/* SPDX-License-Identifier: MIT
 *
 * Idle load: opens --clients WebSockets as fast as the server answers (--window handshakes in flight), then lets them rest and
 * reads what they cost: resident memory of the server's processes before and after. Says nothing itself. */
#include "client.h"
#include "load.h"

#include <stdio.h>

static void on_message(struct bench_conn *conn, uint8_t opcode, const uint8_t *data, size_t size,
                       int64_t now_ns)
{
    (void)conn, (void)opcode, (void)data, (void)size, (void)now_ns;
}

int main(int argc, char **argv)
{
    static const struct bench_client_ops ops = {.on_message = on_message};
    struct bench_client client;
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    const char *host = bench_arg(&args, "host", "127.0.0.1");
    int port = (int)bench_arg_num(&args, "port", 8000);
    const char *path = bench_arg(&args, "path", "/ws");
    size_t clients = (size_t)bench_arg_num(&args, "clients", 8000);
    size_t window = (size_t)bench_arg_num(&args, "window", 128);
    size_t sources = (size_t)bench_arg_num(&args, "sources", 0);
    double rest_s = bench_arg_num(&args, "rest", 3);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);

    bench_client_init(&client, &ops, host, port, clients);
    client.sources = sources;
    struct bench_use before = bench_pids_use(&pids);
    double own_before = bench_own_cpu_s();
    int64_t start_ns = bench_now_ns();
    bench_client_connect_all(&client, path, true, NULL, window, 120);
    int64_t accept_ns = bench_now_ns() - start_ns;
    double own = bench_own_cpu_s() - own_before;
    struct bench_use peak = bench_pids_use(&pids);
    int64_t until_ns = bench_now_ns() + (int64_t)(rest_s * 1e9);
    while (bench_now_ns() < until_ns)
        bench_client_poll(&client, until_ns);
    struct bench_use after = bench_pids_use(&pids);
    if (client.opened != clients)
        bench_die("only %zu of %zu connections stayed open", client.opened, clients);
    printf("{\"clients\":%zu,\"accept_s\":%.3f,\"accept_cpu_s\":%.3f,\"rss_before_mb\":%.2f,\"rss_"
           "accepted_mb\":%.2f,\"rss_mb\":%.2f,"
           "\"rss_kb_per_conn\":%.3f,\"idle_core_pct\":%.2f,\"client_core_pct\":%.2f}\n",
           clients, (double)accept_ns / 1e9, peak.cpu_s - before.cpu_s, before.rss_kb / 1024,
           peak.rss_kb / 1024, after.rss_kb / 1024,
           (after.rss_kb - before.rss_kb) / (double)clients,
           100.0 * (after.cpu_s - peak.cpu_s) / ((double)(after.at_ns - peak.at_ns) / 1e9),
           100.0 * own / ((double)accept_ns / 1e9));
    bench_client_fini(&client);
    return 0;
}
