/* SPDX-License-Identifier: MIT
 *
 * Retention of rooms. There may be thousands of named rooms, and every read asks: they are in a map. */
#include "hub_keeps.h"

#include <stdlib.h>

static struct wr_store_keep keep_of(const struct wr_config *c, const char *name)
{
    struct wr_store_keep keep = {.room = name};
    wr_config_history(c, wr_slice_str(name), &keep.count, &keep.age_ms);
    return keep;
}

wr_err hub_keeps__init(struct hub_keeps *k, const struct wr_config *c)
{
    *k = (struct hub_keeps){
        .def = {.count = c->hub.history_count, .age_ms = c->hub.history_age_ms},
        .list = calloc(c->num_rooms + c->num_room_patterns + 1, sizeof *k->list)};
    if (!k->list)
        return WR_ERR_BUSY;
    for (size_t i = 0; i < c->num_rooms; i++) {
        struct wr_store_keep *keep = &k->list[k->num++];
        *keep = keep_of(c, c->rooms[i].name);
        if (!wr_map_put(&k->by_name, wr_slice_str(keep->room), keep))
            return WR_ERR_BUSY;
    }
    k->num_rooms = k->num;
    for (size_t i = 0; i < c->num_room_patterns; i++)
        k->list[k->num++] = keep_of(c, c->room_patterns[i].name);
    return WR_OK;
}

void hub_keeps__fini(struct hub_keeps *k)
{
    wr_map_free(&k->by_name);
    free(k->list);
    *k = (struct hub_keeps){0};
}

const struct wr_store_keep *hub_keeps__of(const struct hub_keeps *k, struct wr_slice room)
{
    const struct wr_store_keep *own = wr_map_get(&k->by_name, room);
    for (size_t i = k->num_rooms; !own && i < k->num; i++)
        if (wr_name_like(room, k->list[i].room))
            own = &k->list[i];
    return own ? own : &k->def;
}
