/* SPDX-License-Identifier: MIT
 *
 * Live load: --viewers watch one stream that carries the camera's stamps (stamp.h). Every viewer's container is parsed (fMP4 boxes
 * or FLV tags, over WebSocket or as an HTTP body) and the stamp of every frame is read. Reports the delay from the camera's send to
 * the whole frame at the viewer, the spread (from the first viewer that has a frame to each other one), frames lost, and what the
 * server used meanwhile. */
#include "client.h"
#include "load.h"
#include "stamp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECENT 4096     /* frames whose first arrival is remembered */
#define LOOK_BYTES 1024 /* the stamp is among a frame's first bytes */
#define UNIT_MAX (8u << 20)

struct viewer {
    size_t kept, cap;
    uint8_t *keep;
    uint32_t next;        /* number of the frame expected next */
    bool started, joined; /* has seen a stamp; has seen a key frame */
    bool flv_head;
    int64_t since_ns;
};

static struct {
    struct bench_client client;
    struct viewer *viewer;
    bool flv, measuring;
    int64_t measure_from_ns;
    size_t joined;
    uint64_t frames, lost, repeated, first_not_key, no_stamp;
    uint64_t bytes;
    struct bench_hist delay, spread, join;
    struct {
        uint32_t number;
        int64_t at_ns;
    } first[RECENT];
} load;

static int64_t since_first(uint32_t number, int64_t now_ns)
{
    size_t at = number % RECENT;
    if (load.first[at].number != number || load.first[at].at_ns == 0) {
        load.first[at].number = number;
        load.first[at].at_ns = now_ns;
    }
    return now_ns - load.first[at].at_ns;
}

/* The coded frame or the body of a tag or box that may hold one. */
static void handle_payload(struct viewer *viewer, const uint8_t *data, size_t size, int64_t now_ns)
{
    const uint8_t *at = memmem(data, size < LOOK_BYTES ? size : LOOK_BYTES, STAMP_UUID,
                               STAMP_UUID_LEN);
    if (at == NULL || (size_t)(data + size - at) < STAMP_UUID_LEN + STAMP_TEXT_LEN) {
        load.no_stamp += load.measuring;
        return;
    }
    at += STAMP_UUID_LEN;
    uint32_t number = (uint32_t)bench_from_hex(at, 8);
    int64_t sent_ns = (int64_t)bench_from_hex(at + 8, 16);
    bool key = at[24] == 'K';
    if (!viewer->started && !key)
        load.first_not_key++;
    if (key && !viewer->joined) {
        viewer->joined = true;
        load.joined++;
        bench_hist_add(&load.join, now_ns - viewer->since_ns);
    }
    bool counted = load.measuring && sent_ns >= load.measure_from_ns;
    if (viewer->started && number < viewer->next) {
        load.repeated += load.measuring;
        return;
    }
    if (viewer->started && counted)
        load.lost += number - viewer->next;
    viewer->started = true;
    viewer->next = number + 1;
    int64_t spread = since_first(number, now_ns);
    if (!counted)
        return;
    load.frames++;
    bench_hist_add(&load.delay, now_ns - sent_ns);
    bench_hist_add(&load.spread, spread);
}

/* Takes one whole unit (box, tag) from the data; 0 when it is not whole yet. */
static size_t take_unit(struct viewer *viewer, const uint8_t *data, size_t size, int64_t now_ns)
{
    if (load.flv) {
        if (!viewer->flv_head) {
            if (size < 13)
                return 0;
            if (memcmp(data, "FLV", 3) != 0)
                bench_die("not FLV");
            viewer->flv_head = true;
            return 13;
        }
        size_t body = size >= 11 ? (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3] : 0;
        if (size < 11 || size < 11 + body + 4)
            return 0;
        if (data[0] == 9 && body > 5 && data[12] == 1)
            handle_payload(viewer, data + 11, body, now_ns);
        return 11 + body + 4;
    }
    if (size < 8)
        return 0;
    size_t box = (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    if (box < 8 || box > UNIT_MAX)
        bench_die("a box of %zu bytes", box);
    if (size < box)
        return 0;
    if (memcmp(data + 4, "mdat", 4) == 0)
        handle_payload(viewer, data + 8, box - 8, now_ns);
    return box;
}

static void on_message(struct bench_conn *conn, uint8_t opcode, const uint8_t *data, size_t size,
                       int64_t now_ns)
{
    struct viewer *viewer = &load.viewer[conn->index];
    if (opcode == 1)
        return; /* the MIME type before an init segment */
    load.bytes += load.measuring ? size : 0;
    if (viewer->kept > 0) {
        if (viewer->kept + size > viewer->cap) {
            viewer->cap = (viewer->kept + size) * 2;
            viewer->keep = bench_realloc(viewer->keep, viewer->cap);
        }
        memcpy(viewer->keep + viewer->kept, data, size);
        size += viewer->kept;
        data = viewer->keep;
    }
    size_t at = 0, used;
    while (at < size && (used = take_unit(viewer, data + at, size - at, now_ns)) > 0)
        at += used;
    size_t left = size - at;
    if (left > viewer->cap) {
        uint8_t *keep = bench_calloc(1, left * 2);
        memcpy(keep, data + at, left);
        free(viewer->keep);
        viewer->keep = keep;
        viewer->cap = left * 2;
    } else if (left > 0) {
        memmove(viewer->keep, data + at, left);
    }
    viewer->kept = left;
}

static void run_until(int64_t until_ns)
{
    while (bench_now_ns() < until_ns)
        bench_client_poll(&load.client, until_ns);
}

int main(int argc, char **argv)
{
    static const struct bench_client_ops ops = {.on_message = on_message};
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    const char *host = bench_arg(&args, "host", "127.0.0.1");
    int port = (int)bench_arg_num(&args, "port", 8000);
    const char *path = bench_arg(&args, "path", "/live/demo.mp4");
    load.flv = strcmp(bench_arg(&args, "container", "mp4"), "flv") == 0;
    bool websocket = strcmp(bench_arg(&args, "over", "ws"), "ws") == 0;
    size_t viewers = (size_t)bench_arg_num(&args, "viewers", 300);
    double warm_s = bench_arg_num(&args, "warm", 3), seconds = bench_arg_num(&args, "seconds", 15);
    int64_t nap_us = (int64_t)bench_arg_num(&args, "nap-us", 100);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);

    load.viewer = bench_calloc(viewers, sizeof(struct viewer));
    bench_client_init(&load.client, &ops, host, port, viewers);
    load.client.nap_ns = nap_us * 1000;
    /* One by one in small steps: joining is measured for each, and everybody gets the cached group. */
    int64_t deadline_ns = bench_now_ns() + 60 * BENCH_NS_PER_S;
    double start_ms = 0;
    for (size_t i = 0; i < viewers; i++) {
        load.viewer[i].since_ns = bench_now_ns();
        bench_client_connect(&load.client, i, path, websocket, NULL);
        run_until(bench_now_ns() + 5 * BENCH_NS_PER_MS);
        while (i == 0 && load.joined == 0 && bench_now_ns() < deadline_ns)
            bench_client_poll(&load.client, deadline_ns);
        if (i == 0) {
            start_ms = bench_hist_ms(&load.join, 0);
            memset(&load.join, 0, sizeof(load.join));
            run_until(bench_now_ns() + 3 * BENCH_NS_PER_S); /* a whole group is in the cache */
        }
        while (load.client.connecting > 32 && bench_now_ns() < deadline_ns)
            bench_client_poll(&load.client, deadline_ns);
    }
    while (load.joined < viewers && load.client.closed == 0 && bench_now_ns() < deadline_ns)
        bench_client_poll(&load.client, bench_now_ns() + 100 * BENCH_NS_PER_MS);
    if (load.joined < viewers)
        bench_die("only %zu of %zu viewers have a key frame, %zu were closed", load.joined, viewers,
                  load.client.closed);
    run_until(bench_now_ns() + (int64_t)(warm_s * 1e9));

    struct bench_use before = bench_pids_use(&pids);
    double own_before = bench_own_cpu_s();
    load.measure_from_ns = bench_now_ns();
    load.measuring = true;
    run_until(load.measure_from_ns + (int64_t)(seconds * 1e9));
    struct bench_use after = bench_pids_use(&pids);
    double wall = (double)(after.at_ns - before.at_ns) / 1e9, cpu = after.cpu_s - before.cpu_s;
    printf("{\"viewers\":%zu,\"closed\":%zu,\"frames\":%llu,\"lost\":%llu,\"repeated\":%llu,\"no_"
           "stamp\":%llu,\"mbit_per_viewer\":%.3f,"
           "\"first_not_key\":%llu,\"start_ms\":%.1f,\"join_p50_ms\":%.3f,\"join_p99_ms\":%.3f,"
           "\"p50_ms\":%.3f,\"p99_"
           "ms\":%.3f,\"max_ms\":%.3f,"
           "\"spread_p50_ms\":%.3f,\"spread_p99_ms\":%.3f,\"server_core_pct\":%.2f,\"cpu_us_per_"
           "frame\":%.3f,\"rss_mb\":%.2f,"
           "\"client_core_pct\":%.2f}\n",
           viewers, load.client.closed, (unsigned long long)load.frames,
           (unsigned long long)load.lost, (unsigned long long)load.repeated,
           (unsigned long long)load.no_stamp, (double)load.bytes * 8 / 1e6 / wall / (double)viewers,
           (unsigned long long)load.first_not_key, start_ms, bench_hist_ms(&load.join, 0.5),
           bench_hist_ms(&load.join, 0.99), bench_hist_ms(&load.delay, 0.5),
           bench_hist_ms(&load.delay, 0.99), (double)load.delay.max_ns / 1e6,
           bench_hist_ms(&load.spread, 0.5), bench_hist_ms(&load.spread, 0.99), 100.0 * cpu / wall,
           load.frames > 0 ? cpu * 1e6 / (double)load.frames : 0.0, after.rss_kb / 1024,
           100.0 * (bench_own_cpu_s() - own_before) / wall);
    for (size_t i = 0; i < viewers; i++)
        free(load.viewer[i].keep);
    bench_client_fini(&load.client);
    free(load.viewer);
    return 0;
}
