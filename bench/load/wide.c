/* SPDX-License-Identifier: MIT
 *
 * One room over several gateways: --clients text clients at each of --ports, a process for each port. The first client says
 * --messages times something; a message is over when the last client of all processes has it. The processes tell each other what
 * they count in shared memory; every process reads the same clock. */
#include "client.h"
#include "load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define PORTS_MAX 16
#define MESSAGES_MAX 100
#define STAMP_LEN 25 /* '@', number 8, time 16: hexadecimal */
#define MESSAGE_BYTES 200

/* What one process has of one message. Written by that process alone. */
struct part {
    atomic_uint count;
    _Atomic int64_t first_ns, last_ns;
};

struct reader {
    atomic_bool ready;
    _Atomic double accept_s, own_cpu_s;
    struct part part[MESSAGES_MAX];
};

struct shared {
    atomic_uint say; /* messages that the first process is to have said */
    atomic_bool over;
    _Atomic int64_t said_ns[MESSAGES_MAX];
    struct reader reader[PORTS_MAX];
};

static struct {
    const char *host, *path;
    int port[PORTS_MAX];
    size_t ports, clients, window;
    unsigned messages;
    int64_t nap_ns;
    struct shared *shared;
    size_t me;
    unsigned said;
    pid_t child[PORTS_MAX];
} load;

/* ---- a process of clients --------------------------------------------------------------------------------------------- */

static void on_message(struct bench_conn *conn, uint8_t opcode, const uint8_t *data, size_t size,
                       int64_t now_ns)
{
    (void)conn, (void)opcode;
    for (const uint8_t *end; size >= STAMP_LEN; size -= (size_t)(end - data) + 1, data = end + 1) {
        unsigned number = data[0] == '@' ? (unsigned)bench_from_hex(data + 1, 8) : MESSAGES_MAX;
        if (number < MESSAGES_MAX) {
            struct part *part = &load.shared->reader[load.me].part[number];
            if (atomic_load(&part->count) == 0)
                atomic_store(&part->first_ns, now_ns);
            atomic_store(&part->last_ns, now_ns);
            atomic_fetch_add(&part->count, 1);
        }
        end = memchr(data, '\n', size);
        if (end == NULL)
            return;
    }
}

static void say(struct bench_client *client)
{
    char text[MESSAGE_BYTES + 1];
    int64_t now_ns = bench_now_ns();
    snprintf(text, sizeof(text), "@%08x%016llx", load.said, (unsigned long long)now_ns);
    memset(text + STAMP_LEN, 'x', MESSAGE_BYTES - STAMP_LEN);
    atomic_store(&load.shared->said_ns[load.said++], now_ns);
    if (!bench_conn_send(&client->conns[0], text, MESSAGE_BYTES))
        bench_die("the sender's connection is closed");
}

static void run_clients(void)
{
    static const struct bench_client_ops ops = {.on_message = on_message};
    struct reader *mine = &load.shared->reader[load.me];
    struct bench_client client;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_client_init(&client, &ops, load.host, load.port[load.me], load.clients);
    client.sources = 50;
    int64_t start_ns = bench_now_ns();
    bench_client_connect_all(&client, load.path, true, NULL, load.window, 120);
    atomic_store(&mine->accept_s, (double)(bench_now_ns() - start_ns) / 1e9);
    client.nap_ns = load.nap_ns;
    atomic_store(&mine->ready, true);
    while (!atomic_load(&load.shared->over)) {
        if (load.me == 0 && load.said < atomic_load(&load.shared->say))
            say(&client);
        bench_client_poll(&client, bench_now_ns() + BENCH_NS_PER_MS);
        if (client.closed > 0)
            bench_die("port %d closed %zu connections", load.port[load.me], client.closed);
        atomic_store(&mine->own_cpu_s, bench_own_cpu_s());
    }
    _exit(0);
}

/* ---- the one that counts ---------------------------------------------------------------------------------------------- */

static void end_children(void)
{
    for (size_t i = 0; i < load.ports; i++)
        if (load.child[i] > 0)
            kill(load.child[i], SIGKILL);
}

static void stay_alive(void)
{
    int status;
    if (waitpid(-1, &status, WNOHANG) > 0) {
        end_children();
        bench_die("a process of clients has ended, see above");
    }
    bench_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
}

static void wait_ready(void)
{
    for (size_t i = 0; i < load.ports; i++)
        while (!atomic_load(&load.shared->reader[i].ready))
            stay_alive();
}

static uint64_t delivered(unsigned message)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < load.ports; i++)
        sum += atomic_load(&load.shared->reader[i].part[message].count);
    return sum;
}

/* Until all have message `number`, 20 s at most. */
static void wait_for_all(unsigned number)
{
    int64_t end_ns = bench_now_ns() + 20 * BENCH_NS_PER_S;
    while (delivered(number) < load.ports * load.clients && bench_now_ns() < end_ns)
        stay_alive();
}

static void add_message(unsigned number, struct bench_hist *first, struct bench_hist *last)
{
    int64_t said_ns = atomic_load(&load.shared->said_ns[number]), first_ns = INT64_MAX, last_ns = 0;
    for (size_t i = 0; i < load.ports; i++) {
        struct part *part = &load.shared->reader[i].part[number];
        int64_t from_ns = atomic_load(&part->first_ns), to_ns = atomic_load(&part->last_ns);
        if (from_ns > 0 && from_ns < first_ns)
            first_ns = from_ns;
        if (to_ns > last_ns)
            last_ns = to_ns;
    }
    if (last_ns == 0)
        return;
    bench_hist_add(first, first_ns - said_ns);
    bench_hist_add(last, last_ns - said_ns);
}

static void parse_ports(const char *list)
{
    char *end;
    for (; *list != '\0'; list = *end == ',' ? end + 1 : end) {
        long port = strtol(list, &end, 10);
        if (end == list || port < 1 || port > 65535 || load.ports == PORTS_MAX)
            bench_die("--ports: 1 to %d ports, with commas between", PORTS_MAX);
        load.port[load.ports++] = (int)port;
    }
}

int main(int argc, char **argv)
{
    static struct bench_hist first, last;
    struct bench_args args;
    struct bench_pids pids;
    bench_args_init(&args, argc, argv);
    load.host = bench_arg(&args, "host", "127.0.0.1");
    const char *port = bench_arg(&args, "port", "8000");
    parse_ports(bench_arg(&args, "ports", port));
    load.path = bench_arg(&args, "path", "/ws");
    load.clients = (size_t)bench_arg_num(&args, "clients", 19000);
    load.window = (size_t)bench_arg_num(&args, "window", 64);
    load.messages = (unsigned)bench_arg_num(&args, "messages", 10);
    double every_s = bench_arg_num(&args, "every", 1);
    load.nap_ns = (int64_t)(bench_arg_num(&args, "nap-us", 100) * 1000);
    bench_pids_parse(&pids, bench_arg(&args, "pids", NULL));
    bench_args_done(&args);
    if (load.messages < 1 || load.messages >= MESSAGES_MAX)
        bench_die("--messages 1 to %d", MESSAGES_MAX - 1);

    load.shared = mmap(NULL, sizeof(*load.shared), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (load.shared == MAP_FAILED)
        bench_die("out of memory");
    struct bench_use before = bench_pids_use(&pids);
    for (load.me = 0; load.me < load.ports; load.me++) {
        load.child[load.me] = fork();
        if (load.child[load.me] == 0)
            run_clients();
        if (load.child[load.me] < 0)
            bench_die("fork failed");
    }
    wait_ready();
    bench_sleep_until(bench_now_ns() + 3 * BENCH_NS_PER_S); /* presence of all has been told */
    struct bench_use joined = bench_pids_use(&pids);
    double own = 0, accept_s = 0;
    for (size_t i = 0; i < load.ports; i++) {
        own -= atomic_load(&load.shared->reader[i].own_cpu_s);
        double s = atomic_load(&load.shared->reader[i].accept_s);
        accept_s = s > accept_s ? s : accept_s;
    }
    uint64_t got = 0, most = 0;
    for (unsigned number = 0; number <= load.messages; number++) { /* the first one warms up */
        int64_t next_ns = bench_now_ns() + (int64_t)(every_s * 1e9);
        atomic_store(&load.shared->say, number + 1);
        wait_for_all(number);
        if (number > 0) {
            add_message(number, &first, &last);
            got += delivered(number);
            most += load.ports * load.clients;
        } else {
            joined.cpu_s = bench_pids_use(&pids).cpu_s;
        }
        bench_sleep_until(next_ns);
    }
    struct bench_use after = bench_pids_use(&pids);
    for (size_t i = 0; i < load.ports; i++)
        own += atomic_load(&load.shared->reader[i].own_cpu_s);
    atomic_store(&load.shared->over, true);
    for (size_t i = 0; i < load.ports; i++)
        waitpid(load.child[i], NULL, 0);
    double all = (double)(load.ports * load.clients);
    printf(
        "{\"gateways\":%zu,\"clients\":%.0f,\"delivered_pct\":%.4f,\"first_p50_ms\":%.3f,"
        "\"last_p50_ms\":%.3f,\"last_max_ms\":%.3f,\"cpu_us_per_delivery\":%.3f,\"accept_s\":%.3f,"
        "\"rss_kb_per_conn\":%.3f,\"rss_mb\":%.2f,\"client_cpu_s\":%.2f}\n",
        load.ports, all, 100.0 * (double)got / (double)most, bench_hist_ms(&first, 0.5),
        bench_hist_ms(&last, 0.5), (double)last.max_ns / 1e6,
        got > 0 ? (after.cpu_s - joined.cpu_s) * 1e6 / (double)got : 0.0, accept_s,
        (joined.rss_kb - before.rss_kb) / all, after.rss_kb / 1024, own);
    return 0;
}
