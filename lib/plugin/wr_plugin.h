/* SPDX-License-Identifier: MIT
 *
 * What every plugin is: one const table, the only symbol that its shared object exports, named wr_plugin_table. A kind's
 * table begins with struct wr_plugin and goes on with the kind's slots (wr_service.h, wr_store.h, wr_filter.h,
 * wr_protocol.h, wr_muxer.h, wr_blob.h, wr_auth.h).
 *
 *     WR_PLUGIN_EXPORT const struct wr_filter_plugin wr_plugin_table = {
 *         .base = WR_PLUGIN_BASE(struct wr_filter_plugin, WR_KIND_FILTER, "shout", "1.0", "Upper-cases every line"),
 *         .apply = apply,
 *     };
 *
 * The loader accepts the same ABI major and a minor that is not newer than its own. New slots go at the end of a kind's
 * table with a minor bump, and are read only when `size` covers them and they are not NULL (WR_PLUGIN_HAS).
 *
 * ABI changes: 1.0 first. 2.0: the kind `codec` is `protocol`, with endpoints, variants, types of entries and calls
 * (wr_protocol.h tells what its slots were); the kind `auth` has a table (wr_auth.h); entries in wr_store.h and messages in
 * wr_filter.h have a type; a muxer says what it carries and counts nothing itself (wr_muxer.h); a blob
 * plugin may have `fd` (wr_blob.h); a store may be saved and loaded (wr_store.h). */
#ifndef WR_PLUGIN_WR_PLUGIN_H
#define WR_PLUGIN_WR_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define WR_PLUGIN_ABI_MAJOR 2u
#define WR_PLUGIN_ABI_MINOR 0u

enum wr_plugin_kind {
    WR_KIND_INVALID = 0,
    WR_KIND_SERVICE,  /* a service of the watchroom executable */
    WR_KIND_PROTOCOL, /* gateway: a wire format between a connection and rooms */
    WR_KIND_STORE,    /* hub: the room log */
    WR_KIND_FILTER,   /* hub: may change or refuse a message */
    WR_KIND_MUXER,    /* gateway: coded frames to one container format */
    WR_KIND_BLOB,     /* filestore: bytes at rest */
    WR_KIND_AUTH,     /* gateway: who somebody is, and what he may do */
    WR_KIND_COUNT
};

struct wr_plugin {
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t size; /* bytes of the whole kind's table */
    uint32_t kind; /* enum wr_plugin_kind */
    const char *name;
    const char *version;
    const char *description; /* one line */
    size_t
        state_size; /* bytes of zeroed state that the core allocates for each instance and passes to each slot */
};

#define WR_PLUGIN_BASE(type, kind_, name_, version_, description_)                                \
    {                                                                                             \
        .abi_major = WR_PLUGIN_ABI_MAJOR, .abi_minor = WR_PLUGIN_ABI_MINOR, .size = sizeof(type), \
        .kind = (kind_), .name = (name_), .version = (version_), .description = (description_)    \
    }
#define WR_PLUGIN_BASE_STATE(type, state_type, kind_, name_, version_, description_)              \
    {                                                                                             \
        .abi_major = WR_PLUGIN_ABI_MAJOR, .abi_minor = WR_PLUGIN_ABI_MINOR, .size = sizeof(type), \
        .kind = (kind_), .name = (name_), .version = (version_), .description = (description_),   \
        .state_size = sizeof(state_type)                                                          \
    }
#define WR_PLUGIN_EXPORT __attribute__((visibility("default")))
#define WR_PLUGIN_SYMBOL "wr_plugin_table"

#define WR_PLUGIN_HAS(p, field) \
    ((p)->base.size >= offsetof(__typeof__(*(p)), field) + sizeof((p)->field) && (p)->field)

#endif
