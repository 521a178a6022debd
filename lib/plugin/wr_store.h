/* SPDX-License-Identifier: MIT
 *
 * Plugin kind `store`: the log of rooms. The hub calls it from one writer thread (append, amend, trim) and from reader
 * threads (the others) at the same time: a store locks what it must, but no read may wait for a sync of the writer.
 *
 * A room is there with its first entry and not before: whoever asks for names makes nothing. A room without entries is
 * empty, and has an epoch all the same, the one that its first entry will have: it follows from the name and from a secret
 * that the log was given when it was made (services/hub/plugins/store_epoch.h). Another log has another secret. */
#ifndef WR_PLUGIN_WR_STORE_H
#define WR_PLUGIN_WR_STORE_H

#include "wr_err.h"
#include "wr_id.h"
#include "wr_plugin.h"

#include <string.h>

/* How much of a room's log stays: an entry may go when it is not among the newest `count`, or older than `age_ms` by the age
 * clock (wr_age_now_ms). When it goes is the store's affair: the hub shows nobody what may have gone. */
struct wr_store_keep {
    const char *room; /* a name, or a pattern with '*' (wr_name_like); unused in the default */
    uint64_t count;   /* 0 = any number */
    int64_t age_ms;   /* 0 = any age */
};

struct wr_store_opts {
    const char *path; /* a folder of the hub's own; exists */
    const char *args; /* the plugin's text from the configuration (hub.store: name=args), or "" */
    struct wr_store_keep keep;         /* for every room that has none of its own */
    const struct wr_store_keep *rooms; /* rooms with their own; borrowed until close */
    size_t num_rooms;
    /* For reading alone, beside the hub that has the log: no lock is taken, nothing made or changed; of the other slots only
     * history, top, rooms and close are called. NOT_FOUND when there is no log. Stores with `load_begin` know it. */
    bool reading;
};

/* What the options say of a room: the first that fits, else the default. */
static inline const struct wr_store_keep *wr_store_keep_of(const struct wr_store_opts *opts,
                                                           struct wr_slice room)
{
    for (size_t i = 0; i < opts->num_rooms; i++)
        if (wr_name_like(room, opts->rooms[i].room))
            return &opts->rooms[i];
    return &opts->keep;
}

/* One entry to append. All slices are borrowed during the call. */
struct wr_store_item {
    struct wr_slice room;
    uint32_t kind; /* watchroom.v1.EntryKind */
    int64_t time_ms;
    struct wr_slice key;  /* idempotency key, empty = none */
    struct wr_slice info; /* encoded watchroom.v1.ClientInfo, may be empty */
    struct wr_slice type; /* media type, empty = JSON */
    struct wr_slice data; /* any bytes, not empty */
    /* results: */
    wr_err code; /* WR_OK, or why this item alone was refused */
    uint64_t offset;
    char epoch[9];     /* 8 letters and a NUL */
    int64_t stored_ms; /* time of the stored entry: differs from time_ms for a duplicate */
    bool duplicate;
};

/* One entry read back; slices are valid during the callback. */
struct wr_store_entry {
    uint64_t offset;
    uint32_t kind;
    int64_t time_ms;
    struct wr_slice key, info, type, data;
};
/* False ends the reading: the caller has enough. */
typedef bool (*wr_store_entry_fn)(void *ctx, const struct wr_store_entry *e);

struct wr_store_top {
    uint64_t offset; /* 0 = empty */
    char epoch[9];
    int64_t last_time_ms;
};
typedef void (*wr_store_room_fn)(void *ctx, struct wr_slice room, const struct wr_store_top *top);

struct wr_store_range {
    bool has_since;
    uint64_t since; /* exclusive: entries above it; below it when reverse */
    uint64_t until; /* inclusive upper bound when not reverse; 0 = none */
    uint32_t limit; /* at least 1 */
    bool reverse;
};

/* One entry to amend; all borrowed. */
struct wr_store_amend {
    struct wr_slice room;
    const char *epoch; /* of the log that the offset was seen in */
    uint64_t offset;
    struct wr_slice type, data; /* as in wr_store_item; nothing to say is the JSON null */
};

struct wr_store_plugin {
    struct wr_plugin base;
    /* Opens or makes the log; takes the folder's lock. Errors with text: CONFLICT (another instance has it; say what to
     * use instead), DENIED (not writable), INTERNAL (damaged). Required. */
    wr_err (*open)(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err);
    void (*close)(void *state); /* Required. */
    /* Appends the batch as one transaction; when it returns WR_OK everything is synced to disk. Gives each room dense
     * offsets in the order of the items. A known key gives the earlier entry's offset. An item that alone cannot be
     * stored has its own `code`; it takes nothing from the others. On an error (NO_SPACE, ...) nothing of the batch is kept.
     * Required. */
    wr_err (*append)(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err);
    /* Calls fn for the entries of a range, in order; of a room without entries there are none. Required. */
    wr_err (*history)(void *state, struct wr_slice room, const struct wr_store_range *range,
                      wr_store_entry_fn fn, void *ctx, struct wr_errmsg *err);
    /* The newest position. Nothing is stored, and nothing kept in memory, for a room that has no entries. Required. */
    wr_err (*top)(void *state, struct wr_slice room, struct wr_store_top *out,
                  struct wr_errmsg *err);
    /* All rooms that have (or had) an entry. Required. */
    wr_err (*rooms)(void *state, wr_store_room_fn fn, void *ctx, struct wr_errmsg *err);
    /* One short step of housekeeping: drops entries that retention lets go, and whatever else the store does aside
     * from answering. Called from the writer thread after batches and about once a second. *more is true when another
     * step has work at once. Positions and epochs survive it. Optional. */
    wr_err (*trim)(void *state, bool *more, struct wr_errmsg *err);
    /* Looks at the arguments alone; nothing is open. Errors with text: INVALID. NULL when the store takes none: then any
     * are refused for it. Optional. */
    wr_err (*check)(const char *args, struct wr_errmsg *err);
    /* Moderation: puts type and data in the place of what the entry had. Offset, time, kind, info and key stay: nobody sees a hole, and a publish that is made again is the same, amended entry. When it returns WR_OK
     * the change is synced and every read from then on has it; what was there before is gone from memory at once and from
     * the disk once `trim` has had its steps (a copy that somebody made meanwhile is his). Errors with text: NOT_FOUND (no
     * such entry, or not any more), POSITION (the room's epoch is another one), NO_SPACE. Optional. */
    wr_err (*amend)(void *state, const struct wr_store_amend *what, struct wr_errmsg *err);
    /* Putting a backup back, in a state of its own, while no hub has the folder: begin, each room with its entries, end. What
     * is loaded is a new log: it has a new secret, and so every room another epoch than it had, whether it is in the backup or
     * not: whoever knows a position of before sees that it is of another log. Offsets go on above `top`. Nothing of the log
     * that is in the folder is touched before load_end with `keep`, which puts the new one in its place, on the disk.
     * All four or none. Optional; a store that has them can be saved, by `reading`. Errors with text, as open and append. */
    wr_err (*load_begin)(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err);
    /* A room that was not loaded before; its top's epoch is unused. */
    wr_err (*load_room)(void *state, struct wr_slice room, const struct wr_store_top *top,
                        struct wr_errmsg *err);
    /* An entry of the last room, by offset, up to its top. Where one is missing, those before it are dropped. */
    wr_err (*load_entry)(void *state, const struct wr_store_entry *entry, struct wr_errmsg *err);
    /* Ends it and frees what there is, whatever it returns; called after every load_begin that returned WR_OK. */
    wr_err (*load_end)(void *state, bool keep, struct wr_errmsg *err);
};

/* Where in a configuration's "name=args" the arguments begin: behind the "=", or at the end when there are none. */
static inline const char *wr_store_args(const char *text)
{
    const char *at = strchr(text, '=');
    return at ? at + 1 : text + strlen(text);
}
/* `err` has a sentence without the key's name. */
static inline wr_err wr_store_check(const struct wr_store_plugin *p, const char *args,
                                    struct wr_errmsg *err)
{
    if (WR_PLUGIN_HAS(p, check))
        return p->check(args, err);
    if (!args[0])
        return WR_OK;
    wr_errmsg_set(err, "%s takes no arguments, but was given \"%.100s\"", p->base.name, args);
    return WR_ERR_INVALID;
}

#endif
