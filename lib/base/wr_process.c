/* SPDX-License-Identifier: MIT
 *
 * Ending the process for a reason of its own. */
#include "wr_process.h"

#include "wr_log.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_bool failed;

void wr_process_fail(const char *event, const char *why)
{
    if (atomic_exchange(&failed, true))
        return;
    wr_error(event, "%s", why);
    kill(getpid(), SIGTERM);
}

bool wr_process_failed(void)
{
    return atomic_load(&failed);
}
