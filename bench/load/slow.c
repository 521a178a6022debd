/* SPDX-License-Identifier: MIT
 *
 * Slow uploads: --uploads at once, --drip bytes a second each for --seconds, then the rest of --size. Meanwhile a newcomer every
 * 10 ms asks for --get on a connection of its own. Says what an upload under way costs the server in memory, how long newcomers
 * wait, and how many uploads were finished; each file is read back and compared. --proto tus creates the uploads before that. */
#include "http.h"
#include "load.h"
#include "pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 32
#define NEWCOMERS 64
#define NEWCOMER_EVERY_NS (10 * BENCH_NS_PER_MS)
#define PATH_MAX_BYTES 160

enum stage {
    STAGE_NEW,
    STAGE_CREATING,
    STAGE_CREATED,
    STAGE_FLOWING,
    STAGE_IN,
    STAGE_CHECKING,
    STAGE_RIGHT,
    STAGE_FAILED
};

struct upload {
    enum stage stage;
    size_t at; /* bytes that were sent, then bytes that came back */
    char path[PATH_MAX_BYTES];
};

static struct {
    struct bench_http http;
    struct upload *upload;
    const char *base, *get;
    bool put, counting;
    size_t uploads, size, drip, newcomer, busy;
    uint64_t newcomers, newcomers_lost;
    char why[256];
    struct bench_hist delay;
    double peak_kb;
} load;

/* ---- requests --------------------------------------------------------------------------------------------------------- */

static void create(size_t i)
{
    char text[512];
    int len = snprintf(
        text, sizeof(text),
        "POST %s HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\nUpload-Length: %zu\r\n"
        "Upload-Metadata: filename YmVuY2guYmlu\r\nContent-Length: 0\r\n\r\n",
        load.base, load.http.host, load.size);
    load.upload[i].stage = STAGE_CREATING;
    load.busy++;
    bench_http_ask(&load.http.conns[i], text, (size_t)len);
}

static void begin(size_t i)
{
    char text[512];
    int len = snprintf(text, sizeof(text),
                       "%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n",
                       load.put ? "PUT" : "PATCH", load.upload[i].path, load.http.host,
                       load.put ? ""
                                : "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: "
                                  "application/offset+octet-stream\r\n",
                       load.size);
    load.upload[i].stage = STAGE_FLOWING;
    bench_http_ask(&load.http.conns[i], text, (size_t)len);
}

static void send_some(size_t i, size_t most)
{
    struct upload *upload = &load.upload[i];
    if (most > load.size - upload->at)
        most = load.size - upload->at;
    for (size_t run; upload->stage == STAGE_FLOWING && most > 0; most -= run) {
        const uint8_t *bytes = bench_pattern((unsigned)i, upload->at, most, &run);
        bench_http_send(&load.http.conns[i], bytes, run);
        upload->at += run;
    }
}

static void read_back(size_t i)
{
    char text[512];
    int len = snprintf(text, sizeof(text),
                       "GET %s HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\n\r\n",
                       load.upload[i].path, load.http.host);
    load.upload[i].stage = STAGE_CHECKING;
    load.upload[i].at = 0;
    load.busy++;
    bench_http_ask(&load.http.conns[i], text, (size_t)len);
}

static void let_newcomer_come(void)
{
    struct bench_http_conn *conn = &load.http.conns[load.uploads + load.newcomer % NEWCOMERS];
    char text[256];
    if (conn->asked)
        return; /* all places wait still: their times say so */
    load.newcomer++;
    int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", load.get,
                       load.http.host);
    bench_http_ask(conn, text, (size_t)len);
}

/* ---- answers ---------------------------------------------------------------------------------------------------------- */

static void fail(size_t i, const char *why)
{
    load.upload[i].stage = STAGE_FAILED;
    if (load.why[0] == '\0')
        snprintf(load.why, sizeof(load.why), "%s", why);
}

static void take_location(struct bench_http_conn *conn, struct upload *upload)
{
    char where[PATH_MAX_BYTES] = "";
    if (conn->status != 201 || !bench_http_header(conn, "Location", where, sizeof(where)))
        bench_die("an upload could not be made:\n%.600s", conn->head);
    const char *scheme = strstr(where, "://");
    const char *path = scheme != NULL ? strchr(scheme + 3, '/') : where;
    if (path == NULL)
        bench_die("Location: %s has no path", where);
    snprintf(upload->path, sizeof(upload->path), "%s", path);
}

static void on_body(struct bench_http_conn *conn, const uint8_t *data, size_t size)
{
    if (conn->index >= load.uploads || load.upload[conn->index].stage != STAGE_CHECKING ||
        conn->status != 200)
        return;
    struct upload *upload = &load.upload[conn->index];
    bench_pattern_check(upload->path, conn->index, upload->at, data, size);
    upload->at += size;
}

static void newcomer_is_served(struct bench_http_conn *conn, int64_t now_ns)
{
    if (conn->status >= 500)
        load.newcomers_lost++;
    if (load.counting) {
        bench_hist_add(&load.delay, now_ns - conn->begun_ns);
        load.newcomers++;
    }
    bench_http_end(conn);
}

static void on_answer(struct bench_http_conn *conn, int64_t now_ns)
{
    if (conn->index >= load.uploads) {
        newcomer_is_served(conn, now_ns);
        return;
    }
    struct upload *upload = &load.upload[conn->index];
    if (upload->stage == STAGE_CREATING) {
        take_location(conn, upload);
        upload->stage = STAGE_CREATED;
        load.busy--;
    } else if (upload->stage == STAGE_FLOWING) {
        if (conn->status == (load.put ? 201 : 204) && upload->at == load.size)
            upload->stage = STAGE_IN;
        else
            fail(conn->index, conn->head);
    } else if (upload->stage == STAGE_CHECKING) {
        load.busy--;
        if (conn->status != 200 || upload->at != load.size)
            bench_die("%s: %zu bytes came back of %zu:\n%.400s", upload->path, upload->at,
                      load.size, conn->head);
        upload->stage = STAGE_RIGHT;
    }
    bench_http_end(conn);
}

static void on_lost(struct bench_http_conn *conn)
{
    if (conn->index >= load.uploads)
        load.newcomers_lost++;
    else if (load.upload[conn->index].stage == STAGE_FLOWING)
        fail(conn->index, "the server closed the connection");
    else
        bench_die("the server ended a connection that made or read an upload");
}

/* ---- the story -------------------------------------------------------------------------------------------------------- */

static size_t count_of(enum stage stage)
{
    size_t count = 0;
    for (size_t i = 0; i < load.uploads; i++)
        count += load.upload[i].stage == stage;
    return count;
}

static void run_until(int64_t until_ns)
{
    while (bench_now_ns() < until_ns)
        bench_http_poll(&load.http, until_ns);
}

/* A step for every upload that is at `from`, WINDOW of them at a time. */
static void each(enum stage from, void (*step)(size_t i))
{
    int64_t end_ns = bench_now_ns() + 60 * BENCH_NS_PER_S;
    for (size_t i = 0; i < load.uploads || load.busy > 0;) {
        while (i < load.uploads && load.busy < WINDOW) {
            if (load.upload[i].stage == from)
                step(i);
            i++;
        }
        bench_http_poll(&load.http, end_ns);
        if (bench_now_ns() >= end_ns)
            bench_die("making or reading %zu uploads takes more than 60 s: %zu are under way",
                      load.uploads, load.busy);
    }
}

/* One round over all uploads in a second: `first` begins them, then each gets `most` bytes. Newcomers come meanwhile. */
static void round_over_all(const struct bench_pids *pids, bool first, size_t most)
{
    int64_t start_ns = bench_now_ns(), newcomer_ns = start_ns;
    for (size_t i = 0; i < load.uploads; i++) {
        int64_t due_ns = start_ns + (int64_t)(i * (uint64_t)BENCH_NS_PER_S / load.uploads);
        run_until(due_ns);
        for (; newcomer_ns <= due_ns; newcomer_ns += NEWCOMER_EVERY_NS)
            let_newcomer_come();
        if (first)
            begin(i);
        send_some(i, most);
    }
    run_until(start_ns + BENCH_NS_PER_S);
    double rss_kb = bench_pids_use(pids).rss_kb;
    if (!first && rss_kb > load.peak_kb)
        load.peak_kb = rss_kb;
}

int main(int argc, char **argv)
{
    static const struct bench_http_ops ops = {
        .on_body = on_body, .on_answer = on_answer, .on_lost = on_lost};
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    const char *host = bench_arg(&args, "host", "127.0.0.1");
    int port = (int)bench_arg_num(&args, "port", 8000);
    load.base = bench_arg(&args, "path", "/files/");
    load.get = bench_arg(&args, "get", "/");
    load.put = strcmp(bench_arg(&args, "proto", "tus"), "put") == 0;
    load.uploads = (size_t)bench_arg_num(&args, "uploads", 1000);
    load.size = (size_t)bench_arg_num(&args, "size", 4096);
    load.drip = (size_t)bench_arg_num(&args, "drip", 8);
    int seconds = (int)bench_arg_num(&args, "seconds", 6);
    double most_s = bench_arg_num(&args, "most", 30);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);
    if (load.uploads < 1 || load.drip * (size_t)(seconds + 1) >= load.size)
        bench_die("--size is more than --drip × (--seconds + 1)");

    bench_pattern_init();
    load.upload = bench_calloc(load.uploads, sizeof(struct upload));
    bench_http_init(&load.http, &ops, host, port, load.uploads + NEWCOMERS);
    load.http.sources = 50;
    for (size_t i = 0; i < load.uploads && load.put; i++)
        snprintf(load.upload[i].path, sizeof(load.upload[i].path), "%sslow-%zu.bin", load.base, i);
    if (!load.put)
        each(STAGE_NEW, create);
    run_until(bench_now_ns() + BENCH_NS_PER_S / 2);
    struct bench_use before = bench_pids_use(&pids);
    double own_before = bench_own_cpu_s();
    round_over_all(&pids, true, load.drip);
    load.counting = true;
    for (int second = 0; second < seconds; second++)
        round_over_all(&pids, false, load.drip);
    size_t under_way = count_of(STAGE_FLOWING);
    load.counting = false;
    round_over_all(&pids, false, load.size);
    int64_t end_ns = bench_now_ns() + (int64_t)(most_s * 1e9);
    while (count_of(STAGE_FLOWING) > 0 && bench_now_ns() < end_ns)
        bench_http_poll(&load.http, bench_now_ns() + 50 * BENCH_NS_PER_MS);
    for (size_t i = 0; i < load.uploads + NEWCOMERS; i++) {
        if (i < load.uploads && load.upload[i].stage == STAGE_FLOWING)
            fail(i, "it had all its bytes and no answer");
        bench_http_end(&load.http.conns[i]);
    }
    struct bench_use after = bench_pids_use(&pids);
    double wall = (double)(after.at_ns - before.at_ns) / 1e9, cpu = after.cpu_s - before.cpu_s;
    double own = bench_own_cpu_s() - own_before;
    size_t finished = count_of(STAGE_IN);
    each(STAGE_IN, read_back);
    if (load.why[0] != '\0')
        fprintf(stderr, "bench: an upload failed: %.250s\n", load.why);
    printf(
        "{\"uploads\":%zu,\"under_way\":%zu,\"finished\":%zu,\"finished_pct\":%.2f,\"right\":%zu,"
        "\"kb_each\":%.2f,\"rss_before_mb\":%.2f,\"rss_peak_mb\":%.2f,\"newcomers\":%llu,"
        "\"newcomers_lost\":%llu,\"get_p50_ms\":%.3f,\"get_p99_ms\":%.3f,\"get_max_ms\":%.3f,"
        "\"server_cpu_s\":%.3f,\"server_core_pct\":%.1f,\"client_core_pct\":%.1f}\n",
        load.uploads, under_way, finished, 100.0 * (double)finished / (double)load.uploads,
        count_of(STAGE_RIGHT), (load.peak_kb - before.rss_kb) / (double)load.uploads,
        before.rss_kb / 1024, load.peak_kb / 1024, (unsigned long long)load.newcomers,
        (unsigned long long)load.newcomers_lost, bench_hist_ms(&load.delay, 0.5),
        bench_hist_ms(&load.delay, 0.99), (double)load.delay.max_ns / 1e6, cpu, 100 * cpu / wall,
        100 * own / wall);
    bench_http_fini(&load.http);
    free(load.upload);
    return 0;
}
