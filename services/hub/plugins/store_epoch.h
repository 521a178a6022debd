/* SPDX-License-Identifier: MIT
 *
 * The epoch of a room that has no entries, made of its name and the log's secret, so that nothing has to be stored for those
 * who ask. Nobody outside can tell it beforehand, and a log that begins anew has another secret. */
#ifndef HUB_PLUGINS_STORE_EPOCH_H
#define HUB_PLUGINS_STORE_EPOCH_H

#include "wr_base.h"

#define STORE_SECRET_BYTES 32

/* 8 of [a-z2-7] and a NUL: the first 40 bits of HMAC-SHA-256 (RFC 2104) of the name under the secret. */
void store_epoch_of(const uint8_t secret[STORE_SECRET_BYTES], struct wr_slice room, char epoch[9]);

#endif
