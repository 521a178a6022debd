/* SPDX-License-Identifier: MIT
 *
 * The required slots of each kind, by name, so that a refusal can say which one is missing. */
#include "wr_plugin_kinds.h"
#include "wr_auth.h"
#include "wr_blob.h"
#include "wr_protocol.h"
#include "wr_filter.h"
#include "wr_muxer.h"
#include "wr_plugins.h"
#include "wr_service.h"
#include "wr_store.h"

#define SLOT(type, field)                    \
    {                                        \
        offsetof(struct type, field), #field \
    }
#define END     \
    {           \
        0, NULL \
    }

static const struct wr_plugin_slot service[] = {SLOT(wr_service_plugin, start),
                                                SLOT(wr_service_plugin, drain),
                                                SLOT(wr_service_plugin, stop), END};
static const struct wr_plugin_slot protocol[] = {SLOT(wr_protocol_plugin, endpoints),
                                                 SLOT(wr_protocol_plugin, open),
                                                 SLOT(wr_protocol_plugin, message),
                                                 SLOT(wr_protocol_plugin, result),
                                                 SLOT(wr_protocol_plugin, encode_publications),
                                                 END};
static const struct wr_plugin_slot store[] = {SLOT(wr_store_plugin, open),
                                              SLOT(wr_store_plugin, close),
                                              SLOT(wr_store_plugin, append),
                                              SLOT(wr_store_plugin, history),
                                              SLOT(wr_store_plugin, top),
                                              SLOT(wr_store_plugin, rooms),
                                              END};
static const struct wr_plugin_slot filter[] = {SLOT(wr_filter_plugin, apply), END};
static const struct wr_plugin_slot muxer[] = {SLOT(wr_muxer_plugin, extension),
                                              SLOT(wr_muxer_plugin, content_type),
                                              SLOT(wr_muxer_plugin, codecs),
                                              SLOT(wr_muxer_plugin, open),
                                              SLOT(wr_muxer_plugin, close),
                                              SLOT(wr_muxer_plugin, mime),
                                              SLOT(wr_muxer_plugin, init),
                                              SLOT(wr_muxer_plugin, frame),
                                              END};
static const struct wr_plugin_slot blob[] = {SLOT(wr_blob_plugin, open),
                                             SLOT(wr_blob_plugin, close),
                                             SLOT(wr_blob_plugin, put),
                                             SLOT(wr_blob_plugin, each),
                                             SLOT(wr_blob_plugin, remove),
                                             SLOT(wr_blob_plugin, blob_open),
                                             SLOT(wr_blob_plugin, blob_close),
                                             SLOT(wr_blob_plugin, write),
                                             SLOT(wr_blob_plugin, sync),
                                             SLOT(wr_blob_plugin, read),
                                             SLOT(wr_blob_plugin, cut),
                                             SLOT(wr_blob_plugin, space),
                                             END};

static const struct wr_plugin_slot auth[] = {SLOT(wr_auth_plugin, may), END};

static const struct {
    const char *name;
    const struct wr_plugin_slot *required;
} kinds[WR_KIND_COUNT] = {
    [WR_KIND_INVALID] = {"invalid", NULL},
    [WR_KIND_SERVICE] = {"service", service},
    [WR_KIND_PROTOCOL] = {"protocol", protocol},
    [WR_KIND_STORE] = {"store", store},
    [WR_KIND_FILTER] = {"filter", filter},
    [WR_KIND_MUXER] = {"muxer", muxer},
    [WR_KIND_BLOB] = {"blob", blob},
    [WR_KIND_AUTH] = {"auth", auth},
};

const struct wr_plugin_slot *wr_plugin_required_slots(enum wr_plugin_kind kind)
{
    return (unsigned)kind < WR_KIND_COUNT ? kinds[kind].required : NULL;
}

const char *wr_plugin_kind_name(enum wr_plugin_kind kind)
{
    return (unsigned)kind < WR_KIND_COUNT ? kinds[kind].name : "unknown";
}
