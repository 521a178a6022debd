/* SPDX-License-Identifier: MIT
 *
 * Download load: a file of --size bytes (the pattern's, as upload.c puts it there) in --clients slices at the same time, --times
 * times over: with one client the whole file, else each takes one range after the other, on one connection. The time is from the
 * first request to the last byte. --verify 1 compares every byte; else the kernel throws them away, so that the client is not
 * what is measured. */
#include "http.h"
#include "load.h"
#include "pattern.h"

#include <stdio.h>
#include <stdlib.h>

struct reader {
    uint64_t from, length, at; /* the slice under way, what has come of it */
    unsigned left;             /* slices still to be asked for, this one included */
    size_t slice;
};

static struct {
    struct bench_http http;
    struct reader *reader;
    const char *path;
    uint64_t size, bytes;
    size_t clients, done;
    unsigned times;
} load;

static void ask(struct bench_http_conn *conn)
{
    struct reader *reader = &load.reader[conn->index];
    char text[512], range[96] = "";
    reader->from = load.size * reader->slice / load.clients;
    reader->length = load.size * (reader->slice + 1) / load.clients - reader->from;
    reader->at = 0;
    if (load.clients > 1)
        snprintf(range, sizeof(range), "Range: bytes=%llu-%llu\r\n",
                 (unsigned long long)reader->from,
                 (unsigned long long)(reader->from + reader->length - 1));
    int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", load.path,
                       load.http.host, range);
    bench_http_ask(conn, text, (size_t)len);
}

static void on_body(struct bench_http_conn *conn, const uint8_t *data, size_t size)
{
    struct reader *reader = &load.reader[conn->index];
    bench_pattern_check(load.path, 0, reader->from + reader->at, data, size);
    reader->at += size;
}

static void on_answer(struct bench_http_conn *conn, int64_t now_ns)
{
    (void)now_ns;
    struct reader *reader = &load.reader[conn->index];
    if (conn->status != (load.clients > 1 ? 206 : 200) || conn->length != reader->length)
        bench_die("%s: %llu bytes from %llu on were asked for, the answer is:\n%.600s", load.path,
                  (unsigned long long)reader->length, (unsigned long long)reader->from, conn->head);
    load.bytes += conn->length;
    reader->slice = (reader->slice + 1) % load.clients;
    if (--reader->left > 0)
        ask(conn);
    else
        load.done++;
}

int main(int argc, char **argv)
{
    static const struct bench_http_ops fast = {.on_answer = on_answer};
    static const struct bench_http_ops exact = {.on_answer = on_answer, .on_body = on_body};
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    const char *host = bench_arg(&args, "host", "127.0.0.1");
    int port = (int)bench_arg_num(&args, "port", 8000);
    load.path = bench_arg(&args, "path", "/");
    load.size = (uint64_t)bench_arg_num(&args, "size", 1073741824);
    load.clients = (size_t)bench_arg_num(&args, "clients", 1);
    load.times = (unsigned)bench_arg_num(&args, "times", 1);
    bool verify = bench_arg_num(&args, "verify", 0) != 0;
    double most_s = bench_arg_num(&args, "most", 120);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);
    if (load.clients < 1 || load.times < 1)
        bench_die("--clients and --times are 1 or more");

    bench_pattern_init();
    load.reader = bench_calloc(load.clients, sizeof(struct reader));
    bench_http_init(&load.http, verify ? &exact : &fast, host, port, load.clients);
    struct bench_use before = bench_pids_use(&pids);
    double own_before = bench_own_cpu_s();
    int64_t start_ns = bench_now_ns(), end_ns = start_ns + (int64_t)(most_s * 1e9);
    for (size_t i = 0; i < load.clients; i++) {
        load.reader[i].slice = i;
        load.reader[i].left = load.times;
        ask(&load.http.conns[i]);
    }
    while (load.done < load.clients) {
        bench_http_poll(&load.http, end_ns);
        if (bench_now_ns() >= end_ns)
            bench_die("%zu of %zu clients have it all after %.0f s", load.done, load.clients,
                      most_s);
    }
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    double own = bench_own_cpu_s() - own_before;
    struct bench_use after = bench_pids_use(&pids);
    printf("{\"clients\":%zu,\"bytes\":%llu,\"seconds\":%.4f,\"mb_per_s\":%.1f,\"server_cpu_s\":%."
           "3f,\"rss_mb\":%.2f,\"client_core_pct\":%.1f,\"verified\":%s}\n",
           load.clients, (unsigned long long)load.bytes, seconds,
           (double)load.bytes / 1e6 / seconds, after.cpu_s - before.cpu_s, after.rss_kb / 1024,
           100 * own / seconds, verify ? "true" : "false");
    bench_http_fini(&load.http);
    free(load.reader);
    return 0;
}
