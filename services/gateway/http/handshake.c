/* SPDX-License-Identifier: MIT
 *
 * The key of a WebSocket handshake (RFC 6455, 4.2.2). */
#include "http_priv.h"
#include <openssl/evp.h>
#include <stdio.h>

void http__accept_key(const char *key, char out[29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    uint8_t sha[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char text[64 + sizeof guid];
    int len = snprintf(text, sizeof text, "%.63s%s", key, guid);
    (void)EVP_Digest(text, (size_t)len, sha, &n, EVP_sha1(), NULL);
    (void)EVP_EncodeBlock((unsigned char *)out, sha, 20);
}
