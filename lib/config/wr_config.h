/* SPDX-License-Identifier: MIT
 *
 * The configuration: one YAML file, every key also an environment variable (WATCHROOM_GATEWAY_LISTEN), the common ones a
 * flag. Unknown keys and wrong types are errors that name file, line and key. Read once at start, then const. */
#ifndef WR_CONFIG_WR_CONFIG_H
#define WR_CONFIG_WR_CONFIG_H

#include "wr_err.h"

struct wr_config_stream {
    char *name;
    char *url;          /* rtsp://..., or "synthetic:" ; never shown: it may hold credentials */
    char *transport;    /* "tcp" (default) or "udp" */
    bool always;        /* runs without viewers */
    uint32_t linger_ms; /* after the last viewer; default 10,000 */
};

struct wr_config_room {
    char *name;
    char *stream;           /* "" = none */
    uint64_t history_count; /* 0 = not said: ask wr_config_history() */
    int64_t history_age_ms; /* likewise */
};

struct wr_config {
    char *file; /* "" when there is none */
    char *data; /* data folder; default "./data" */
    struct {
        char *level;  /* "debug", "info" (default), "warn", "error" */
        char *format; /* "text" (default), "json" */
    } log;

    struct {
        char *listen; /* "127.0.0.1:8000" */
        char *health; /* "127.0.0.1:8001"; "" = none */
        char *web;    /* folder of the built page; "" = found beside the executable or installed */
        uint32_t plane_threads;           /* 0 = one a core */
        uint32_t http_threads;            /* civetweb workers, default 16 */
        uint32_t max_connections;         /* default 100,000 */
        uint32_t connections_per_address; /* of one client address (IPv6: one /64) at a time; 0 =
                                             a quarter of max_connections, at least 1,000 */
        uint32_t chat_queue_bytes;        /* default 1 MiB */
        uint32_t media_queue_bytes;       /* default 4 MiB */
        uint32_t media_queue_ms;          /* default 3,000 */
        uint32_t
            ping_ms; /* WebSocket pings after so long without a byte from the client; default 25,000 */
        uint32_t
            pong_ms; /* the client is gone when nothing came for so long after a ping; default 10,000 */
        uint64_t max_upload_bytes; /* default 0 = no limit but the disk */
        uint32_t max_uploads;      /* bodies of uploads in progress at once, default 2,000 */
        char *
            trusted_proxies; /* addresses or CIDR blocks, comma-separated, whose X-Forwarded-For is believed */
        char
            *origins; /* foreign origins whose pages may use the gateway, comma-separated, or "*" */
        char *hosts;  /* names in Host that are the gateway's, comma-separated; "*" = any */
        char *protocols; /* plugin names, comma-separated; default "text,centrifuge-json" */
        char *ports;     /* of protocols on TCP: "NAME=ADDRESS:PORT", comma-separated; "" = none */
        char *muxers;    /* default "fmp4,flv" */
        char *auth;      /* policy: "name" or "name=args"; default "open" */
    } gateway;
    struct {
        char *store;                /* plugin name, or name=arguments; default "sqlite" */
        uint32_t max_message_bytes; /* of an entry's data; gateways learn it; default 65,536 */
        char *filters;          /* "name" or "name=args", comma-separated, in order; default "" */
        uint64_t history_count; /* of rooms that say nothing else; default 10,000 */
        int64_t history_age_ms; /* likewise; default 30 d */
    } hub;
    struct {
        uint32_t stream_port;  /* first port of streams' own sockets on TCP; default 7210 */
        uint32_t no_packet_ms; /* watchdog; default 8,000 */
        uint32_t keep_ms;      /* groups of pictures kept of each stream; default 20,000 */
        uint32_t keep_bytes;   /* likewise; default 8 MiB */
    } ingest;
    struct {
        char *blob;              /* plugin name; default "disk" */
        uint64_t min_free_bytes; /* floor of free space, default 64 MiB */
        uint32_t
            expire_hours; /* unfinished uploads untouched for so long are removed; default 24 */
    } filestore;
    /* Where each service answers calls / publishes; what the others dial. inproc:// in one process, tcp:// split. */
    struct {
        char *hub, *ingest, *filestore;                      /* dialled */
        char *hub_listen, *ingest_listen, *filestore_listen; /* served */
        char *hub_events, *ingest_events, *filestore_events; /* pub sockets */
    } bus;
    char *plugin_path; /* more folders, colon-separated */

    struct wr_config_stream *streams;
    size_t num_streams;
    struct wr_config_room *rooms;
    size_t num_rooms;
    struct wr_config_room *
        room_patterns; /* names with '*' under rooms: history of rooms that fit, no rooms themselves */
    size_t num_room_patterns;
};

/* One of the process shapes: decides the bus defaults. */
enum wr_config_shape { WR_SHAPE_ALL_IN_ONE, WR_SHAPE_SPLIT };

/* Defaults, then the file (NULL or "" = none), then the environment. With no streams and no rooms configured there is a
 * room `demo` with the synthetic stream `demo`; a stream that no room shows gets a room of its own name. Errors with "file:line: key: what is wrong; what to do". */
WR_API WR_MUST_USE wr_err wr_config_load(const char *file, enum wr_config_shape shape,
                                         struct wr_config **out, struct wr_errmsg *err);
/* The same from bytes (`name` stands for the file in errors); environment is not read. For tests and the fuzzer. */
WR_API WR_MUST_USE wr_err wr_config_parse(const char *name, struct wr_slice text,
                                          enum wr_config_shape shape, struct wr_config **out,
                                          struct wr_errmsg *err);
/* Sets one key as a flag does ("gateway.listen"). */
WR_API WR_MUST_USE wr_err wr_config_set(struct wr_config *c, const char *key, const char *value,
                                        struct wr_errmsg *err);
WR_API void wr_config_free(struct wr_config **c);
/* One after the other of gateway.ports: true, and its name and address, *at moved behind it; false at the end. */
WR_API bool wr_config_next_port(const char **at, char name[64], char address[80]);
/* NULL when the name is not configured. */
WR_API const struct wr_config_stream *wr_config_stream_named(const struct wr_config *c,
                                                             struct wr_slice name);
WR_API const struct wr_config_room *wr_config_room_named(const struct wr_config *c,
                                                         struct wr_slice name);
/* How much of a room's log is kept: what the room itself says, else the first pattern that fits its name and says it, else
 * hub.history_count and hub.history_age; each of the two by itself. The name may be a pattern's own. */
WR_API void wr_config_history(const struct wr_config *c, struct wr_slice name, uint64_t *count,
                              int64_t *age_ms);

/* Copies a URL with user and password replaced by "***". */
WR_API void wr_url_redact(const char *url, char *out, size_t n);

#endif
