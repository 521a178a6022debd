/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: wr_json_check, wr_json_compact, wr_json_get, wr_json_text, wr_json_text_is and wr_json_put. What passes stays
 * valid when it is compacted, every member of it can be read, and a text that was read and written again is the same text.
 * What does not pass is read all the same: within its bytes. */
#include "wr_json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void text(struct wr_slice v)
{
    struct wr_buf once = {0}, quoted = {0}, twice = {0};
    expect(wr_json_text(v, &once));
    wr_json_put(&quoted, once.p, once.n);
    struct wr_slice q = wr_slice_of(quoted.p, quoted.n);
    expect(wr_json_check(q, NULL) == WR_JSON_COMPACT && wr_json_text(q, &twice));
    expect(wr_slice_eq(wr_slice_of(once.p, once.n), wr_slice_of(twice.p, twice.n)));
    wr_buf_char(&once, 0);
    expect(wr_json_text_is(v, (char *)once.p) == (strlen((char *)once.p) == once.n - 1));
    wr_buf_free(&once);
    wr_buf_free(&quoted);
    wr_buf_free(&twice);
}

static void walk(struct wr_slice v, unsigned depth)
{
    struct wr_json_at at;
    struct wr_slice key, value;
    if (wr_json_is_string(v))
        text(v);
    if (!wr_json_members(v, &at))
        return;
    while (wr_json_member(&at, &key, &value)) {
        expect(wr_json_check(value, NULL) != WR_JSON_BAD && depth < WR_JSON_MAX_DEPTH);
        text(key);
        walk(value, depth + 1);
    }
    expect(at.p + 1 == at.end && *at.p == '}'); /* the walk saw the whole object */
}

static void read_unchecked(struct wr_slice in)
{
    struct wr_buf b = {0};
    struct wr_slice v;
    if (wr_json_get(in, "id", &v))
        (void)wr_json_text(v, &b);
    (void)wr_json_text(in, &b);
    wr_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wr_slice in = wr_slice_of(data, size), v;
    enum wr_json_form form = wr_json_check(in, NULL);
    read_unchecked(in);
    expect(wr_json_value(in, &v) == (form != WR_JSON_BAD));
    if (form == WR_JSON_BAD)
        return 0;
    walk(v, 0);
    uint8_t *out = malloc(size); /* exactly: a byte too many is seen */
    expect(out != NULL);
    size_t n = wr_json_compact(in, out);
    expect(n <= size && wr_json_check(wr_slice_of(out, n), NULL) == WR_JSON_COMPACT);
    expect(form == WR_JSON_LOOSE || (n == size && memcmp(out, data, n) == 0));
    free(out);
    return 0;
}
