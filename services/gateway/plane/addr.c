/* SPDX-License-Identifier: MIT
 *
 * Addresses of sockets, all as IPv6: an IPv4 one is mapped (RFC 4291, 2.5.5.2), so that there is one kind to compare. */
#include "plane_priv.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

void addr__from(const struct sockaddr_storage *ss, struct wr_addr *out)
{
    *out = (struct wr_addr){.port = 0};
    if (ss->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, ss, sizeof in);
        out->ip[10] = out->ip[11] = 0xff;
        memcpy(out->ip + 12, &in.sin_addr, 4);
        out->port = ntohs(in.sin_port);
    } else if (ss->ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, ss, sizeof in);
        memcpy(out->ip, &in.sin6_addr, 16);
        out->port = ntohs(in.sin6_port);
    }
}

void addr__local(int fd, struct wr_addr *out)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    union {
        struct sockaddr_storage *ss;
        struct sockaddr *sa;
    } u = {.ss = &ss};
    socklen_t n = sizeof ss;
    if (getsockname(fd, u.sa, &n) != 0)
        ss.ss_family = AF_UNSPEC;
    addr__from(&ss, out);
}

const char *wr_addr_text(const struct wr_addr *a, char out[WR_ADDR_TEXT])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool v4 = memcmp(a->ip, mapped, sizeof mapped) == 0;
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, a->ip + (v4 ? 12 : 0), out, WR_ADDR_TEXT))
        out[0] = 0;
    return out;
}
