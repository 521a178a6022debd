/* SPDX-License-Identifier: MIT
 *
 * Where calls arrive: on a thread of the bus, which must not wait. Each method has a queue; nothing else happens here. */
#include "hub_priv.h"

#include <stddef.h>

static const struct {
    const char *method;
    size_t queue; /* within struct hub */
} routes[] = {
    {"watchroom.v1.Hub/Publish", offsetof(struct hub, publishes)},
    {"watchroom.v1.Hub/Members", offsetof(struct hub, members)},
    {"watchroom.v1.Hub/History", offsetof(struct hub, readers[HUB_HISTORY].queue)},
    {"watchroom.v1.Hub/Tops", offsetof(struct hub, readers[HUB_POSITIONS].queue)},
    {"watchroom.v1.Hub/Presence", offsetof(struct hub, readers[HUB_LISTS].queue)},
    {"watchroom.v1.Hub/Rooms", offsetof(struct hub, readers[HUB_LISTS].queue)},
};

void hub__handle_call(void *ctx, struct wr_call *call)
{
    struct hub *h = ctx;
    for (size_t i = 0; i < WR_ARRAY_LEN(routes); i++)
        if (wr_slice_is(call->method, routes[i].method)) {
            hub_queue__put((struct hub_queue *)(void *)((char *)h + routes[i].queue), call);
            return;
        }
    wr_call_fail(call, WR_ERR_UNKNOWN_METHOD, "the hub has no method %.*s",
                 (int)WR_MIN(call->method.n, (size_t)80), (const char *)call->method.p);
}
