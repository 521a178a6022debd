/* SPDX-License-Identifier: MIT
 *
 * The suite that every filter passes. A filter's test is a main() that calls it, and claims of its own. */
#ifndef WR_FILTER_CONFORMANCE_H
#define WR_FILTER_CONFORMANCE_H

#include "wr_filter.h"

/* Opens <folder>/<file>.so with `args`, which it must take, and runs the suite; the number of failed claims. */
int filter_conformance(const char *folder, const char *file, const char *args);

/* ---- helpers ---- */

const struct wr_filter_plugin *test_filter(const char *folder, const char *file);
/* Opened state; the test fails when it is refused. */
void *test_filter_open(const struct wr_filter_plugin *p, const char *args);
void test_filter_close(const struct wr_filter_plugin *p, void *state);
/* Shows a chat message of client "c-1"; *data becomes what it was changed to. */
enum wr_filter_verdict test_filter_apply(const struct wr_filter_plugin *p, void *state,
                                         struct wr_slice *data, struct wr_errmsg *why);

#endif
