/* SPDX-License-Identifier: MIT
 *
 * Fuzzes wr_config_parse, and with it config__read_yaml, config__store, wr_url_redact: any bytes either make a
 * configuration or an error with a sentence. */
#include "wr_config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wr_config *c = NULL;
    struct wr_errmsg err = {""};
    wr_err e = wr_config_parse("fuzz.yml", wr_slice_of(data, size), WR_SHAPE_ALL_IN_ONE, &c, &err);
    if ((e == WR_OK) != (c != NULL) || (e != WR_OK && !*err.text))
        abort();
    for (size_t i = 0; c && i < c->num_streams; i++) {
        char shown[128];
        wr_url_redact(c->streams[i].url, shown, sizeof shown);
    }
    wr_config_free(&c);
    return 0;
}
