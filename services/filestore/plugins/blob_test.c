/* SPDX-License-Identifier: MIT
 *
 * The blob plugins against the suite, and what only the disk one promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob_suite.h"
#include "small_disk.h"
#include "wr_plugins.h"

static struct wr_plugins *plugins;
static char root[64];

static int load(void **s)
{
    (void)s;
    snprintf(root, sizeof root, "/tmp/wr-blob-XXXXXX");
    return mkdtemp(root) && wr_plugins_load(WR_TEST_PLUGINS, &plugins) == WR_OK ? 0 : -1;
}
static int unload(void **s)
{
    (void)s;
    char cmd[128];
    wr_plugins_free(&plugins);
    snprintf(cmd, sizeof cmd, "rm -rf %s", root);
    return system(cmd);
}

static const struct wr_blob_plugin *plugin(const char *name)
{
    const struct wr_blob_plugin *p = wr_plugins_find(plugins, WR_KIND_BLOB, name);
    assert_non_null(p);
    return p;
}

static void test_memory_conforms(void **s)
{
    (void)s;
    wr_blob_suite(plugin("memory"), "/nowhere", false);
}

static void test_disk_conforms(void **s)
{
    (void)s;
    char path[128];
    snprintf(path, sizeof path, "%s/deep/files", root);
    wr_blob_suite(plugin("disk"), path, true);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_second_owner_of_a_folder_is_refused_with_what_to_do(void **s)
{
    (void)s;
    const struct wr_blob_plugin *p = plugin("disk");
    char path[128];
    struct wr_errmsg err;
    snprintf(path, sizeof path, "%s/locked", root);
    void *a = wr_plugin_state(&p->base), *b = wr_plugin_state(&p->base);
    assert_int_equal(p->open(a, &(struct wr_blob_opts){.path = path}, &err), WR_OK);
    assert_int_equal(p->open(b, &(struct wr_blob_opts){.path = path}, &err), WR_ERR_CONFLICT);
    assert_non_null(strstr(err.text, "--data"));
    assert_non_null(strstr(err.text, path));
    p->close(a);
    assert_int_equal(p->open(b, &(struct wr_blob_opts){.path = path}, &err), WR_OK);
    p->close(b);
    free(a);
    free(b);
}

static void test_disk_follows_no_link(void **s)
{
    (void)s;
    const struct wr_blob_plugin *p = plugin("disk");
    char path[128], link[256], target[128];
    struct wr_errmsg err;
    struct wr_blob *blob;
    snprintf(path, sizeof path, "%s/links", root);
    snprintf(target, sizeof target, "%s/outside", root);
    void *d = wr_plugin_state(&p->base);
    assert_int_equal(p->open(d, &(struct wr_blob_opts){.path = path}, &err), WR_OK);
    int fd = open(target, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(link, sizeof link, "%s/evil.blob", path);
    assert_int_equal(symlink(target, link), 0);
    assert_int_not_equal(p->blob_open(d, "evil", WR_BLOB_READ, &blob, &err), WR_OK);
    assert_int_not_equal(p->blob_open(d, "evil", WR_BLOB_WRITE, &blob, &err), WR_OK);
    p->close(d);
    free(d);
}

static void test_full_disk_keeps_what_fitted_and_the_old_record(void **s)
{
    (void)s;
    static uint8_t bytes[200u << 10];
    const struct wr_blob_plugin *p = plugin("disk");
    char path[128], tmp[160];
    struct wr_errmsg err;
    struct wr_blob *blob;
    struct stat st;
    size_t n = 0, got;
    snprintf(path, sizeof path, "%s/small", root);
    assert_int_equal(mkdir(path, 0700), 0);
    small_disk_mount(path, "256k");
    void *d = wr_plugin_state(&p->base);
    assert_int_equal(p->open(d, &(struct wr_blob_opts){.path = path}, &err), WR_OK);
    assert_int_equal(p->put(d, "a", wr_slice_str("old"), &err), WR_OK);
    assert_int_equal(p->blob_open(d, "a", WR_BLOB_WRITE, &blob, &err), WR_OK);
    memset(bytes, 'x', sizeof bytes);
    struct wr_slice parts[] = {wr_slice_of(bytes, sizeof bytes), wr_slice_of(bytes, sizeof bytes)};
    assert_int_equal(p->write(d, blob, 0, parts, 2, &n, &err), WR_ERR_NO_SPACE);
    assert_non_null(strstr(err.text, path));
    assert_in_range(n, sizeof bytes, 2 * sizeof bytes - 1);
    assert_int_equal(p->read(d, blob, n - 1, bytes, 2, &got, &err), WR_OK);
    assert_int_equal(got, 1); /* what it said it wrote, and no more */
    assert_int_equal(p->put(d, "a", wr_slice_of(bytes, 5000), &err), WR_ERR_NO_SPACE);
    snprintf(tmp, sizeof tmp, "%s/a.tmp", path);
    assert_int_equal(stat(tmp, &st), -1);
    snprintf(tmp, sizeof tmp, "%s/a.rec", path);
    assert_int_equal(stat(tmp, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(p->cut(d, blob, 4096, &err), WR_OK); /* needs no room, and makes some */
    assert_int_equal(p->put(d, "a", wr_slice_of(bytes, 5000), &err), WR_OK);
    p->blob_close(d, blob);
    p->close(d);
    free(d);
    assert_int_equal(umount(path), 0);
}

/* rm -r under a running server: what is still open would be written, synced and lost. */
static void test_a_folder_that_is_removed_is_noticed(void **s)
{
    (void)s;
    const struct wr_blob_plugin *p = plugin("disk");
    char path[128], cmd[160];
    struct wr_errmsg err = {{0}};
    struct wr_blob *blob;
    size_t n;
    struct wr_slice part = wr_slice_str("bytes");
    snprintf(path, sizeof path, "%s/removed", root);
    void *d = wr_plugin_state(&p->base);
    assert_int_equal(p->open(d, &(struct wr_blob_opts){.path = path}, &err), WR_OK);
    assert_int_equal(p->put(d, "a", wr_slice_str("old"), &err), WR_OK);
    assert_int_equal(p->blob_open(d, "a", WR_BLOB_WRITE, &blob, &err), WR_OK);
    assert_int_equal(p->look(d, &err), WR_OK);
    snprintf(cmd, sizeof cmd, "rm -r %s", path);
    assert_int_equal(system(cmd), 0);
    assert_int_equal(p->write(d, blob, 0, &part, 1, &n, &err), WR_OK);
    assert_int_equal(p->sync(d, blob, &err), WR_ERR_UNAVAILABLE);
    assert_int_equal(p->put(d, "a", wr_slice_str("new"), &err), WR_ERR_UNAVAILABLE);
    assert_int_equal(p->look(d, &err), WR_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(mkdir(path, 0700), 0); /* another one is not the same */
    assert_int_equal(p->look(d, &err), WR_ERR_UNAVAILABLE);
    p->blob_close(d, blob);
    p->close(d);
    free(d);
}

static void test_a_folder_that_takes_nothing_is_no_refusal_of_the_client(void **s)
{
    (void)s;
    const struct wr_blob_plugin *p = plugin("disk");
    char path[128];
    struct wr_errmsg err = {{0}};
    struct wr_blob *blob;
    snprintf(path, sizeof path, "%s/mute", root);
    void *d = wr_plugin_state(&p->base);
    assert_int_equal(p->open(d, &(struct wr_blob_opts){.path = path}, &err), WR_OK);
    bool is_root = geteuid() == 0; /* whom nothing is forbidden */
    assert_int_equal(chmod(path, 0500), 0);
    assert_int_equal(is_root ? seteuid(65534) : 0, 0);
    wr_err put = p->put(d, "a", wr_slice_str("new"), &err);
    wr_err open = p->blob_open(d, "a", WR_BLOB_WRITE, &blob, &err);
    wr_err look = p->look(d, &err);
    assert_int_equal(is_root ? seteuid(0) : 0, 0);
    assert_int_equal(put, WR_ERR_UNAVAILABLE);
    assert_int_equal(open, WR_ERR_UNAVAILABLE);
    assert_int_equal(look, WR_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(chmod(path, 0700), 0);
    p->close(d);
    free(d);
}

static void test_folder_that_cannot_be_made_is_refused_with_its_name(void **s)
{
    (void)s;
    const struct wr_blob_plugin *p = plugin("disk");
    struct wr_errmsg err;
    void *d = wr_plugin_state(&p->base);
    assert_int_equal(p->open(d, &(struct wr_blob_opts){.path = "/proc/no/files"}, &err),
                     WR_ERR_DENIED);
    assert_non_null(strstr(err.text, "/proc/no/files"));
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_conforms),
        cmocka_unit_test(test_disk_conforms),
        cmocka_unit_test(test_a_folder_that_takes_nothing_is_no_refusal_of_the_client),
        cmocka_unit_test(test_second_owner_of_a_folder_is_refused_with_what_to_do),
        cmocka_unit_test(test_disk_follows_no_link),
        cmocka_unit_test(test_full_disk_keeps_what_fitted_and_the_old_record),
        cmocka_unit_test(test_a_folder_that_is_removed_is_noticed),
        cmocka_unit_test(test_folder_that_cannot_be_made_is_refused_with_its_name),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
