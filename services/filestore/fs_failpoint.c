/* SPDX-License-Identifier: MIT
 *
 * Points in the code where a test may make the process die. See fs_priv.h. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs_priv.h"
#include "wr_log.h"

static struct {
    char name[32];
    atomic_int left;
} failpoint;

void fs_failpoint_read(void)
{
    const char *v = getenv("WATCHROOM_FAILPOINT");
    if (!v)
        return;
    size_t n = strcspn(v, ":");
    snprintf(failpoint.name, sizeof failpoint.name, "%.*s",
             (int)WR_MIN(n, sizeof failpoint.name - 1), v);
    atomic_store(&failpoint.left, v[n] == ':' ? (int)strtol(v + n + 1, NULL, 10) : 1);
}

void fs_failpoint(const char *name)
{
    if (!failpoint.name[0] || strcmp(name, failpoint.name) != 0 ||
        atomic_fetch_sub(&failpoint.left, 1) != 1)
        return;
    wr_error("files.failpoint", "name=%s", name);
    raise(SIGKILL);
}
