/* SPDX-License-Identifier: MIT
 *
 * Claims about the metrics text: names once, labels kept, buckets cumulative. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wr_metrics.h"

WR_COUNTER(dropped_chat, "watchroom_test_dropped_total", "queue=\"chat\"", "Things dropped");
WR_COUNTER(dropped_media, "watchroom_test_dropped_total", "queue=\"media\"", "Things dropped");
WR_GAUGE(depth, "watchroom_test_depth", NULL, "Depth");
WR_HISTOGRAM(age, "watchroom_test_age_seconds", NULL, "Age");

WR_COUNTER(never, "watchroom_test_never_total", NULL, "What has not happened");
WR_GAUGE(empty, "watchroom_test_empty", NULL, "Nothing yet");

static char *text_of(struct wr_buf *b)
{
    wr_metrics_write(b);
    wr_buf_char(b, '\0');
    assert_false(b->failed);
    return (char *)b->p;
}

static void test_two_label_sets_share_one_head(void **s)
{
    (void)s;
    struct wr_buf b = {0};
    wr_count(&dropped_chat, 2);
    wr_count(&dropped_media, 3);
    wr_count(&dropped_chat, 1);
    char *t = text_of(&b);
    assert_non_null(strstr(t, "watchroom_test_dropped_total{queue=\"chat\"} 3\n"));
    assert_non_null(strstr(t, "watchroom_test_dropped_total{queue=\"media\"} 3\n"));
    char *type = strstr(t, "# TYPE watchroom_test_dropped_total");
    assert_non_null(type);
    assert_null(strstr(type + 1, "# TYPE watchroom_test_dropped_total"));
    wr_buf_free(&b);
}

static void test_what_has_not_happened_is_shown_at_0(void **s)
{
    (void)s;
    struct wr_buf b = {0};
    char *t = text_of(&b);
    assert_non_null(strstr(t, "\nwatchroom_test_never_total 0\n"));
    assert_non_null(strstr(t, "\nwatchroom_test_empty 0\n"));
    wr_buf_free(&b);
}

static void test_unregistered_metric_leaves_the_others(void **s)
{
    (void)s;
    struct wr_buf before = {0}, after = {0};
    wr_counter_unregister(&never);
    wr_counter_unregister(&never);
    assert_null(strstr(text_of(&before), "watchroom_test_never_total"));
    assert_non_null(strstr((char *)before.p, "\nwatchroom_test_dropped_total{"));
    wr_count(&never, 1);
    assert_non_null(strstr(text_of(&after), "\nwatchroom_test_never_total 1\n"));
    wr_buf_free(&before);
    wr_buf_free(&after);
}

static void test_gauge_goes_down(void **s)
{
    (void)s;
    struct wr_buf b = {0};
    wr_gauge_set(&depth, 5);
    wr_gauge_add(&depth, -7);
    assert_non_null(strstr(text_of(&b), "watchroom_test_depth -2\n"));
    wr_buf_free(&b);
}

static void test_histogram_is_cumulative(void **s)
{
    (void)s;
    struct wr_buf b = {0};
    wr_observe_us(&age, 10);
    wr_observe_us(&age, 100);
    wr_observe_us(&age, 100000000);
    char *t = text_of(&b);
    assert_non_null(strstr(t, "watchroom_test_age_seconds_bucket{le=\"0.000064\"} 1\n"));
    assert_non_null(strstr(t, "watchroom_test_age_seconds_bucket{le=\"0.000128\"} 2\n"));
    assert_non_null(strstr(t, "watchroom_test_age_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(t, "watchroom_test_age_seconds_count 3\n"));
    assert_non_null(strstr(t, "process_threads 1\n"));
    wr_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_has_not_happened_is_shown_at_0),
        cmocka_unit_test(test_unregistered_metric_leaves_the_others),
        cmocka_unit_test(test_two_label_sets_share_one_head),
        cmocka_unit_test(test_gauge_goes_down),
        cmocka_unit_test(test_histogram_is_cumulative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
