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

#endif
