/* SPDX-License-Identifier: MIT
 *
 * Fuzz target for what a Publish carries: wr_json_check, wr_json_compact, hub__read_item, hub__read_info, and
 * filter_words.c on what passed. What is compacted stays valid and never grows; a filter makes JSON of JSON. */
#include "wr_json.h"
#include "hub_wire.h"
#include "wr_filter.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const struct wr_filter_plugin wr_plugin_table; /* filter_words.c */

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void filter(struct wr_slice json)
{
    static void *state;
    struct wr_errmsg why;
    if (!state) {
        state = calloc(1, wr_plugin_table.base.state_size);
        expect(state && wr_plugin_table.open(state, "foo|a|\xe6\x88\xbf", &why) == WR_OK);
    }
    struct wr_filter_msg msg = {.kind = 1, .data = json};
    expect(wr_plugin_table.apply(state, &msg, &why) == WR_FILTER_PASS);
    expect(wr_json_check(msg.data, NULL) == WR_JSON_COMPACT);
}

static void json(struct wr_slice in)
{
    enum wr_json_form what = wr_json_check(in, NULL);
    if (what == WR_JSON_BAD)
        return;
    uint8_t *out = malloc(in.n); /* exactly: a byte too many is seen */
    expect(out != NULL);
    size_t n = wr_json_compact(in, out);
    expect(n <= in.n && wr_json_check(wr_slice_of(out, n), NULL) == WR_JSON_COMPACT);
    expect(what == WR_JSON_LOOSE || (n == in.n && memcmp(out, in.p, n) == 0));
    filter(wr_slice_of(out, n));
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wr_slice in = wr_slice_of(data, size), user, client;
    struct hub_item item;
    json(in);
    if (hub__read_item(in, &item)) {
        json(item.data);
        if (hub__read_info(item.info, &user, &client, NULL))
            expect(user.n <= HUB_MAX_USER_BYTES && client.n <= HUB_MAX_CLIENT_BYTES);
    }
    return 0;
}
