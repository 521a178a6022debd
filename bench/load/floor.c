/* SPDX-License-Identifier: MIT
 *
 * The floor: the least that any single-threaded server could do. It takes WebSocket handshakes and sends each text frame it gets
 * to everybody: one send() a client, the same bytes, no room, no log, no queue, no UTF-8 check. Two uses: it proves that the load
 * programs are faster than any server they measure, and it says how much of a server's cost is the kernel's own. It is not a
 * product: a client that does not read is cut off at once. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 65536
#define READ_MAX 65536

/* The answer to the key that the load programs send (RFC 6455 section 1.3). */
static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static struct peer {
    bool open;
    size_t kept;
    uint8_t keep[1024];
} * peers[CONNS_MAX];
static int top_fd;

static void drop(int fd)
{
    free(peers[fd]);
    peers[fd] = NULL;
    close(fd);
}

static void broadcast(const uint8_t *payload, size_t size)
{
    uint8_t frame[READ_MAX + 4];
    size_t head = size < 126 ? 2 : 4;
    frame[0] = 0x81;
    frame[1] = (uint8_t)(size < 126 ? size : 126);
    frame[2] = (uint8_t)(size >> 8);
    frame[3] = (uint8_t)size;
    memcpy(frame + head, payload, size);
    for (int fd = 0; fd <= top_fd; fd++)
        if (peers[fd] != NULL && peers[fd]->open)
            if (send(fd, frame, head + size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)(head + size))
                shutdown(fd, SHUT_RDWR);
}

/* Masked client frames of one connection; returns the bytes used. */
static size_t take_frames(uint8_t *data, size_t size)
{
    size_t at = 0;
    while (size - at >= 6) {
        uint8_t *p = data + at;
        size_t len = p[1] & 0x7fu, head = 6;
        if (len == 126) {
            if (size - at < 8)
                break;
            len = ((size_t)p[2] << 8) | p[3];
            head = 8;
        }
        if (len > 65000 || size - at < head + len)
            break;
        for (size_t i = 0; i < len; i++)
            p[head + i] ^= p[head - 4 + (i & 3)];
        if ((p[0] & 0x0f) == 1)
            broadcast(p + head, len);
        at += head + len;
    }
    return at;
}

static void handle_peer(int fd)
{
    static uint8_t data[READ_MAX];
    struct peer *peer = peers[fd];
    memcpy(data, peer->keep, peer->kept);
    ssize_t got = recv(fd, data + peer->kept, sizeof(data) - peer->kept, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(fd);
        return;
    }
    size_t size = peer->kept + (size_t)got, used = 0;
    if (!peer->open) {
        const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
        if (end != NULL) {
            used = (size_t)(end - data) + 4;
            peer->open = send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) > 0;
        }
    }
    if (peer->open)
        used += take_frames(data + used, size - used);
    peer->kept = size - used;
    if (peer->kept > sizeof(peer->keep)) {
        drop(fd);
        return;
    }
    memcpy(peer->keep, data + used, peer->kept);
}

int main(int argc, char **argv)
{
    struct bench_args args;
    bench_args_init(&args, argc, argv);
    int port = (int)bench_arg_num(&args, "port", 8000);
    bench_args_done(&args);
    bench_need_files(1024);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 4096) != 0)
        bench_die("port %d: %s", port, strerror(errno));
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (peers[fd] != NULL)
                    handle_peer(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
                if (fd >= CONNS_MAX) {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                peers[fd] = bench_calloc(1, sizeof(struct peer));
                top_fd = fd > top_fd ? fd : top_fd;
                event.data.fd = fd;
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
