/* SPDX-License-Identifier: MIT
 *
 * Bus addresses: schemes, host and port, and name resolution. A dialer of NNG takes a name's first address only, so
 * names never reach it: we resolve, and each address is an instance of its own. */
#include "bus_priv.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

enum bus_scheme bus__scheme(const char *url)
{
    if (strlen(url) >= BUS_URL_BYTES)
        return BUS_SCHEME_BAD;
    if (strncmp(url, "inproc://", 9) == 0 && url[9])
        return BUS_SCHEME_INPROC;
    if (strncmp(url, "ipc://", 6) == 0 && url[6])
        return BUS_SCHEME_IPC;
    char host[BUS_URL_BYTES], port[16];
    if (bus__split_tcp(url, host, sizeof host, port, sizeof port))
        return BUS_SCHEME_TCP;
    return BUS_SCHEME_BAD;
}

enum bus_scheme bus__scheme_or_say(const char *url, struct wr_errmsg *err)
{
    enum bus_scheme scheme = bus__scheme(url);
    if (scheme == BUS_SCHEME_BAD)
        wr_errmsg_set(
            err, "%s is not a bus address: write inproc://name, tcp://host:port or ipc:///path",
            url);
    return scheme;
}

bool bus__split_tcp(const char *url, char *host, size_t host_n, char *port, size_t port_n)
{
    if (strncmp(url, "tcp://", 6) != 0)
        return false;
    const char *h = url + 6, *colon = strrchr(h, ':');
    size_t digits = colon ? strlen(colon + 1) : 0;
    if (!colon || colon == h || digits == 0 || digits >= port_n)
        return false;
    for (const char *c = colon + 1; *c; c++)
        if (*c < '0' || *c > '9')
            return false;
    size_t n = (size_t)(colon - h);
    if (h[0] == '[' && h[n - 1] == ']') {
        h++;
        n -= 2;
    }
    if (n == 0 || n >= host_n)
        return false;
    memcpy(host, h, n);
    host[n] = '\0';
    memcpy(port, colon + 1, digits + 1);
    return true;
}

bool bus__is_name(const char *url)
{
    char host[BUS_URL_BYTES], port[16];
    struct in6_addr a;
    return bus__split_tcp(url, host, sizeof host, port, sizeof port) &&
           inet_pton(AF_INET, host, &a) != 1 && inet_pton(AF_INET6, host, &a) != 1;
}

bool bus__resolve(const char *url, void (*fn)(void *ctx, const char *url), void *ctx)
{
    char host[BUS_URL_BYTES], port[16], address[INET6_ADDRSTRLEN];
    if (!bus__split_tcp(url, host, sizeof host, port, sizeof port))
        return false;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *all;
    if (getaddrinfo(host, port, &hints, &all) != 0)
        return false;
    for (struct addrinfo *a = all; a; a = a->ai_next) {
        if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        char one[BUS_URL_BYTES];
        snprintf(one, sizeof one, a->ai_family == AF_INET6 ? "tcp://[%s]:%s" : "tcp://%s:%s",
                 address, port);
        fn(ctx, one);
    }
    freeaddrinfo(all);
    return true;
}

bool wr_bus_resolve_url(const char *told, const char *dialled, char *out, size_t n)
{
    char host[BUS_URL_BYTES], port[16], told_host[BUS_URL_BYTES], told_port[16];
    int w;
    if (bus__split_tcp(told, told_host, sizeof told_host, told_port, sizeof told_port) &&
        strcmp(told_host, "*") == 0 &&
        bus__split_tcp(dialled, host, sizeof host, port, sizeof port))
        w = snprintf(out, n, strchr(host, ':') ? "tcp://[%s]:%s" : "tcp://%s:%s", host, told_port);
    else
        w = snprintf(out, n, "%s", told);
    return w > 0 && (size_t)w < n;
}
