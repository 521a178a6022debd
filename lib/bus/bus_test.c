/* SPDX-License-Identifier: MIT
 *
 * Claims about calls, each made of both transports where it applies to both. */
#include "bus_test_kit.h"

static void call_and_answer(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(echo(&c, wr_slice_str("hello"), 5000), WR_OK);
    assert_int_equal(echo(&c, wr_slice_of(NULL, 0), 5000), WR_OK);
    size_t n = 1 << 20;
    uint8_t *big = malloc(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (uint8_t)(i * 7);
    assert_int_equal(echo(&c, wr_slice_of(big, n), 5000), WR_OK);
    free(big);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/refuse", NULL, 5000, NULL, NULL, &err),
                     WR_ERR_DENIED);
    assert_string_equal(err.text, "no echo today");
    assert_int_equal(wr_bus_call_wait(c.service, "room", "t/nothing", NULL, 5000, NULL, NULL, &err),
                     WR_ERR_UNKNOWN_METHOD);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_call_is_answered(void **state)
{
    (void)state;
    call_and_answer("inproc://t-answer");
    call_and_answer("tcp://127.0.0.1:0");
}

static void test_inproc_body_is_passed_by_reference(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    service_start(&s, "inproc://t-ref");
    caller_start(&c, "inproc://t-ref");
    struct wr_msg *body = wr_msg_copy(wr_slice_str("the same bytes")), *back;
    const uint8_t *at = body->data;
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/echo", body, 5000, &back, NULL, NULL),
                     WR_OK);
    assert_ptr_equal(atomic_load(&s.body_at), at);
    wr_msg_unref(back);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void too_large(const char *url)
{
    struct service s;
    struct caller c;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    struct wr_errmsg err;
    struct wr_msg *m = wr_msg_new(0, WR_BUS_MAX_MSG_BYTES + 1);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/echo", m, 5000, NULL, NULL, &err),
                     WR_ERR_TOO_BIG);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_call_larger_than_the_bus_is_refused_by_the_sender(void **state)
{
    (void)state;
    too_large("inproc://t-large");
    too_large("tcp://127.0.0.1:0");
}

static void late_answer(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(echo(&c, wr_slice_str("up"), 5000), WR_OK);
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/hold", NULL, 200, NULL, NULL, &err),
                     WR_ERR_TIMEOUT);
    assert_true(strlen(err.text) > 0);
    wr_call_answer(service_take_held(&s), NULL);
    assert_int_equal(echo(&c, wr_slice_str("still up"), 5000), WR_OK);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_deadline_ends_a_call_and_a_late_answer_harms_nothing(void **state)
{
    (void)state;
    late_answer("inproc://t-late");
    late_answer("tcp://127.0.0.1:0");
}

static void held_call(const char *url)
{
    struct service s;
    struct caller c;
    struct wr_errmsg err;
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    /* Its deadline is what is awaited here. */
    assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/hold", NULL, 5000, NULL, NULL, &err),
                     WR_ERR_TIMEOUT);
    pthread_mutex_lock(&s.lock);
    assert_int_equal(s.holds, 1);
    pthread_mutex_unlock(&s.lock);
    wr_call_answer(service_take_held(&s), NULL);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_call_that_takes_long_is_made_once(void **state)
{
    (void)state;
    held_call("inproc://t-held");
    held_call("tcp://127.0.0.1:0");
}

static void test_nobody_there_is_unavailable_at_the_deadline(void **state)
{
    (void)state;
    static const char *const urls[] = {"inproc://t-nobody", "tcp://127.0.0.1:9"};
    for (unsigned i = 0; i < WR_ARRAY_LEN(urls); i++) {
        struct caller c;
        struct wr_errmsg err;
        caller_start(&c, urls[i]);
        int64_t start = wr_mono_us();
        assert_int_equal(wr_bus_call_wait(c.service, NULL, "t/echo", NULL, 300, NULL, NULL, &err),
                         WR_ERR_UNAVAILABLE);
        assert_true(wr_mono_us() - start >= 290000);
        assert_non_null(strstr(err.text, "test"));
        wr_bus_close(&c.bus);
    }
}

struct later {
    struct caller c;
    wr_err result;
};

static void *call_in_thread(void *arg)
{
    struct later *l = arg;
    l->result = echo(&l->c, wr_slice_str("waited"), 8000);
    return NULL;
}

static void starts_later(const char *url)
{
    struct later l;
    struct service s;
    pthread_t t;
    caller_start(&l.c, url);
    assert_int_equal(wr_thread_start(&t, "later", call_in_thread, &l), WR_OK);
    service_start(&s, url);
    pthread_join(t, NULL);
    assert_int_equal(l.result, WR_OK);
    wr_bus_close(&l.c.bus);
    wr_bus_close(&s.bus);
}

static void test_call_waits_for_a_service_that_starts_later(void **state)
{
    (void)state;
    char url[64];
    starts_later("inproc://t-later");
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", free_port());
    starts_later(url);
}

struct who {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool has_ended;
    wr_err code;
    char instance[96];
};

static void note_who(void *ctx, const struct wr_answer *a)
{
    struct who *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->code = a->code;
    snprintf(w->instance, sizeof w->instance, "%s", a->instance);
    w->has_ended = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

/* Who answers a call at that address, or (NULL) with that route key; "" when nobody did. */
static const char *who_answers(struct caller *c, const char *address, const char *key,
                               uint32_t deadline_ms)
{
    static struct who w;
    w = (struct who){.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&w.ended);
    struct wr_msg *m = wr_msg_copy(wr_slice_str("?"));
    if (address)
        wr_bus_call_at(c->service, address, "t/echo", m, deadline_ms, note_who, &w);
    else
        wr_bus_call(c->service, key, "t/echo", m, deadline_ms, note_who, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.has_ended)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.instance;
}

static void test_a_call_at_an_address_goes_there_and_a_route_key_to_the_largest_score(void **state)
{
    (void)state;
    const char *a_url = "inproc://t-at-a", *b_url = "inproc://t-at-b";
    struct service a, b;
    struct caller c;
    unsigned to_a = 0;
    service_start(&a, a_url);
    service_start(&b, b_url);
    caller_start(&c, "inproc://t-at-a,inproc://t-at-b");
    assert_string_equal(who_answers(&c, a_url, NULL, 5000), wr_bus_instance(a.bus));
    assert_string_equal(who_answers(&c, b_url, NULL, 5000),
                        wr_bus_instance(b.bus)); /* both are up */
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "room-%u", i);
        bool is_a = wr_bus_route_score(wr_slice_str(key), a_url) >=
                    wr_bus_route_score(wr_slice_str(key), b_url);
        to_a += is_a;
        assert_string_equal(who_answers(&c, NULL, key, 5000),
                            wr_bus_instance(is_a ? a.bus : b.bus));
    }
    assert_in_range(to_a, 20, 80);
    wr_bus_close(&b.bus);
    assert_string_equal(who_answers(&c, b_url, NULL, 200), ""); /* not the other one */
    assert_string_equal(who_answers(&c, a_url, NULL, 5000), wr_bus_instance(a.bus));
    wr_bus_close(&c.bus);
    wr_bus_close(&a.bus);
}

static bool is_any_pending(struct wr_bus_service *s)
{
    pthread_mutex_lock(&s->lock);
    bool any = s->num_pending != 0;
    pthread_mutex_unlock(&s->lock);
    return any;
}

static void test_call_to_a_server_that_closed_a_moment_ago_waits_for_it_to_come_back(void **state)
{
    (void)state;
    struct service s;
    struct later l;
    struct wr_errmsg err;
    pthread_t t;
    service_start(&s, "inproc://t-back");
    caller_start(&l.c, "inproc://t-back");
    assert_int_equal(echo(&l.c, wr_slice_str("up"), 5000), WR_OK);
    /* The instance stays the same, and is never seen to be down. */
    wr_bus_server_close(&s.server);
    assert_int_equal(wr_thread_start(&t, "later", call_in_thread, &l), WR_OK);
    while (!is_any_pending(l.c.service))
        usleep(1000);
    assert_int_equal(wr_bus_serve(s.bus, "inproc://t-back", service_handle, &s, &s.server, &err),
                     WR_OK);
    pthread_join(t, NULL);
    assert_int_equal(l.result, WR_OK);
    wr_bus_close(&l.c.bus);
    wr_bus_close(&s.bus);
}

static void test_address_in_use_names_the_address(void **state)
{
    (void)state;
    static const char *const urls[] = {"inproc://t-taken", "tcp://127.0.0.1:0"};
    for (unsigned i = 0; i < WR_ARRAY_LEN(urls); i++) {
        struct service s;
        struct wr_bus_server *second = NULL;
        struct wr_errmsg err = {""};
        service_start(&s, urls[i]);
        const char *url = wr_bus_server_url(s.server);
        assert_int_equal(wr_bus_serve(s.bus, url, service_handle, &s, &second, &err),
                         WR_ERR_CONFLICT);
        assert_non_null(strstr(err.text, url));
        assert_int_equal(wr_bus_serve(s.bus, "http://x", service_handle, &s, &second, &err),
                         WR_ERR_INVALID);
        wr_bus_close(&s.bus);
    }
}

struct worker {
    struct caller *c;
    unsigned ok;
};

static void *call_many(void *arg)
{
    struct worker *w = arg;
    for (uint32_t i = 0; i < 200; i++) {
        uint8_t body[64];
        memset(body, (int)i, sizeof body);
        memcpy(body, &w, sizeof w);
        if (echo(w->c, wr_slice_of(body, sizeof body), 8000) == WR_OK)
            w->ok++;
    }
    return NULL;
}

static void many_callers(const char *url)
{
    struct service s;
    struct caller c;
    struct worker w[24];
    pthread_t t[WR_ARRAY_LEN(w)];
    service_start(&s, url);
    caller_start(&c, wr_bus_server_url(s.server));
    for (unsigned i = 0; i < WR_ARRAY_LEN(w); i++) {
        w[i] = (struct worker){.c = &c};
        assert_int_equal(wr_thread_start(&t[i], "many", call_many, &w[i]), WR_OK);
    }
    for (unsigned i = 0; i < WR_ARRAY_LEN(w); i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(w[i].ok, 200);
    }
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_many_threads_each_get_their_own_answer(void **state)
{
    (void)state;
    many_callers("inproc://t-many");
    many_callers("tcp://127.0.0.1:0");
}

struct storm {
    struct caller c;
    atomic_bool over;
    atomic_uint answered;
};

static void *call_until_over(void *arg)
{
    struct storm *st = arg;
    while (!atomic_load(&st->over))
        if (echo(&st->c, wr_slice_str("in the storm"), 2000) == WR_OK)
            atomic_fetch_add(&st->answered, 1);
    return NULL;
}

static void closes_under_its_callers(const char *url)
{
    struct storm st = {.over = false};
    struct service s;
    struct wr_errmsg err;
    pthread_t t[8];
    service_start(&s, url);
    caller_start(&st.c, url);
    for (unsigned i = 0; i < WR_ARRAY_LEN(t); i++)
        assert_int_equal(wr_thread_start(&t[i], "storm", call_until_over, &st), WR_OK);
    for (unsigned i = 0; i < 5; i++) {
        unsigned before = atomic_load(&st.answered);
        while (atomic_load(&st.answered) < before + 100)
            usleep(1000);
        wr_bus_server_close(&s.server);
        assert_int_equal(wr_bus_serve(s.bus, url, service_handle, &s, &s.server, &err), WR_OK);
    }
    atomic_store(&st.over, true);
    for (unsigned i = 0; i < WR_ARRAY_LEN(t); i++)
        pthread_join(t[i], NULL);
    wr_bus_close(&st.c.bus);
    wr_bus_close(&s.bus);
}

static void test_server_can_close_under_its_callers(void **state)
{
    (void)state;
    char url[64];
    closes_under_its_callers("inproc://t-storm");
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", free_port());
    closes_under_its_callers(url);
}

struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ended, busy, closed;
    bool called_inside;
};
static _Thread_local bool inside; /* this thread's wr_bus_call has not returned yet */

static void tally_done(void *ctx, const struct wr_answer *a)
{
    struct tally *t = ctx;
    pthread_mutex_lock(&t->lock);
    t->ended++;
    t->busy += a->code == WR_ERR_BUSY;
    t->closed += a->code == WR_ERR_CLOSED;
    t->called_inside |= inside;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void tally_calls(struct tally *t, struct wr_bus_service *s, const char *method, unsigned n)
{
    inside = true;
    for (unsigned i = 0; i < n; i++)
        wr_bus_call(s, NULL, method, NULL, 60000, tally_done, t);
    inside = false;
}

/* There were ten more than there is room for (and a Describe of the bus's own has a place for a moment): so many are
 * refused, and the others end when the caller closes. */
static void tally_check(struct tally *t, struct caller *c, unsigned all)
{
    pthread_mutex_lock(&t->lock);
    while (t->busy < 10)
        pthread_cond_wait(&t->changed, &t->lock);
    assert_int_equal(t->ended, t->busy);
    pthread_mutex_unlock(&t->lock);
    wr_bus_service_close(&c->service);
    assert_in_range(t->busy, 10, 11);
    assert_int_equal(t->ended, all);
    assert_int_equal(t->closed, all - t->busy);
    assert_false(t->called_inside);
}

static void test_full_queue_refuses_with_busy_and_every_call_ends_once(void **state)
{
    (void)state;
    /* Nobody answers there, so calls wait for an instance: that queue is bounded too. */
    struct caller c;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&t.changed);
    caller_start(&c, "inproc://t-full");
    tally_calls(&t, c.service, "t/echo", BUS_PENDING_MAX + 10);
    tally_check(&t, &c, BUS_PENDING_MAX + 10);
    wr_bus_close(&c.bus);
}

static void test_full_queue_of_an_instance_refuses_with_busy(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&t.changed);
    service_start(&s, "tcp://127.0.0.1:0");
    caller_start(&c, wr_bus_server_url(s.server));
    assert_int_equal(echo(&c, wr_slice_str("up"), 5000), WR_OK);
    static const unsigned all = BUS_PEER_CONTEXTS + BUS_PEER_QUEUE + 10;
    tally_calls(&t, c.service, "t/hold", all);
    pthread_mutex_lock(&s.lock);
    while (s.holds < BUS_PEER_CONTEXTS)
        pthread_cond_wait(&s.changed, &s.lock);
    pthread_mutex_unlock(&s.lock);
    tally_check(&t, &c, all);
    assert_int_equal(s.holds, BUS_PEER_CONTEXTS);
    for (unsigned i = 0; i < BUS_PEER_CONTEXTS; i++)
        wr_call_answer(s.all_held[i], NULL);
    wr_bus_close(&c.bus);
    wr_bus_close(&s.bus);
}

static void test_full_queue_of_an_inproc_server_refuses_with_busy(void **state)
{
    (void)state;
    struct service s;
    struct caller c;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&t.changed);
    service_start(&s, "inproc://t-full-server");
    caller_start(&c, "inproc://t-full-server");
    assert_int_equal(echo(&c, wr_slice_str("up"), 5000), WR_OK);
    tally_calls(&t, c.service, "t/block", 1);
    pthread_mutex_lock(&s.lock);
    while (!s.blocked)
        pthread_cond_wait(&s.changed, &s.lock);
    pthread_mutex_unlock(&s.lock);
    tally_calls(&t, c.service, "t/echo", BUS_SERVER_QUEUE + 10);
    assert_false(metric_is("\nwatchroom_bus_local_calls_refused_total 0\n"));
    pthread_mutex_lock(&t.lock);
    while (t.busy < 10)
        pthread_cond_wait(&t.changed, &t.lock);
    pthread_mutex_unlock(&t.lock);
    pthread_mutex_lock(&s.lock);
    s.blocked = false;
    pthread_cond_broadcast(&s.changed);
    pthread_mutex_unlock(&s.lock);
    wr_bus_close(&c.bus);
    assert_int_equal(t.ended, 1 + BUS_SERVER_QUEUE + 10);
    assert_false(t.called_inside);
    wr_bus_close(&s.bus);
}

static void test_urls(void **state)
{
    (void)state;
    char out[64];
    assert_int_equal(bus__scheme("tcp://127.0.0.1:7101"), BUS_SCHEME_TCP);
    assert_int_equal(bus__scheme("tcp://[::1]:7101"), BUS_SCHEME_TCP);
    assert_int_equal(bus__scheme("tcp://127.0.0.1"), BUS_SCHEME_BAD);
    assert_int_equal(bus__scheme("tcp://:71"), BUS_SCHEME_BAD);
    assert_int_equal(bus__scheme("ws://x:1"), BUS_SCHEME_BAD);
    assert_true(wr_bus_resolve_url("tcp://*:7102", "tcp://10.0.0.7:7101", out, sizeof out));
    assert_string_equal(out, "tcp://10.0.0.7:7102");
    assert_true(wr_bus_resolve_url("inproc://hub/events", "inproc://hub", out, sizeof out));
    assert_string_equal(out, "inproc://hub/events");
    assert_false(wr_bus_resolve_url("tcp://*:7102", "tcp://10.0.0.7:7101", out, 10));
}

int main(int argc, char **argv)
{
    wr_log_set_level(WR_LOG_ERROR);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_call_is_answered),
        cmocka_unit_test(test_inproc_body_is_passed_by_reference),
        cmocka_unit_test(test_call_larger_than_the_bus_is_refused_by_the_sender),
        cmocka_unit_test(test_deadline_ends_a_call_and_a_late_answer_harms_nothing),
        cmocka_unit_test(test_call_that_takes_long_is_made_once),
        cmocka_unit_test(test_nobody_there_is_unavailable_at_the_deadline),
        cmocka_unit_test(test_call_waits_for_a_service_that_starts_later),
        cmocka_unit_test(test_a_call_at_an_address_goes_there_and_a_route_key_to_the_largest_score),
        cmocka_unit_test(test_call_to_a_server_that_closed_a_moment_ago_waits_for_it_to_come_back),
        cmocka_unit_test(test_address_in_use_names_the_address),
        cmocka_unit_test(test_many_threads_each_get_their_own_answer),
        cmocka_unit_test(test_server_can_close_under_its_callers),
        cmocka_unit_test(test_full_queue_refuses_with_busy_and_every_call_ends_once),
        cmocka_unit_test(test_full_queue_of_an_instance_refuses_with_busy),
        cmocka_unit_test(test_full_queue_of_an_inproc_server_refuses_with_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
