/* SPDX-License-Identifier: MIT
 *
 * Blob plugin `disk`: a folder with two files an id, <id>.blob and <id>.rec. Every name is opened relative to the folder's
 * descriptor and never through a link, so nothing that a client says can leave the folder.
 *
 * A record is written to <id>.tmp, synced, renamed over <id>.rec, and the folder is synced: that also puts the name of a
 * new blob on disk. Records that come together share the folder's sync, and on a disk whose syncs are slow the one before
 * it as well (syncfs).
 *
 * What a fast client sends is written past the page cache (O_DIRECT) where it comes in whole pages: that saves a copy of
 * every byte, and a large upload does not push everything else out of memory (in a container, the cache counts against
 * its limit). Ends that are no whole pages, slow clients and disks that do not take it go through the cache. fdatasync is
 * what makes either durable. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "wr_blob.h"
#include "wr_clock.h"
#include "wr_log.h"

struct disk {
    int dir;
    int lock;
    bool has_syncfs; /* one that tells errors */
    char path[PATH_MAX];
};

#define NAME_MAX_BYTES (WR_BLOB_ID_MAX + 8)

struct wr_blob {
    int fd;
    int direct; /* the same file, past the page cache: -1 not opened, NO_DIRECT when this disk does not take it */
    char name[NAME_MAX_BYTES];
};

#define SLOW_SYNC_US 20000 /* from there on records share one */
#define NO_DIRECT (-2)
#define PAGE 4096u /* what O_DIRECT wants memory, offset and length to be a multiple of, at most */
#define DIRECT_MIN (256u << 10) /* bytes; less goes through the page cache */

static bool is_id(const char *s, size_t n)
{
    if (n == 0 || n > WR_BLOB_ID_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9')))
            return false;
    return true;
}

static wr_err name_of(char out[NAME_MAX_BYTES], const char *id, const char *ending,
                      struct wr_errmsg *err)
{
    if (!is_id(id, strnlen(id, WR_BLOB_ID_MAX + 1))) {
        wr_errmsg_set(err, "not an id of 1 to 64 characters a-z, 0-9");
        return WR_ERR_INVALID;
    }
    snprintf(out, NAME_MAX_BYTES, "%s%s", id, ending);
    return WR_OK;
}

/* What an operation on the folder met. That the disk is read-only or the folder is not ours any more is no decision about
 * a client, and a record or folder that is gone is not an upload that never was. */
static wr_err code_of(int e)
{
    switch (e) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case ESTALE:
        return WR_ERR_UNAVAILABLE;
    case EINVAL:
        return WR_ERR_INTERNAL; /* it is ours */
    default:
        return wr_err_from_errno(e);
    }
}

static wr_err fail(struct disk *d, const char *what, const char *name, struct wr_errmsg *err)
{
    int e = errno;
    wr_err code = code_of(e);
    if (code == WR_ERR_NO_SPACE)
        wr_errmsg_set(err, "the disk of %s is full (%s %s): make room there", d->path, what, name);
    else
        wr_errmsg_set(err, "cannot %s %s/%s: %s", what, d->path, name, strerror(e));
    return code;
}

/* ---- the folder ---------------------------------------------------------------------------------------------------- */

/* A new folder is not there for sure before the folder that it is in was synced. */
static int make_folder(const char *path, mode_t mode)
{
    char parent[PATH_MAX];
    if (mkdir(path, mode) < 0)
        return errno == EEXIST ? 0 : -1;
    snprintf(parent, sizeof parent, "%s", path);
    int fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -1 : fsync(fd);
    int e = errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    return r;
}

static int make_folders(const char *path)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (make_folder(part, 0755) < 0 && errno != EROFS && errno != EACCES)
            return -1;
        *p = '/';
    }
    return make_folder(part, 0700) < 0 ? -1 : 0;
}

static wr_err take_lock(struct disk *d, struct wr_errmsg *err)
{
    d->lock = openat(d->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->lock < 0) {
        wr_errmsg_set(err,
                      "cannot write in the files folder %s: %s; give it to this user, or name "
                      "another one with --data DIR",
                      d->path, strerror(errno));
        return errno == ENOSPC ? WR_ERR_NO_SPACE : WR_ERR_DENIED;
    }
    char pid[32] = "";
    if (flock(d->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) {
            wr_errmsg_set(err, "cannot lock the files folder %s: %s", d->path, strerror(errno));
            return WR_ERR_INTERNAL;
        }
        ssize_t n = pread(d->lock, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = 0;
        pid[strcspn(pid, "\n")] = 0;
        wr_errmsg_set(err,
                      "the files folder %s is in use by another filestore (process %s): run one "
                      "filestore a folder, end that one or name another folder by --data (several "
                      "filestores on the same files need a shared store: S3, planned)",
                      d->path, pid[0] ? pid : "unknown");
        return WR_ERR_CONFLICT;
    }
    /* The number is only for the sentence above: it may fail on a full disk, the lock itself does not. */
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(d->lock, 0) < 0 || pwrite(d->lock, pid, (size_t)n, 0) < 0)
        wr_debug("blob.lock_pid", "path=%s error=%s", d->path, strerror(errno));
    return WR_OK;
}

static void disk_close(void *state)
{
    struct disk *d = state;
    if (d->lock > 0)
        close(d->lock);
    if (d->dir > 0)
        close(d->dir);
    d->lock = d->dir = -1;
}

/* syncfs says that something could not be written since Linux 5.8 (syncfs(2), "RETURN VALUE"). */
static bool has_syncfs(void)
{
    struct utsname u;
    char *end;
    if (uname(&u) < 0)
        return false;
    long major = strtol(u.release, &end, 10);
    long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return major > 5 || (major == 5 && minor >= 8);
}

static wr_err disk_open(void *state, const struct wr_blob_opts *opts, struct wr_errmsg *err)
{
    struct disk *d = state;
    d->dir = d->lock = -1;
    d->has_syncfs = has_syncfs();
    if (snprintf(d->path, sizeof d->path, "%s", opts->path) >= (int)sizeof d->path) {
        wr_errmsg_set(err, "the name of the files folder is too long");
        return WR_ERR_INVALID;
    }
    if (make_folders(d->path) == 0)
        d->dir = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dir < 0) {
        wr_errmsg_set(
            err, "cannot make or open the files folder %s: %s; name another one with --data DIR",
            d->path, strerror(errno));
        return errno == ENOSPC ? WR_ERR_NO_SPACE : WR_ERR_DENIED;
    }
    struct stat st;
    if (fstat(d->dir, &st) == 0 && (st.st_mode & 077) && fchmod(d->dir, 0700) < 0)
        wr_warn("blob.open_to_others", "path=%s mode=%o error=%s", d->path, st.st_mode & 0777u,
                strerror(errno));
    wr_err e = take_lock(d, err);
    if (e != WR_OK)
        disk_close(d);
    return e;
}

static wr_err disk_space(void *state, uint64_t *bytes, struct wr_errmsg *err)
{
    struct disk *d = state;
    struct statvfs v;
    if (fstatvfs(d->dir, &v) < 0)
        return fail(d, "ask the free space of", ".", err);
    *bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return WR_OK;
}

/* ---- records ------------------------------------------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *p, size_t n, uint64_t at, size_t *written)
{
    *written = 0;
    while (*written < n) {
        ssize_t w = pwrite(fd, p + *written, n - *written, (off_t)(at + *written));
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            if (w == 0)
                errno = ENOSPC;
            return -1;
        }
        *written += (size_t)w;
    }
    return 0;
}

/* A record on its way to its place. */
struct putting {
    char tmp[NAME_MAX_BYTES], rec[NAME_MAX_BYTES];
    int fd; /* of tmp; -1: it is not there (any more) */
};

static wr_err write_record(struct disk *d, struct putting *p, const char *id,
                           struct wr_slice record, struct wr_errmsg *err)
{
    p->fd = -1;
    wr_err e = name_of(p->tmp, id, ".tmp", err);
    if (e != WR_OK)
        return e;
    snprintf(p->rec, sizeof p->rec, "%s.rec", id);
    if (record.n > WR_BLOB_RECORD_MAX) {
        wr_errmsg_set(err, "record of %zu bytes, at most %u", record.n, WR_BLOB_RECORD_MAX);
        return WR_ERR_TOO_BIG;
    }
    p->fd = openat(d->dir, p->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (p->fd < 0)
        return fail(d, "make", p->tmp, err);
    size_t n;
    return write_all(p->fd, record.p, record.n, 0, &n) < 0 ? fail(d, "write", p->tmp, err) : WR_OK;
}

/* One after the other while the disk is quick; a slow one is asked once for all that are left. */
static void sync_records(struct disk *d, const struct putting *p, size_t num, wr_err *codes,
                         struct wr_errmsg *err)
{
    for (size_t i = 0; i < num; i++) {
        if (codes[i] != WR_OK)
            continue;
        int64_t began = wr_mono_us();
        if (fdatasync(p[i].fd) < 0)
            codes[i] = fail(d, "sync", p[i].tmp, err);
        bool is_slow = wr_mono_us() - began > SLOW_SYNC_US;
        if (is_slow && num - i > 2 && d->has_syncfs && syncfs(d->dir) == 0)
            return;
    }
}

/* Closes, and renames what is whole. */
static wr_err place_record(struct disk *d, struct putting *p, wr_err code, struct wr_errmsg *err)
{
    bool was_made = p->fd >= 0;
    if (was_made && close(p->fd) < 0 && code == WR_OK)
        code = fail(d, "close", p->tmp, err);
    if (code == WR_OK && renameat(d->dir, p->tmp, d->dir, p->rec) < 0)
        code = fail(d, "rename to", p->rec, err);
    if (code != WR_OK && was_made)
        unlinkat(d->dir, p->tmp, 0);
    return code;
}

static void disk_put_all(void *state, const char *const *ids, const struct wr_slice *records,
                         size_t num, wr_err *codes, struct wr_errmsg *err)
{
    struct disk *d = state;
    struct putting p[WR_BLOB_RECORDS_MAX];
    bool any = false;
    for (size_t i = 0; i < num; i++)
        codes[i] = write_record(d, &p[i], ids[i], records[i], err);
    sync_records(d, p, num, codes, err);
    for (size_t i = 0; i < num; i++) {
        codes[i] = place_record(d, &p[i], codes[i], err);
        any |= codes[i] == WR_OK;
    }
    wr_err e = any && fsync(d->dir) < 0 ? fail(d, "sync", "the folder", err) : WR_OK;
    for (size_t i = 0; i < num && e != WR_OK; i++)
        if (codes[i] == WR_OK)
            codes[i] = e;
}

static wr_err disk_put(void *state, const char *id, struct wr_slice record, struct wr_errmsg *err)
{
    wr_err code;
    disk_put_all(state, &id, &record, 1, &code, err);
    return code;
}

/* The folder by its name must still be the one that is open, and take files. */
static wr_err disk_look(void *state, struct wr_errmsg *err)
{
    struct disk *d = state;
    struct stat mine, named;
    struct statvfs v;
    if (fstat(d->dir, &mine) < 0 || fstatvfs(d->dir, &v) < 0)
        return fail(d, "look at", ".", err);
    if (stat(d->path, &named) < 0 || named.st_dev != mine.st_dev || named.st_ino != mine.st_ino) {
        wr_errmsg_set(err,
                      "the files folder %s was removed or replaced while it was in use: put it "
                      "back, and start anew",
                      d->path);
        return WR_ERR_UNAVAILABLE;
    }
    if (v.f_flag & ST_RDONLY || faccessat(d->dir, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        wr_errmsg_set(err, "the files folder %s cannot be written to: %s", d->path,
                      v.f_flag & ST_RDONLY ? "its disk is read-only" : strerror(errno));
        return WR_ERR_UNAVAILABLE;
    }
    return WR_OK;
}

static wr_err read_record(struct disk *d, const char *name, uint8_t *buf, size_t *n,
                          struct wr_errmsg *err)
{
    int fd = openat(d->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(d, "open", name, err);
    *n = 0;
    ssize_t r;
    while (*n < WR_BLOB_RECORD_MAX && (r = read(fd, buf + *n, WR_BLOB_RECORD_MAX - *n)) != 0) {
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            break;
        *n += (size_t)r;
    }
    wr_err e = r < 0 ? fail(d, "read", name, err) : WR_OK;
    close(fd);
    return e;
}

/* One name of the folder: calls fn for a record, drops what a crash left half made. */
static wr_err visit(struct disk *d, const char *name, uint8_t *buf, wr_blob_record_fn fn, void *ctx,
                    struct wr_errmsg *err)
{
    const char *dot = strchr(name, '.');
    if (!dot || !is_id(name, (size_t)(dot - name)))
        return WR_OK;
    struct wr_slice id = wr_slice_of(name, (size_t)(dot - name));
    char other[NAME_MAX_BYTES];
    struct stat st;
    if (!strcmp(dot, ".tmp")) {
        unlinkat(d->dir, name, 0);
    } else if (!strcmp(dot, ".blob")) {
        snprintf(other, sizeof other, "%.*s.rec", (int)id.n, name);
        if (fstatat(d->dir, other, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
            unlinkat(d->dir, name, 0);
    } else if (!strcmp(dot, ".rec")) {
        size_t n = 0;
        wr_err e = read_record(d, name, buf, &n, err);
        if (e != WR_OK)
            return e;
        snprintf(other, sizeof other, "%.*s.blob", (int)id.n, name);
        uint64_t size = fstatat(d->dir, other, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)
                            ? (uint64_t)st.st_size
                            : 0;
        fn(ctx, id, wr_slice_of(buf, n), size);
    }
    return WR_OK;
}

static wr_err disk_each(void *state, wr_blob_record_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct disk *d = state;
    wr_err e = WR_OK;
    uint8_t *buf = malloc(WR_BLOB_RECORD_MAX);
    int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!buf || !dir) {
        e = buf ? fail(d, "list", ".", err) : WR_ERR_BUSY;
        if (!dir && fd >= 0)
            close(fd);
        goto out;
    }
    struct dirent *de;
    while (e == WR_OK && (errno = 0, de = readdir(dir)))
        e = visit(d, de->d_name, buf, fn, ctx, err);
    if (e == WR_OK && errno)
        e = fail(d, "list", ".", err);
out:
    if (dir)
        closedir(dir);
    free(buf);
    return e;
}

static wr_err disk_remove(void *state, const char *id, struct wr_errmsg *err)
{
    struct disk *d = state;
    /* The record first: bytes without a record are dropped at the next start, a record without bytes would be an upload. */
    static const char *const endings[] = {".rec", ".blob", ".tmp"};
    bool any = false;
    for (size_t i = 0; i < WR_ARRAY_LEN(endings); i++) {
        char name[NAME_MAX_BYTES];
        wr_err e = name_of(name, id, endings[i], err);
        if (e != WR_OK)
            return e;
        if (unlinkat(d->dir, name, 0) == 0)
            any = true;
        else if (errno != ENOENT)
            return fail(d, "remove", name, err);
    }
    return any && fsync(d->dir) < 0 ? fail(d, "sync the folder after removing", id, err) : WR_OK;
}

/* ---- blobs --------------------------------------------------------------------------------------------------------- */

/* There may be none to read. */
static wr_err fail_to_open(struct disk *d, const char *name, enum wr_blob_mode mode,
                           struct wr_errmsg *err)
{
    bool is_none = mode == WR_BLOB_READ && errno == ENOENT;
    wr_err e = fail(d, "open", name, err);
    return is_none ? WR_ERR_NOT_FOUND : e;
}

static wr_err disk_blob_open(void *state, const char *id, enum wr_blob_mode mode,
                             struct wr_blob **out, struct wr_errmsg *err)
{
    struct disk *d = state;
    char name[NAME_MAX_BYTES];
    wr_err e = name_of(name, id, ".blob", err);
    if (e != WR_OK)
        return e;
    struct wr_blob *b = malloc(sizeof *b);
    if (!b)
        return WR_ERR_BUSY;
    int flags = mode == WR_BLOB_WRITE ? O_RDWR | O_CREAT : O_RDONLY;
    memcpy(b->name, name, sizeof name);
    b->direct = mode == WR_BLOB_WRITE ? -1 : NO_DIRECT;
    b->fd = openat(d->dir, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (b->fd < 0) {
        e = fail_to_open(d, name, mode, err);
        free(b);
        return e;
    }
    *out = b;
    return WR_OK;
}

static void disk_blob_close(void *state, struct wr_blob *b)
{
    (void)state;
    if (b->direct >= 0)
        close(b->direct);
    close(b->fd);
    free(b);
}

/* Whole pages at the front of the parts: how many bytes, and where they are. */
static size_t whole_pages(uint64_t offset, const struct wr_slice *parts, size_t num,
                          struct iovec *iov, int *num_iov)
{
    size_t total = 0;
    *num_iov = 0;
    for (size_t i = 0; i < num && (offset + total) % PAGE == 0; i++) {
        size_t n = parts[i].n - parts[i].n % PAGE;
        if ((uintptr_t)parts[i].p % PAGE || n == 0)
            break;
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)parts[i].p, .iov_len = n};
        *num_iov = (int)i + 1;
        total += n;
        if (n < parts[i].n)
            break;
    }
    return total;
}

/* Returns how many bytes went that way; the others, and the reason, are the page cache's. */
static size_t write_direct(struct disk *d, struct wr_blob *b, uint64_t offset,
                           const struct wr_slice *parts, size_t num)
{
    struct iovec iov[WR_BLOB_PARTS_MAX];
    int num_iov;
    if (b->direct == NO_DIRECT || whole_pages(offset, parts, num, iov, &num_iov) < DIRECT_MIN)
        return 0;
    if (b->direct == -1)
        b->direct = openat(d->dir, b->name, O_WRONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = b->direct < 0 ? -1 : pwritev(b->direct, iov, num_iov, (off_t)offset);
    if (n < 0 && errno != EINTR) {
        if (b->direct >= 0)
            close(b->direct);
        b->direct = NO_DIRECT;
    }
    return n < 0 ? 0 : (size_t)n;
}

static wr_err disk_write(void *state, struct wr_blob *b, uint64_t offset,
                         const struct wr_slice *parts, size_t num, size_t *written,
                         struct wr_errmsg *err)
{
    *written = write_direct(state, b, offset, parts, num);
    size_t skip = *written;
    for (size_t i = 0; i < num; i++) {
        size_t done = WR_MIN(skip, parts[i].n), n;
        skip -= done;
        int bad = write_all(b->fd, parts[i].p + done, parts[i].n - done, offset + *written, &n);
        *written += n;
        if (bad)
            return fail(state, "write", "a blob", err);
    }
    return WR_OK;
}

/* A file that was removed meanwhile is written and synced like any other, and gone when it is closed. */
static wr_err disk_sync(void *state, struct wr_blob *b, struct wr_errmsg *err)
{
    struct stat st;
    if (fdatasync(b->fd) < 0 || fstat(b->fd, &st) < 0)
        return fail(state, "sync", "a blob", err);
    if (st.st_nlink > 0)
        return WR_OK;
    errno = ENOENT;
    return fail(state, "sync", b->name, err);
}

static wr_err disk_read(void *state, struct wr_blob *b, uint64_t offset, void *to, size_t n,
                        size_t *got, struct wr_errmsg *err)
{
    *got = 0;
    while (*got < n) {
        ssize_t r = pread(b->fd, (uint8_t *)to + *got, n - *got, (off_t)(offset + *got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fail(state, "read", "a blob", err);
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return WR_OK;
}

static wr_err disk_cut(void *state, struct wr_blob *b, uint64_t size, struct wr_errmsg *err)
{
    struct stat st;
    if (fstat(b->fd, &st) < 0)
        return fail(state, "ask the size of", "a blob", err);
    if ((uint64_t)st.st_size > size && ftruncate(b->fd, (off_t)size) < 0)
        return fail(state, "cut", "a blob", err);
    return WR_OK;
}

static void disk_flush(void *state, struct wr_blob *b, uint64_t offset, uint64_t n)
{
    (void)state;
    /* Only begins the writing; durability comes from fdatasync alone. */
    (void)sync_file_range(b->fd, (off_t)offset, (off_t)n, SYNC_FILE_RANGE_WRITE);
}

static wr_err disk_fd(void *state, const char *id, int *out, struct wr_errmsg *err)
{
    struct disk *d = state;
    char name[NAME_MAX_BYTES];
    wr_err e = name_of(name, id, ".blob", err);
    if (e != WR_OK)
        return e;
    *out = openat(d->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return *out < 0 ? fail_to_open(d, name, WR_BLOB_READ, err) : WR_OK;
}

WR_PLUGIN_EXPORT const struct wr_blob_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_blob_plugin, struct disk, WR_KIND_BLOB, "disk",
                                 WR_VERSION, "Uploads in a folder, synced"),
    .open = disk_open,
    .close = disk_close,
    .put = disk_put,
    .each = disk_each,
    .remove = disk_remove,
    .blob_open = disk_blob_open,
    .blob_close = disk_blob_close,
    .write = disk_write,
    .sync = disk_sync,
    .read = disk_read,
    .cut = disk_cut,
    .space = disk_space,
    .flush = disk_flush,
    .fd = disk_fd,
    .put_all = disk_put_all,
    .look = disk_look,
};
