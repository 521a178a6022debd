/* SPDX-License-Identifier: MIT
 *
 * Is our own listener alive? In NNG 1.5.2 one peer that sends FIN and RST during the handshake stops a listener for good
 * while the kernel goes on completing connections, so only a whole SP handshake tells. Wire format: SP over TCP,
 * https://github.com/nanomsg/nanomsg/blob/master/rfc/sp-tcp-mapping-01.txt */
#include "bus_priv.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(a);
    return fd;
}

static int connect_ipc(const char *url)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (snprintf(a.sun_path, sizeof a.sun_path, "%s", url + 6) >= (int)sizeof a.sun_path)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool bus__probe_sp(const char *url, uint16_t protocol)
{
    uint8_t hello[8] = {0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0}, back[8];
    int fd = bus__scheme(url) == BUS_SCHEME_IPC ? connect_ipc(url) : connect_tcp(url);
    if (fd < 0)
        return false;
    size_t got = 0;
    if (send(fd, hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello) {
        int64_t until = wr_mono_us() + 1000000;
        while (got < sizeof back) {
            int left = (int)((until - wr_mono_us()) / 1000);
            struct pollfd p = {.fd = fd, .events = POLLIN};
            if (left <= 0 || poll(&p, 1, left) <= 0)
                break;
            ssize_t n = recv(fd, back + got, sizeof back - got, 0);
            if (n <= 0)
                break;
            got += (size_t)n;
        }
    }
    close(fd);
    return got == sizeof back && memcmp(back, hello, 4) == 0;
}
