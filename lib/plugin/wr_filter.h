/* SPDX-License-Identifier: MIT
 *
 * Plugin kind `filter`: sees each message before it is stored; may change it or refuse it. Runs on the hub's writer
 * thread, in the order of the configuration; must not block. */
#ifndef WR_PLUGIN_WR_FILTER_H
#define WR_PLUGIN_WR_FILTER_H

#include "wr_err.h"
#include "wr_plugin.h"

struct wr_filter_msg {
    struct wr_slice room;
    uint32_t kind; /* watchroom.v1.EntryKind */
    struct wr_slice user;
    struct wr_slice client;
    struct wr_slice type; /* media type of data, empty = JSON: let pass what you do not know */
    struct wr_slice
        data; /* set it to own bytes of the same type to change the message (valid until the next apply on this state) */
};

enum wr_filter_verdict { WR_FILTER_PASS = 0, WR_FILTER_REFUSE };

struct wr_filter_plugin {
    struct wr_plugin base;
    /* `args` is the plugin's text from the configuration, or "". Optional. */
    wr_err (*open)(void *state, const char *args, struct wr_errmsg *err);
    void (*close)(void *state); /* Optional. */
    /* On REFUSE write the reason for the sender into why. Required. */
    enum wr_filter_verdict (*apply)(void *state, struct wr_filter_msg *msg, struct wr_errmsg *why);
};

#endif
