/* SPDX-License-Identifier: MIT
 *
 * The hub as its own files see it.
 *
 * Threads: the bus calls handle_call (hub_calls.c), which only queues; `hub-writer` (hub_flow.c) takes publishes through
 * filters and store; `hub-members` (hub_members.c) applies leases and tells who joined and left; `hub-reader`s
 * (hub_reads.c) answer everything that reads, each kind of read on threads of its own: a storm of one (a thousand clients
 * that come back and read what they missed) takes nothing from the others. No thread waits for another one. */
#ifndef HUB_PRIV_H
#define HUB_PRIV_H

#include "hub_filters.h"
#include "hub_keeps.h"
#include "hub_queue.h"
#include "hub_rooms.h"
#include "wr_bus.h"
#include "wr_config.h"
#include "wr_service.h"
#include "wr_store.h"

#define HUB_MAGIC 0x57524842u
#define HUB_MAX_QUEUED_PUBLISHES 4096u /* calls; a gateway has one at a time in flight for a hub */
#define HUB_MAX_QUEUED_PUBLISH_BYTES (64u << 20)
#define HUB_MAX_QUEUED_READS 1024u /* of one kind */
#define HUB_MAX_QUEUED_READ_BYTES (8u << 20)
#define HUB_MAX_QUEUED_MEMBERS 1024u
#define HUB_MAX_QUEUED_MEMBER_BYTES (64u << 20)
#define HUB_MAX_BATCH_BYTES (8u << 20) /* of requests in one transaction */
#define HUB_MAX_ITEMS 4096u            /* in one Publish, and rooms in one Tops */
#define HUB_MAX_EVENT_BYTES (1u << 20) /* publications in one event */
#define HUB_MAX_PAGE_BYTES (2u << 20)  /* publications in one History answer */
#define HUB_MAX_PAGE_ENTRIES 1000u

struct hub_batch;

/* Kinds of reads: name of the queue, its threads, what is asked there. No store needs more connections than threads in
 * all. */
#define HUB_READS(X)                                          \
    X(HUB_POSITIONS, "positions", 1) /* Tops: who comes in */ \
    X(HUB_HISTORY, "history", 2)     /* pages of a log */     \
    X(HUB_LISTS, "lists", 1)         /* Presence, Rooms */
#define X(id, name, threads) id,
enum hub_reads { HUB_READS(X) HUB_READS_COUNT };
#undef X
enum { HUB_MOST_READERS = 2 };

struct hub_readers {
    struct hub *hub;
    struct hub_queue queue;
    pthread_t threads[HUB_MOST_READERS];
    unsigned num_threads;
};

struct hub {
    uint32_t magic;
    const struct wr_config *config;
    const struct wr_store_plugin *store;
    void *store_state; /* NULL while not open */
    struct hub_keeps keeps;
    struct hub_filters filters; /* the writer's */
    struct hub_rooms rooms;
    struct hub_queue publishes, members;
    struct hub_readers readers[HUB_READS_COUNT];
    struct hub_batch *batch; /* the writer's */
    struct wr_bus *bus;
    struct wr_bus_pub *pub;
    struct wr_bus_server *server;
    pthread_t writer, keeper;
    bool has_writer, has_keeper;
    atomic_int_least64_t complained_ms; /* of reads that failed, last */
};

/* hub_calls.c: the bus's handler. */
void hub__handle_call(void *ctx, struct wr_call *call);
/* Threads. They end when their queue is closed and empty. */
void *hub__writer(void *batch);                  /* hub_flow.c; its memory from hub__batch_new */
void *hub__keeper(void *hub);                    /* hub_members.c */
void *hub__reader(void *readers);                /* hub_reads.c; a struct hub_readers */
struct hub_batch *hub__batch_new(struct hub *h); /* NULL only when memory is out */
void hub__batch_free(struct hub_batch *b);       /* accepts NULL */

#endif
