/* SPDX-License-Identifier: MIT
 *
 * The schema: every key that a configuration may hold, where it goes, its bounds and its default. The environment
 * variable of a key is WATCHROOM_ and the key in capitals with '_' for '.', so it needs no column.
 * Bus addresses have no default here: they follow from the shape (wr_config.c). */
#include "config_priv.h"

#define AT(field) offsetof(struct wr_config, field)
#define MIB (1024u * 1024u)
#define NO_MAX UINT64_MAX

/* Those without a section come first. */
const struct config_key config__keys[] = {
    {"data", CONFIG_TEXT, AT(data), 1, 4000, "./data", NULL},
    {"plugin_path", CONFIG_TEXT, AT(plugin_path), 0, 4000, "", NULL},

    {"log.level", CONFIG_CHOICE, AT(log.level), 1, 0, "info", "debug info warn error"},
    {"log.format", CONFIG_CHOICE, AT(log.format), 1, 0, "text", "text json"},

    {"gateway.listen", CONFIG_LISTEN, AT(gateway.listen), 1, 0, "127.0.0.1:8000", NULL},
    {"gateway.health", CONFIG_LISTEN, AT(gateway.health), 0, 0, "127.0.0.1:8001", NULL},
    {"gateway.web", CONFIG_TEXT, AT(gateway.web), 0, 4000, "", NULL},
    {"gateway.plane_threads", CONFIG_COUNT, AT(gateway.plane_threads), 0, 256, "0", NULL},
    {"gateway.http_threads", CONFIG_COUNT, AT(gateway.http_threads), 4, 4096, "16", NULL},
    {"gateway.max_connections", CONFIG_COUNT, AT(gateway.max_connections), 1, 10000000, "100000",
     NULL},
    {"gateway.connections_per_address", CONFIG_COUNT, AT(gateway.connections_per_address), 0,
     10000000, "0", NULL},
    {"gateway.chat_queue_bytes", CONFIG_BYTES, AT(gateway.chat_queue_bytes), 65536, 1024 * MIB,
     "1MiB", NULL},
    {"gateway.media_queue_bytes", CONFIG_BYTES, AT(gateway.media_queue_bytes), 262144, 1024 * MIB,
     "4MiB", NULL},
    {"gateway.media_queue_ms", CONFIG_MS, AT(gateway.media_queue_ms), 100, 60000, "3s", NULL},
    {"gateway.ping_ms", CONFIG_MS, AT(gateway.ping_ms), 100, 3600000, "25s", NULL},
    {"gateway.pong_ms", CONFIG_MS, AT(gateway.pong_ms), 100, 3600000, "10s", NULL},
    {"gateway.max_upload_bytes", CONFIG_BYTES64, AT(gateway.max_upload_bytes), 0, NO_MAX, "0",
     NULL},
    {"gateway.max_uploads", CONFIG_COUNT, AT(gateway.max_uploads), 1, 65536, "2000", NULL},
    {"gateway.trusted_proxies", CONFIG_LIST, AT(gateway.trusted_proxies), 0, 4000, "", NULL},
    {"gateway.origins", CONFIG_LIST, AT(gateway.origins), 0, 4000, "", NULL},
    {"gateway.hosts", CONFIG_LIST, AT(gateway.hosts), 0, 4000, "", NULL},
    {"gateway.protocols", CONFIG_LIST, AT(gateway.protocols), 1, 4000, "text,centrifuge-json",
     NULL},
    {"gateway.ports", CONFIG_PORTS, AT(gateway.ports), 0, 4000, "", NULL},
    {"gateway.muxers", CONFIG_LIST, AT(gateway.muxers), 1, 4000, "fmp4,flv", NULL},
    {"gateway.auth", CONFIG_TEXT, AT(gateway.auth), 1, 4000, "open", NULL},

    {"hub.store", CONFIG_TEXT, AT(hub.store), 1, 200, "sqlite", NULL},
    {"hub.max_message_bytes", CONFIG_BYTES, AT(hub.max_message_bytes), 128, 1 * MIB, "64KiB", NULL},
    {"hub.filters", CONFIG_LIST, AT(hub.filters), 0, 4000, "", NULL},
    {"hub.history_count", CONFIG_COUNT64, AT(hub.history_count), 1, 1000000000000u, "10000", NULL},
    {"hub.history_age", CONFIG_AGE, AT(hub.history_age_ms), 1000, 3153600000000u, "30d", NULL},

    {"ingest.stream_port", CONFIG_COUNT, AT(ingest.stream_port), 1, 65535, "7210", NULL},
    {"ingest.no_packet_ms", CONFIG_MS, AT(ingest.no_packet_ms), 500, 600000, "8s", NULL},
    {"ingest.keep_ms", CONFIG_MS, AT(ingest.keep_ms), 0, 600000, "20s", NULL},
    {"ingest.keep_bytes", CONFIG_BYTES, AT(ingest.keep_bytes), 0, 1024 * MIB, "8MiB", NULL},

    {"filestore.blob", CONFIG_TEXT, AT(filestore.blob), 1, 200, "disk", NULL},
    {"filestore.min_free_bytes", CONFIG_BYTES64, AT(filestore.min_free_bytes), 0, NO_MAX, "64MiB",
     NULL},
    {"filestore.expire_hours", CONFIG_HOURS, AT(filestore.expire_hours), 1, 87600, "24", NULL},

    {"bus.hub", CONFIG_BUSES, AT(bus.hub), 1, 0, NULL, NULL},
    {"bus.ingest", CONFIG_BUSES, AT(bus.ingest), 1, 0, NULL, NULL},
    {"bus.filestore", CONFIG_BUSES, AT(bus.filestore), 1, 0, NULL, NULL},
    {"bus.hub_listen", CONFIG_BUS, AT(bus.hub_listen), 1, 0, NULL, NULL},
    {"bus.ingest_listen", CONFIG_BUS, AT(bus.ingest_listen), 1, 0, NULL, NULL},
    {"bus.filestore_listen", CONFIG_BUS, AT(bus.filestore_listen), 1, 0, NULL, NULL},
    {"bus.hub_events", CONFIG_BUS, AT(bus.hub_events), 1, 0, NULL, NULL},
    {"bus.ingest_events", CONFIG_BUS, AT(bus.ingest_events), 1, 0, NULL, NULL},
    {"bus.filestore_events", CONFIG_BUS, AT(bus.filestore_events), 1, 0, NULL, NULL},
};
const size_t config__num_keys = WR_ARRAY_LEN(config__keys);

const struct config_key config__stream_keys[] = {
    {"url", CONFIG_URL, offsetof(struct wr_config_stream, url), 1, 2000, NULL, NULL},
    {"transport", CONFIG_CHOICE, offsetof(struct wr_config_stream, transport), 1, 0, "tcp",
     "tcp udp"},
    {"always", CONFIG_BOOL, offsetof(struct wr_config_stream, always), 0, 0, "false", NULL},
    {"linger", CONFIG_WAIT, offsetof(struct wr_config_stream, linger_ms), 0, 86400000, "10s", NULL},
};
const size_t config__num_stream_keys = WR_ARRAY_LEN(config__stream_keys);

const struct config_key config__history_keys[] = {
    {"count", CONFIG_COUNT64, offsetof(struct wr_config_room, history_count), 1, 1000000000000u,
     NULL, NULL},
    {"age", CONFIG_AGE, offsetof(struct wr_config_room, history_age_ms), 1000, 3153600000000u, NULL,
     NULL},
};
const size_t config__num_history_keys = WR_ARRAY_LEN(config__history_keys);

const char *const config__sections[] = {"log",       "gateway", "hub",     "ingest",
                                        "filestore", "bus",     "streams", "rooms"};
const size_t config__num_sections = WR_ARRAY_LEN(config__sections);
