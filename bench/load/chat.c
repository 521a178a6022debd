/* SPDX-License-Identifier: MIT
 *
 * Chat load: one room, --clients connections, some of them senders. Every message carries sender, number and the time it was
 * sent; every client reads every frame and checks the numbers, so "delivered" is counted and not guessed.
 *
 *   --mode fan   senders send --rate messages a second together; delay and CPU per delivery are measured
 *   --mode ack   each sender waits for the acknowledgement of its message before the next one. Protocol centrifuge: the publish
 *                reply; protocol text: the own message coming back. With --rooms the clients are spread over so many rooms
 *   --protocol text | centrifuge */
#include "client.h"
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAMP_LEN 29 /* '@', sender 4, number 8, time 16: hexadecimal */
#define STAMP_AFTER "\"text\":\""
#define READY_ID "\"id\":2"
#define QUIET_MS 2000
#define DRAIN_MAX_MS 90000

enum phase { PHASE_JOIN, PHASE_WARM, PHASE_MEASURE };

struct sender {
    uint32_t next_number;  /* of the next message */
    uint32_t first_number; /* first one of the measured phase */
    int64_t sent_at_ns;    /* ack mode: when the message now waited for was sent */
    uint32_t waiting_id;   /* ack mode, centrifuge: id of the publish that is waited for */
};

static struct {
    struct bench_client client;
    bool centrifuge, ack;
    const char *room;
    size_t senders, size, rooms;
    enum phase phase;
    struct sender *sender;
    uint32_t *expect; /* [client][sender]: next number */
    size_t ready;
    uint64_t sent, delivered, repeated, skipped, errors, warm_delivered, acked;
    struct bench_hist delay;
    int64_t last_delivery_ns, late_max_ns;
} load;

/* Rooms are named by their number where there are several. */
static const char *room_of(size_t client, char *out, size_t size)
{
    if (load.rooms == 1)
        return load.room;
    snprintf(out, size, "%s-%zu", load.room, client % load.rooms);
    return out;
}

static void send_message(size_t who)
{
    struct sender *sender = &load.sender[who];
    struct bench_conn *conn = &load.client.conns[who];
    char text[4096], line[5120], room[128];
    int64_t now_ns = bench_now_ns();
    uint32_t number = sender->next_number++;
    snprintf(text, sizeof(text), "@%04x%08x%016llx", (unsigned)who, number,
             (unsigned long long)now_ns);
    memset(text + STAMP_LEN, 'x', load.size - STAMP_LEN);
    text[load.size] = '\0';
    sender->sent_at_ns = now_ns;
    sender->waiting_id = number + 10;
    bool sent;
    if (load.centrifuge) {
        int len = snprintf(
            line, sizeof(line),
            "{\"id\":%u,\"publish\":{\"channel\":\"%s\",\"data\":{\"text\":\"%s\"}}}",
            sender->waiting_id, room_of(who, room, sizeof(room)), text);
        sent = bench_conn_send(conn, line, (size_t)len);
    } else {
        sent = bench_conn_send(conn, text, load.size);
    }
    load.sent += sent;
}

static void count_ack(size_t who, int64_t now_ns)
{
    if (load.phase == PHASE_MEASURE) {
        load.acked++;
        bench_hist_add(&load.delay, now_ns - load.sender[who].sent_at_ns);
    }
    send_message(who);
}

static void handle_stamp(struct bench_conn *conn, const uint8_t *stamp, int64_t now_ns)
{
    size_t who = (size_t)bench_from_hex(stamp + 1, 4);
    uint32_t number = (uint32_t)bench_from_hex(stamp + 5, 8);
    int64_t sent_at_ns = (int64_t)bench_from_hex(stamp + 13, 16);
    if (who >= load.senders)
        bench_die("connection %u: a message of sender %zu, there are %zu", conn->index, who,
                  load.senders);
    uint32_t *expect = &load.expect[conn->index * load.senders + who];
    if (number < *expect) {
        load.repeated++;
        return;
    }
    load.skipped += number - *expect;
    *expect = number + 1;
    load.last_delivery_ns = now_ns;
    if (load.ack) {
        if (!load.centrifuge && conn->index == who && load.phase != PHASE_JOIN)
            count_ack(who, now_ns);
        return;
    }
    if (number < load.sender[who].first_number || load.phase != PHASE_MEASURE) {
        load.warm_delivered++;
        return;
    }
    load.delivered++;
    bench_hist_add(&load.delay, now_ns - sent_at_ns);
}

static void handle_reply(struct bench_conn *conn, const char *line, size_t size, int64_t now_ns)
{
    if (memmem(line, size, "\"error\":", 8) != NULL) {
        if (load.phase == PHASE_JOIN)
            bench_die("connection %u: %.*s", conn->index, (int)size, line);
        load.errors++;
    }
    if (load.phase == PHASE_JOIN) {
        if (memmem(line, size, READY_ID, sizeof(READY_ID) - 1) != NULL)
            load.ready++;
        return;
    }
    if (!load.ack || conn->index >= load.senders)
        return;
    const char *id = memmem(line, size, "\"id\":", 5);
    if (id != NULL && strtoul(id + 5, NULL, 10) == load.sender[conn->index].waiting_id)
        count_ack(conn->index, now_ns);
}

static void handle_line(struct bench_conn *conn, const uint8_t *line, size_t size, int64_t now_ns)
{
    if (!load.centrifuge) {
        if (size >= STAMP_LEN && line[0] == '@')
            handle_stamp(conn, line, now_ns);
        return;
    }
    if (size == 2) { /* {}: the protocol's ping, answered by the same */
        bench_conn_send(conn, "{}", 2);
        return;
    }
    const uint8_t *at = memmem(line, size, STAMP_AFTER "@", sizeof(STAMP_AFTER));
    if (at == NULL)
        handle_reply(conn, (const char *)line, size, now_ns);
    else if ((size_t)(line + size - at) >= sizeof(STAMP_AFTER) - 1 + STAMP_LEN)
        handle_stamp(conn, at + sizeof(STAMP_AFTER) - 1, now_ns);
}

static void on_message(struct bench_conn *conn, uint8_t opcode, const uint8_t *data, size_t size,
                       int64_t now_ns)
{
    (void)opcode;
    while (size > 0 && conn->state == BENCH_CONN_OPEN) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t len = end != NULL ? (size_t)(end - data) : size;
        if (len > 0)
            handle_line(conn, data, len, now_ns);
        if (end == NULL)
            break;
        data += len + 1;
        size -= len + 1;
    }
}

static void on_open(struct bench_conn *conn)
{
    if (!load.centrifuge) {
        load.ready++;
        return;
    }
    char line[256], room[128];
    int len = snprintf(line, sizeof(line),
                       "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"%s\"}}",
                       room_of(conn->index, room, sizeof(room)));
    bench_conn_send(conn, line, (size_t)len);
}

static void run_until(int64_t until_ns)
{
    while (bench_now_ns() < until_ns)
        bench_client_poll(&load.client, until_ns);
}

/* Sends `rate` a second, spread over the senders and over the time; reads meanwhile. Returns how many were due. */
static uint64_t send_phase(double rate, double seconds)
{
    int64_t start_ns = bench_now_ns();
    uint64_t total = (uint64_t)(rate * seconds);
    for (uint64_t k = 0; k < total; k++) {
        int64_t at_ns = start_ns + (int64_t)((double)k / rate * 1e9);
        run_until(at_ns);
        int64_t late_ns = bench_now_ns() - at_ns;
        if (load.phase == PHASE_MEASURE && late_ns > load.late_max_ns)
            load.late_max_ns = late_ns;
        send_message(k % load.senders);
    }
    run_until(start_ns + (int64_t)(seconds * 1e9));
    return total;
}

/* Reads until `wanted` deliveries are counted, or nothing has come for a while. */
static void drain(const uint64_t *counter, uint64_t wanted)
{
    int64_t end_ns = bench_now_ns() + DRAIN_MAX_MS * BENCH_NS_PER_MS;
    load.last_delivery_ns = bench_now_ns();
    while (*counter < wanted && bench_now_ns() < end_ns &&
           bench_now_ns() - load.last_delivery_ns < QUIET_MS * BENCH_NS_PER_MS)
        bench_client_poll(&load.client, bench_now_ns() + 10 * BENCH_NS_PER_MS);
}

int main(int argc, char **argv)
{
    static const struct bench_client_ops ops = {.on_open = on_open, .on_message = on_message};
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    const char *host = bench_arg(&args, "host", "127.0.0.1");
    int port = (int)bench_arg_num(&args, "port", 8000);
    const char *path = bench_arg(&args, "path", "/ws");
    load.centrifuge = strcmp(bench_arg(&args, "protocol", "text"), "centrifuge") == 0;
    load.ack = strcmp(bench_arg(&args, "mode", "fan"), "ack") == 0;
    load.room = bench_arg(&args, "room", "bench");
    size_t clients = (size_t)bench_arg_num(&args, "clients", 1000);
    load.senders = (size_t)bench_arg_num(&args, "senders", 10);
    double rate = bench_arg_num(&args, "rate", 100);
    load.size = (size_t)bench_arg_num(&args, "size", 200);
    load.rooms = (size_t)bench_arg_num(&args, "rooms", 1);
    double warm_s = bench_arg_num(&args, "warm", 1);
    double seconds = bench_arg_num(&args, "seconds", 10);
    int64_t nap_us = (int64_t)bench_arg_num(&args, "nap-us", 100);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);
    if (load.senders > clients || load.senders == 0 || load.size < STAMP_LEN || load.size > 4000)
        bench_die("--senders must be 1 to --clients, --size %d to 4000", STAMP_LEN);

    if (load.rooms < 1 || (load.rooms > 1 && !(load.ack && load.centrifuge)))
        bench_die("--rooms above 1 needs --mode ack and --protocol centrifuge");
    load.sender = bench_calloc(load.senders, sizeof(struct sender));
    load.expect = bench_calloc(clients * load.senders, sizeof(uint32_t));
    bench_client_init(&load.client, &ops, host, port, clients);
    bench_client_connect_all(&load.client, path, true, NULL, 64, 60);
    int64_t joined_by = bench_now_ns() + 30 * BENCH_NS_PER_S;
    while (load.ready < clients && bench_now_ns() < joined_by)
        bench_client_poll(&load.client, joined_by);
    if (load.ready < clients)
        bench_die("only %zu of %zu clients joined the room", load.ready, clients);
    run_until(bench_now_ns() +
              200 * BENCH_NS_PER_MS); /* a join that a server finishes behind the handshake */

    load.client.nap_ns = load.ack ? 0 : nap_us * 1000;
    load.phase = PHASE_WARM;
    if (load.ack) {
        for (size_t i = 0; i < load.senders; i++)
            send_message(i);
        run_until(bench_now_ns() + (int64_t)(warm_s * 1e9));
    } else {
        uint64_t warm = send_phase(rate < 500 ? rate : 500, warm_s);
        drain(&load.warm_delivered, warm * clients);
    }
    for (size_t i = 0; i < load.senders; i++)
        load.sender[i].first_number = load.sender[i].next_number;
    load.phase = PHASE_MEASURE;
    load.sent = load.skipped = load.repeated = 0;
    size_t began_with = load.client.opened;
    struct bench_use before = bench_pids_use(&pids);
    double own_before = bench_own_cpu_s();
    uint64_t offered = 0;
    if (load.ack) {
        run_until(bench_now_ns() + (int64_t)(seconds * 1e9));
    } else {
        offered = send_phase(rate, seconds);
        drain(&load.delivered, offered * clients);
    }
    struct bench_use after = bench_pids_use(&pids);
    double own = bench_own_cpu_s() - own_before;
    double wall = (double)(after.at_ns - before.at_ns) / 1e9;
    double cpu = after.cpu_s - before.cpu_s;
    uint64_t expected = offered * clients;
    printf("{\"clients\":%zu,\"began_with\":%zu,\"closed\":%zu,\"offered\":%llu,\"sent\":%llu,"
           "\"expected\":%llu,\"delivered\":%llu,"
           "\"delivered_pct\":%.4f,\"repeated\":%llu,\"skipped\":%llu,\"errors\":%llu,\"acked\":%"
           "llu,\"acks_per_s\":%.1f,"
           "\"mean_ms\":%.4f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"p999_ms\":%.4f,\"max_ms\":%.4f,"
           "\"wall_s\":%.3f,\"server_cpu_s\":%.3f,"
           "\"server_core_pct\":%.2f,\"cpu_us_per_delivery\":%.4f,\"deliveries_per_s\":%.0f,\"rss_"
           "mb\":%.2f,\"client_core_pct\":%.2f,"
           "\"client_late_max_ms\":%.3f}\n",
           clients, began_with, load.client.closed, (unsigned long long)offered,
           (unsigned long long)load.sent, (unsigned long long)expected,
           (unsigned long long)load.delivered,
           expected > 0 ? 100.0 * (double)load.delivered / (double)expected : 0.0,
           (unsigned long long)load.repeated, (unsigned long long)load.skipped,
           (unsigned long long)load.errors, (unsigned long long)load.acked,
           (double)load.acked / wall,
           load.delay.count > 0 ? load.delay.sum_ns / (double)load.delay.count / 1e6 : 0.0,
           bench_hist_ms(&load.delay, 0.5), bench_hist_ms(&load.delay, 0.99),
           bench_hist_ms(&load.delay, 0.999), (double)load.delay.max_ns / 1e6, wall, cpu,
           100.0 * cpu / wall, load.delivered > 0 ? cpu * 1e6 / (double)load.delivered : 0.0,
           (double)load.delivered / wall, after.rss_kb / 1024.0, 100.0 * own / wall,
           (double)load.late_max_ns / 1e6);
    bench_client_fini(&load.client);
    free(load.sender);
    free(load.expect);
    return 0;
}
