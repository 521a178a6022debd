/* SPDX-License-Identifier: MIT
 *
 * What every muxer plugin must do, whatever its format. A plugin's test calls wr_muxer_suite in one line. */
#ifndef WR_GATEWAY_PLUGINS_MUXER_SUITE_H
#define WR_GATEWAY_PLUGINS_MUXER_SUITE_H

#include "wr_buf.h"
#include "wr_muxer.h"

/* A sink that collects the output and how often payloads were referenced. */
struct wr_mux_collect {
    struct wr_mux_sink sink;
    struct wr_buf out;
    size_t head_bytes;
    size_t payload_bytes;
    struct wr_slice within; /* payload references must lie in it; {NULL} = any is a failure */
    bool outside;           /* one did not */
};
void wr_mux_collect_init(struct wr_mux_collect *c);

/* Runs all claims; fails through cmocka's asserts. */
void wr_muxer_suite(const struct wr_muxer_plugin *m);

#endif
