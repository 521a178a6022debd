/* SPDX-License-Identifier: MIT
 *
 * Claims about the command line: what it takes, what it says of what it does not take, what the configuration comes to,
 * and what the supervisor hands on to its children. */
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above */
#include <cmocka.h>

const char *const host_services[HOST_SERVICES] = {"hub", "filestore", "ingest", "gateway"};

static char said[1024];

void host_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(said, sizeof said, fmt, ap);
    va_end(ap);
}

void host_greet(const struct wr_config *c)
{
    (void)c;
    fail_msg("nothing is started here");
}

static struct host_options o;
static char *args[80];

/* "watchroom serve" and these words; an empty one at the end. */
#define parse(...) parse_words((const char *[]){__VA_ARGS__, NULL})
static bool parse_words(const char *const *words)
{
    int n = 2;
    for (; *words; words++)
        args[n++] = (char *)(uintptr_t)*words;
    args[n] = NULL;
    said[0] = 0;
    return host_options_parse(n, args, &o);
}

static int set_up(void **state)
{
    static char name[] = "watchroom", serve[] = "serve";
    (void)state;
    args[0] = name;
    args[1] = serve;
    unsetenv("WATCHROOM_CONFIG");
    return 0;
}

static void assert_said(const char *part)
{
    if (!strstr(said, part))
        fail_msg("\"%s\" does not say \"%s\"", said, part);
}

/* ---- words ---- */

static void test_every_option_is_taken_with_its_value_behind_it_or_after_an_equals_sign(
    void **state)
{
    (void)state;
    assert_true(parse("gateway", "--listen", "1.2.3.4:5", "--health", "off", "--data", "d",
                      "--config", "c.yml", "--web", "w", "--set", "a=b", "--set", "c=d"));
    assert_string_equal(o.service, "gateway");
    assert_string_equal(o.listen, "1.2.3.4:5");
    assert_string_equal(o.health, "off");
    assert_string_equal(o.data, "d");
    assert_string_equal(o.config, "c.yml");
    assert_string_equal(o.web, "w");
    assert_int_equal(o.num_sets, 2);
    assert_string_equal(o.sets[0], "a=b");
    assert_string_equal(o.sets[1], "c=d");
    assert_false(o.split);
    assert_true(parse("--listen=1.2.3.4:5", "--data=", "--set=a=b=c", "--split"));
    assert_null(o.service);
    assert_string_equal(o.listen, "1.2.3.4:5");
    assert_string_equal(o.data, "");
    assert_string_equal(o.sets[0], "a=b=c");
    assert_true(o.split);
    assert_string_equal(said, "");
}

static void test_without_words_everything_runs_from_the_variables_file(void **state)
{
    (void)state;
    setenv("WATCHROOM_CONFIG", "/from/variable.yml", 1);
    assert_true(host_options_parse(2, args, &o));
    assert_null(o.service);
    assert_string_equal(o.config, "/from/variable.yml");
    assert_true(parse("--config", "mine.yml"));
    assert_string_equal(o.config, "mine.yml");
}

static void test_wrong_words_are_refused_with_a_sentence(void **state)
{
    (void)state;
    assert_false(parse("--lisen", "1.2.3.4:5"));
    assert_said("there is no flag \"--lisen\"");
    assert_false(parse("--split=yes"));
    assert_said("there is no flag \"--split=yes\"");
    assert_false(parse("-x"));
    assert_said("there is no flag \"-x\"");
    assert_false(parse("--data"));
    assert_said("--data needs a value");
    assert_false(parse("--set"));
    assert_said("--set needs a value");
    assert_false(parse("gatway"));
    assert_said("there is no service \"gatway\"");
    assert_false(parse("hub", "ingest"));
    assert_said("\"ingest\" is one service too many");
    assert_false(parse("hub", "--split"));
    assert_said("leave out either it or \"hub\"");
}

static void test_more_sets_than_there_is_room_for_are_refused_as_that(void **state)
{
    (void)state;
    const char *words[HOST_MAX_SETS + 2] = {NULL};
    for (size_t i = 0; i < HOST_MAX_SETS; i++)
        words[i] = "--set=gateway.max_uploads=8";
    assert_true(parse_words(words));
    assert_int_equal(o.num_sets, HOST_MAX_SETS);
    words[HOST_MAX_SETS] = "--set=gateway.max_uploads=8";
    assert_false(parse_words(words));
    assert_said("--set can be given 32 times");
}

/* ---- the configuration with the flags on top ---- */

static struct wr_config *loaded(void)
{
    struct wr_config *c = host_config_load(&o);
    if (!c)
        fail_msg("%s", said);
    return c;
}

static void test_flags_are_on_top_of_the_configuration(void **state)
{
    (void)state;
    assert_true(parse("--listen", "0.0.0.0:9", "--health", "127.0.0.1:10", "--data", "/d", "--web",
                      "/w", "--set", "gateway.max_uploads=7"));
    struct wr_config *c = loaded();
    assert_string_equal(c->gateway.listen, "0.0.0.0:9");
    assert_string_equal(c->gateway.health, "127.0.0.1:10");
    assert_string_equal(c->data, "/d");
    assert_string_equal(c->gateway.web, "/w");
    assert_int_equal(c->gateway.max_uploads, 7);
    wr_config_free(&c);
}

static void test_the_gateway_takes_an_address_in_each_of_its_forms(void **state)
{
    static const char *const forms[][2] = {
        {"10.0.0.1:80", "10.0.0.1:80"}, {":8000", "0.0.0.0:8000"},  {"*:8000", "0.0.0.0:8000"},
        {"localhost:0", "127.0.0.1:0"}, {"8000", "127.0.0.1:8000"}, {"[::1]:65535", "[::1]:65535"}};
    static const char *const wrong[] = {
        "",         "host",      "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3:80",
        "::1:8000", "[::1:8000", ":65536",  ":-1",      "off"};
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(forms); i++) {
        assert_true(parse("gateway", "--listen", forms[i][0]));
        struct wr_config *c = loaded();
        assert_string_equal(c->gateway.listen, forms[i][1]);
        wr_config_free(&c);
    }
    for (size_t i = 0; i < WR_ARRAY_LEN(wrong); i++) {
        assert_true(parse("--listen", wrong[i]));
        if (host_config_load(&o))
            fail_msg("taken: \"%s\"", wrong[i]);
        assert_said("--listen: gateway.listen: ");
    }
    assert_true(parse("--health", "off"));
    struct wr_config *c = loaded();
    assert_string_equal(c->gateway.health, "");
    wr_config_free(&c);
}

static void test_health_moves_with_the_page_unless_it_was_placed(void **state)
{
    static const struct {
        const char *listen, *health, *is;
    } table[] = {{"9000", NULL, "127.0.0.1:9001"},
                 {"0.0.0.0:8000", NULL, "127.0.0.1:8001"},
                 {"0.0.0.0:9000", NULL, "127.0.0.1:9001"},
                 {"127.0.0.1:65535", NULL, "127.0.0.1:0"},
                 {"127.0.0.1:0", NULL, "127.0.0.1:0"},
                 {"9000", "127.0.0.1:8001", "127.0.0.1:8001"},
                 {"9000", "off", ""}};
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++) {
        assert_true(table[i].health
                        ? parse("--listen", table[i].listen, "--health", table[i].health)
                        : parse("--listen", table[i].listen));
        struct wr_config *c = loaded();
        assert_string_equal(c->gateway.health, table[i].is);
        wr_config_free(&c);
    }
}

static void test_help_is_a_flag_of_every_command(void **state)
{
    (void)state;
    assert_true(parse("hub", "--help"));
    assert_true(o.help);
    assert_true(parse("-h"));
    assert_true(o.help);
}

static void test_another_service_listens_on_a_port_and_the_one_after_it(void **state)
{
    static const char *const wrong[] = {"7101", ":7101", "10.0.0.1", "10.0.0.1:x",
                                        "10.0.0.1:65535"};
    (void)state;
    assert_true(parse("hub", "--listen", "10.0.0.1:7101"));
    struct wr_config *c = loaded();
    assert_string_equal(c->bus.hub_listen, "tcp://10.0.0.1:7101");
    assert_string_equal(c->bus.hub_events, "tcp://10.0.0.1:7102");
    wr_config_free(&c);
    assert_true(parse("ingest", "--listen=[::1]:7201"));
    c = loaded();
    assert_string_equal(c->bus.ingest_listen, "tcp://[::1]:7201");
    assert_string_equal(c->bus.ingest_events, "tcp://[::1]:7202");
    wr_config_free(&c);
    assert_true(parse("filestore", "--listen", "127.0.0.1:0"));
    c = loaded();
    assert_string_equal(c->bus.filestore_listen, "tcp://127.0.0.1:0");
    assert_string_equal(c->bus.filestore_events, "tcp://127.0.0.1:0"); /* any port, too */
    wr_config_free(&c);
    for (size_t i = 0; i < WR_ARRAY_LEN(wrong); i++) {
        assert_true(parse("hub", "--listen", wrong[i]));
        if (host_config_load(&o))
            fail_msg("taken: \"%s\"", wrong[i]);
        assert_said("--listen: bus.hub_");
    }
}

static void test_a_bus_address_is_of_the_calls_alone(void **state)
{
    (void)state;
    assert_true(parse("hub"));
    struct wr_config *c = loaded();
    char *events = strdup(c->bus.hub_events);
    wr_config_free(&c);
    assert_true(parse("hub", "--listen", "ipc:///run/hub"));
    c = loaded();
    assert_string_equal(c->bus.hub_listen, "ipc:///run/hub");
    assert_string_equal(c->bus.hub_events, events);
    wr_config_free(&c);
    free(events);
}

static void test_what_the_configuration_refuses_is_said_with_its_flag(void **state)
{
    (void)state;
    assert_true(parse("--set", "gateway.max_uploads"));
    assert_null(host_config_load(&o));
    assert_said("write it like --set gateway.max_uploads=8");
    assert_true(parse("--set", "gateway.max_upload=8"));
    assert_null(host_config_load(&o));
    assert_said("--set: gateway.max_upload: no such key; did you mean gateway.max_uploads?");
    assert_true(parse("--set", "gateway.max_uploads=many"));
    assert_null(host_config_load(&o));
    assert_said("--set: gateway.max_uploads: \"many\" is not a number");
    assert_true(parse("--data="));
    assert_null(host_config_load(&o));
    assert_said("--data: data: must not be empty");
    assert_true(parse("--config", "/nonexistent/watchroom.yml"));
    assert_null(host_config_load(&o));
    assert_said("/nonexistent/watchroom.yml");
}

/* ---- the supervisor ---- */

static void assert_child(const char *service, const char *want)
{
    char line[256] = "";
    char **argv = host_child_argv(&o, service);
    assert_non_null(argv);
    for (size_t i = 0; argv[i]; i++) {
        size_t n = strlen(line);
        snprintf(line + n, sizeof line - n, "%s%s", i ? " " : "", argv[i]);
    }
    assert_string_equal(line, want);
    free(argv[2]);
    free(argv);
}

static void test_children_get_the_command_line_but_listen_is_the_gateways(void **state)
{
    (void)state;
    assert_true(parse("--split", "--listen", "1.2.3.4:5", "--data", "d", "--set=a=b"));
    assert_child("gateway", "watchroom serve gateway --listen 1.2.3.4:5 --data d --set=a=b");
    assert_child("hub", "watchroom serve hub --data d --set=a=b");
    assert_true(parse("--data=d", "--listen=1.2.3.4:5", "--split"));
    assert_child("gateway", "watchroom serve gateway --data=d --listen=1.2.3.4:5");
    assert_child("ingest", "watchroom serve ingest --data=d");
}

static void test_a_value_with_an_equals_sign_stays_behind_its_flag(void **state)
{
    (void)state;
    assert_true(parse("--set", "a=b", "--split", "--listen", "1.2.3.4:5", "--health", "off"));
    assert_child("hub", "watchroom serve hub --set a=b --health off");
}

static void test_a_service_that_keeps_dying_is_started_ever_later(void **state)
{
    static const int want[] = {200, 500, 1000, 2000, 5000, 5000, 5000};
    size_t failures = 0;
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(want); i++)
        assert_int_equal(host_backoff_ms(&failures, 9999), want[i]);
    assert_int_equal(host_backoff_ms(&failures, 10000), 200); /* it had been well */
    assert_int_equal(host_backoff_ms(&failures, 0), 500);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, set_up)
    const struct CMUnitTest tests[] = {
        T(test_every_option_is_taken_with_its_value_behind_it_or_after_an_equals_sign),
        T(test_without_words_everything_runs_from_the_variables_file),
        T(test_wrong_words_are_refused_with_a_sentence),
        T(test_more_sets_than_there_is_room_for_are_refused_as_that),
        T(test_flags_are_on_top_of_the_configuration),
        T(test_the_gateway_takes_an_address_in_each_of_its_forms),
        T(test_health_moves_with_the_page_unless_it_was_placed),
        T(test_help_is_a_flag_of_every_command),
        T(test_another_service_listens_on_a_port_and_the_one_after_it),
        T(test_a_bus_address_is_of_the_calls_alone),
        T(test_what_the_configuration_refuses_is_said_with_its_flag),
        T(test_children_get_the_command_line_but_listen_is_the_gateways),
        T(test_a_value_with_an_equals_sign_stays_behind_its_flag),
        T(test_a_service_that_keeps_dying_is_started_ever_later),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
