/* SPDX-License-Identifier: MIT
 *
 * Addresses and blocks of addresses, for gateway.trusted_proxies. IPv4 is kept as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2),
 * so that there is one kind to compare. */
#include "http_priv.h"
#include <arpa/inet.h>
#include <stdlib.h>

bool http__addr_parse(const char *text, struct in6_addr *out)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        memset(out, 0, sizeof *out);
        out->s6_addr[10] = out->s6_addr[11] = 0xff;
        memcpy(out->s6_addr + 12, &v4, 4);
        return true;
    }
    return inet_pton(AF_INET6, text, out) == 1;
}

static bool block_parse(const char *text, size_t n, struct http__block *b)
{
    char buf[80];
    if (n >= sizeof buf)
        return false;
    memcpy(buf, text, n);
    buf[n] = 0;
    char *slash = strchr(buf, '/');
    if (slash)
        *slash = 0;
    if (!http__addr_parse(buf, &b->addr))
        return false;
    unsigned most = strchr(buf, ':') ? 128 : 32;
    unsigned bits = most;
    if (slash) {
        char *end;
        unsigned long v = strtoul(slash + 1, &end, 10);
        if (end == slash + 1 || *end || v > most)
            return false;
        bits = (unsigned)v;
    }
    b->bits = most == 32 ? 96 + bits : bits;
    return true;
}

bool http__blocks_parse(const char *text, struct http__block *out, size_t max, size_t *n)
{
    *n = 0;
    for (const char *p = text; *p;) {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ", \t");
        if (len == 0)
            break;
        if (*n == max || !block_parse(p, len, &out[*n]))
            return false;
        (*n)++;
        p += len;
    }
    return true;
}

bool http__addr_in(const struct http__block *b, size_t n, const struct in6_addr *a)
{
    for (size_t i = 0; i < n; i++) {
        unsigned whole = b[i].bits / 8, rest = b[i].bits % 8;
        if (memcmp(b[i].addr.s6_addr, a->s6_addr, whole) != 0)
            continue;
        if (rest == 0 || ((b[i].addr.s6_addr[whole] ^ a->s6_addr[whole]) >> (8 - rest)) == 0)
            return true;
    }
    return false;
}

uint32_t wr_http_per_address(const struct wr_http *h)
{
    return h->per_address;
}

bool wr_http_is_proxy(const struct wr_http *h, const struct wr_addr *a)
{
    struct in6_addr addr;
    memcpy(&addr, a->ip, sizeof addr);
    return h->num_proxies && http__addr_in(h->proxies, h->num_proxies, &addr);
}
