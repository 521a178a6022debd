/* SPDX-License-Identifier: MIT
 *
 * The TCP connections under NNG's pipes: made to end when the other side is gone, and ended from below. NNG tells nobody
 * their descriptors, so these are found by their two addresses.
 *
 * Ended from below, because NNG 1.5.2 loses a task when a pipe is closed between two steps of a transfer (a message's
 * length and its body, say): the next step is refused in silence, nobody's operation ends, and the one thread that lets
 * pipes go waits for it for ever. A connection that ends has no such moment: NNG learns of it as of any peer that went
 * away, at a step of its own.
 *
 * And first by half: of a connection that ended both ways the other side may learn by a send that fails, which closes its
 * pipe while it is between two steps of receiving: the same trap, over there. From one that ended one way it reads what
 * was still for it, and then the end. */
#include "bus_nng.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct ends {
    nng_sockaddr local, remote;
};

typedef int (*name_fn)(int fd, struct sockaddr *a, socklen_t *n);

static bool is_at(int fd, name_fn name, const nng_sockaddr *want)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } a;
    socklen_t n = sizeof a;
    if (name(fd, &a.any, &n) != 0)
        return false;
    if (want->s_family == NNG_AF_INET)
        return a.any.sa_family == AF_INET && a.v4.sin_port == want->s_in.sa_port &&
               a.v4.sin_addr.s_addr == want->s_in.sa_addr;
    return want->s_family == NNG_AF_INET6 && a.any.sa_family == AF_INET6 &&
           a.v6.sin6_port == want->s_in6.sa_port &&
           memcmp(&a.v6.sin6_addr, want->s_in6.sa_addr, sizeof a.v6.sin6_addr) == 0;
}

typedef void (*use_fn)(int fd);

static bool use_if(int fd, const struct ends *e, use_fn use)
{
    if (!is_at(fd, getsockname, &e->local))
        return false;
    /* NNG may close the descriptor meanwhile, and its number may become another connection's: a copy stays what it is. */
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    bool ours = is_at(copy, getsockname, &e->local) && is_at(copy, getpeername, &e->remote);
    if (ours)
        use(copy);
    close(copy);
    return ours;
}

/* False when some of the pipes are not TCP. */
static bool use_connections(const nng_pipe *pipes, size_t n, use_fn use)
{
    struct ends *e = calloc(n + 1, sizeof *e);
    DIR *d = opendir("/proc/self/fd");
    size_t known = 0, used = 0;
    bool all = e && d;
    for (size_t i = 0; e && i < n; i++) {
        struct ends *at = &e[known];
        if (nng_pipe_get_addr(pipes[i], NNG_OPT_LOCADDR, &at->local) != 0 ||
            nng_pipe_get_addr(pipes[i], NNG_OPT_REMADDR, &at->remote) != 0)
            continue; /* gone, or going */
        if (at->local.s_family == NNG_AF_INET || at->local.s_family == NNG_AF_INET6)
            known++;
        else
            all = false;
    }
    for (struct dirent *f; d && used < known && (f = readdir(d));) {
        int fd = (int)strtol(f->d_name, NULL, 10); /* "." is 0, and harmless */
        for (size_t i = 0; i < known; i++)
            if (use_if(fd, &e[i], use)) {
                used++;
                break;
            }
    }
    if (d)
        closedir(d);
    free(e);
    return all;
}

static void end(int fd)
{
    shutdown(fd, SHUT_WR);
}

bool bus_nng__end(const nng_pipe *pipes, size_t n)
{
    return use_connections(pipes, n, end);
}

static void cut(int fd)
{
    shutdown(fd, SHUT_RDWR);
}

bool bus_nng__cut(const nng_pipe *pipes, size_t n)
{
    return use_connections(pipes, n, cut);
}

/* Who only receives learns of a vanished host from its probes alone, which the system would send after two hours. Who
 * sends learns from what is not acknowledged, or not taken: a quarter of an hour, or never. */
static void watch(int fd)
{
    static const int idle_s = 5, every_s = 5, probes = 3;
    static const unsigned unanswered_ms = BUS_NNG_UNANSWERED_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof unanswered_ms);
}

void bus_nng__watch(nng_pipe pipe)
{
    (void)use_connections(&pipe, 1, watch);
}
