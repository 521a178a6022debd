/* SPDX-License-Identifier: MIT
 *
 * Ending the process for a reason of its own. */
#ifndef WR_BASE_WR_PROCESS_H
#define WR_BASE_WR_PROCESS_H

#include "wr_base.h"

#include <stdbool.h>

/* For what cannot be mended while the process runs. Logs the event and the reason and sends the process a SIGTERM, so
 * that it ends in order, as when somebody asks; its exit code is then not 0, and whoever watches it (serve --split,
 * compose) starts it again. The first call counts, later ones do nothing. Any thread; returns. */
WR_API void wr_process_fail(const char *event, const char *why);
/* Has wr_process_fail been called? */
WR_API bool wr_process_failed(void);

#endif
