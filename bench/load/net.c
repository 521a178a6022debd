/* SPDX-License-Identifier: MIT
 *
 * Sockets of the load programs; see net.h. */
#include "net.h"

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOURCE_NET 0x7f000100u /* 127.0.1.0 */

void bench_loopback(struct sockaddr_in *out, const char *host, int port)
{
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &out->sin_addr) != 1 || (ntohl(out->sin_addr.s_addr) >> 24) != 127)
        bench_die("--host %s: only a loopback address (127.x.x.x) is loaded", host);
}

static void bind_source(int fd, size_t source)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(SOURCE_NET + (uint32_t)source)};
    int one = 1;
    /* The port is chosen by connect(), which may use one again that another pair of addresses has. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) != 0)
        bench_die("bind to 127.0.1.%zu: %s", source, strerror(errno));
}

int bench_dial(const struct sockaddr_in *to, size_t source)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (source > 0)
        bind_source(fd, source);
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0 && errno != EINPROGRESS)
        bench_die("connect to port %d: %s", ntohs(to->sin_port), strerror(errno));
    return fd;
}

void bench_dialled(int fd, const struct sockaddr_in *to)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0)
        bench_die("connect to port %d: %s", ntohs(to->sin_port), strerror(error));
}

void bench_reset(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

static void nap(int64_t ns)
{
    struct timespec time = {.tv_nsec = ns};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

int bench_wait(int epoll_fd, struct epoll_event *events, int max, int64_t until_ns, int64_t nap_ns)
{
    for (;;) {
        int64_t left = until_ns - bench_now_ns();
        int64_t wait = nap_ns > 0 || left < 0 ? 0 : left;
        struct timespec timeout = {.tv_sec = wait / BENCH_NS_PER_S,
                                   .tv_nsec = wait % BENCH_NS_PER_S};
        int count = epoll_pwait2(epoll_fd, events, max, &timeout, NULL);
        if (count < 0 && errno != EINTR)
            bench_die("epoll_pwait2: %s", strerror(errno));
        if (count > 0)
            return count;
        if (left <= 0)
            return 0;
        if (nap_ns > 0)
            nap(left < nap_ns ? left : nap_ns);
    }
}
