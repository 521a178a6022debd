/* SPDX-License-Identifier: MIT
 *
 * An epoch from a name. */
#include "store_epoch.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

void store_epoch_of(const uint8_t secret[STORE_SECRET_BYTES], struct wr_slice room, char epoch[9])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t sum[EVP_MAX_MD_SIZE];
    uint64_t bits = 0;
    unsigned n = 0;
    if (!HMAC(EVP_sha256(), secret, STORE_SECRET_BYTES, room.p, room.n, sum, &n) || n < 5)
        abort(); /* a log without epochs cannot be told from another one */
    for (unsigned i = 0; i < 5; i++)
        bits = bits << 8 | sum[i];
    for (unsigned i = 0; i < 8; i++)
        epoch[i] = letters[bits >> (35 - 5 * i) & 31];
    epoch[8] = '\0';
}
