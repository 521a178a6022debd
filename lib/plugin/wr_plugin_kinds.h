/* SPDX-License-Identifier: MIT
 *
 * What each kind of plugin must have. For the loader and `watchroom plugins`; plugin authors read the kind's own header. */
#ifndef WR_PLUGIN_WR_PLUGIN_KINDS_H
#define WR_PLUGIN_WR_PLUGIN_KINDS_H

#include "wr_plugin.h"

struct wr_plugin_slot {
    size_t offset;    /* of the function pointer in the kind's table */
    const char *name; /* NULL ends the list */
};

/* The required slots of a kind, ended by a NULL name; NULL when the kind has none. */
const struct wr_plugin_slot *wr_plugin_required_slots(enum wr_plugin_kind kind);

#endif
