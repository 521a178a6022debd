/* SPDX-License-Identifier: MIT
 *
 * What a publish costs: not a test, a program to run by hand (build/<preset>/services/hub/hub_bench [seconds]).
 * It drives a hub on sqlite through the in-process bus, and times the disk's own sync in the same folder beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_test_kit.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_thread.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_SAMPLES = 2000000, TEXT = 200 };

static atomic_bool over;
static int64_t *samples;
static atomic_size_t num_samples;

static void sample(int64_t us)
{
    size_t at = atomic_fetch_add(&num_samples, 1);
    if (at < MAX_SAMPLES)
        samples[at] = us;
}

static int compare(const void *a, const void *b)
{
    int64_t d = *(const int64_t *)a - *(const int64_t *)b;
    return d < 0 ? -1 : d > 0;
}

static int64_t percentile(double p)
{
    size_t n = WR_MIN(atomic_load(&num_samples), (size_t)MAX_SAMPLES);
    qsort(samples, n, sizeof *samples, compare);
    return n ? samples[(size_t)((double)(n - 1) * p)] : 0;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* As a write-ahead log is written: 8 KiB further on each time, over bytes that exist. */
static void measure_sync(const char *folder)
{
    char path[128], page[8192] = {0};
    snprintf(path, sizeof path, "%s/sync", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 512; i++)
        if (write(fd, page, sizeof page) < 0)
            abort();
    fsync(fd);
    atomic_store(&num_samples, 0);
    for (int i = 0; i < 500; i++) {
        int64_t from = wr_mono_us();
        if (pwrite(fd, page, sizeof page, (off_t)i * 8192) < 0 || fdatasync(fd) != 0)
            abort();
        sample(wr_mono_us() - from);
    }
    close(fd);
    printf("disk: write 8 KiB + fdatasync   median %6lld us   p90 %6lld us   p99 %6lld us\n",
           (long long)percentile(0.5), (long long)percentile(0.9), (long long)percentile(0.99));
}

static const char *message(bool keyed, char key[33])
{
    static char text[TEXT];
    if (!text[0]) {
        memset(text, 'x', sizeof text - 1);
        memcpy(text, "{\"text\":\"", 9);
        memcpy(text + TEXT - 3, "\"}", 2);
    }
    key[0] = '\0';
    if (keyed)
        wr_id_random(key, 26);
    return text;
}

static void *send_and_wait(void *arg)
{
    while (!atomic_load(&over)) {
        char key[33];
        const char *text = message(true, key);
        int64_t from = wr_mono_us();
        if (kit_publish(arg, "bench", key, text).code != WR_OK)
            abort();
        sample(wr_mono_us() - from);
    }
    return NULL;
}

static void measure_waiting(struct kit *k, int senders, int seconds)
{
    pthread_t threads[64];
    atomic_store(&over, false);
    atomic_store(&num_samples, 0);
    double cpu = cpu_seconds();
    for (int i = 0; i < senders; i++)
        if (wr_thread_start(&threads[i], "sender", send_and_wait, k) != WR_OK)
            abort();
    sleep((unsigned)seconds);
    atomic_store(&over, true);
    for (int i = 0; i < senders; i++)
        pthread_join(threads[i], NULL);
    size_t n = atomic_load(&num_samples);
    cpu = cpu_seconds() - cpu;
    printf("%2d senders that wait: %7.0f/s   median %6lld us   p90 %6lld us   p99 %6lld us   %5.1f "
           "us CPU each, both ends\n",
           senders, (double)n / seconds, (long long)percentile(0.5), (long long)percentile(0.9),
           (long long)percentile(0.99), cpu * 1e6 / (double)n);
}

/* A gateway at `rate` messages a second: what came while the last call was out goes as the next one. */
static void measure_rate(struct kit *k, unsigned rate, int seconds, bool keyed)
{
    static Watchroom__V1__PublishItem items[4096], *list[4096];
    static char keys[4096][33];
    char room[] = "rate";
    int64_t from = wr_mono_us();
    uint64_t sent = 0, calls = 0, all = (uint64_t)rate * (unsigned)seconds;
    double cpu = cpu_seconds();
    atomic_store(&num_samples, 0);
    while (sent < all) {
        uint64_t due = (uint64_t)(wr_mono_us() - from) * rate / 1000000;
        size_t n = (size_t)WR_MIN(WR_MIN(due, all) - sent, (uint64_t)4096);
        if (n == 0) {
            usleep(200);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            watchroom__v1__publish_item__init(&items[i]);
            items[i].room = room;
            items[i].data.data = (uint8_t *)(uintptr_t)message(keyed, keys[i]);
            items[i].data.len = TEXT - 1;
            items[i].key.data = (uint8_t *)keys[i];
            items[i].key.len = strlen(keys[i]);
            list[i] = &items[i];
        }
        Watchroom__V1__PublishRequest req = WATCHROOM__V1__PUBLISH_REQUEST__INIT;
        req.items = list;
        req.n_items = n;
        wr_err code;
        int64_t start = wr_mono_us();
        ProtobufCMessage *res = kit_call(k, "Publish", &req.base,
                                         &watchroom__v1__publish_response__descriptor, &code, NULL);
        if (!res)
            abort();
        protobuf_c_message_free_unpacked(res, NULL);
        sample(wr_mono_us() - start);
        sent += n;
        calls++;
    }
    cpu = cpu_seconds() - cpu;
    printf("%u messages/s %s: %5.1f a batch   call median %6lld us   p99 %6lld us   %4.1f %% of a "
           "core, both ends\n",
           rate, keyed ? "with keys " : "no keys   ", (double)sent / (double)calls,
           (long long)percentile(0.5), (long long)percentile(0.99), cpu * 100 / seconds);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 5;
    struct kit k;
    samples = calloc(MAX_SAMPLES, sizeof *samples);
    if (!samples)
        return 1;
    kit_init(&k, "hub:\n  store: sqlite\n");
    kit_start(&k);
    k.deaf = true; /* what is told is the gateway's to pay for */
    measure_sync(k.folder);
    measure_waiting(&k, 1, seconds);
    measure_waiting(&k, 10, seconds);
    measure_rate(&k, 4000, seconds, false);
    measure_rate(&k, 4000, seconds, true);
    measure_sync(k.folder);
    kit_fini(&k);
    free(samples);
    return 0;
}
