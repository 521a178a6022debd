/* SPDX-License-Identifier: MIT
 *
 * Fuzz target for what an RTSP server says (rtsp__ask, rtsp__keep_alive, rtsp__packet, rtsp__resolve, rtsp.c): the input is
 * a control URL, which is an address's user and password too, up to a zero byte, then all that the server sends: it has ended
 * its half before the first request. */
#include "rtsp.h"

#include "wr_clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SENT_MAX = 100000 }; /* fits a socket that nobody reads from yet */

static bool goes_on(void *ctx)
{
    (void)ctx;
    return false;
}

static void resolve(const char *text)
{
    static const char *const bases[] = {"rtsp://127.0.0.1/a", "rtsp://127.0.0.1/a/?x=1", ""};
    char out[300];
    for (size_t i = 0; i < WR_ARRAY_LEN(bases); i++) {
        (void)rtsp__resolve(bases[i], text, out, sizeof out);
        (void)rtsp__resolve(text, "trackID=1", out, sizeof out);
    }
}

/* As user and password of addresses without a host, so that no name is looked up and nobody dialled. */
static void open_address(const char *text)
{
    static const char *const hosts[] = {"[::1/", "[]:8554/x", ":1/"};
    for (size_t i = 0; i < WR_ARRAY_LEN(hosts); i++) {
        struct rtsp r = {.is_over = goes_on};
        char url[1400];
        snprintf(url, sizeof url, "rtsp://%.*s@%s", (int)strcspn(text, "@/?#"), text, hosts[i]);
        if (rtsp__open(&r, url, 0) != RTSP_BAD)
            abort();
        rtsp__close(&r);
    }
}

static void check(const struct rtsp *r, const struct rtsp_answer *a)
{
    if (!memchr(a->base, 0, sizeof a->base) || !memchr(a->transport, 0, sizeof a->transport) ||
        !memchr(a->rtp_info, 0, sizeof a->rtp_info) || !memchr(r->session, 0, sizeof r->session) ||
        r->session_s == 0 || r->in_at > r->in_n || r->in_n > RTSP_READ_BYTES)
        abort();
}

static void talk(struct rtsp *r)
{
    static const char *const methods[] = {"OPTIONS", "DESCRIBE", "SETUP", "PLAY"};
    struct rtsp_answer a = {.status = 0};
    enum rtsp_result e = RTSP_OK;
    int64_t deadline_us = wr_mono_us() + 1000 * 1000;
    volatile uint8_t last = 0;
    for (size_t i = 0; i < WR_ARRAY_LEN(methods) && e == RTSP_OK; i++) {
        e = rtsp__ask(r, methods[i], "rtsp://127.0.0.1/a", "Accept: application/sdp\r\n", &a,
                      deadline_us);
        check(r, &a);
        if (e == RTSP_OK && a.body.n)
            last = a.body.p[a.body.n - 1];
    }
    if (e == RTSP_OK)
        e = rtsp__keep_alive(r, "rtsp://127.0.0.1/a");
    while (e == RTSP_OK) {
        unsigned channel;
        struct wr_slice packet;
        e = rtsp__packet(r, &channel, &packet, deadline_us);
        if (e == RTSP_OK && packet.n)
            last = packet.p[packet.n - 1];
    }
    (void)last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = memchr(data, 0, size);
    size_t n = zero ? (size_t)(zero - data) : 0;
    char text[512];
    int fds[2], room = 4 * SENT_MAX;
    snprintf(text, sizeof text, "%.*s", (int)n, (const char *)data);
    resolve(text);
    open_address(text);
    if (zero)
        data = zero + 1, size -= n + 1;
    if (size > SENT_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
        return 0;
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    struct rtsp r = {.fd = fds[0],
                     .is_over = goes_on,
                     .user = "admin",
                     .pass = "secret",
                     .session_s = 60,
                     .in = malloc(RTSP_READ_BYTES)};
    if (r.in && send(fds[1], data, size, 0) == (ssize_t)size) {
        shutdown(fds[1], SHUT_WR);
        talk(&r);
    }
    rtsp__close(&r);
    close(fds[1]);
    return 0;
}
