/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the protocol centrifuge_json.c (its message, result, encode_publications). The input is frames separated
 * by 0x00; a frame that begins with 0x01 is an answer of the gateway with the code of its next byte. Every line
 * that the protocol sends must be one JSON object. */
#include "protocol_kit.h"
#include "wr_json.h"
#include <stdlib.h>

extern const struct wr_protocol_plugin wr_plugin_table;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(struct wr_slice text)
{
    if (text.n == 0)
        return; /* and p may be NULL, to which C adds not even 0 */
    const uint8_t *p = text.p, *end = text.p + text.n;
    while (p < end) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        const uint8_t *stop = nl ? nl : end;
        struct wr_slice v;
        if (!wr_json_value(wr_slice_of(p, (size_t)(stop - p)), &v) || !wr_json_is_object(v))
            abort();
        p = stop + 1;
    }
}

/* What the hub takes: JSON without space, UTF-8 of text/..., any bytes of others, but not none. */
static void encode(const char *type, const uint8_t *p, size_t n)
{
    struct wr_protocol_pub pub = {
        .offset = 1, .type = wr_slice_str(type), .data = wr_slice_of(p, n)};
    struct wr_buf b = {0};
    if (n)
        wr_plugin_table.encode_publications(0, wr_slice_str("r"), &pub, 1, &b);
    check_lines(wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
}

static void frame(struct wr_protocol_conn *k, const uint8_t *p, size_t n)
{
    if (n && p[0] == 1) {
        (void)kit_answer(k, n > 1 ? (wr_err)(p[1] % 15) : WR_OK);
        return;
    }
    /* The gateway passes text only when it is UTF-8. */
    kit_message(k, wr_slice_of(p, n), !wr_utf8_valid(p, n));
    encode("", p, wr_json_check(wr_slice_of(p, n), NULL) == WR_JSON_COMPACT ? n : 0);
    encode("text/plain", p, wr_utf8_valid(p, n) ? n : 0);
    encode("application/octet-stream", p, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wr_protocol_conn k;
    kit_open(&k, &wr_plugin_table, "");
    for (size_t at = 0; at < size;) {
        const uint8_t *zero = memchr(data + at, 0, size - at);
        size_t n = zero ? (size_t)(zero - data) - at : size - at;
        frame(&k, data + at, n);
        at += n + 1;
    }
    check_lines(wr_slice_of(k.sent.p, k.sent.n));
    kit_close(&k);
    return 0;
}
