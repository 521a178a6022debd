/* SPDX-License-Identifier: MIT
 *
 * Ends a pipe's TCP connection from below. NNG 1.5.2 loses a task when a pipe is closed between two steps of a transfer
 * (a message's length and its body, say): the next step is refused in silence, nobody's operation ends, and the one
 * thread that lets pipes go waits for it for ever. A connection that ends has no such moment: NNG learns of it as of
 * any peer that went away, at a step of its own. It tells nobody the descriptor, so that is found by its two addresses. */
#include "bus_nng.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
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

static bool cut_if(int fd, const struct ends *e)
{
    if (!is_at(fd, getsockname, &e->local))
        return false;
    /* NNG may close the descriptor meanwhile, and its number may become another connection's: a copy stays what it is. */
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    bool ours = is_at(copy, getsockname, &e->local) && is_at(copy, getpeername, &e->remote);
    if (ours)
        shutdown(copy, SHUT_RDWR);
    close(copy);
    return ours;
}

bool bus_nng__cut(const nng_pipe *pipes, size_t n)
{
    struct ends *e = calloc(n + 1, sizeof *e);
    DIR *d = opendir("/proc/self/fd");
    size_t known = 0, cut = 0;
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
    for (struct dirent *f; d && cut < known && (f = readdir(d));) {
        int fd = (int)strtol(f->d_name, NULL, 10); /* "." is 0, and harmless */
        for (size_t i = 0; i < known; i++)
            if (cut_if(fd, &e[i])) {
                cut++;
                break;
            }
    }
    if (d)
        closedir(d);
    free(e);
    return all;
}
