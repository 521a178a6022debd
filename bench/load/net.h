/* SPDX-License-Identifier: MIT
 *
 * Sockets of the load programs: to loopback and nowhere else, non-blocking, closed by reset, and the one way to wait for them. */
#ifndef WATCHROOM_BENCH_NET_H
#define WATCHROOM_BENCH_NET_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Source addresses that a program may spread its clients over. */
#define BENCH_SOURCES_MAX 250

/* Exits unless `host` is a loopback address. */
void bench_loopback(struct sockaddr_in *out, const char *host, int port);
/* Begins a connection and returns its socket (TCP_NODELAY). `source` 0: the kernel chooses the address, else 127.0.1.<source>:
 * a server that gives each address a share sees as many clients as there are. Never fails: exits. */
int bench_dial(const struct sockaddr_in *to, size_t source);
/* Exits when the connection that bench_dial began could not be made; call it at the first event. */
void bench_dialled(int fd, const struct sockaddr_in *to);
/* Closes by reset: thousands of TIME_WAIT entries would disturb the next run. */
void bench_reset(int fd);

/* Waits until `until_ns` at most; how many events there are, 0 when the time is over.
 * `nap_ns` 0: sleep in epoll until something comes. Else: when nothing is there, sleep this long *outside* epoll. Then a server's
 * send never has to wake this process. On loopback that wake-up is the server's time (up to half of a send in a virtual machine,
 * where it is an interrupt between cores); with clients on other machines it would not exist. Costs that much precision. */
int bench_wait(int epoll_fd, struct epoll_event *events, int max, int64_t until_ns, int64_t nap_ns);

#endif
