/* SPDX-License-Identifier: MIT
 *
 * Claims about instances, those that are not ours among them, and about what strangers can do to a port. */
#include "bus_test_kit.h"
#include "watchroom/v1/node.pb-c.h"

#include <arpa/inet.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <sys/socket.h>
#include <sys/un.h>

static void restarts(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    struct changes ch = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&ch.changed);
    assert_int_equal(wr_bus_open(&(struct wr_bus_opts){0}, &c.bus), WR_OK);
    assert_int_equal(wr_bus_service_open(c.bus, "test", url, &c.service, &err), WR_OK);
    wr_bus_service_on_change(c.service, on_change, &ch);
    service_start(&s, url);
    wait_ups(&ch, 1);
    assert_string_equal(ch.last_up, wr_bus_instance(s.bus));
    wr_bus_close(&s.bus);
    service_start(&s, url);
    wait_ups(&ch, 2);
    assert_string_equal(ch.last_up, wr_bus_instance(s.bus));
    assert_true(ch.downs >= 1);
    assert_int_equal(echo(&c, wr_slice_str("again"), 5000), WR_OK);
    assert_true(wr_bus_service_is_up(c.service));
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_restart_is_told_as_a_new_instance(void **state)
{
    (void)state;
    char url[64];
    restarts("inproc://t-restart");
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", free_port());
    restarts(url);
}

static void test_who_hears_of_instances_is_let_go_once_it_has_heard(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    pthread_t t;
    struct slow_listener l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&l.changed);
    caller_start(&c, "inproc://t-unheard");
    wr_bus_service_on_change(c.service, on_change_slowly, &l);
    service_start(&s, "inproc://t-unheard");
    pthread_mutex_lock(&l.lock);
    while (!l.entered)
        pthread_cond_wait(&l.changed, &l.lock);
    pthread_mutex_unlock(&l.lock);
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &l), WR_OK);
    wr_bus_service_on_change(c.service, NULL, NULL);
    assert_true(l.left);
    l.entered = false;
    wr_bus_close(&s.bus);
    wr_bus_close(&c.bus);
    assert_false(l.entered);
    pthread_join(t, NULL);
}

static void end_slowly(void *ctx, const struct wr_answer *a)
{
    (void)a;
    on_change_slowly(ctx, "", WR_INSTANCE_DOWN);
}

struct again {
    struct caller c;
    struct slow_listener l;
};

/* Calls from within the closing, and waits until the housekeeper tells that this failed. */
static void call_again(void *ctx, const struct wr_answer *a)
{
    struct again *g = ctx;
    (void)a;
    wr_bus_call(g->c.service, NULL, "t/echo", NULL, 5000, end_slowly, &g->l);
    pthread_mutex_lock(&g->l.lock);
    while (!g->l.entered)
        pthread_cond_wait(&g->l.changed, &g->l.lock);
    pthread_mutex_unlock(&g->l.lock);
}

static void test_service_is_closed_once_its_last_call_was_told(void **state)
{
    (void)state;
    struct again g = {.l.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t t;
    wr_cond_init(&g.l.changed);
    caller_start(&g.c, "inproc://t-nobody-there");
    wr_bus_call(g.c.service, NULL, "t/echo", NULL, 60000, call_again, &g);
    assert_int_equal(wr_thread_start(&t, "soon", let_go_soon, &g.l), WR_OK);
    struct wr_bus_service *s = g.c.service;
    wr_bus_service_close(&s);
    assert_true(g.l.left);
    pthread_join(t, NULL);
    wr_bus_close(&g.c.bus);
}

static void note_instance(void *ctx, const struct wr_instance *i)
{
    char(*seen)[BUS_URL_BYTES] = ctx;
    if (i->state == WR_INSTANCE_UP)
        snprintf(*seen, sizeof *seen, "%s", i->address);
}

static void test_name_is_resolved_to_addresses(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    char url[64], seen[BUS_URL_BYTES] = "", want[64];
    int port = free_port();
    snprintf(want, sizeof want, "tcp://127.0.0.1:%d", port);
    service_start(&s, want);
    snprintf(url, sizeof url, "tcp://localhost:%d", port);
    caller_start(&c, url);
    assert_int_equal(echo(&c, wr_slice_str("by name"), 8000), WR_OK);
    wr_bus_service_each(c.service, note_instance, &seen);
    assert_string_equal(seen, want);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

struct foreign {
    nng_socket rep;
    pthread_t thread;
    char url[64];
    pthread_mutex_t lock; /* guards what it says of itself */
    char instance[128];
    size_t num_lanes;
};

static struct wr_msg *foreign_describe(struct foreign *f)
{
    Watchroom__V1__NodeInfo info = WATCHROOM__V1__NODE_INFO__INIT;
    char text[40][64];
    char *lanes[WR_ARRAY_LEN(text)];
    pthread_mutex_lock(&f->lock);
    info.instance = f->instance;
    info.lanes = lanes;
    for (info.n_lanes = 0; info.n_lanes < f->num_lanes; info.n_lanes++) {
        lanes[info.n_lanes] = text[info.n_lanes];
        snprintf(text[info.n_lanes], sizeof text[0], "tcp://127.0.0.9:%zu", 1 + info.n_lanes);
    }
    struct wr_msg *m = wr_msg_pack(&info.base);
    pthread_mutex_unlock(&f->lock);
    return m;
}

static void *answer_as_foreign(void *arg)
{
    struct foreign *f = arg;
    nng_msg *m;
    while (nng_recvmsg(f->rep, &m, 0) == 0) {
        uint8_t head[BUS_ENVELOPE_MAX];
        struct wr_msg *body = foreign_describe(f);
        nng_msg_clear(m);
        nng_msg_append(m, head, bus__write_answer(head, WR_OK, NULL, body->len));
        nng_msg_append(m, body->data, body->len);
        wr_msg_unref(body);
        if (nng_sendmsg(f->rep, m, 0) != 0)
            nng_msg_free(m);
    }
    return NULL;
}

static void foreign_say(struct foreign *f, const char *instance, size_t num_lanes)
{
    pthread_mutex_lock(&f->lock);
    snprintf(f->instance, sizeof f->instance, "%s", instance);
    f->num_lanes = num_lanes;
    pthread_mutex_unlock(&f->lock);
}

static void foreign_start(struct foreign *f, const char *instance, size_t num_lanes)
{
    *f = (struct foreign){.lock = PTHREAD_MUTEX_INITIALIZER};
    foreign_say(f, instance, num_lanes);
    snprintf(f->url, sizeof f->url, "tcp://127.0.0.1:%d", free_port());
    assert_int_equal(nng_rep0_open(&f->rep), 0);
    assert_int_equal(nng_listen(f->rep, f->url, NULL, 0), 0);
    assert_int_equal(wr_thread_start(&f->thread, "foreign", answer_as_foreign, f), WR_OK);
}

static void foreign_end(struct foreign *f)
{
    nng_close(f->rep);
    pthread_join(f->thread, NULL);
}

static void test_instance_without_an_id_is_an_instance(void **state)
{
    (void)state;
    struct foreign f;
    struct caller c;
    struct wr_errmsg err;
    struct changes ch = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&ch.changed);
    foreign_start(&f, "", 0);
    caller_start(&c, f.url);
    wr_bus_service_on_change(c.service, on_change, &ch);
    wait_ups(&ch, 1);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/any", NULL, 5000, NULL, NULL, &err),
                     WR_OK);
    wr_bus_close(&c.bus);
    foreign_end(&f);
}

static void test_instance_with_an_endless_id_is_none(void **state)
{
    (void)state;
    struct foreign f;
    struct caller c;
    struct wr_errmsg err;
    char id[128];
    snprintf(id, sizeof id, "%0100d", 1);
    foreign_start(&f, id, 0);
    caller_start(&c, f.url);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/any", NULL, 500, NULL, NULL, &err),
                     WR_ERR_UNAVAILABLE);
    wr_bus_close(&c.bus);
    foreign_end(&f);
}

static void wait_metric(const char *line)
{
    while (!metric_is(line))
        usleep(1000);
}

static void test_lanes_are_followed_as_told_and_sixteen_at_most(void **state)
{
    (void)state;
    struct foreign f;
    struct caller c;
    struct wr_bus_sub *sub;
    const char *const prefixes[] = {"room/", NULL};
    foreign_start(&f, "foreign-1", 40);
    caller_start(&c, f.url);
    assert_int_equal(wr_bus_subscribe_service(c.service, prefixes, on_event, NULL, &sub), WR_OK);
    wait_metric("\nwatchroom_bus_lanes 16\n");
    foreign_say(&f, "foreign-1", 3);
    wait_metric("\nwatchroom_bus_lanes 3\n");
    wr_bus_close(&c.bus);
    foreign_end(&f);
}

static int connect_to(const char *url)
{
    char host[BUS_URL_BYTES], port[16];
    assert_true(bus__split_tcp(url, host, sizeof host, port, sizeof port));
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)atoi(port)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void test_listener_survives_fin_then_reset_in_the_handshake(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    service_start(&s, "tcp://127.0.0.1:0");
    char url[BUS_URL_BYTES];
    snprintf(url, sizeof url, "%s", wr_bus_server_url(s.server));
    for (int i = 0; i < 40; i++) {
        int fd = connect_to(url);
        shutdown(fd, SHUT_WR);
        usleep((useconds_t)(i % 8) *
               1000); /* the fault is a race: the delay is its subject, not a wait for something */
        struct linger hard = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(fd);
    }
    caller_start(&c, url);
    assert_int_equal(echo(&c, wr_slice_str("alive"), 30000), WR_OK);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void probe_full(const struct sockaddr *a, socklen_t n, const char *url)
{
    int fds[8], listener = socket(a->sa_family, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, a, n), 0);
    assert_int_equal(listen(listener, 0), 0);
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++) {
        fds[i] = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], a, n); /* one or two fit */
    }
    int64_t start = wr_mono_us();
    assert_false(bus__probe_sp(url, BUS_SP_REQ));
    int64_t took = wr_mono_us() - start;
    assert_in_range(took, 900000, 10000000);
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++)
        close(fds[i]);
    close(listener);
}

static void test_probe_of_a_listener_that_accepts_nobody_ends(void **state)
{
    (void)state;
    char url[BUS_URL_BYTES];
    int port = free_port();
    struct sockaddr_in v4 = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    probe_full((struct sockaddr *)&v4, sizeof v4, url);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "/tmp/watchroom-test-probe-%d", (int)getpid());
    snprintf(url, sizeof url, "ipc://%s", un.sun_path);
    probe_full((struct sockaddr *)&un, sizeof un, url);
    unlink(un.sun_path);
}

static void send_all(int fd, const void *p, size_t n)
{
    (void)!send(fd, p, n, MSG_NOSIGNAL);
}

static void test_hostile_bytes_do_not_harm_the_others(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    service_start(&s, "tcp://127.0.0.1:0");
    const char *url = wr_bus_server_url(s.server);
    caller_start(&c, url);
    assert_int_equal(echo(&c, wr_slice_str("before"), 5000), WR_OK);

    static const uint8_t hello[8] = {0, 'S', 'P', 0, 0, BUS_SP_REQ, 0, 0};
    int fds[6];
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++)
        fds[i] = connect_to(url);
    send_all(fds[0], "GET / HTTP/1.1\r\n\r\n", 18);
    send_all(fds[1], hello, 8);
    send_all(fds[1], "\x40\0\0\0\0\0\0\0", 8); /* a length of 2^62 */
    send_all(fds[2], hello, 8);
    send_all(fds[2],
             "\0\0\0\0\0\0\0\x02"
             "ab",
             10); /* shorter than a request id */
    send_all(fds[3], hello, 8);
    send_all(fds[3], "\0\0\0\0\0\0\0\x09\x80\0\0\1\xff\xff\xff\xff\xff", 17); /* not a Call */
    send_all(fds[4], hello, 3);
    send_all(fds[5], hello, 8);
    send_all(fds[5],
             "\0\0\0\0\0\0\0\x10\x80\0\0\1\x0a\xff\xff\xff\xff\x0f"
             "abcdef",
             24); /* a field past the end */
    for (int i = 0; i < 20; i++)
        assert_int_equal(echo(&c, wr_slice_str("during"), 5000), WR_OK);
    for (unsigned i = 0; i < WR_ARRAY_LEN(fds); i++)
        close(fds[i]);
    assert_int_equal(echo(&c, wr_slice_str("after"), 5000), WR_OK);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

int main(int argc, char **argv)
{
    wr_log_set_level(WR_LOG_ERROR);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart_is_told_as_a_new_instance),
        cmocka_unit_test(test_who_hears_of_instances_is_let_go_once_it_has_heard),
        cmocka_unit_test(test_service_is_closed_once_its_last_call_was_told),
        cmocka_unit_test(test_name_is_resolved_to_addresses),
        cmocka_unit_test(test_instance_without_an_id_is_an_instance),
        cmocka_unit_test(test_instance_with_an_endless_id_is_none),
        cmocka_unit_test(test_lanes_are_followed_as_told_and_sixteen_at_most),
        cmocka_unit_test(test_listener_survives_fin_then_reset_in_the_handshake),
        cmocka_unit_test(test_probe_of_a_listener_that_accepts_nobody_ends),
        cmocka_unit_test(test_hostile_bytes_do_not_harm_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
