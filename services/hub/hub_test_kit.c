/* SPDX-License-Identifier: MIT
 *
 * What the hub's tests share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_test_kit.h"
#include "wr_clock.h"
#include "wr_thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_US = 10000000 };

void kit_init(struct kit *k, const char *yaml)
{
    static int serial;
    static struct wr_plugins
        *plugins; /* never unloaded: metrics are static objects that live for ever */
    char text[2048];
    struct wr_errmsg err = {{0}};
    *k = (struct kit){.folder = "/tmp/wr-hub-XXXXXX"};
    assert_non_null(mkdtemp(k->folder));
    pthread_mutex_init(&k->lock, NULL);
    wr_cond_init(&k->came);
    if (!plugins)
        assert_int_equal(wr_plugins_load(WR_TEST_PLUGINS, &plugins), WR_OK);
    k->plugins = plugins;
    k->table = wr_plugins_find(k->plugins, WR_KIND_SERVICE, "hub");
    assert_non_null(k->table);
    serial++;
    snprintf(text, sizeof text,
             "data: %s\nbus:\n  hub: inproc://t%d-calls\n  hub_listen: inproc://t%d-calls\n"
             "  hub_events: inproc://t%d-events\n%s",
             k->folder, serial, serial, serial, yaml);
    if (wr_config_parse("test", wr_slice_str(text), WR_SHAPE_ALL_IN_ONE, &k->config, &err) != WR_OK)
        fail_msg("%s", err.text);
}

void kit_fini(struct kit *k)
{
    char command[128];
    kit_stop(k);
    wr_config_free(&k->config);
    pthread_cond_destroy(&k->came);
    pthread_mutex_destroy(&k->lock);
    snprintf(command, sizeof command, "rm -rf '%s'", k->folder);
    assert_int_equal(system(command), 0);
}

wr_err kit_try_start(struct kit *k, struct wr_errmsg *err)
{
    const struct wr_service_env env = {.config = k->config, .plugins = k->plugins};
    k->hub = wr_plugin_state(&k->table->base);
    assert_non_null(k->hub);
    wr_err e = k->table->start(k->hub, &env, err);
    if (e != WR_OK) {
        free(k->hub);
        k->hub = NULL;
    }
    return e;
}

static void hear(void *ctx, struct wr_slice topic, struct wr_slice event, struct wr_msg *msg)
{
    struct kit *k = ctx;
    if (k->deaf)
        return;
    Watchroom__V1__Event *e = watchroom__v1__event__unpack(NULL, event.n, event.p);
    (void)msg;
    pthread_mutex_lock(&k->lock);
    /* A wrong one is kept as NULL: the test that looks at it fails. */
    bool ok = e && e->room && topic.n == 5 + strlen(e->room->room) &&
              memcmp(topic.p, "room/", 5) == 0 &&
              memcmp(topic.p + 5, e->room->room, topic.n - 5) == 0 && e->time_ms > 0 &&
              e->instance[0];
    if (k->num_events < KIT_MAX_EVENTS)
        k->events[k->num_events++] = ok ? e : NULL;
    else
        ok = false;
    pthread_cond_broadcast(&k->came);
    pthread_mutex_unlock(&k->lock);
    if (!ok && e)
        watchroom__v1__event__free_unpacked(e, NULL);
}

void kit_start(struct kit *k)
{
    static const char *const prefixes[] = {"room/", NULL};
    struct wr_errmsg err = {{0}};
    if (kit_try_start(k, &err) != WR_OK)
        fail_msg("start: %s", err.text);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &k->bus), WR_OK);
    assert_int_equal(wr_bus_service_open(k->bus, "hub", k->config->bus.hub, &k->service, &err),
                     WR_OK);
    assert_int_equal(wr_bus_subscribe_service(k->service, prefixes, hear, k, &k->sub), WR_OK);
    int64_t until = wr_mono_us() + PATIENCE_US;
    while (!wr_bus_service_is_up(k->service) && wr_mono_us() < until)
        usleep(1000);
    /* The subscription stands when an entry of its own came through. */
    for (size_t at = 0; wr_mono_us() < until; at = k->num_events) {
        assert_int_equal(kit_publish(k, "kit", "", "0").code, WR_OK);
        pthread_mutex_lock(&k->lock);
        while (k->num_events == at && wr_cond_wait_until(&k->came, &k->lock, wr_mono_us() + 20000))
            ;
        bool came = k->num_events > at;
        pthread_mutex_unlock(&k->lock);
        if (came)
            return;
    }
    fail_msg("the hub's events do not come");
}

void kit_stop(struct kit *k)
{
    wr_bus_sub_close(&k->sub);
    wr_bus_close(&k->bus);
    k->service = NULL;
    if (k->hub) {
        k->table->drain(k->hub);
        k->table->stop(k->hub);
        free(k->hub);
        k->hub = NULL;
    }
    while (k->num_events) {
        Watchroom__V1__Event *e = k->events[--k->num_events];
        if (e)
            watchroom__v1__event__free_unpacked(e, NULL);
    }
}

ProtobufCMessage *kit_call(struct kit *k, const char *method, const ProtobufCMessage *req,
                           const ProtobufCMessageDescriptor *res, wr_err *code,
                           struct wr_errmsg *err)
{
    char name[64];
    struct wr_msg *answer = NULL;
    struct wr_slice body;
    struct wr_errmsg ignored;
    snprintf(name, sizeof name, "watchroom.v1.Hub/%s", method);
    *code = wr_bus_call_wait(k->service, NULL, name, wr_msg_pack(req), 10000, &answer, &body,
                             err ? err : &ignored);
    if (*code != WR_OK)
        return NULL;
    ProtobufCMessage *m = protobuf_c_message_unpack(res, NULL, body.n, body.p);
    wr_msg_unref(answer);
    assert_non_null(m);
    return m;
}

struct kit_result kit_publish_item(struct kit *k, Watchroom__V1__PublishItem *item)
{
    Watchroom__V1__PublishRequest req = WATCHROOM__V1__PUBLISH_REQUEST__INIT;
    struct kit_result r = {0};
    struct wr_errmsg err = {{0}};
    req.items = &item;
    req.n_items = 1;
    Watchroom__V1__PublishResponse *res = (Watchroom__V1__PublishResponse *)(void *)kit_call(
        k, "Publish", &req.base, &watchroom__v1__publish_response__descriptor, &r.code, &err);
    snprintf(r.message, sizeof r.message, "%s", err.text);
    if (!res)
        return r;
    assert_int_equal(res->n_results, 1);
    r.code = wr_err_from_wire(res->results[0]->code);
    r.offset = res->results[0]->offset;
    r.duplicate = res->results[0]->duplicate;
    snprintf(r.epoch, sizeof r.epoch, "%s", res->results[0]->epoch);
    snprintf(r.message, sizeof r.message, "%s", res->results[0]->message);
    watchroom__v1__publish_response__free_unpacked(res, NULL);
    return r;
}

struct kit_result kit_publish(struct kit *k, const char *room, const char *key, const char *data)
{
    Watchroom__V1__PublishItem item = WATCHROOM__V1__PUBLISH_ITEM__INIT;
    char room_copy[300], key_copy[64];
    snprintf(room_copy, sizeof room_copy, "%s", room);
    snprintf(key_copy, sizeof key_copy, "%s", key);
    item.room = room_copy;
    item.kind = WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_CHAT;
    item.key.data = (uint8_t *)key_copy;
    item.key.len = strlen(key);
    uint8_t *copy = (uint8_t *)strdup(data);
    assert_non_null(copy);
    item.data.data = copy;
    item.data.len = strlen(data);
    struct kit_result r = kit_publish_item(k, &item);
    free(copy);
    return r;
}

Watchroom__V1__RoomEvent *kit_event(struct kit *k, size_t n)
{
    int64_t until = wr_mono_us() + PATIENCE_US;
    pthread_mutex_lock(&k->lock);
    while (k->num_events < n && wr_cond_wait_until(&k->came, &k->lock, until))
        ;
    Watchroom__V1__Event *e = k->num_events >= n ? k->events[n - 1] : NULL;
    pthread_mutex_unlock(&k->lock);
    assert_non_null(e);
    return e->room;
}

Watchroom__V1__RoomEvent *kit_next(struct kit *k, size_t *at, enum kit_what what)
{
    for (;;) {
        Watchroom__V1__RoomEvent *e = kit_event(k, ++*at);
        if (strcmp(e->room, "kit") == 0)
            continue;
        enum kit_what is = e->n_publications          ? KIT_PUBLICATIONS
                           : e->n_joined || e->n_left ? KIT_MEMBERS
                                                      : KIT_BEAT;
        if (is == what)
            return e;
    }
}

Watchroom__V1__HistoryResponse *kit_history(struct kit *k, const Watchroom__V1__HistoryRequest *req,
                                            wr_err *code)
{
    return (Watchroom__V1__HistoryResponse *)(void *)kit_call(
        k, "History", &req->base, &watchroom__v1__history_response__descriptor, code, NULL);
}
