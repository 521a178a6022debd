/* SPDX-License-Identifier: MIT
 *
 * Is our own listener alive? In NNG 1.5.2 one peer that sends FIN and RST during the handshake stops a listener for good.
 * The kernel goes on completing connections, and the transport may even go on answering handshakes whose pipes nobody
 * reads then, so the probe goes one step further: after the handshake it sends an empty message, which both rep0 (no
 * request id) and pub0 (no messages at all) answer by closing the connection. Silence means a dead listener.
 * Wire format: SP over TCP, https://github.com/nanomsg/nanomsg/blob/master/rfc/sp-tcp-mapping-01.txt */
#include "bus_priv.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PROBE_US = 1000000 };

/* A connection, -1 when it takes longer than a probe may: to a listener that does not accept it would be minutes. */
static int connect_to(int family, const struct sockaddr *a, socklen_t n)
{
    static const struct timeval limit = {.tv_sec = PROBE_US / 1000000};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
        connect(fd, a, n) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int connect_tcp(const char *url)
{
    char host[BUS_URL_BYTES], port[16];
    if (!bus__split_tcp(url, host, sizeof host, port, sizeof port))
        return -1;
    /* A wildcard listener is reached on loopback. */
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0)
        strcpy(host, "127.0.0.1");
    else if (strcmp(host, "::") == 0)
        strcpy(host, "::1");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *a;
    if (getaddrinfo(host, port, &hints, &a) != 0)
        return -1;
    int fd = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen);
    freeaddrinfo(a);
    return fd;
}

static int connect_ipc(const char *url)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (snprintf(a.sun_path, sizeof a.sun_path, "%s", url + 6) >= (int)sizeof a.sun_path)
        return -1;
    return connect_to(AF_UNIX, (struct sockaddr *)&a, sizeof a);
}

/* Reads up to n bytes by a deadline; fewer at the end of the connection, -1 when it stayed silent. */
static ssize_t read_until(int fd, uint8_t *to, size_t n, int64_t until_us)
{
    size_t got = 0;
    while (got < n) {
        int left = (int)((until_us - wr_mono_us()) / 1000);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&p, 1, left) <= 0)
            return -1;
        ssize_t r = recv(fd, to + got, n - got, 0);
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

bool bus__probe_sp(const char *url, uint16_t protocol)
{
    bool ipc = bus__scheme(url) == BUS_SCHEME_IPC, alive = false;
    uint8_t hello[8] = {0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0}, back[8];
    static const uint8_t empty[9] = {1}; /* ipc puts a 1 in front of the 64-bit length */
    int64_t until = wr_mono_us() + PROBE_US;
    int fd = ipc ? connect_ipc(url) : connect_tcp(url);
    if (fd < 0)
        return false;
    if (send(fd, hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello &&
        read_until(fd, back, sizeof back, until) == (ssize_t)sizeof back &&
        memcmp(back, hello, 4) == 0 &&
        send(fd, ipc ? empty : empty + 1, ipc ? 9 : 8, MSG_NOSIGNAL) > 0) {
        ssize_t n;
        /* A pub socket may have events for us first. */
        while ((n = read_until(fd, back, sizeof back, until)) == (ssize_t)sizeof back)
            ;
        alive = n >= 0;
    }
    close(fd);
    return alive;
}
