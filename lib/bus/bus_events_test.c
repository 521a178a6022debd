/* SPDX-License-Identifier: MIT
 *
 * Claims about events, and about the names that subscriptions resolve. */
#include "bus_test_kit.h"

#include <dlfcn.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static void events_of_a_service(const char *calls, const char *events)
{
    struct service s;
    struct caller c;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&l.changed);
    service_start(&s, calls);
    assert_int_equal(wr_bus_pub_open(s.bus, events, true, &pub, &err), WR_OK);
    caller_start(&c, wr_bus_server_url(s.server));
    const char *const prefixes[] = {"room/1\x01", "file/", NULL};
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, &l, &sub), WR_OK);
    uint32_t n = publish_until_heard(pub, "room/1", &l, 0);
    unsigned before = l.count;
    publish(pub, "room/12", ++n);
    publish(pub, "other/1", ++n);
    for (int i = 0; i < 500; i++)
        publish(pub, i % 2 ? "room/1" : "file/a", ++n);
    pthread_mutex_lock(&l.lock);
    while (l.last < n)
        pthread_cond_wait(&l.changed, &l.lock);
    assert_int_equal(l.count - before, 500);
    assert_false(l.disorder);
    pthread_mutex_unlock(&l.lock);
    wr_bus_sub_close(&sub);
    publish(pub, "room/1", ++n);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_events_of_a_service_arrive_in_order_and_by_topic(void **state)
{
    (void)state;
    events_of_a_service("inproc://t-ev", "inproc://t-ev/events");
    events_of_a_service("tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
}

/* How many of this process's connections end when their other side answers nothing for 20 s. */
static unsigned watched_connections(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        int idle_s = 0;
        unsigned unanswered_ms = 0;
        socklen_t a = sizeof idle_s, b = sizeof unanswered_ms;
        n += getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, &a) == 0 && idle_s == 5 &&
             getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, &b) == 0 &&
             unanswered_ms == 20000;
    }
    return n;
}

static void test_connections_for_calls_and_events_are_watched_at_both_ends(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *const prefixes[] = {"room/", NULL};
    wr_cond_init(&l.changed);
    service_start(&s, "tcp://127.0.0.1:0");
    assert_int_equal(wr_bus_pub_open(s.bus, "tcp://127.0.0.1:0", true, &pub, &err), WR_OK);
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, &l, &sub), WR_OK);
    publish_until_heard(pub, "room/1", &l, 0);
    while (watched_connections() < 4)
        usleep(1000);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

/* The bus asks this one for names: "moves.test" is where moves_to says, "slow.test" is nowhere, and that takes long. */
static _Atomic(const char *) moves_to;
static struct slow_listener resolver = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                        .changed = PTHREAD_COND_INITIALIZER};

WR_API int getaddrinfo(const char *restrict name, const char *restrict port,
                       const struct addrinfo *restrict hints, struct addrinfo **restrict all)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && strcmp(name, "slow.test") == 0) {
        on_change_slowly(&resolver, "", WR_INSTANCE_DOWN);
        return EAI_AGAIN;
    }
    return next(name && strcmp(name, "moves.test") == 0 ? moves_to : name, port, hints, all);
}

static void test_nobody_waits_for_a_resolver_that_does_not_answer(void **state)
{
    (void)state;
    struct caller c;
    struct wr_bus_sub *sub;
    const char *const prefixes[] = {"room/", NULL};
    pthread_t t;
    caller_start(&c, "tcp://slow.test:1");
    pthread_mutex_lock(&resolver.lock);
    while (!resolver.entered)
        pthread_cond_wait(&resolver.changed, &resolver.lock);
    pthread_mutex_unlock(&resolver.lock);
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, NULL, NULL, &sub), WR_OK);
    wr_bus_sub_close(&sub);
    wr_bus_close(&c.bus);
    pthread_mutex_lock(&resolver.lock);
    assert_false(resolver.left);
    pthread_mutex_unlock(&resolver.lock);
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &resolver), WR_OK);
    pthread_join(t, NULL);
}

static void service_with_lane(struct service *s, const char *address, int port,
                              struct wr_bus_pub **lane)
{
    char url[64];
    struct wr_errmsg err;
    snprintf(url, sizeof url, "tcp://%s:%d", address, port);
    service_start(s, url);
    snprintf(url, sizeof url, "tcp://%s:0", address);
    assert_int_equal(wr_bus_pub_open(s->bus, url, true, lane, &err), WR_OK);
}

static void test_lane_of_an_instance_that_moved_away_is_let_go(void **state)
{
    (void)state;
    struct service first, second;
    struct caller c;
    struct wr_bus_pub *lane;
    struct wr_bus_sub *sub;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *const prefixes[] = {"room/", NULL};
    char url[64];
    int port = free_port();
    wr_cond_init(&l.changed);
    moves_to = "127.0.0.2";
    service_with_lane(&first, moves_to, port, &lane);
    snprintf(url, sizeof url, "tcp://moves.test:%d", port);
    caller_start(&c, url);
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, &l, &sub), WR_OK);
    uint32_t n = publish_until_heard(lane, "room/1", &l, 0);
    assert_true(metric_is("\nwatchroom_bus_lanes 1\n"));

    wr_bus_close(&first.bus);
    moves_to = "127.0.0.3";
    service_with_lane(&second, moves_to, port, &lane);
    publish_until_heard(lane, "room/1", &l, n);
    while (!metric_is("\nwatchroom_bus_lanes 1\n"))
        usleep(1000);
    wr_bus_close(&c.bus);
    assert_true(metric_is("\nwatchroom_bus_lanes 0\n"));
    wr_bus_close(&second.bus);
}

static void on_event_slowly(void *ctx, struct wr_slice topic, struct wr_slice event,
                            struct wr_msg *msg)
{
    (void)topic, (void)event, (void)msg;
    on_change_slowly(ctx, "", WR_INSTANCE_UP);
}

static void test_slow_inproc_subscriber_loses_what_is_counted(void **state)
{
    (void)state;
    struct service s;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct slow_listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *const prefixes[] = {"media/", NULL};
    const char *url = "inproc://t-slow/stream";
    pthread_t t;
    wr_cond_init(&l.changed);
    service_start(&s, "inproc://t-slow");
    assert_int_equal(wr_bus_subscribe_url(s.bus, url, prefixes, on_event_slowly, &l, &sub, &err),
                     WR_OK);
    assert_int_equal(wr_bus_pub_open(s.bus, url, false, &pub, &err), WR_OK);
    publish(pub, "media/demo", 1);
    pthread_mutex_lock(&l.lock);
    while (!l.entered)
        pthread_cond_wait(&l.changed, &l.lock);
    pthread_mutex_unlock(&l.lock);
    for (uint32_t i = 0; i < BUS_MEDIA_QUEUE + 10; i++)
        publish(pub, "media/demo", 2 + i);
    assert_true(metric_is("\nwatchroom_bus_local_events_dropped_total 10\n"));
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &l), WR_OK);
    wr_bus_close(&s.bus);
    pthread_join(t, NULL);
}

static uint64_t events_dropped(void)
{
    static const char name[] = "\nwatchroom_bus_local_events_dropped_total ";
    struct wr_buf out = {0};
    wr_metrics_write(&out);
    wr_buf_char(&out, '\0');
    const char *at = strstr((const char *)out.p, name);
    uint64_t n = at ? strtoull(at + sizeof name - 1, NULL, 10) : 0;
    wr_buf_free(&out);
    return n;
}

static void test_inproc_queue_is_bounded_in_memory_as_well(void **state)
{
    (void)state;
    enum { ONE = 2 << 20, FIT = BUS_LANE_BYTES / ONE };
    struct service s;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct slow_listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *const prefixes[] = {"media/", NULL};
    const char *url = "inproc://t-large/stream";
    pthread_t t;
    wr_cond_init(&l.changed);
    service_start(&s, "inproc://t-large");
    assert_int_equal(wr_bus_subscribe_url(s.bus, url, prefixes, on_event_slowly, &l, &sub, &err),
                     WR_OK);
    assert_int_equal(wr_bus_pub_open(s.bus, url, false, &pub, &err), WR_OK);
    publish(pub, "media/demo", 1);
    pthread_mutex_lock(&l.lock);
    while (!l.entered)
        pthread_cond_wait(&l.changed, &l.lock);
    pthread_mutex_unlock(&l.lock);
    uint64_t before = events_dropped();
    for (int i = 0; i < FIT + 4; i++)
        wr_bus_publish(pub, "media/demo", wr_msg_new(0, ONE));
    /* What stands beside the bytes costs as well: one less than FIT of them are kept. */
    assert_int_equal(events_dropped() - before, 5);
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &l), WR_OK);
    wr_bus_close(&s.bus);
    pthread_join(t, NULL);
}

static void test_inproc_event_is_passed_by_reference(void **state)
{
    (void)state;
    struct service s;
    struct wr_bus_pub *pub;
    struct wr_bus_sub *sub;
    struct wr_errmsg err;
    struct listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&l.changed);
    const char *const prefixes[] = {"media/", NULL};
    service_start(&s, "inproc://t-evref");
    assert_int_equal(
        wr_bus_subscribe_url(s.bus, "inproc://t-evref/stream", prefixes, on_event, &l, &sub, &err),
        WR_OK);
    assert_int_equal(wr_bus_pub_open(s.bus, "inproc://t-evref/stream", false, &pub, &err), WR_OK);
    uint32_t n = 7;
    struct wr_msg *m = wr_msg_copy(wr_slice_of(&n, sizeof n));
    const uint8_t *at = m->data;
    wr_bus_publish(pub, "media/demo", m);
    pthread_mutex_lock(&l.lock);
    while (!l.count)
        pthread_cond_wait(&l.changed, &l.lock);
    assert_ptr_equal(l.at, at);
    assert_string_equal(l.topic, "media/demo");
    pthread_mutex_unlock(&l.lock);
    wr_bus_close(&s.bus);
}

int main(int argc, char **argv)
{
    wr_log_set_level(WR_LOG_ERROR);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_of_a_service_arrive_in_order_and_by_topic),
        cmocka_unit_test(test_connections_for_calls_and_events_are_watched_at_both_ends),
        cmocka_unit_test(test_slow_inproc_subscriber_loses_what_is_counted),
        cmocka_unit_test(test_inproc_queue_is_bounded_in_memory_as_well),
        cmocka_unit_test(test_inproc_event_is_passed_by_reference),
        cmocka_unit_test(test_lane_of_an_instance_that_moved_away_is_let_go),
        cmocka_unit_test(test_nobody_waits_for_a_resolver_that_does_not_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
