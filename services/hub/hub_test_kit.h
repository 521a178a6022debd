/* SPDX-License-Identifier: MIT
 *
 * A hub of its own for a test, called over the bus as a gateway does, with an ear on its events. */
#ifndef HUB_TEST_KIT_H
#define HUB_TEST_KIT_H

#include "watchroom/v1/bus.pb-c.h"
#include "watchroom/v1/hub.pb-c.h"
#include "wr_bus.h"
#include "wr_config.h"
#include "wr_plugins.h"
#include "wr_service.h"

#include <pthread.h>

#define KIT_MAX_EVENTS 4096

struct kit {
    char folder[64]; /* the data folder */
    struct wr_plugins *plugins;
    const struct wr_service_plugin *table;
    struct wr_config *config;
    void *hub; /* NULL while it is not running */
    struct wr_bus *bus;
    struct wr_bus_service *service;
    struct wr_bus_sub *sub;
    pthread_mutex_t lock; /* guards events */
    pthread_cond_t came;
    Watchroom__V1__Event *events[KIT_MAX_EVENTS];
    size_t num_events;
    bool deaf; /* events are dropped as they come */
};

/* Makes the folder, loads the plugins; `yaml` is the configuration beside bus addresses and data folder. */
void kit_init(struct kit *k, const char *yaml);
void kit_fini(struct kit *k);
void kit_start(struct kit *k); /* the hub, and a caller that sees it up and hears its events */
void kit_stop(struct kit *k);
wr_err kit_try_start(struct kit *k, struct wr_errmsg *err); /* the hub alone */

/* Calls and unpacks; NULL when the call failed, with its code and text in *code and *err. */
struct ProtobufCMessage *kit_call(struct kit *k, const char *method,
                                  const struct ProtobufCMessage *req,
                                  const struct ProtobufCMessageDescriptor *res, wr_err *code,
                                  struct wr_errmsg *err);

/* One publish of one item; the result as code, offset and so on. data is text. */
struct kit_result {
    wr_err code;
    uint64_t offset;
    char epoch[9], message[256];
    bool duplicate;
};
struct kit_result kit_publish(struct kit *k, const char *room, const char *key, const char *data);
struct kit_result kit_publish_item(struct kit *k, Watchroom__V1__PublishItem *item);

/* Waits until there are at least n events; fails the test after 10 s. Events up to there stay where they are. */
Watchroom__V1__RoomEvent *kit_event(struct kit *k, size_t n);
/* The next event from *at on that has publications, members or (beats) neither; *at moves behind it. */
enum kit_what { KIT_PUBLICATIONS, KIT_MEMBERS, KIT_BEAT };
Watchroom__V1__RoomEvent *kit_next(struct kit *k, size_t *at, enum kit_what what);

Watchroom__V1__HistoryResponse *kit_history(struct kit *k, const Watchroom__V1__HistoryRequest *req,
                                            wr_err *code);

#endif
