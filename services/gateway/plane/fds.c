/* SPDX-License-Identifier: MIT
 *
 * Which descriptors of the process belong to connections of a plane: the search for a request's descriptor
 * (http/detach.c) skips them, so that it stays cheap with many thousand connections. */
#include "plane_priv.h"

#define MAX_FDS (1u << 20)
static _Atomic uint64_t owned_fds[MAX_FDS / 64];

void fds__set(int fd, bool owned)
{
    if (fd < 0 || (unsigned)fd >= MAX_FDS)
        return;
    uint64_t bit = UINT64_C(1) << ((unsigned)fd & 63u);
    if (owned)
        atomic_fetch_or(&owned_fds[(unsigned)fd / 64], bit);
    else
        atomic_fetch_and(&owned_fds[(unsigned)fd / 64], ~bit);
}

bool wr_plane_owns_fd(int fd)
{
    if (fd < 0 || (unsigned)fd >= MAX_FDS)
        return false;
    return (atomic_load(&owned_fds[(unsigned)fd / 64]) >> ((unsigned)fd & 63u)) & 1u;
}

int wr_plane_next_foreign_fd(int from)
{
    for (unsigned fd = from < 0 ? 0 : (unsigned)from; fd < MAX_FDS;) {
        uint64_t word = atomic_load(&owned_fds[fd / 64]) | ((UINT64_C(1) << (fd & 63u)) - 1);
        if (word != UINT64_MAX)
            return (int)((fd & ~63u) + (unsigned)__builtin_ctzll(~word));
        fd = (fd & ~63u) + 64;
    }
    return -1;
}
