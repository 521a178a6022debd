/* SPDX-License-Identifier: MIT
 *
 * The tests' client: a socket of its own for each request. */
#include "http_test_kit.h"
#include <arpa/inet.h>

struct wr_http *http;

int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)strtol(strrchr(wr_http_address(http), ':') + 1, NULL, 10));
    union {
        struct sockaddr_in in;
        struct sockaddr sa;
    } u = {.in = a};
    assert_int_equal(connect(fd, &u.sa, sizeof a), 0);
    return fd;
}

bool more(int fd, struct wr_buf *b, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0)
        return false;
    uint8_t *to = wr_buf_reserve(b, 4097);
    ssize_t n = recv(fd, to, 4096, 0);
    if (n <= 0)
        return false;
    b->n += (size_t)n;
    b->p[b->n] = 0;
    return true;
}

void say(int fd, const char *text)
{
    size_t n = strlen(text);
    assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), n);
}

const char *ask(const char *request)
{
    static struct wr_buf b;
    wr_buf_clear(&b);
    int fd = dial();
    say(fd, request);
    while (more(fd, &b, 15000))
        ;
    close(fd);
    return b.n ? (const char *)b.p : "";
}

int status_of(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10) : 0;
}

void gives(const char *request, int status)
{
    const char *a = ask(request);
    if (status_of(a) != status)
        fail_msg("%.60s... answered %.40s, not %d", request, a, status);
}
