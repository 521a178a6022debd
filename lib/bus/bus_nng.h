/* SPDX-License-Identifier: MIT
 *
 * What the three NNG files share: options that every socket gets, and messages in both directions. NNG 1.5.2's traps
 * (docs/bus.md) are met here and nowhere else. */
#ifndef WR_BUS_BUS_NNG_H
#define WR_BUS_BUS_NNG_H

#include "bus_priv.h"

#include <nng/nng.h>

/* Sizes are limited before anything is dialled or listened: the default lets a length prefix reserve gigabytes. */
void bus_nng__socket_options(nng_socket s);
wr_err bus_nng__err(int rv);
/* A message of ours behind an nng_msg, without a copy; the nng_msg is freed with it, or here on failure (NULL). */
struct wr_msg *bus_nng__wrap(nng_msg *m);
/* head then body in one nng_msg; NULL when memory is out. */
nng_msg *bus_nng__build(const uint8_t *head, size_t head_n, struct wr_slice body);
/* Opens a listener; with port 0 the URL is rewritten to the port that was taken. */
wr_err bus_nng__listen(nng_socket s, char *url, nng_listener *out, struct wr_errmsg *err);
/* Opens a listener that is dead anew, on the same socket. By the prober's thread alone. */
void bus_nng__relisten(nng_socket s, char *url, nng_listener *l);

/* Closes a socket, for 2 s at the most: in NNG 1.5.2 nng_close can wait for ever for a pipe that is gone already. False:
 * the socket was abandoned, and whatever its callbacks point at (`keep`) must never be freed; it is remembered here. */
bool bus_nng__close(nng_socket s, void *keep);

/* A dialer that is watched. NNG 1.5.2 draws its redial delay as a signed number, and -1 means for ever to its timer: a
 * dialer that met it never tries again. So a dialer without a connection is closed and made anew every 3 s. */
struct bus_nng_dialer {
    char url[BUS_URL_BYTES];
    nng_dialer dialer;
    bool dialled;
    unsigned pipes;
    int64_t since_us; /* of the last dial, or of the loss of the last pipe */
};
wr_err bus_nng__dial(nng_socket s, struct bus_nng_dialer *d, const char *url);
void bus_nng__dialer_tick(nng_socket s, struct bus_nng_dialer *d, int64_t now_us);
/* Closes it for good, unless it has a connection: false then. */
bool bus_nng__dialer_retire(struct bus_nng_dialer *d);
/* A pipe of this dialer came or went. */
void bus_nng__dialer_pipe(struct bus_nng_dialer *d, nng_pipe_ev ev);

#endif
