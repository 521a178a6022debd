/* SPDX-License-Identifier: MIT
 *
 * The writer: objects and arrays are written as text by who knows them; a string has to be quoted. */
#include "wr_json.h"

/* From a byte that is not plain: what it became; returns the bytes read. */
static size_t put_special(struct wr_buf *b, const uint8_t *p, size_t n)
{
    unsigned len = wr_utf8_len(p, n);
    if (len > 1) {
        wr_buf_add(b, p, len);
        return len;
    }
    if (len == 0)
        wr_buf_str(b, "\xef\xbf\xbd");
    else if (*p == '"' || *p == '\\')
        wr_buf_fmt(b, "\\%c", *p);
    else if (*p == '\n')
        wr_buf_str(b, "\\n");
    else
        wr_buf_fmt(b, "\\u%04x", *p);
    return 1;
}

void wr_json_put(struct wr_buf *b, const void *text, size_t n)
{
    const uint8_t *p = n ? text : (const uint8_t *)"", *end = p + n;
    wr_buf_char(b, '"');
    while (p < end) {
        const uint8_t *plain = p;
        while (p < end && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
            p++;
        wr_buf_add(b, plain, (size_t)(p - plain));
        if (p < end)
            p += put_special(b, p, (size_t)(end - p));
    }
    wr_buf_char(b, '"');
}
