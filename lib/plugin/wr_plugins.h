/* SPDX-License-Identifier: MIT
 *
 * The loader: finds plugins in folders, checks that they fit, hands out their tables. A plugin that does not fit is
 * refused with a sentence (missing slot, other major, undefined symbol, ...) and leaves nothing loaded. */
#ifndef WR_PLUGIN_WR_PLUGINS_H
#define WR_PLUGIN_WR_PLUGINS_H

#include "wr_err.h"
#include "wr_plugin.h"

struct wr_plugins;

/* What became of one file. */
struct wr_plugin_entry {
    const char *path;
    const struct wr_plugin *table; /* NULL when refused */
    const char *why;               /* the refusal's sentence, else NULL */
};

/* Loads every *.so in the folders (colon-separated; a folder that does not exist is skipped). Never fails for a bad
 * plugin: see wr_plugins_each. Errors: BUSY (memory). */
WR_API WR_MUST_USE wr_err wr_plugins_load(const char *folders, struct wr_plugins **out);
/* The same, but files named <one of the NULL-ended list>.so are not opened: a process that runs one
 * service need not carry the libraries of the others. */
WR_API WR_MUST_USE wr_err wr_plugins_load_without(const char *folders, const char *const *skip,
                                                  struct wr_plugins **out);
/* Unloads. Nothing of any plugin may be running. NULL is fine. */
WR_API void wr_plugins_free(struct wr_plugins **p);
/* The plugin of a kind by name, NULL when there is none. The table lives until wr_plugins_free. */
WR_API const void *wr_plugins_find(const struct wr_plugins *p, enum wr_plugin_kind kind,
                                   const char *name);
/* All entries in order of kind and name, refused ones last. */
WR_API void wr_plugins_each(const struct wr_plugins *p,
                            void (*fn)(void *ctx, const struct wr_plugin_entry *e), void *ctx);
/* NULL-ended names of the accepted plugins of the kinds in the mask (1u << kind). The array is the caller's to free();
 * the names are not. */
WR_API const char **wr_plugins_names(const struct wr_plugins *p, unsigned kinds);
/* "protocol" for WR_KIND_PROTOCOL. */
WR_API const char *wr_plugin_kind_name(enum wr_plugin_kind kind);
/* The folders to look in: WATCHROOM_PLUGIN_PATH first, then <folder of the executable>/plugins, then the installed
 * one (beside the executable's bin, and where this build was configured to go). A folder that comes twice is read once. */
WR_API wr_err wr_plugins_default_folders(const char *extra, char *out, size_t n);

/* Checks one table against what its kind requires; used by the loader and by tests. Writes the sentence to err. */
WR_API WR_MUST_USE wr_err wr_plugin_check(const struct wr_plugin *table, struct wr_errmsg *err);

/* Zeroed state for one instance of a plugin (state_size bytes, at least 1); free() it. */
WR_API void *wr_plugin_state(const struct wr_plugin *table);

#endif
