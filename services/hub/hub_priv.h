/* SPDX-License-Identifier: MIT
 *
 * The hub as its own files see it.
 *
 * Threads: the bus calls handle_call (hub_calls.c), which only queues; `hub-writer` (hub_flow.c) takes publishes through
 * filters and store; `hub-members` (hub_members.c) applies leases and tells who joined and left; `hub-reader`s
 * (hub_reads.c) answer everything that reads. No thread waits for another one. */
#ifndef HUB_PRIV_H
#define HUB_PRIV_H

#include "hub_filters.h"
#include "hub_queue.h"
#include "hub_rooms.h"
#include "wr_bus.h"
#include "wr_config.h"
#include "wr_service.h"
#include "wr_store.h"

#define HUB_MAGIC 0x57524842u
#define HUB_READERS 2
#define HUB_MAX_QUEUED_PUBLISHES 4096u /* calls; a gateway has one at a time in flight for a hub */
#define HUB_MAX_QUEUED_PUBLISH_BYTES (64u << 20)
#define HUB_MAX_QUEUED_READS 1024u
#define HUB_MAX_QUEUED_READ_BYTES (8u << 20)
#define HUB_MAX_QUEUED_MEMBERS 1024u
#define HUB_MAX_QUEUED_MEMBER_BYTES (64u << 20)
#define HUB_MAX_BATCH_BYTES (8u << 20) /* of requests in one transaction */
#define HUB_MAX_ITEMS 4096u            /* in one Publish, and rooms in one Tops */
#define HUB_MAX_EVENT_BYTES (1u << 20) /* publications in one event */
#define HUB_MAX_PAGE_BYTES (2u << 20)  /* publications in one History answer */
#define HUB_MAX_PAGE_ENTRIES 1000u
#define HUB_KEEP_COUNT 10000u /* of rooms that the configuration does not name */
#define HUB_KEEP_AGE_MS (INT64_C(30) * 86400 * 1000)

struct hub_batch;

struct hub {
    uint32_t magic;
    const struct wr_config *config;
    const struct wr_store_plugin *store;
    void *store_state; /* NULL while not open */
    struct wr_store_keep *keeps;
    struct hub_filters filters; /* the writer's */
    struct hub_rooms rooms;
    struct hub_queue publishes, members, reads;
    struct hub_batch *batch; /* the writer's */
    struct wr_bus *bus;
    struct wr_bus_pub *pub;
    struct wr_bus_server *server;
    pthread_t writer, keeper, readers[HUB_READERS];
    bool has_writer, has_keeper;
    unsigned num_readers;
};

/* hub_calls.c: the bus's handler. */
void hub__handle_call(void *ctx, struct wr_call *call);
/* Threads. They end when their queue is closed and empty. */
void *hub__writer(void *batch);                  /* hub_flow.c; its memory from hub__batch_new */
void *hub__keeper(void *hub);                    /* hub_members.c */
void *hub__reader(void *hub);                    /* hub_reads.c */
struct hub_batch *hub__batch_new(struct hub *h); /* NULL only when memory is out */
void hub__batch_free(struct hub_batch *b);       /* accepts NULL */

#endif
