/* SPDX-License-Identifier: MIT
 *
 * Claims about the store: order, idempotence, fences, what survives, what a failing disk does. A wrapper around the memory
 * plugin fails on demand; the disk plugin shows what a restart finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs_announce.h"
#include "fs_calls.h"
#include "fs_pass.h"
#include "watchroom/v1/files.numbers.h"
#include "moved_clock.h"
#include "wr_clock.h"
#include "wr_fd.h"
#include "wr_id.h"
#include "wr_pb.h"
#include "wr_plugins.h"
#include "wr_thread.h"

static struct wr_plugins *plugins;
static char root[64];

/* ---- a blob plugin that fails on demand ----------------------------------------------------------------------------- */

static const struct wr_blob_plugin *real;
static struct {
    atomic_int writes_left; /* < 0: for ever */
    atomic_int fail_sync, fail_put, syncs,
        fail_look; /* fail_sync, fail_look: the wr_err they fail with */
    atomic_ullong space;
    sem_t in_sync;             /* posted when a sync began */
    pthread_mutex_t sync_gate; /* whoever holds it holds all syncs */
    atomic_int batches;
    sem_t in_batch;             /* posted when records are put together */
    pthread_mutex_t batch_gate; /* whoever holds it holds all of these */
} disk = {.sync_gate = PTHREAD_MUTEX_INITIALIZER, .batch_gate = PTHREAD_MUTEX_INITIALIZER};

static wr_err faulty_write(void *state, struct wr_blob *b, uint64_t offset,
                           const struct wr_slice *parts, size_t num, size_t *written,
                           struct wr_errmsg *err)
{
    wr_err e = WR_OK;
    *written = 0;
    for (size_t i = 0, n; i < num && e == WR_OK; i++, *written += n) {
        struct wr_slice part = parts[i];
        n = 0;
        if (atomic_load(&disk.writes_left) == 0) {
            wr_errmsg_set(err, "full");
            e = WR_ERR_NO_SPACE;
            part.n /= 2; /* as a disk does: some of it fits */
        } else if (atomic_load(&disk.writes_left) > 0) {
            atomic_fetch_sub(&disk.writes_left, 1);
        }
        if (part.n)
            assert_int_equal(real->write(state, b, offset + *written, &part, 1, &n, err), WR_OK);
    }
    return e;
}
static wr_err faulty_sync(void *state, struct wr_blob *b, struct wr_errmsg *err)
{
    atomic_fetch_add(&disk.syncs, 1);
    sem_post(&disk.in_sync);
    pthread_mutex_lock(&disk.sync_gate);
    pthread_mutex_unlock(&disk.sync_gate);
    wr_err e = (wr_err)atomic_load(&disk.fail_sync);
    if (e != WR_OK) {
        wr_errmsg_set(err, "%s", wr_err_text(e));
        return e;
    }
    return real->sync(state, b, err);
}
static wr_err faulty_put(void *state, const char *id, struct wr_slice record, struct wr_errmsg *err)
{
    if (atomic_load(&disk.fail_put)) {
        wr_errmsg_set(err, "full");
        return WR_ERR_NO_SPACE;
    }
    return real->put(state, id, record, err);
}
static void faulty_put_all(void *state, const char *const *ids, const struct wr_slice *records,
                           size_t num, wr_err *codes, struct wr_errmsg *err)
{
    atomic_fetch_add(&disk.batches, 1);
    sem_post(&disk.in_batch);
    pthread_mutex_lock(&disk.batch_gate);
    pthread_mutex_unlock(&disk.batch_gate);
    for (size_t i = 0; i < num; i++)
        codes[i] = faulty_put(state, ids[i], records[i], err);
}
static wr_err faulty_look(void *state, struct wr_errmsg *err)
{
    (void)state;
    wr_err e = (wr_err)atomic_load(&disk.fail_look);
    if (e != WR_OK)
        wr_errmsg_set(err, "the folder is gone");
    return e;
}
static wr_err faulty_space(void *state, uint64_t *bytes, struct wr_errmsg *err)
{
    (void)state;
    (void)err;
    *bytes = atomic_load(&disk.space);
    return WR_OK;
}
static struct wr_blob_plugin faulty;

/* ---- a store, and operations that are waited for --------------------------------------------------------------------- */

static struct fs_store store;
static char folder[128];
static atomic_int changes, announcements;

static void count_change(void *ctx, struct fs_upload *u, bool deleted)
{
    (void)ctx;
    (void)u;
    (void)deleted;
    atomic_fetch_add(&changes, 1);
}
static char told_well[256];
static void keep_well(void *ctx, const char *why)
{
    (void)ctx;
    snprintf(told_well, sizeof told_well, "%s", why);
}
static void count_announcement(void *ctx, struct fs_upload *u)
{
    (void)ctx;
    (void)u;
    atomic_fetch_add(&announcements, 1);
}

static void open_store(const struct wr_blob_plugin *p)
{
    struct wr_errmsg err = {{0}};
    struct fs_store_opts o = {.blob = p,
                              .path = folder,
                              .min_free_bytes = 1000,
                              .expire_ms = 3600000,
                              .changed = count_change,
                              .announce = count_announcement,
                              .well = keep_well};
    if (fs_store_init(&store, &o, &err) != WR_OK)
        fail_msg("%s", err.text);
}

static int with_memory(void **s)
{
    (void)s;
    atomic_store(&disk.writes_left, -1);
    atomic_store(&disk.fail_sync, 0);
    atomic_store(&disk.fail_put, 0);
    atomic_store(&disk.fail_look, 0);
    atomic_store(&disk.syncs, 0);
    atomic_store(&disk.space, 1ull << 40);
    sem_init(&disk.in_sync, 0, 0);
    sem_init(&disk.in_batch, 0, 0);
    atomic_store(&disk.batches, 0);
    atomic_store(&changes, 0);
    atomic_store(&announcements, 0);
    open_store(&faulty);
    return 0;
}
static int with_disk(void **s)
{
    (void)s;
    static int n;
    snprintf(folder, sizeof folder, "%s/%d", root, n++);
    atomic_store(&announcements, 0);
    open_store(wr_plugins_find(plugins, WR_KIND_BLOB, "disk"));
    return 0;
}
static int end(void **s)
{
    (void)s;
    fs_store_fini(&store);
    return 0;
}

struct waited {
    struct fs_op op;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_done;
};
static void wake(struct fs_op *op)
{
    struct waited *w = WR_CONTAINER_OF(op, struct waited, op);
    pthread_mutex_lock(&w->lock);
    w->is_done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}
static struct waited *op_new(enum fs_op_kind kind, const char *id)
{
    struct waited *w = calloc(1, sizeof *w);
    assert_non_null(w);
    pthread_mutex_init(&w->lock, NULL);
    wr_cond_init(&w->cond);
    w->op.kind = kind;
    w->op.done = wake;
    w->op.deadline_us = wr_mono_us() + 20000000;
    snprintf(w->op.id, sizeof w->op.id, "%s", id);
    return w;
}
static void op_start(struct waited *w)
{
    fs_store_do(&store, &w->op);
}
static wr_err op_end(struct waited *w)
{
    int64_t until = wr_mono_us() + 20000000;
    pthread_mutex_lock(&w->lock);
    while (!w->is_done)
        if (!wr_cond_wait_until(&w->cond, &w->lock, until))
            fail_msg("operation %d was never answered", w->op.kind);
    pthread_mutex_unlock(&w->lock);
    wr_err e = w->op.code;
    return e;
}
static void op_free(struct waited *w)
{
    wr_msg_unref(w->op.bytes);
    free(w);
}
static wr_err run(struct waited *w)
{
    op_start(w);
    wr_err e = op_end(w);
    op_free(w);
    return e;
}

/* Asked for, and not waited for. */
static struct waited *creating(const char *id, uint64_t length, const char *room, const char *owner)
{
    Watchroom__V1__CreateRequest q = WATCHROOM__V1__CREATE_REQUEST__INIT;
    char name[] = "a.txt";
    char copy[FS_ID_MAX + 1], r[64], o[64];
    snprintf(copy, sizeof copy, "%s", id);
    snprintf(r, sizeof r, "%s", room);
    snprintf(o, sizeof o, "%s", owner);
    q.id = copy;
    q.length = length;
    q.filename = name;
    q.room = r;
    q.owner = o;
    struct waited *w = op_new(FS_OP_CREATE, id);
    w->op.create = &q;
    op_start(w);
    return w;
}
static wr_err create_for(const char *id, uint64_t length, const char *owner)
{
    struct waited *w = creating(id, length, "", owner);
    wr_err e = op_end(w);
    op_free(w);
    return e;
}
static wr_err create(const char *id, uint64_t length, const char *room)
{
    struct waited *w = creating(id, length, room, "");
    wr_err e = op_end(w);
    op_free(w);
    return e;
}
static wr_err acquire(const char *id, uint64_t offset, const char *nonce, uint64_t *fence)
{
    struct waited *w = op_new(FS_OP_ACQUIRE, id);
    w->op.offset = offset;
    w->op.nonce_n = strlen(nonce);
    memcpy(w->op.nonce, nonce, w->op.nonce_n);
    op_start(w);
    wr_err e = op_end(w);
    *fence = w->op.fence;
    op_free(w);
    return e;
}
static struct waited *writing(const char *id, uint64_t fence, uint64_t offset, const void *p,
                              size_t n, bool sync)
{
    struct waited *w = op_new(FS_OP_WRITE, id);
    w->op.fence = fence;
    w->op.offset = offset;
    w->op.data = wr_slice_of(p, n);
    w->op.sync = sync;
    return w;
}
static wr_err write_text(const char *id, uint64_t fence, uint64_t offset, const char *text,
                         bool sync)
{
    return run(writing(id, fence, offset, text, strlen(text), sync));
}
struct seen {
    uint64_t offset;
    bool complete;
    char sha[65];
};
static wr_err stat_of(const char *id, bool release, struct seen *out)
{
    struct waited *w = op_new(FS_OP_STAT, id);
    w->op.release = release;
    struct fs_upload *u = fs_upload_find(&store, id);
    op_start(w);
    wr_err e = op_end(w);
    *out = (struct seen){0};
    if (u) {
        Watchroom__V1__Upload up;
        uint8_t sha[32];
        fs_upload_tell(u, &up, sha);
        out->offset = up.offset;
        out->complete = up.complete;
        if (up.complete)
            wr_hex(out->sha, sha, 32);
        fs_upload_unref(u);
    }
    op_free(w);
    return e;
}
static wr_err read_file(const char *id, uint64_t offset, uint32_t n, char *out, size_t *got)
{
    struct waited *w = op_new(FS_OP_READ, id);
    w->op.offset = offset;
    w->op.length = n;
    op_start(w);
    wr_err e = op_end(w);
    *got = w->op.bytes ? w->op.bytes->len : 0;
    if (*got)
        memcpy(out, w->op.bytes->data, *got);
    op_free(w);
    return e;
}

static wr_err open_file(const char *id, int *fd)
{
    struct waited *w = op_new(FS_OP_OPEN, id);
    op_start(w);
    wr_err e = op_end(w);
    *fd = w->op.fd;
    op_free(w);
    return e;
}

#define ID "abcdefghij0123456789abcdef"
#define SHA_HELLO_WORLD "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"

/* Makes the upload ID and takes its write side; returns the fence. */
static uint64_t create_and_acquire(uint64_t length, const char *room)
{
    uint64_t fence;
    assert_int_equal(create(ID, length, room), WR_OK);
    assert_int_equal(acquire(ID, 0, "n", &fence), WR_OK);
    return fence;
}

/* ---- claims --------------------------------------------------------------------------------------------------------- */

static void test_upload_completes_with_its_hash_and_is_read_back(void **s)
{
    (void)s;
    struct seen st;
    char buf[64];
    size_t n;
    uint64_t f = create_and_acquire(11, "demo");
    assert_int_equal(write_text(ID, f, 0, "hello ", false), WR_OK);
    assert_int_equal(read_file(ID, 0, 10, buf, &n), WR_ERR_CONFLICT);
    assert_int_equal(write_text(ID, f, 6, "world", true), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_true(st.complete);
    assert_int_equal(st.offset, 11);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
    assert_int_equal(atomic_load(&changes), 1);
    assert_int_equal(atomic_load(&announcements), 1);
    assert_int_equal(read_file(ID, 6, 100, buf, &n), WR_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(buf, "world", 5);
    assert_int_equal(read_file(ID, 11, 100, buf, &n), WR_OK);
    assert_int_equal(n, 0);
    /* An empty write at its end is a client that ends on a full chunk. */
    assert_int_equal(acquire(ID, 11, "n2", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 11, "", true), WR_OK);
}

static void test_a_finished_file_is_opened_and_outlives_its_name(void **s)
{
    (void)s;
    int fd;
    char got[16] = "";
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(open_file(ID, &fd), WR_OK);
    assert_int_equal(fd, -1); /* it is not finished: as a question for its offset */
    assert_int_equal(write_text(ID, f, 0, "hello world", true), WR_OK);
    assert_int_equal(open_file(ID, &fd), WR_OK);
    assert_true(fd >= 0);
    assert_int_equal(run(op_new(FS_OP_DELETE, ID)), WR_OK);
    assert_int_equal(pread(fd, got, sizeof got, 0), 11);
    assert_string_equal(got, "hello world");
    close(fd);
    assert_int_equal(open_file(ID, &fd), WR_ERR_NOT_FOUND);
}

static void test_a_creation_that_nobody_waits_for_is_dropped(void **s)
{
    (void)s;
    struct seen st;
    Watchroom__V1__CreateRequest q = WATCHROOM__V1__CREATE_REQUEST__INIT;
    char id[] = ID;
    q.id = id;
    q.length = 5;
    struct waited *w = op_new(FS_OP_CREATE, ID);
    w->op.create = &q;
    w->op.deadline_us = wr_mono_us() - 1;
    assert_int_equal(run(w), WR_ERR_TIMEOUT);
    assert_int_equal(stat_of(ID, false, &st), WR_ERR_NOT_FOUND);
    assert_int_equal(store.room.unfinished, 0);
}

/* What the store removes of its own accord is not asked for meanwhile: that would be going on with it. */
static void wait_for_unfinished(unsigned want)
{
    int64_t until = wr_mono_us() + 20000000;
    unsigned n;
    do {
        sched_yield();
        pthread_mutex_lock(&store.room.lock);
        n = store.room.unfinished;
        pthread_mutex_unlock(&store.room.lock);
    } while (n != want && wr_mono_us() < until);
    assert_int_equal(n, want);
}

static void test_creations_that_come_together_share_their_syncs(void **s)
{
    (void)s;
    enum { N = 40 };
    struct waited *w[N];
    struct seen st;
    char id[FS_ID_MAX + 1];
    pthread_mutex_lock(&disk.batch_gate);
    for (unsigned i = 0; i < N; i++) {
        snprintf(id, sizeof id, "abcdefghij0123456789many%02u", i);
        w[i] = creating(id, 5, "", "");
        if (i < FS_CREATORS)
            assert_int_equal(sem_wait(&disk.in_batch), 0);
    }
    w[1]->op.deadline_us = 1; /* its caller is gone before the disk is through */
    pthread_mutex_unlock(&disk.batch_gate);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(op_end(w[i]), i == 1 ? WR_ERR_TIMEOUT : WR_OK);
        op_free(w[i]);
    }
    assert_in_range(atomic_load(&disk.batches), FS_CREATORS + 1, FS_CREATORS + 2);
    wait_for_unfinished(N - 1);
    assert_int_equal(stat_of("abcdefghij0123456789many01", false, &st), WR_ERR_NOT_FOUND);
    assert_int_equal(stat_of("abcdefghij0123456789many02", false, &st), WR_OK);
}

static void test_an_unwell_store_says_so_and_takes_nothing(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(write_text(ID, f, 0, "hello ", true), WR_OK);
    fs_store_look(&store);
    assert_string_equal(told_well, "");
    atomic_store(&disk.space,
                 900); /* below the floor: it says so, and what is asked is answered NO_SPACE */
    fs_store_look(&store);
    assert_non_null(strstr(told_well, "min_free_bytes"));
    assert_int_equal(create("abcdefghij0123456789abcdez", 1, ""), WR_ERR_NO_SPACE);
    atomic_store(&disk.space, 1ull << 40);
    atomic_store(&disk.fail_look, WR_ERR_UNAVAILABLE);
    fs_store_look(&store);
    assert_string_equal(told_well, "the folder is gone");
    assert_int_equal(create("abcdefghij0123456789abcdez", 1, ""), WR_ERR_UNAVAILABLE);
    assert_int_equal(acquire(ID, 6, "m", &f), WR_ERR_UNAVAILABLE);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    atomic_store(&disk.fail_look, 0);
    fs_store_look(&store);
    assert_string_equal(told_well, "");
    assert_int_equal(acquire(ID, 6, "m", &f), WR_OK);
    fs_store_damaged(&store);
    fs_store_look(&store);
    assert_non_null(strstr(told_well, "damaged"));
    assert_int_equal(create("abcdefghij0123456789abcdez", 1, ""), WR_OK);
}

#define OTHER "abcdefghij0123456789abcdez"

static void leave_alone(const char *id)
{
    struct fs_upload *u = fs_upload_find(&store, id);
    assert_non_null(u);
    pthread_mutex_lock(&u->lock);
    u->touched_ms -= FS_IDLE_MS;
    pthread_mutex_unlock(&u->lock);
    fs_upload_unref(u);
    store.room.made_way_us = INT64_MIN / 2; /* another second */
}

static void test_what_cannot_both_end_is_not_both_begun(void **s)
{
    (void)s;
    uint64_t f;
    atomic_store(&disk.space, 1000 + 250);
    assert_int_equal(create_for(ID, 150, "::1"), WR_OK);
    assert_int_equal(create_for(OTHER, 150, "::2"), WR_ERR_NO_SPACE);
    assert_int_equal(acquire(ID, 0, "n", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 0, "hello ", true), WR_OK);
    atomic_store(&disk.space, 1000 + 244);
    assert_int_equal(store.room.reserved, 144);
    assert_int_equal(create_for(OTHER, 101, "::2"), WR_ERR_NO_SPACE);
    assert_int_equal(create_for(OTHER, 100, "::2"), WR_OK);
    /* An address that has something under way leaves some to others. */
    struct waited *w = op_new(FS_OP_DELETE, OTHER);
    assert_int_equal(run(w), WR_OK);
    assert_int_equal(create_for(OTHER, 100, "::1"), WR_ERR_NO_SPACE);
    assert_int_equal(create_for(OTHER, 60, "::1"), WR_OK);
    assert_int_equal(run(op_new(FS_OP_DELETE, OTHER)), WR_OK);
    assert_int_equal(run(op_new(FS_OP_DELETE, ID)), WR_OK);
    assert_int_equal(store.room.reserved, 0);
    assert_int_equal(store.room.owners.used, 0);
}

static void test_room_that_nobody_uses_is_others(void **s)
{
    (void)s;
    uint64_t f;
    struct seen st;
    atomic_store(&disk.space, 1000 + 250);
    assert_int_equal(create_for(ID, 150, "::1"), WR_OK);
    assert_int_equal(acquire(ID, 0, "n", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 0, "hello ", true), WR_OK);
    leave_alone(ID);
    assert_int_equal(create_for(OTHER, 150, "::2"), WR_OK);
    /* What came of it stays, and it goes on when there is room again. */
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 6);
    assert_int_equal(acquire(ID, 6, "m", &f), WR_ERR_NO_SPACE);
    assert_int_equal(run(op_new(FS_OP_DELETE, OTHER)), WR_OK);
    assert_int_equal(acquire(ID, 6, "m", &f), WR_OK);
    assert_int_equal(store.room.reserved, 144);
}

/* 2,000 of one address leave the door open to others; of its own, those that nobody goes on with go, the emptiest first. */
static void test_one_address_has_a_share_of_the_places(void **s)
{
    (void)s;
    char id[FS_ID_MAX + 1];
    struct seen st;
    uint64_t f;
    assert_int_equal(create_for(ID, 11, "::1"), WR_OK);
    assert_int_equal(acquire(ID, 0, "n", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 0, "hello ", true), WR_OK);
    for (unsigned i = 1; i < FS_UNFINISHED_SHARE; i++) {
        snprintf(id, sizeof id, "abcdefghij0123456789m%05u", i);
        assert_int_equal(create_for(id, 5, "::1"), WR_OK);
    }
    assert_int_equal(create_for(OTHER, 5, "::1"), WR_ERR_NO_SPACE);
    assert_int_equal(create_for(OTHER, 5, "::2"), WR_OK);
    assert_int_equal(store.room.unfinished, FS_UNFINISHED_SHARE + 1);
    leave_alone(ID);
    for (unsigned i = 1; i <= FS_UNFINISHED_SHARE / 16; i++) {
        snprintf(id, sizeof id, "abcdefghij0123456789m%05u", i);
        leave_alone(id);
    }
    assert_int_equal(create_for("abcdefghij0123456789onemore", 5, "::1"), WR_OK);
    wait_for_unfinished(FS_UNFINISHED_SHARE + 2 - FS_UNFINISHED_SHARE / 16);
    for (unsigned i = 1; i <= FS_UNFINISHED_SHARE / 16; i++) {
        snprintf(id, sizeof id, "abcdefghij0123456789m%05u", i);
        assert_int_equal(stat_of(id, false, &st), WR_ERR_NOT_FOUND);
    }
    assert_int_equal(stat_of(ID, false, &st), WR_OK); /* it is not empty */
    assert_int_equal(stat_of("abcdefghij0123456789m01999", false, &st), WR_OK);
}

static void test_a_plugin_without_files_opens_none(void **s)
{
    (void)s;
    int fd;
    uint64_t f = create_and_acquire(5, "");
    assert_int_equal(write_text(ID, f, 0, "hello", true), WR_OK);
    assert_int_equal(open_file(ID, &fd), WR_OK);
    assert_int_equal(fd, -1);
}

static int dial(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path + 1, name, strlen(name));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(
        connect(fd, (struct sockaddr *)&a,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))),
        0);
    return fd;
}

static void test_descriptors_are_passed_for_their_ticket(void **s)
{
    (void)s;
    struct fs_pass pass;
    struct wr_errmsg err;
    uint8_t ticket[WR_FD_TICKET_BYTES], other[WR_FD_TICKET_BYTES + 1] = {0};
    char got[8] = "";
    int in[2], fd;
    assert_int_equal(fs_pass_start(&pass, &err), WR_OK);
    int a = dial(pass.where), b = dial(pass.where);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(write(in[1], "hello", 5), 5);
    assert_int_equal(wr_fd_leave(in[0], 60000, ticket), WR_OK);
    assert_int_equal(send(b, other, sizeof other, 0), sizeof other); /* no ticket at all */
    assert_true(wr_fd_receive(b, &fd));
    assert_int_equal(fd, -1);
    assert_int_equal(send(b, ticket, sizeof ticket, 0), sizeof ticket);
    assert_true(wr_fd_receive(b, &fd));
    assert_int_equal(read(fd, got, sizeof got), 5);
    assert_string_equal(got, "hello");
    close(fd);
    assert_int_equal(send(a, ticket, sizeof ticket, 0), sizeof ticket); /* it was collected */
    assert_true(wr_fd_receive(a, &fd));
    assert_int_equal(fd, -1);
    close(a);
    fs_pass_stop(&pass);
    assert_false(wr_fd_receive(b, &fd));
    close(b);
    close(in[1]);
}

static void test_empty_upload_is_complete_at_once(void **s)
{
    (void)s;
    struct seen st;
    assert_int_equal(create(ID, 0, ""), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_true(st.complete);
    assert_string_equal(st.sha, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(atomic_load(&announcements), 0); /* no room */
}

static void test_create_is_idempotent_and_ids_are_not_shared(void **s)
{
    (void)s;
    assert_int_equal(create(ID, 11, "demo"), WR_OK);
    assert_int_equal(create(ID, 11, "demo"), WR_OK);
    assert_int_equal(create(ID, 12, "demo"), WR_ERR_CONFLICT);
    assert_int_equal(create("../../etc/passwd", 12, "demo"), WR_ERR_INVALID);
    assert_int_equal(create("abcdefghij0123456789abcdez", 12, "a/b"), WR_ERR_INVALID);
}

static void test_writes_in_any_order_become_one(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    struct waited *c = writing(ID, f, 8, "rld", 3, true), *b = writing(ID, f, 4, "o wo", 4, false),
                  *a = writing(ID, f, 0, "hell", 4, false);
    op_start(c);
    op_start(b);
    op_start(a);
    assert_int_equal(op_end(a), WR_OK);
    assert_int_equal(op_end(b), WR_OK);
    assert_int_equal(op_end(c), WR_OK);
    op_free(a);
    op_free(b);
    op_free(c);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
}

static void test_a_resent_write_is_written_once(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(write_text(ID, f, 0, "hello", false), WR_OK);
    assert_int_equal(write_text(ID, f, 0, "hello", false), WR_OK);
    assert_int_equal(write_text(ID, f, 3, "lo wo", false), WR_OK); /* overlaps */
    assert_int_equal(write_text(ID, f, 8, "rld", true), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
}

static void test_bytes_past_the_length_are_refused(void **s)
{
    (void)s;
    uint64_t f = create_and_acquire(4, "");
    assert_int_equal(write_text(ID, f, 0, "hello", false), WR_ERR_INVALID);
    assert_int_equal(write_text(ID, f, UINT64_MAX, "hello", false), WR_ERR_INVALID);
    assert_int_equal(write_text(ID, f, 5, "", false), WR_ERR_INVALID);
}

static void test_a_new_writer_fences_off_the_old_one(void **s)
{
    (void)s;
    uint64_t a, b, again;
    assert_int_equal(create(ID, 11, ""), WR_OK);
    assert_int_equal(write_text(ID, 0, 0, "hello ", false), WR_ERR_CONFLICT);
    assert_int_equal(acquire(ID, 0, "one", &a), WR_OK);
    assert_int_equal(acquire(ID, 0, "one", &again), WR_OK);
    assert_int_equal(a, again); /* a resent call */
    assert_int_equal(write_text(ID, a, 0, "hello ", false), WR_OK);
    assert_int_equal(acquire(ID, 3, "two", &b), WR_ERR_CONFLICT);
    struct waited *late = writing(ID, a, 8, "rld", 3,
                                  false); /* waits for a hole that nobody fills */
    op_start(late);
    assert_int_equal(acquire(ID, 6, "two", &b), WR_OK);
    assert_int_equal(op_end(late), WR_ERR_CONFLICT);
    op_free(late);
    assert_int_equal(write_text(ID, a, 6, "WORLD", true), WR_ERR_CONFLICT);
    assert_int_equal(write_text(ID, b, 6, "world", true), WR_OK);
}

static void test_stat_tells_only_what_is_synced(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(write_text(ID, f, 0, "hello ", false), WR_OK);
    assert_int_equal(atomic_load(&disk.syncs), 0);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(atomic_load(&disk.syncs), 1);
    assert_int_equal(st.offset, 6);
    assert_int_equal(stat_of(ID, true, &st), WR_OK);
    assert_int_equal(write_text(ID, f, 6, "world", true), WR_ERR_CONFLICT); /* released */
}

static void test_full_disk_refuses_and_goes_on_when_there_is_room(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    atomic_store(&disk.writes_left, 1);
    assert_int_equal(write_text(ID, f, 0, "hello ", false), WR_OK);
    assert_int_equal(write_text(ID, f, 6, "world", true), WR_ERR_NO_SPACE);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 8); /* half of it fitted */
    assert_false(st.complete);
    atomic_store(&disk.writes_left, -1);
    assert_int_equal(acquire(ID, 8, "m", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 8, "rld", true), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
}

static void test_floor_of_free_space_is_kept(void **s)
{
    (void)s;
    uint64_t f = create_and_acquire(11, "");
    atomic_store(&disk.space, 1003);
    assert_int_equal(write_text(ID, f, 0, "hello ", true), WR_ERR_NO_SPACE);
    /* What was sent behind it and comes late does not wait for it. */
    assert_int_equal(write_text(ID, f, 6, "world", true), WR_ERR_NO_SPACE);
    assert_int_equal(create("abcdefghij0123456789abcdez", 11, ""), WR_ERR_NO_SPACE);
    struct seen st;
    assert_int_equal(stat_of("abcdefghij0123456789abcdez", false, &st),
                     WR_ERR_NOT_FOUND); /* nothing half made shows */
    atomic_store(&disk.space, 1100);
    assert_int_equal(create("abcdefghij0123456789abcdez", 11, ""), WR_OK);
    assert_int_equal(write_text(ID, f, 0, "hello ", true), WR_OK);
}

static void test_record_that_cannot_be_written_completes_nothing(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "demo");
    atomic_store(&disk.fail_put, 1);
    assert_int_equal(write_text(ID, f, 0, "hello world", true), WR_ERR_NO_SPACE);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 0); /* that of the record on disk */
    assert_false(st.complete);
    assert_int_equal(atomic_load(&announcements), 0);
    atomic_store(&disk.fail_put, 0);
    assert_int_equal(stat_of(ID, false, &st), WR_OK); /* it is finished by whoever asks next */
    assert_true(st.complete);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
    assert_int_equal(atomic_load(&announcements), 1);
}

static void test_after_a_full_disk_the_told_offset_is_taken(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "demo");
    assert_int_equal(write_text(ID, f, 0, "hello", true), WR_OK);
    atomic_store(&disk.fail_put, 1);
    assert_int_equal(write_text(ID, f, 5, " WO", true), WR_ERR_NO_SPACE);
    assert_int_equal(acquire(ID, 3, "m", &f), WR_ERR_CONFLICT);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 5);
    assert_int_equal(acquire(ID, 5, "m", &f), WR_OK);
    atomic_store(&disk.fail_put, 0);
    assert_int_equal(write_text(ID, f, 5, " world", true), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
}

static void test_failed_sync_ends_the_upload_for_good(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    atomic_store(&disk.fail_sync, WR_ERR_INTERNAL);
    assert_int_equal(write_text(ID, f, 0, "hello ", true), WR_ERR_GONE);
    atomic_store(&disk.fail_sync, 0);
    assert_int_equal(stat_of(ID, false, &st), WR_ERR_GONE);
    assert_int_equal(write_text(ID, f, 6, "world", true), WR_ERR_GONE);
    assert_int_equal(acquire(ID, 6, "m", &f), WR_ERR_GONE);
    assert_int_equal(atomic_load(&disk.syncs), 1); /* never a second try */
}

static void test_a_sync_on_a_full_disk_takes_back_what_was_not_told(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(write_text(ID, f, 0, "hello", true), WR_OK);
    atomic_store(&disk.fail_sync, WR_ERR_NO_SPACE);
    assert_int_equal(write_text(ID, f, 5, " WORLD", true), WR_ERR_NO_SPACE);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 5);
    assert_false(st.complete);
    /* The kernel tells it once: a sync that succeeds now says nothing about those bytes. */
    atomic_store(&disk.fail_sync, WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 5);
    assert_int_equal(acquire(ID, 11, "m", &f), WR_ERR_CONFLICT);
    assert_int_equal(acquire(ID, 5, "m", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 5, " world", true), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
}

static void test_syncs_hold_no_reader_and_no_creation(void **s)
{
    (void)s;
    enum { N = 8 }; /* as many as the lanes have threads */
    struct waited *w[N];
    struct seen st;
    char id[FS_ID_MAX + 1], buf[16];
    size_t n;
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(write_text(ID, f, 0, "hello world", true), WR_OK);
    assert_int_equal(sem_wait(&disk.in_sync), 0);
    pthread_mutex_lock(&disk.sync_gate);
    for (unsigned i = 0; i < N; i++) {
        snprintf(id, sizeof id, "abcdefghij0123456789held%02u", i);
        assert_int_equal(create(id, 5, ""), WR_OK);
        assert_int_equal(acquire(id, 0, "n", &f), WR_OK);
        op_start(w[i] = writing(id, f, 0, "hello", 5, true));
        assert_int_equal(sem_wait(&disk.in_sync), 0);
    }
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_true(st.complete);
    assert_int_equal(read_file(ID, 0, 11, buf, &n), WR_OK);
    assert_int_equal(create("abcdefghij0123456789abcdez", 11, ""), WR_OK);
    pthread_mutex_unlock(&disk.sync_gate);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(op_end(w[i]), WR_OK);
        op_free(w[i]);
    }
}

static void test_deleted_upload_is_not_found(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "demo");
    assert_int_equal(write_text(ID, f, 0, "hello ", false), WR_OK);
    assert_int_equal(run(op_new(FS_OP_DELETE, ID)), WR_OK);
    assert_int_equal(run(op_new(FS_OP_DELETE, ID)), WR_ERR_NOT_FOUND);
    assert_int_equal(stat_of(ID, false, &st), WR_ERR_NOT_FOUND);
    assert_int_equal(write_text(ID, f, 6, "world", true), WR_ERR_NOT_FOUND);
    assert_int_equal(create(ID, 11, "demo"), WR_OK);
}

static void test_deleted_file_is_not_announced(void **s)
{
    (void)s;
    struct fs_announcer a;
    uint64_t f = create_and_acquire(11, "demo");
    assert_int_equal(write_text(ID, f, 0, "hello world", true), WR_OK);
    struct fs_upload *u = fs_upload_find(&store, ID);
    fs_announcer_init(&a, NULL); /* no hub: a call would not be survived */
    fs_announcer_add(&a, u);
    assert_int_equal(run(op_new(FS_OP_DELETE, ID)), WR_OK);
    fs_announcer_run(&a);
    assert_null(a.head);
    fs_announcer_stop(&a);
    fs_announcer_fini(&a);
    fs_upload_unref(u);
}

static void test_untouched_uploads_expire_and_files_do_not(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f;
    static const char done[] = "abcdefghij0123456789abcdez";
    assert_int_equal(create(ID, 11, ""), WR_OK);
    assert_int_equal(create(done, 1, ""), WR_OK);
    assert_int_equal(acquire(done, 0, "n", &f), WR_OK);
    assert_int_equal(write_text(done, f, 0, "x", true), WR_OK);
    fs_store_tick(&store, wr_wall_ms() + 3000000);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    /* A look passes over an upload that a lane is still busy with, as after the answer above. */
    int64_t until = wr_mono_us() + 20000000;
    do
        fs_store_tick(&store, wr_wall_ms() + 4000000);
    while (stat_of(ID, false, &st) != WR_ERR_NOT_FOUND && wr_mono_us() < until);
    assert_int_equal(stat_of(ID, false, &st), WR_ERR_NOT_FOUND);
    assert_int_equal(stat_of(done, false, &st), WR_OK);
}

/* What is begun while the wall clock is far ahead does not stay so much longer, and nothing else goes meanwhile. */
static void test_uploads_do_not_age_by_a_step_of_the_clock(void **s)
{
    (void)s;
    struct seen st;
    static const char other[] = "abcdefghij0123456789abcdez";
    const int64_t step_ms = INT64_C(40) * 86400 * 1000;
    (void)wr_age_now_ms();
    assert_int_equal(create(ID, 11, ""), WR_OK);
    moved_clock_set(step_ms);
    fs_store_tick(&store, wr_age_now_ms());
    assert_int_equal(create(other, 11, ""), WR_OK);
    fs_store_tick(&store, wr_age_now_ms());
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    moved_clock_set(0);
    int64_t until = wr_mono_us() + 20000000;
    do
        fs_store_tick(&store, wr_age_now_ms() + 4000000);
    while (stat_of(other, false, &st) != WR_ERR_NOT_FOUND && wr_mono_us() < until);
    assert_int_equal(stat_of(other, false, &st), WR_ERR_NOT_FOUND);
}

static void test_late_holes_are_given_up(void **s)
{
    (void)s;
    uint64_t f = create_and_acquire(11, "");
    struct waited *w = writing(ID, f, 6, "world", 5, false);
    w->op.deadline_us = wr_mono_us() - 1;
    op_start(w);
    fs_store_tick(&store, wr_wall_ms());
    assert_int_equal(op_end(w), WR_ERR_TIMEOUT);
    op_free(w);
    assert_int_equal(atomic_load(&store.queued), 0);
}

static void test_writes_before_a_hole_are_bounded(void **s)
{
    (void)s;
    struct waited *w[FS_AHEAD_MAX];
    uint64_t f = create_and_acquire(1000, "");
    for (unsigned i = 0; i < FS_AHEAD_MAX; i++) {
        w[i] = writing(ID, f, 2 + i, "x", 1, false);
        op_start(w[i]);
    }
    assert_int_equal(write_text(ID, f, 500, "x", false), WR_ERR_BUSY);
    assert_int_equal(write_text(ID, f, 0, "xy", false), WR_OK); /* fills it */
    for (unsigned i = 0; i < FS_AHEAD_MAX; i++) {
        assert_int_equal(op_end(w[i]), WR_OK);
        op_free(w[i]);
    }
}

/* ---- over a restart ------------------------------------------------------------------------------------------------- */

static void reopen(void)
{
    fs_store_fini(&store);
    open_store(wr_plugins_find(plugins, WR_KIND_BLOB, "disk"));
}

static void test_restart_keeps_told_bytes_and_the_hash_comes_out_right(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "demo");
    assert_int_equal(write_text(ID, f, 0, "hello", true), WR_OK);
    reopen();
    assert_int_equal(write_text(ID, f, 5, " world", true),
                     WR_ERR_CONFLICT); /* fences do not outlive us */
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 5);
    assert_int_equal(acquire(ID, 5, "n", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 5, " world", true), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
    reopen();
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
    atomic_store(&announcements, 0);
    fs_store_announce_all(&store); /* nobody said that the room knows */
    assert_int_equal(atomic_load(&announcements), 1);
    assert_int_equal(run(op_new(FS_OP_ANNOUNCED, ID)), WR_OK);
    reopen();
    fs_store_announce_all(&store);
    assert_int_equal(atomic_load(&announcements), 1);
}

static void append_to_blob(const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/" ID ".blob", folder);
    FILE *b = fopen(path, "a");
    assert_non_null(b);
    fputs(text, b);
    assert_int_equal(fclose(b), 0);
}

static void test_bytes_after_the_told_offset_stay_under_the_same_kernel(void **s)
{
    (void)s;
    struct seen st;
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(write_text(ID, f, 0, "hello", true), WR_OK);
    fs_store_fini(&store);
    append_to_blob(" wo");
    open_store(wr_plugins_find(plugins, WR_KIND_BLOB, "disk"));
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 8);
    /* Another kernel: what was not synced may be anything. */
    assert_int_equal(acquire(ID, 8, "m", &f), WR_OK);
    fs_store_fini(&store);
    append_to_blob("XXXXXXXX");
    open_store(wr_plugins_find(plugins, WR_KIND_BLOB, "disk"));
    struct fs_upload *u = fs_upload_find(&store, ID);
    assert_non_null(u);
    struct wr_errmsg err;
    snprintf(store.boot_id, sizeof store.boot_id, "another");
    assert_int_equal(fs_record_put(u, 8, 0, &err), WR_OK);
    fs_upload_unref(u);
    reopen();
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 8);
    assert_int_equal(acquire(ID, 8, "m", &f), WR_OK);
    assert_int_equal(write_text(ID, f, 8, "rld", true), WR_OK);
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_string_equal(st.sha, SHA_HELLO_WORLD);
}

static void test_lost_bytes_put_the_offset_back(void **s)
{
    (void)s;
    struct seen st;
    char path[256];
    uint64_t f = create_and_acquire(11, "");
    assert_int_equal(write_text(ID, f, 0, "hello", true), WR_OK);
    fs_store_fini(&store);
    snprintf(path, sizeof path, "%s/" ID ".blob", folder);
    assert_int_equal(truncate(path, 2), 0);
    open_store(wr_plugins_find(plugins, WR_KIND_BLOB, "disk"));
    assert_int_equal(stat_of(ID, false, &st), WR_OK);
    assert_int_equal(st.offset, 2);
}

static void test_damaged_record_is_not_served(void **s)
{
    (void)s;
    struct seen st;
    char path[256];
    assert_int_equal(create(ID, 11, ""), WR_OK);
    fs_store_fini(&store);
    snprintf(path, sizeof path, "%s/" ID ".rec", folder);
    FILE *r = fopen(path, "r+");
    assert_non_null(r);
    assert_int_equal(fseek(r, 20, SEEK_SET), 0);
    fputc(0xff, r);
    assert_int_equal(fclose(r), 0);
    open_store(wr_plugins_find(plugins, WR_KIND_BLOB, "disk"));
    assert_int_equal(stat_of(ID, false, &st), WR_ERR_NOT_FOUND);
    assert_int_equal(access(path, F_OK), 0); /* and not thrown away */
}

/* Many writers at once, each with chunks in a shuffled order; for the sanitizers. */
struct client {
    pthread_t thread;
    char id[FS_ID_LEN + 1];
};
static void *client_run(void *arg)
{
    struct client *c = arg;
    enum { CHUNK = 4096, CHUNKS = 64 };
    static uint8_t data[CHUNK * CHUNKS];
    uint64_t fence;
    if (create(c->id, sizeof data, "demo") != WR_OK || acquire(c->id, 0, c->id, &fence) != WR_OK)
        return NULL;
    for (unsigned base = 0; base < CHUNKS; base += 4) {
        static const unsigned order[] = {2, 0, 3, 1};
        struct waited *w[4];
        for (unsigned i = 0; i < 4; i++) {
            uint64_t at = (uint64_t)(base + order[i]) * CHUNK;
            w[i] = writing(c->id, fence, at, data + at, CHUNK, base % 16 == 12 && order[i] == 3);
            op_start(w[i]);
        }
        for (unsigned i = 0; i < 4; i++) {
            if (op_end(w[i]) != WR_OK)
                return NULL;
            op_free(w[i]);
        }
    }
    return c;
}
static void test_many_uploads_at_once_all_complete(void **s)
{
    (void)s;
    struct client c[12];
    for (size_t i = 0; i < WR_ARRAY_LEN(c); i++) {
        wr_id_random(c[i].id, FS_ID_LEN);
        assert_int_equal(wr_thread_start(&c[i].thread, "client", client_run, &c[i]), WR_OK);
    }
    for (size_t i = 0; i < WR_ARRAY_LEN(c); i++) {
        void *ok;
        struct seen st;
        pthread_join(c[i].thread, &ok);
        assert_non_null(ok);
        assert_int_equal(stat_of(c[i].id, false, &st), WR_OK);
        assert_true(st.complete);
        assert_string_equal(st.sha,
                            "8a39d2abd3999ab73c34db2476849cddf303ce389b35826850f9a700589b4a90");
    }
}

static void test_write_request_is_parsed_without_a_copy(void **s)
{
    (void)s;
    uint8_t buf[64], *p = buf;
    p = wr_pb_bytes(p, WR_PB_WRITE_REQUEST_ID, wr_slice_str("abc"));
    p = wr_pb_uint(p, WR_PB_WRITE_REQUEST_FENCE, 7);
    p = wr_pb_uint(p, WR_PB_WRITE_REQUEST_OFFSET, 300);
    p = wr_pb_uint(p, WR_PB_WRITE_REQUEST_SYNC, 1);
    p = wr_pb_bytes(p, WR_PB_WRITE_REQUEST_DATA, wr_slice_str("data"));
    struct fs_write_fields w;
    assert_true(fs_calls_parse_write(wr_slice_of(buf, (size_t)(p - buf)), &w));
    assert_true(wr_slice_is(w.id, "abc") && wr_slice_is(w.data, "data"));
    assert_true(w.data.p > buf && w.data.p < p);
    assert_true(w.fence == 7 && w.offset == 300 && w.sync);
    assert_false(fs_calls_parse_write(wr_slice_of(buf, (size_t)(p - buf) - 1), &w));
}

/* ---- main ----------------------------------------------------------------------------------------------------------- */

static int load(void **s)
{
    (void)s;
    snprintf(root, sizeof root, "/tmp/wr-files-XXXXXX");
    snprintf(folder, sizeof folder, "/nowhere");
    if (!mkdtemp(root) || wr_plugins_load(WR_TEST_PLUGINS, &plugins) != WR_OK)
        return -1;
    real = wr_plugins_find(plugins, WR_KIND_BLOB, "memory");
    if (!real)
        return -1;
    faulty = *real;
    faulty.write = faulty_write;
    faulty.sync = faulty_sync;
    faulty.put = faulty_put;
    faulty.put_all = faulty_put_all;
    faulty.space = faulty_space;
    faulty.look = faulty_look;
    return 0;
}
static int unload(void **s)
{
    (void)s;
    char cmd[128];
    wr_plugins_free(&plugins);
    snprintf(cmd, sizeof cmd, "rm -rf %s", root);
    return system(cmd);
}

#define MEMORY(f) cmocka_unit_test_setup_teardown(f, with_memory, end)
#define DISK(f) cmocka_unit_test_setup_teardown(f, with_disk, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMORY(test_upload_completes_with_its_hash_and_is_read_back),
        MEMORY(test_empty_upload_is_complete_at_once),
        MEMORY(test_create_is_idempotent_and_ids_are_not_shared),
        MEMORY(test_writes_in_any_order_become_one),
        MEMORY(test_a_resent_write_is_written_once),
        MEMORY(test_bytes_past_the_length_are_refused),
        MEMORY(test_a_new_writer_fences_off_the_old_one),
        MEMORY(test_stat_tells_only_what_is_synced),
        MEMORY(test_full_disk_refuses_and_goes_on_when_there_is_room),
        MEMORY(test_floor_of_free_space_is_kept),
        MEMORY(test_record_that_cannot_be_written_completes_nothing),
        MEMORY(test_after_a_full_disk_the_told_offset_is_taken),
        MEMORY(test_failed_sync_ends_the_upload_for_good),
        MEMORY(test_a_sync_on_a_full_disk_takes_back_what_was_not_told),
        MEMORY(test_syncs_hold_no_reader_and_no_creation),
        MEMORY(test_deleted_upload_is_not_found),
        MEMORY(test_deleted_file_is_not_announced),
        MEMORY(test_untouched_uploads_expire_and_files_do_not),
        MEMORY(test_uploads_do_not_age_by_a_step_of_the_clock),
        MEMORY(test_late_holes_are_given_up),
        MEMORY(test_writes_before_a_hole_are_bounded),
        DISK(test_restart_keeps_told_bytes_and_the_hash_comes_out_right),
        DISK(test_bytes_after_the_told_offset_stay_under_the_same_kernel),
        DISK(test_lost_bytes_put_the_offset_back),
        DISK(test_damaged_record_is_not_served),
        DISK(test_many_uploads_at_once_all_complete),
        DISK(test_a_finished_file_is_opened_and_outlives_its_name),
        MEMORY(test_a_plugin_without_files_opens_none),
        MEMORY(test_a_creation_that_nobody_waits_for_is_dropped),
        MEMORY(test_creations_that_come_together_share_their_syncs),
        MEMORY(test_an_unwell_store_says_so_and_takes_nothing),
        MEMORY(test_what_cannot_both_end_is_not_both_begun),
        MEMORY(test_room_that_nobody_uses_is_others),
        MEMORY(test_one_address_has_a_share_of_the_places),
        cmocka_unit_test(test_descriptors_are_passed_for_their_ticket),
        cmocka_unit_test(test_write_request_is_parsed_without_a_copy),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
