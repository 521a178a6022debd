/* SPDX-License-Identifier: MIT
 *
 * What the bus's tests share: a service that does what the method says, who calls it, and who listens. */
#ifndef WR_BUS_TEST_KIT_H
#define WR_BUS_TEST_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bus_priv.h"
#include "wr_metrics.h"

struct service {
    struct wr_bus *bus;
    struct wr_bus_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct wr_call *held;                          /* the last "hold" call, unanswered */
    struct wr_call *all_held[BUS_SERVER_CONTEXTS]; /* and all of them */
    bool blocked;                                  /* in a "block" call, until it is false */
    _Atomic(const uint8_t *) body_at;
    unsigned holds;
};

struct caller {
    struct wr_bus *bus;
    struct wr_bus_service *service;
};

struct changes {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ups, downs;
    char last_up[96];
};

struct slow_listener {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool entered, let_go, left;
};

struct listener {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
    uint32_t last;
    bool disorder;
    char topic[64];
    const uint8_t *at;
};

void service_handle(void *ctx, struct wr_call *call);
void service_start(struct service *s, const char *url);
struct wr_call *service_take_held(struct service *s);
bool metric_is(const char *line);
void caller_start(struct caller *c, const char *url);
wr_err echo(struct caller *c, struct wr_slice body, uint32_t deadline_ms);
int free_port(void);
void on_change(void *ctx, const char *instance, enum wr_instance_state state);
void wait_ups(struct changes *c, unsigned ups);
void on_change_slowly(void *ctx, const char *instance, enum wr_instance_state state);
void *let_go_soon(void *arg);
void on_event(void *ctx, struct wr_slice topic, struct wr_slice event, struct wr_msg *msg);
void publish(struct wr_bus_pub *p, const char *topic, uint32_t n);
uint32_t publish_until_heard(struct wr_bus_pub *p, const char *topic, struct listener *l,
                             uint32_t n);

#endif
