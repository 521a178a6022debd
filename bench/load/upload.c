/* SPDX-License-Identifier: MIT
 *
 * Upload load: --uploads files of --size bytes at the same time, a thread each, from memory (no disk is read). --proto tus creates
 * the upload first and times the one PATCH; --proto put times one PUT. Time counts from the first byte of that request to the end
 * of the answer. Afterwards each file is read back and compared byte by byte, outside of the time. The server's resident memory is
 * sampled every 10 ms. */
#include "load.h"
#include "net.h"
#include "pattern.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define UPLOADS_MAX 64
#define SEND_BYTES (1u << 20)
#define HEAD_MAX 8192

struct upload {
    pthread_t thread;
    unsigned index;
    char path[512];
    double seconds;
};

static struct {
    const char *host, *base;
    int port;
    bool put, verify;
    uint64_t size;
    struct upload upload[UPLOADS_MAX];
    pthread_barrier_t ready;
} load;

static int dial(void)
{
    struct sockaddr_in address;
    bench_loopback(&address, load.host, load.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct timeval limit = {.tv_sec = 120};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        bench_die("connect %s:%d: %s", load.host, load.port, strerror(errno));
    return fd;
}

static void send_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t done = send(fd, at, size, MSG_NOSIGNAL);
        if (done <= 0) {
            char text[512];
            ssize_t got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
            text[got > 0 ? got : 0] = '\0';
            bench_die("the server stopped reading: %s\n%s", strerror(errno), text);
        }
        at += done;
        size -= (size_t)done;
    }
}

/* Reads an answer's head; what came behind it stays in `text` from *head_len to the returned length. */
static size_t read_head(int fd, char *text, size_t *head_len, const char *status)
{
    size_t got = 0;
    for (;;) {
        ssize_t more = recv(fd, text + got, HEAD_MAX - 1 - got, 0);
        if (more <= 0)
            bench_die("no answer: %s",
                      more < 0 ? strerror(errno) : "the server closed the connection");
        got += (size_t)more;
        text[got] = '\0';
        const char *end = memmem(text, got, "\r\n\r\n", 4);
        if (end == NULL)
            continue;
        *head_len = (size_t)(end - text) + 4;
        if (strncmp(text, "HTTP/1.1 100", 12) == 0) {
            memmove(text, text + *head_len, got - *head_len);
            got -= *head_len;
            continue;
        }
        if (strncmp(text + 9, status, strlen(status)) != 0)
            bench_die("expected status %s, got:\n%.600s", status, text);
        return got;
    }
}

static void create_tus(struct upload *upload)
{
    char text[HEAD_MAX];
    size_t head;
    int fd = dial();
    int len = snprintf(
        text, sizeof(text),
        "POST %s HTTP/1.1\r\nHost: %s:%d\r\nTus-Resumable: 1.0.0\r\nUpload-Length: %llu\r\n"
        "Upload-Metadata: filename YmVuY2guYmlu\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        load.base, load.host, load.port, (unsigned long long)load.size);
    send_all(fd, text, (size_t)len);
    read_head(fd, text, &head, "201");
    const char *at = strcasestr(text, "\nLocation:");
    if (at == NULL)
        bench_die("no Location in:\n%s", text);
    at += 10;
    at += strspn(at, " ");
    const char *scheme = strstr(at, "://"), *line = strpbrk(at, "\r\n");
    if (scheme != NULL && scheme < line)
        at = strchr(scheme + 3, '/');
    snprintf(upload->path, sizeof(upload->path), "%.*s", (int)(line - at), at);
    close(fd);
}

static void verify(struct upload *upload)
{
    char text[HEAD_MAX];
    uint8_t *data = bench_calloc(1, 1u << 20);
    size_t head, have;
    int fd = dial();
    int len = snprintf(
        text, sizeof(text),
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\r\n",
        upload->path, load.host, load.port);
    send_all(fd, text, (size_t)len);
    have = read_head(fd, text, &head, "200") - head;
    memcpy(data, text + head, have);
    uint64_t at = 0;
    while (at < load.size) {
        if (have == 0) {
            ssize_t more = recv(fd, data, 1u << 20, 0);
            if (more <= 0)
                break;
            have = (size_t)more;
        }
        bench_pattern_check(upload->path, upload->index, at, data, have);
        at += have;
        have = 0;
    }
    if (at != load.size)
        bench_die("%s: %llu bytes came back of %llu", upload->path, (unsigned long long)at,
                  (unsigned long long)load.size);
    close(fd);
    free(data);
}

static void *run_upload(void *arg)
{
    struct upload *upload = arg;
    char text[HEAD_MAX];
    size_t head_len;
    if (load.put)
        snprintf(upload->path, sizeof(upload->path), "%sbench-%d-%u.bin", load.base, (int)getpid(),
                 upload->index);
    else
        create_tus(upload);
    int fd = dial();
    int len = snprintf(
        text, sizeof(text),
        "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%sContent-Length: %llu\r\nConnection: close\r\n\r\n",
        load.put ? "PUT" : "PATCH", upload->path, load.host, load.port,
        load.put ? ""
                 : "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: "
                   "application/offset+octet-stream\r\n",
        (unsigned long long)load.size);
    pthread_barrier_wait(&load.ready);
    int64_t start_ns = bench_now_ns();
    send_all(fd, text, (size_t)len);
    for (uint64_t at = 0; at < load.size;) {
        size_t run;
        uint64_t left = load.size - at;
        const uint8_t *bytes = bench_pattern(upload->index, at,
                                             left < SEND_BYTES ? (size_t)left : SEND_BYTES, &run);
        send_all(fd, bytes, run);
        at += run;
    }
    read_head(fd, text, &head_len, load.put ? "201" : "204");
    upload->seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    close(fd);
    return NULL;
}

struct sampler {
    struct bench_pids pids;
    atomic_bool stop;
    double peak_kb;
};

static void *run_sampler(void *arg)
{
    struct sampler *sampler = arg;
    while (!atomic_load(&sampler->stop)) {
        struct bench_use use = bench_pids_use(&sampler->pids);
        if (use.rss_kb > sampler->peak_kb)
            sampler->peak_kb = use.rss_kb;
        bench_sleep_until(bench_now_ns() + 10 * BENCH_NS_PER_MS);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct sampler sampler;
    struct bench_args args;
    bench_args_init(&args, argc, argv);
    load.host = bench_arg(&args, "host", "127.0.0.1");
    load.port = (int)bench_arg_num(&args, "port", 8000);
    load.base = bench_arg(&args, "path", "/files/");
    load.put = strcmp(bench_arg(&args, "proto", "tus"), "put") == 0;
    load.verify = bench_arg_num(&args, "verify", 1) != 0;
    load.size = (uint64_t)bench_arg_num(&args, "size", 1073741824);
    unsigned uploads = (unsigned)bench_arg_num(&args, "uploads", 1);
    bench_pids_parse(&sampler.pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);
    if (uploads < 1 || uploads > UPLOADS_MAX)
        bench_die("--uploads 1 to %d", UPLOADS_MAX);

    bench_pattern_init();
    pthread_barrier_init(&load.ready, NULL, uploads);
    struct bench_use before = bench_pids_use(&sampler.pids);
    double own_before = bench_own_cpu_s();
    int64_t start_ns = bench_now_ns();
    pthread_t sampling;
    pthread_create(&sampling, NULL, run_sampler, &sampler);
    for (unsigned i = 0; i < uploads; i++) {
        load.upload[i].index = i;
        pthread_create(&load.upload[i].thread, NULL, run_upload, &load.upload[i]);
    }
    double longest = 0;
    for (unsigned i = 0; i < uploads; i++) {
        pthread_join(load.upload[i].thread, NULL);
        if (load.upload[i].seconds > longest)
            longest = load.upload[i].seconds;
    }
    double wall = (double)(bench_now_ns() - start_ns) / 1e9, own = bench_own_cpu_s() - own_before;
    struct bench_use after = bench_pids_use(&sampler.pids);
    atomic_store(&sampler.stop, true);
    pthread_join(sampling, NULL);
    for (unsigned i = 0; i < uploads && load.verify; i++)
        verify(&load.upload[i]);
    printf("{\"uploads\":%u,\"size\":%llu,\"seconds\":%.4f,\"mb_per_s\":%.1f,\"server_cpu_s\":%.3f,"
           "\"rss_before_mb\":%.2f,"
           "\"rss_peak_mb\":%.2f,\"client_core_pct\":%.1f,\"verified\":%s,\"path\":\"%s\"}\n",
           uploads, (unsigned long long)load.size, longest,
           (double)load.size * uploads / 1e6 / longest, after.cpu_s - before.cpu_s,
           before.rss_kb / 1024, sampler.peak_kb / 1024, 100 * own / wall,
           load.verify ? "true" : "false", load.upload[0].path);
    return 0;
}
