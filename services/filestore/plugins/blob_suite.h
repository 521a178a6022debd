/* SPDX-License-Identifier: MIT
 *
 * What every blob plugin must do. A plugin's test calls it for its table and an empty folder. */
#ifndef WR_FILESTORE_BLOB_SUITE_H
#define WR_FILESTORE_BLOB_SUITE_H

#include "wr_blob.h"

/* lasting: what was put is there after close and open. Fails by cmocka's asserts. */
void wr_blob_suite(const struct wr_blob_plugin *p, const char *folder, bool lasting);

#endif
