/* SPDX-License-Identifier: MIT
 *
 * Claims that every store must make true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "store_conformance.h"
#include "moved_clock.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_plugins.h"
#include "wr_thread.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned can_do;
static const struct wr_store_plugin *under_test;

/* ---- helpers ---------------------------------------------------------------------------------------------------- */

const void *test_plugin(const char *file)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.so", WR_TEST_PLUGINS, file);
    void *so = dlopen(path,
                      RTLD_NOW | RTLD_LOCAL); /* never closed: sanitizers name its lines at exit */
    if (!so)
        fail_msg("%s", dlerror());
    const void *table = dlsym(so, WR_PLUGIN_SYMBOL);
    assert_non_null(table);
    return table;
}

void test_store_init(struct test_store *t, const struct wr_store_plugin *plugin)
{
    *t = (struct test_store){.plugin = plugin};
    snprintf(t->folder, sizeof t->folder, "/tmp/wr-store-XXXXXX");
    assert_non_null(mkdtemp(t->folder));
    t->opts.path = t->folder;
}

wr_err test_store_try(struct test_store *t, struct wr_errmsg *err)
{
    t->state = calloc(1, t->plugin->base.state_size + 1);
    assert_non_null(t->state);
    wr_err e = t->plugin->open(t->state, &t->opts, err);
    if (e != WR_OK) {
        free(t->state);
        t->state = NULL;
    }
    return e;
}

void test_store_open(struct test_store *t)
{
    struct wr_errmsg err = {{0}};
    if (test_store_try(t, &err) != WR_OK)
        fail_msg("open: %s", err.text);
}

void test_store_close(struct test_store *t)
{
    if (!t->state)
        return;
    t->plugin->close(t->state);
    free(t->state);
    t->state = NULL;
}

void test_store_fini(struct test_store *t)
{
    char command[128];
    test_store_close(t);
    snprintf(command, sizeof command, "rm -rf '%s'", t->folder);
    assert_int_equal(system(command), 0);
}

struct wr_store_item test_item(const char *room, const char *key, const char *data)
{
    return (struct wr_store_item){.room = wr_slice_str(room),
                                  .kind = 1,
                                  .time_ms = wr_wall_ms(),
                                  .key = wr_slice_str(key),
                                  .data = wr_slice_str(data)};
}

static void append_ok(struct test_store *t, struct wr_store_item *items, size_t n)
{
    struct wr_errmsg err = {{0}};
    if (t->plugin->append(t->state, items, n, &err) != WR_OK)
        fail_msg("append: %s", err.text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(items[i].code, WR_OK);
}

uint64_t test_append(struct test_store *t, const char *room, const char *key, const char *data)
{
    struct wr_store_item it = test_item(room, key, data);
    append_ok(t, &it, 1);
    return it.offset;
}

struct wr_store_top test_top(struct test_store *t, const char *room)
{
    struct wr_store_top top = {0};
    struct wr_errmsg err = {{0}};
    if (t->plugin->top(t->state, wr_slice_str(room), &top, &err) != WR_OK)
        fail_msg("top: %s", err.text);
    return top;
}

struct page {
    size_t n, stop_after;
    uint64_t first, last;
    bool reverse, gap;
};

static bool see(void *ctx, const struct wr_store_entry *e)
{
    struct page *p = ctx;
    if (p->n == 0)
        p->first = e->offset;
    else if (e->offset != (p->reverse ? p->last - 1 : p->last + 1))
        p->gap = true;
    p->last = e->offset;
    p->n++;
    return p->n != p->stop_after;
}

static size_t read_page(struct test_store *t, const char *room, const struct wr_store_range *range,
                        struct page *p)
{
    struct wr_errmsg err = {{0}};
    p->reverse = range->reverse;
    if (t->plugin->history(t->state, wr_slice_str(room), range, see, p, &err) != WR_OK)
        fail_msg("history: %s", err.text);
    assert_false(p->gap);
    return p->n;
}

size_t test_page(struct test_store *t, const char *room, const struct wr_store_range *range,
                 uint64_t *first, uint64_t *last)
{
    struct page p = {0};
    read_page(t, room, range, &p);
    if (first)
        *first = p.first;
    if (last)
        *last = p.last;
    return p.n;
}

void test_trim_all(struct test_store *t)
{
    struct wr_errmsg err = {{0}};
    bool more = t->plugin->trim != NULL;
    for (int i = 0; more; i++) {
        assert_true(i < 10000);
        if (t->plugin->trim(t->state, &more, &err) != WR_OK)
            fail_msg("trim: %s", err.text);
    }
}

static int setup(void **state)
{
    struct test_store *t = malloc(sizeof *t);
    assert_non_null(t);
    test_store_init(t, under_test);
    test_store_open(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    test_store_fini(*state);
    free(*state);
    return 0;
}

/* ---- positions -------------------------------------------------------------------------------------------------- */

static void test_new_room_is_empty_and_has_an_epoch(void **state)
{
    struct wr_store_top top = test_top(*state, "new"), again = test_top(*state, "new"),
                        other = test_top(*state, "b");
    assert_int_equal(top.offset, 0);
    assert_int_equal(strlen(top.epoch), 8);
    assert_string_equal(top.epoch, again.epoch);
    assert_string_not_equal(top.epoch, other.epoch);
}

static void test_the_first_entry_has_the_epoch_that_the_empty_room_had(void **state)
{
    struct wr_store_top top = test_top(*state, "new");
    struct wr_store_item it = test_item("new", "", "1");
    append_ok(*state, &it, 1);
    assert_string_equal(it.epoch, top.epoch);
    assert_string_equal(test_top(*state, "new").epoch, top.epoch);
}

static void test_another_log_has_other_epochs(void **state)
{
    struct test_store other;
    test_store_init(&other, under_test);
    test_store_open(&other);
    assert_string_not_equal(test_top(&other, "r").epoch, test_top(*state, "r").epoch);
    test_store_fini(&other);
}

static void test_arguments_that_are_not_known_are_refused(void **state)
{
    struct wr_errmsg err = {{0}};
    (void)state;
    assert_int_equal(wr_store_check(under_test, "", &err), WR_OK);
    assert_int_equal(wr_store_check(under_test, "no such argument", &err), WR_ERR_INVALID);
    assert_non_null(strstr(err.text, "no such argument"));
}

static void test_offsets_are_dense_in_item_order_per_room(void **state)
{
    struct wr_store_item items[] = {test_item("a", "", "1"), test_item("b", "", "2"),
                                    test_item("a", "", "3"), test_item("a", "", "4"),
                                    test_item("b", "", "5")};
    const uint64_t want[] = {1, 1, 2, 3, 2};
    append_ok(*state, items, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(items[i].offset, want[i]);
        assert_int_equal(items[i].stored_ms, items[i].time_ms);
        assert_string_equal(items[i].epoch, test_top(*state, i == 1 || i == 4 ? "b" : "a").epoch);
    }
    assert_int_equal(test_append(*state, "a", "", "6"), 4);
    assert_int_equal(test_top(*state, "a").offset, 4);
    assert_int_equal(test_top(*state, "b").offset, 2);
    assert_int_equal(test_top(*state, "b").last_time_ms, items[4].time_ms);
}

static void test_empty_batch_is_fine(void **state)
{
    append_ok(*state, NULL, 0);
}

struct listed {
    size_t n;
    bool has_a;
};

static void list(void *ctx, struct wr_slice room, const struct wr_store_top *top)
{
    struct listed *l = ctx;
    l->n++;
    if (wr_slice_is(room, "a") && top->offset == 2 && strlen(top->epoch) == 8)
        l->has_a = true;
}

static void test_rooms_lists_those_that_have_entries(void **state)
{
    struct test_store *t = *state;
    struct listed l = {0};
    struct wr_errmsg err;
    test_top(t, "empty");
    test_append(t, "a", "", "1");
    test_append(t, "a", "", "2");
    test_append(t, "b", "", "1");
    assert_int_equal(t->plugin->rooms(t->state, list, &l, &err), WR_OK);
    assert_int_equal(l.n, 2);
    assert_true(l.has_a);
}

/* ---- history ---------------------------------------------------------------------------------------------------- */

static void test_history_of_a_room_without_entries_is_empty(void **state)
{
    struct wr_store_range all = {.limit = 10}, newest = {.limit = 10, .reverse = true};
    assert_int_equal(test_page(*state, "nowhere", &all, NULL, NULL), 0);
    test_top(*state, "empty");
    assert_int_equal(test_page(*state, "empty", &all, NULL, NULL), 0);
    assert_int_equal(test_page(*state, "empty", &newest, NULL, NULL), 0);
}

static void test_history_ranges(void **state)
{
    static const struct {
        struct wr_store_range range;
        size_t n;
        uint64_t first, last;
    } cases[] = {
        {{.limit = 100}, 20, 1, 20},
        {{.limit = 5}, 5, 1, 5},
        {{.limit = 5, .has_since = true, .since = 18}, 2, 19, 20},
        {{.limit = 5, .has_since = true, .since = 0}, 5, 1, 5},
        {{.limit = 5, .has_since = true, .since = 20}, 0, 0, 0},
        {{.limit = 5, .has_since = true, .since = 900}, 0, 0, 0},
        {{.limit = 5, .has_since = true, .since = UINT64_MAX}, 0, 0, 0},
        {{.limit = 100, .has_since = true, .since = 3, .until = 7}, 4, 4, 7},
        {{.limit = 100, .until = 900}, 20, 1, 20},
        {{.limit = 100, .has_since = true, .since = 7, .until = 7}, 0, 0, 0},
        {{.limit = 5, .reverse = true}, 5, 20, 16},
        {{.limit = 100, .reverse = true}, 20, 20, 1},
        {{.limit = 5, .reverse = true, .has_since = true, .since = 4}, 3, 3, 1},
        {{.limit = 5, .reverse = true, .has_since = true, .since = 1}, 0, 0, 0},
        {{.limit = 5, .reverse = true, .has_since = true, .since = 0}, 0, 0, 0},
        {{.limit = 5, .reverse = true, .has_since = true, .since = 900}, 5, 20, 16},
    };
    for (int i = 0; i < 20; i++)
        test_append(*state, "r", "", "{}");
    test_append(*state, "s", "", "{}");
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        uint64_t first, last;
        size_t n = test_page(*state, "r", &cases[i].range, &first, &last);
        if (n != cases[i].n || first != cases[i].first || last != cases[i].last)
            fail_msg("case %zu: %zu entries %llu..%llu", i, n, (unsigned long long)first,
                     (unsigned long long)last);
    }
}

static void test_history_ends_when_the_reader_has_enough(void **state)
{
    struct wr_store_range all = {.limit = 100};
    struct page p = {.stop_after = 3};
    for (int i = 0; i < 10; i++)
        test_append(*state, "r", "", "{}");
    assert_int_equal(read_page(*state, "r", &all, &p), 3);
    assert_int_equal(test_page(*state, "r", &all, NULL, NULL), 10);
}

struct whole {
    const struct wr_store_item *want;
    bool seen;
};

static bool compare(void *ctx, const struct wr_store_entry *e)
{
    struct whole *w = ctx;
    assert_int_equal(e->offset, w->want->offset);
    assert_int_equal(e->kind, w->want->kind);
    assert_int_equal(e->time_ms, w->want->time_ms);
    assert_true(wr_slice_eq(e->key, w->want->key));
    assert_true(wr_slice_eq(e->info, w->want->info));
    assert_true(wr_slice_eq(e->type, w->want->type));
    assert_true(wr_slice_eq(e->data, w->want->data));
    w->seen = true;
    return true;
}

static void read_back(struct test_store *t, const struct wr_store_item *it)
{
    struct whole w = {.want = it};
    struct wr_store_range range = {.has_since = true, .since = it->offset - 1, .limit = 1};
    struct wr_errmsg err;
    assert_int_equal(t->plugin->history(t->state, it->room, &range, compare, &w, &err), WR_OK);
    assert_true(w.seen);
}

static void test_bytes_come_back_as_they_were(void **state)
{
    static const char info[] = "\x0a\x00\xff info";
    static const char key[32] = "\x00\x01\xfe binary key, 32 bytes";
    char *big = malloc(65536);
    char room[256];
    assert_non_null(big);
    memset(big, '7', 65536);
    memset(room, 'r', 255);
    memcpy(room, "\xe6\x88\xbf\xe9\x97\xb4", 6); /* 房间 */
    struct wr_store_item it = {.room = wr_slice_of(room, 255),
                               .kind = 2,
                               .time_ms = 1764000000123,
                               .key = wr_slice_of(key, 32),
                               .info = wr_slice_of(info, sizeof info - 1),
                               .data = wr_slice_of(big, 65536)};
    append_ok(*state, &it, 1);
    read_back(*state, &it);
    struct wr_store_item bare = {
        .room = wr_slice_str("bare"), .kind = 1, .time_ms = 1, .data = wr_slice_str("0")};
    append_ok(*state, &bare, 1);
    read_back(*state, &bare);
    struct wr_store_item typed = {.room = wr_slice_str("bare"),
                                  .kind = 1,
                                  .time_ms = 2,
                                  .type = wr_slice_str("image/png"),
                                  .data = wr_slice_of("\x89\0\xff\n\0", 5)};
    append_ok(*state, &typed, 1);
    read_back(*state, &typed);
    free(big);
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

static void test_known_key_is_the_earlier_entry(void **state)
{
    struct test_store *t = *state;
    struct wr_store_item first = test_item("r", "key-0001", "{\"a\":1}"),
                         again = test_item("r", "key-0001", "2");
    first.time_ms = 1000;
    test_append(t, "r", "", "0");
    append_ok(t, &first, 1);
    append_ok(t, &again, 1);
    assert_false(first.duplicate);
    assert_true(again.duplicate);
    assert_int_equal(again.offset, 2);
    assert_int_equal(again.stored_ms, 1000);
    assert_string_equal(again.epoch, first.epoch);
    assert_int_equal(test_top(t, "r").offset, 2);
    read_back(t, &first);
}

static void test_key_twice_in_a_batch_is_one_entry(void **state)
{
    struct wr_store_item items[] = {test_item("r", "key-0001", "1"),
                                    test_item("r", "key-0002", "2"),
                                    test_item("r", "key-0001", "3"), test_item("r", "", "4")};
    append_ok(*state, items, 4);
    assert_true(items[2].duplicate);
    assert_int_equal(items[2].offset, 1);
    assert_int_equal(items[3].offset, 3);
    assert_int_equal(test_top(*state, "r").offset, 3);
}

static void test_keys_are_per_room(void **state)
{
    assert_int_equal(test_append(*state, "a", "key-0001", "1"), 1);
    assert_int_equal(test_append(*state, "b", "key-0001", "1"), 1);
    assert_int_equal(test_top(*state, "b").offset, 1);
}

static void test_entries_without_key_are_never_duplicates(void **state)
{
    for (uint64_t i = 1; i <= 5; i++)
        assert_int_equal(test_append(*state, "r", "", "\"same\""), i);
}

/* ---- amending --------------------------------------------------------------------------------------------------- */

static wr_err amend(struct test_store *t, const char *room, const char *epoch, uint64_t offset,
                    const char *data)
{
    const struct wr_store_amend what = {
        .room = wr_slice_str(room), .epoch = epoch, .offset = offset, .data = wr_slice_str(data)};
    struct wr_errmsg err = {{0}};
    assert_non_null(t->plugin->amend);
    wr_err e = t->plugin->amend(t->state, &what, &err);
    assert_true(e == WR_OK || err.text[0]);
    return e;
}

static void test_an_entry_that_is_not_there_cannot_be_amended(void **state)
{
    struct test_store *t = *state;
    assert_int_equal(amend(t, "nowhere", test_top(t, "nowhere").epoch, 1, "1"), WR_ERR_NOT_FOUND);
    test_append(t, "r", "", "1");
    assert_int_equal(amend(t, "r", test_top(t, "r").epoch, 2, "1"), WR_ERR_NOT_FOUND);
    assert_int_equal(amend(t, "r", test_top(t, "r").epoch, 0, "1"), WR_ERR_NOT_FOUND);
    assert_int_equal(test_top(t, "nowhere").offset, 0);
}

static void test_an_amended_entry_is_in_the_place_of_the_old_one(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range all = {.limit = 10};
    struct wr_store_item it = test_item("r", "key-0001", "{\"text\":\"something bad\"}");
    it.info = wr_slice_str("info");
    test_append(t, "r", "", "1");
    append_ok(t, &it, 1);
    test_append(t, "r", "", "3");
    const char *texts[] = {"{\"text\":\"removed by a moderator, which is longer than it was\"}",
                           "{}", "null"};
    for (size_t i = 0; i < WR_ARRAY_LEN(texts); i++) {
        assert_int_equal(amend(t, "r", it.epoch, 2, texts[i]), WR_OK);
        it.data = wr_slice_str(texts[i]);
        read_back(t, &it); /* all but the data is as it was */
    }
    assert_int_equal(test_page(t, "r", &all, NULL, NULL), 3);
    assert_int_equal(test_top(t, "r").offset, 3);
    assert_int_equal(test_append(t, "r", "key-0001", "{\"text\":\"something bad\"}"), 2);
    read_back(t, &it); /* sent again it is known, and stays amended */
    assert_int_equal(amend(t, "r", "another", 2, "1"), WR_ERR_POSITION);
    read_back(t, &it);
    if (can_do & STORE_DURABLE) {
        test_store_close(t);
        test_store_open(t);
        read_back(t, &it);
    }
}

/* ---- close and open --------------------------------------------------------------------------------------------- */

static void test_reopened_store_has_everything(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range all = {.limit = 100};
    struct wr_store_item it = test_item("r", "key-0001", "{\"text\":\"x\"}");
    struct wr_store_top empty = test_top(t, "empty");
    append_ok(t, &it, 1);
    for (int i = 0; i < 9; i++)
        test_append(t, "r", "", "1");
    struct wr_store_top before = test_top(t, "r");
    test_store_close(t);
    test_store_open(t);
    struct wr_store_top after = test_top(t, "r");
    assert_memory_equal(&before, &after, sizeof before);
    assert_string_equal(test_top(t, "empty").epoch, empty.epoch);
    assert_int_equal(test_page(t, "r", &all, NULL, NULL), 10);
    read_back(t, &it);
    assert_int_equal(test_append(t, "r", "key-0001", "again"), 1);
    assert_int_equal(test_append(t, "r", "key-0002", "11"), 11);
}

static void test_reopened_store_has_another_epoch(void **state)
{
    struct test_store *t = *state;
    test_append(t, "r", "", "1");
    struct wr_store_top before = test_top(t, "r");
    test_store_close(t);
    test_store_open(t);
    struct wr_store_top after = test_top(t, "r");
    assert_string_not_equal(before.epoch, after.epoch);
    assert_int_equal(after.offset, 0);
}

/* ---- retention -------------------------------------------------------------------------------------------------- */

static void test_retention_by_count_keeps_positions(void **state)
{
    struct test_store *t = *state;
    struct wr_store_keep own = {.room = "own", .count = 3};
    struct wr_store_range all = {.limit = 1000};
    uint64_t first, last;
    test_store_close(t);
    t->opts.keep.count = 10;
    t->opts.rooms = &own;
    t->opts.num_rooms = 1;
    test_store_open(t);
    struct wr_store_top before = test_top(t, "r");
    for (int i = 0; i < 100; i++) {
        test_append(t, "r", "", "1");
        test_append(t, "own", "", "1");
    }
    test_trim_all(t);
    assert_int_equal(test_page(t, "r", &all, &first, &last), 10);
    assert_int_equal(first, 91);
    assert_int_equal(last, 100);
    assert_int_equal(test_page(t, "own", &all, &first, &last), 3);
    assert_string_equal(test_top(t, "r").epoch, before.epoch);
    assert_int_equal(test_append(t, "r", "", "1"), 101);
    if (can_do & STORE_DURABLE) {
        test_store_close(t);
        test_store_open(t);
        assert_int_equal(test_append(t, "own", "", "1"), 101);
        assert_string_equal(test_top(t, "r").epoch, before.epoch);
    }
}

static void test_retention_by_age_drops_the_old(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range all = {.limit = 100};
    uint64_t first;
    test_store_close(t);
    t->opts.keep.age_ms = 3600 * 1000;
    test_store_open(t);
    for (int i = 0; i < 10; i++) {
        struct wr_store_item it = test_item("r", "", "1");
        it.time_ms -= i < 7 ? 7200 * 1000 : 0;
        append_ok(t, &it, 1);
    }
    struct wr_store_item old = test_item("old", "", "1");
    old.time_ms = 1;
    append_ok(t, &old, 1);
    test_trim_all(t);
    assert_int_equal(test_page(t, "r", &all, &first, NULL), 3);
    assert_int_equal(first, 8);
    assert_int_equal(test_page(t, "old", &all, NULL, NULL), 0);
    assert_int_equal(test_append(t, "old", "", "1"), 2);
}

/* The wall clock goes far ahead and comes back: nothing is old by it alone. What came meanwhile is as old as it says, and
 * that is not old either. */
static void test_a_step_of_the_clock_drops_nothing(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range all = {.limit = 100};
    test_store_close(t);
    t->opts.keep.age_ms = INT64_C(30) * 86400 * 1000;
    test_store_open(t);
    for (int i = 0; i < 10; i++)
        test_append(t, "r", "", "1");
    test_trim_all(t);
    moved_clock_set(INT64_C(40) * 86400 * 1000);
    if (can_do & STORE_DURABLE) { /* looks at all rooms at once, and not in ten seconds */
        test_store_close(t);
        test_store_open(t);
    }
    test_append(t, "r", "", "1");
    test_trim_all(t);
    size_t during = test_page(t, "r", &all, NULL, NULL);
    moved_clock_set(0);
    test_trim_all(t);
    test_append(t, "r", "", "1");
    assert_int_equal(during, 11);
    assert_int_equal(test_page(t, "r", &all, NULL, NULL), 12);
}

/* ---- a backup that is put back --------------------------------------------------------------------------------------- */

static wr_err load_entries(struct test_store *t, uint64_t first, uint64_t last,
                           struct wr_errmsg *err)
{
    wr_err e = WR_OK;
    for (uint64_t i = first; e == WR_OK && i <= last; i++) {
        char key[24];
        snprintf(key, sizeof key, "key-%08d", (int)i);
        const struct wr_store_entry entry = {.offset = i,
                                             .kind = 1,
                                             .time_ms = wr_wall_ms(),
                                             .key = wr_slice_str(key),
                                             .data = wr_slice_str("1")};
        e = t->plugin->load_entry(t->state, &entry, err);
    }
    return e;
}

static void load_begin(struct test_store *t)
{
    struct wr_errmsg err = {{0}};
    t->state = wr_plugin_state(&t->plugin->base);
    assert_non_null(t->state);
    if (t->plugin->load_begin(t->state, &t->opts, &err) != WR_OK)
        fail_msg("load_begin: %s", err.text);
}

static void load_end(struct test_store *t, bool keep)
{
    struct wr_errmsg err = {{0}};
    if (t->plugin->load_end(t->state, keep, &err) != WR_OK)
        fail_msg("load_end: %s", err.text);
    free(t->state);
    t->state = NULL;
}

static void test_what_is_loaded_is_another_log(void **state)
{
    struct test_store *t = *state;
    struct wr_errmsg err = {{0}};
    struct wr_store_range all = {.limit = 100};
    const struct wr_store_top top = {.offset = 20, .last_time_ms = 5}, none = {.offset = 7};
    uint64_t first, last;
    if (!WR_PLUGIN_HAS(t->plugin, load_begin))
        return; /* the slots are optional */
    for (int i = 0; i < 3; i++)
        test_append(t, "r", "", "1");
    struct wr_store_top before = test_top(t, "r"), absent = test_top(t, "absent");
    struct wr_store_opts reading = t->opts;
    reading.reading = true;
    struct test_store beside = {.plugin = t->plugin, .opts = reading};
    test_store_open(&beside); /* while the hub has it */
    assert_int_equal(test_page(&beside, "r", &all, NULL, NULL), 3);
    test_store_close(&beside);
    test_store_close(t);

    load_begin(t); /* one that breaks off leaves what was */
    assert_int_equal(t->plugin->load_room(t->state, wr_slice_str("r"), &top, &err), WR_OK);
    load_end(t, false);
    test_store_open(t);
    assert_string_equal(test_top(t, "r").epoch, before.epoch);
    test_store_close(t);

    load_begin(t);
    assert_int_equal(t->plugin->load_room(t->state, wr_slice_str("gone"), &none, &err), WR_OK);
    assert_int_equal(t->plugin->load_room(t->state, wr_slice_str("r"), &top, &err), WR_OK);
    assert_int_equal(t->plugin->load_room(t->state, wr_slice_str("r"), &top, &err), WR_ERR_INVALID);
    assert_int_equal(load_entries(t, 3, 5, &err), WR_OK);
    assert_int_equal(load_entries(t, 5, 5, &err), WR_ERR_INVALID);
    assert_int_equal(load_entries(t, 21, 21, &err), WR_ERR_INVALID);
    assert_int_equal(load_entries(t, 9, 20, &err),
                     WR_OK); /* 6 to 8 went meanwhile, and so did 3 to 5 */
    load_end(t, true);
    test_store_open(t);
    assert_int_equal(test_page(t, "r", &all, &first, &last), 12);
    assert_int_equal(first, 9);
    assert_int_equal(last, 20);
    assert_string_not_equal(test_top(t, "r").epoch, before.epoch);
    assert_string_not_equal(test_top(t, "absent").epoch, absent.epoch);
    assert_int_equal(test_append(t, "r", "key-00000020", "1"), 20); /* known again */
    assert_int_equal(test_append(t, "r", "", "1"), 21);
    assert_int_equal(test_append(t, "gone", "", "1"), 8);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

struct racing {
    struct test_store *t;
    atomic_bool done;
    atomic_uint_fast64_t acked; /* offset that append returned for */
    atomic_int wrong;
};

/* Whatever was acknowledged can be read at once, and pages have no gaps. */
static void *read_along(void *arg)
{
    struct racing *r = arg;
    struct wr_errmsg err;
    while (!atomic_load(&r->done)) {
        uint64_t acked = atomic_load(&r->acked);
        struct wr_store_top top;
        struct page p = {.reverse = true};
        struct wr_store_range newest = {.limit = 50, .reverse = true};
        if (r->t->plugin->top(r->t->state, wr_slice_str("r"), &top, &err) != WR_OK ||
            top.offset < acked ||
            r->t->plugin->history(r->t->state, wr_slice_str("r"), &newest, see, &p, &err) !=
                WR_OK ||
            p.gap || (acked && p.first < acked))
            atomic_fetch_add(&r->wrong, 1);
    }
    return NULL;
}

static void test_readers_see_what_was_acknowledged(void **state)
{
    struct racing r = {.t = *state};
    pthread_t readers[3];
    test_top(*state, "r");
    for (int i = 0; i < 3; i++)
        assert_int_equal(wr_thread_start(&readers[i], "reader", read_along, &r), WR_OK);
    for (int i = 0; i < 200; i++) {
        struct wr_store_item items[5];
        for (int k = 0; k < 5; k++)
            items[k] = test_item("r", "", "{\"text\":\"hello\"}");
        struct wr_errmsg err;
        assert_int_equal(r.t->plugin->append(r.t->state, items, 5, &err), WR_OK);
        assert_int_equal(items[4].offset, (i + 1) * 5);
        atomic_store(&r.acked, items[4].offset);
    }
    atomic_store(&r.done, true);
    for (int i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&r.wrong), 0);
}

static void *make_rooms(void *arg)
{
    struct racing *r = arg;
    struct wr_errmsg err;
    for (int i = 0; i < 200; i++) {
        char name[32];
        struct wr_store_top a, b;
        snprintf(name, sizeof name, "room-%d", i % 50);
        if (r->t->plugin->top(r->t->state, wr_slice_str(name), &a, &err) != WR_OK ||
            strlen(a.epoch) != 8 ||
            r->t->plugin->top(r->t->state, wr_slice_str(name), &b, &err) != WR_OK ||
            strcmp(a.epoch, b.epoch) != 0)
            atomic_fetch_add(&r->wrong, 1);
    }
    return NULL;
}

static void test_rooms_made_by_many_threads_have_one_epoch(void **state)
{
    struct racing r = {.t = *state};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(wr_thread_start(&threads[i], "maker", make_rooms, &r), WR_OK);
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "room-%d", i % 50);
        test_append(*state, name, "", "1");
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&r.wrong), 0);
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, "room-%d", i);
        assert_int_equal(test_top(*state, name).offset, 2);
    }
}

/* ----------------------------------------------------------------------------------------------------------------- */

static void test_table_fits_the_loader(void **state)
{
    struct wr_errmsg err = {{0}};
    (void)state;
    if (wr_plugin_check(&under_test->base, &err) != WR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(under_test->base.kind, WR_KIND_STORE);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int store_conformance(const char *file, unsigned can)
{
    static const struct CMUnitTest all[] = {
        cmocka_unit_test(test_table_fits_the_loader),
        CLAIM(test_new_room_is_empty_and_has_an_epoch),
        CLAIM(test_offsets_are_dense_in_item_order_per_room),
        CLAIM(test_empty_batch_is_fine),
        CLAIM(test_rooms_lists_those_that_have_entries),
        CLAIM(test_the_first_entry_has_the_epoch_that_the_empty_room_had),
        CLAIM(test_another_log_has_other_epochs),
        CLAIM(test_arguments_that_are_not_known_are_refused),
        CLAIM(test_history_of_a_room_without_entries_is_empty),
        CLAIM(test_an_entry_that_is_not_there_cannot_be_amended),
        CLAIM(test_entries_without_key_are_never_duplicates),
        CLAIM(test_rooms_made_by_many_threads_have_one_epoch),
    };
    static const struct CMUnitTest keeping[] = {
        CLAIM(test_history_ranges),
        CLAIM(test_history_ends_when_the_reader_has_enough),
        CLAIM(test_bytes_come_back_as_they_were),
        CLAIM(test_known_key_is_the_earlier_entry),
        CLAIM(test_key_twice_in_a_batch_is_one_entry),
        CLAIM(test_keys_are_per_room),
        CLAIM(test_retention_by_count_keeps_positions),
        CLAIM(test_retention_by_age_drops_the_old),
        CLAIM(test_a_step_of_the_clock_drops_nothing),
        CLAIM(test_readers_see_what_was_acknowledged),
        CLAIM(test_an_amended_entry_is_in_the_place_of_the_old_one),
    };
    static const struct CMUnitTest durable[] = {CLAIM(test_reopened_store_has_everything),
                                                CLAIM(test_what_is_loaded_is_another_log)};
    static const struct CMUnitTest passing[] = {CLAIM(test_reopened_store_has_another_epoch)};

    can_do = can;
    under_test = test_plugin(file);
    int failed = cmocka_run_group_tests_name("every store", all, NULL, NULL);
    if (can & STORE_KEEPS)
        failed += cmocka_run_group_tests_name("stores that keep", keeping, NULL, NULL);
    if (can & STORE_DURABLE)
        failed += cmocka_run_group_tests_name("durable stores", durable, NULL, NULL);
    else
        failed += cmocka_run_group_tests_name("passing stores", passing, NULL, NULL);
    return failed ? 1 : 0;
}
