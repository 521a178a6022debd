/* SPDX-License-Identifier: MIT
 *
 * `watchroom backup`, `restore` and `verify`: the rooms' log as one file, out of a store that runs or into one that does
 * not. The store's plugin does the work on its side; this is the file's, and what is said. */
#include "backup_form.h"
#include "host.h"
#include "wr_id.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_ENTRIES = 1000 };

struct file {
    const char *name; /* for people */
    int fd;
};

/* What the three commands have in common: the configured store, and how it is opened. */
struct store {
    struct wr_config *config;
    struct wr_plugins *plugins;
    const struct wr_store_plugin *plugin;
    void *state;
    char folder[PATH_MAX];
    struct wr_store_opts opts;
};

static bool is_stream(const struct host_options *o)
{
    return !o->file || !strcmp(o->file, "-");
}

static wr_err write_file(void *ctx, const void *p, size_t n, struct wr_errmsg *err)
{
    const struct file *f = ctx;
    const char *at = p;
    while (n) {
        ssize_t done = write(f->fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            wr_errmsg_set(err, "%s: %s", f->name, strerror(errno));
            return wr_err_from_errno(errno);
        }
        at += done;
        n -= (size_t)done;
    }
    return WR_OK;
}

static wr_err read_file(void *ctx, void *p, size_t n, size_t *got, struct wr_errmsg *err)
{
    const struct file *f = ctx;
    ssize_t have;
    do
        have = read(f->fd, p, n);
    while (have < 0 && errno == EINTR);
    *got = have < 0 ? 0 : (size_t)have;
    if (have >= 0)
        return WR_OK;
    wr_errmsg_set(err, "%s: %s", f->name, strerror(errno));
    return wr_err_from_errno(errno);
}

/* ---- the store ---------------------------------------------------------------------------------------------------- */

static void close_store(struct store *s)
{
    free(s->state);
    wr_plugins_free(&s->plugins);
    wr_config_free(&s->config);
}

/* Finds the plugin; opens nothing. Prints what is wrong; the exit code then. */
static int find_store(const struct host_options *o, struct store *s)
{
    *s = (struct store){.config = host_config_load(o)};
    s->plugins = s->config ? host_plugins_load(s->config, "hub") : NULL;
    if (!s->plugins)
        return s->config ? HOST_FAILED : HOST_USAGE;
    const char *text = s->config->hub.store;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)WR_MIN(strcspn(text, "="), sizeof name - 1), text);
    s->plugin = wr_plugins_find(s->plugins, WR_KIND_STORE, name);
    if (!s->plugin) {
        host_say("hub.store: there is no store plugin \"%s\"; `watchroom plugins` lists what there "
                 "is",
                 name);
        return HOST_USAGE;
    }
    if (!WR_PLUGIN_HAS(s->plugin, load_begin)) {
        host_say("hub.store: the store \"%s\" has nothing that outlives its process", name);
        return HOST_USAGE;
    }
    s->state = wr_plugin_state(&s->plugin->base);
    if (!s->state ||
        snprintf(s->folder, sizeof s->folder, "%s/hub", s->config->data) >= (int)sizeof s->folder) {
        host_say("out of memory, or the path of the data folder is too long");
        return HOST_FAILED;
    }
    s->opts = (struct wr_store_opts){.path = s->folder, .args = wr_store_args(text)};
    return HOST_OK;
}

/* ---- backup ------------------------------------------------------------------------------------------------------- */

struct names {
    char **v;
    size_t n, cap;
    bool failed;
};

static void add_name(void *ctx, struct wr_slice room, const struct wr_store_top *top)
{
    struct names *l = ctx;
    (void)top;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        char **v = reallocarray(l->v, cap, sizeof(char *));
        if (!v) {
            l->failed = true;
            return;
        }
        l->v = v;
        l->cap = cap;
    }
    char *name = strndup((const char *)room.p, room.n);
    l->failed |= !name;
    if (name)
        l->v[l->n++] = name;
}

struct saving {
    struct backup_writer *w;
    struct wr_errmsg *err;
    wr_err code;
    uint64_t last;
    size_t page_bytes;
};

/* One page: what is read leaves between two of them, so that whoever reads the backup slowly never keeps the store waiting. */
static bool save_entry(void *ctx, const struct wr_store_entry *e)
{
    struct saving *s = ctx;
    s->code = backup_entry(s->w, e, s->err);
    s->last = e->offset;
    s->page_bytes += e->data.n + e->info.n + 64;
    return s->code == WR_OK && s->page_bytes < BACKUP_PART_BYTES / 2;
}

static wr_err save_room(struct store *st, struct backup_writer *w, const char *room,
                        struct wr_errmsg *err)
{
    struct wr_store_top top = {0};
    struct saving s = {.w = w, .err = err};
    wr_err e = st->plugin->top(st->state, wr_slice_str(room), &top, err);
    if (e == WR_OK)
        e = backup_room(w, wr_slice_str(room), &top, err);
    for (uint64_t before = 1; e == WR_OK && s.last < top.offset && s.last != before;) {
        const struct wr_store_range range = {
            .has_since = true, .since = s.last, .until = top.offset, .limit = PAGE_ENTRIES};
        before = s.last;
        s.page_bytes = 0;
        e = st->plugin->history(st->state, wr_slice_str(room), &range, save_entry, &s, err);
        if (e == WR_OK)
            e = s.code;
        if (e == WR_OK)
            e = backup_flush(w, err);
    }
    return e;
}

static wr_err save_all(struct store *st, struct file *to, struct backup_writer *w,
                       struct wr_errmsg *err)
{
    struct names rooms = {0};
    wr_err e = backup_begin(w, write_file, to, err);
    if (e == WR_OK)
        e = st->plugin->rooms(st->state, add_name, &rooms, err);
    if (e == WR_OK && rooms.failed) {
        wr_errmsg_set(err, "out of memory");
        e = WR_ERR_BUSY;
    }
    for (size_t i = 0; e == WR_OK && i < rooms.n; i++)
        e = save_room(st, w, rooms.v[i], err);
    if (e == WR_OK)
        e = backup_end(w, err);
    else
        backup_drop(w);
    for (size_t i = 0; i < rooms.n; i++)
        free(rooms.v[i]);
    free(rooms.v);
    return e;
}

/* A file is written beside its name and takes it when it is whole and on the disk. */
static wr_err open_target(const struct host_options *o, struct file *f, char *part, size_t n,
                          struct wr_errmsg *err)
{
    *f = (struct file){.name = "standard output", .fd = STDOUT_FILENO};
    if (is_stream(o))
        return WR_OK;
    f->name = o->file;
    if (snprintf(part, n, "%s.part", o->file) >= (int)n) {
        wr_errmsg_set(err, "%s: the path is too long", o->file);
        return WR_ERR_INVALID;
    }
    f->fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (f->fd >= 0)
        return WR_OK;
    wr_errmsg_set(err, "%s: %s", part, strerror(errno));
    return wr_err_from_errno(errno);
}

static wr_err settle_target(const struct host_options *o, struct file *f, const char *part,
                            wr_err e, struct wr_errmsg *err)
{
    if (is_stream(o) || f->fd < 0)
        return e;
    if (e == WR_OK && (fsync(f->fd) != 0 || rename(part, o->file) != 0)) {
        wr_errmsg_set(err, "%s: %s", o->file, strerror(errno));
        e = wr_err_from_errno(errno);
    }
    close(f->fd);
    if (e != WR_OK)
        unlink(part);
    return e;
}

int host_backup(const struct host_options *o)
{
    struct store s;
    struct file to = {.fd = -1};
    struct backup_writer w = {0};
    struct wr_errmsg err = {""};
    char part[PATH_MAX];
    if (is_stream(o) && isatty(STDOUT_FILENO)) {
        host_say(
            "backup: name a file, or send what is written to one: watchroom backup >log.backup");
        return HOST_USAGE;
    }
    int code = find_store(o, &s);
    if (code == HOST_OK) {
        s.opts.reading = true;
        wr_err e = s.plugin->open(s.state, &s.opts, &err);
        if (e == WR_OK) {
            e = open_target(o, &to, part, sizeof part, &err);
            if (e == WR_OK)
                e = settle_target(o, &to, part, save_all(&s, &to, &w, &err), &err);
            s.plugin->close(s.state);
        }
        code = e == WR_OK ? HOST_OK : HOST_FAILED;
        if (e != WR_OK)
            host_say("backup: %s", err.text);
        else
            host_say("backup: %llu messages of %llu rooms in %s", (unsigned long long)w.entries,
                     (unsigned long long)w.rooms, to.name);
    }
    close_store(&s);
    return code;
}

/* ---- restore ------------------------------------------------------------------------------------------------------ */

static wr_err open_source(const struct host_options *o, struct file *f, struct wr_errmsg *err)
{
    *f = (struct file){.name = "standard input", .fd = STDIN_FILENO};
    if (is_stream(o))
        return WR_OK;
    *f = (struct file){.name = o->file, .fd = open(o->file, O_RDONLY | O_CLOEXEC)};
    if (f->fd >= 0)
        return WR_OK;
    wr_errmsg_set(err, "%s: %s", o->file, strerror(errno));
    return wr_err_from_errno(errno);
}

static void close_source(const struct host_options *o, const struct file *f)
{
    if (!is_stream(o) && f->fd >= 0)
        close(f->fd);
}

static wr_err load_room(void *ctx, struct wr_slice room, const struct wr_store_top *top,
                        struct wr_errmsg *err)
{
    struct store *s = ctx;
    return s->plugin->load_room(s->state, room, top, err);
}

static wr_err load_entry(void *ctx, const struct wr_store_entry *e, struct wr_errmsg *err)
{
    struct store *s = ctx;
    return s->plugin->load_entry(s->state, e, err);
}

/* The new log's folder, where there is none: the hub would make it as well. */
static wr_err make_folder(const struct store *s, struct wr_errmsg *err)
{
    if ((mkdir(s->config->data, 0755) == 0 || errno == EEXIST) &&
        (mkdir(s->folder, 0700) == 0 || errno == EEXIST))
        return WR_OK;
    wr_errmsg_set(err, "%s: %s", s->folder, strerror(errno));
    return wr_err_from_errno(errno);
}

/* What is wrong with its bytes is said with the file's name; what a sink or a read says has its own. */
static wr_err read_backup(struct file *from, const struct backup_sink *sink, void *ctx,
                          struct backup_facts *facts, struct wr_errmsg *err)
{
    wr_err e = backup_read(read_file, from, sink, ctx, facts, err);
    if (e == WR_ERR_INVALID) {
        struct wr_errmsg why = *err;
        wr_errmsg_set(err, "%s: %s", from->name, why.text);
    }
    return e;
}

static wr_err load_all(struct store *s, struct file *from, struct backup_facts *facts,
                       struct wr_errmsg *err)
{
    static const struct backup_sink sink = {.room = load_room, .entry = load_entry};
    struct wr_errmsg ignored;
    wr_err e = make_folder(s, err);
    if (e == WR_OK)
        e = s->plugin->load_begin(s->state, &s->opts, err);
    if (e != WR_OK)
        return e;
    e = read_backup(from, &sink, s, facts, err);
    wr_err ended = s->plugin->load_end(s->state, e == WR_OK, e == WR_OK ? err : &ignored);
    return e == WR_OK ? ended : e;
}

static void say_made(char *out, size_t n, int64_t made_ms)
{
    time_t at = (time_t)(made_ms / 1000);
    struct tm tm;
    if (!gmtime_r(&at, &tm) || strftime(out, n, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, n, "an unknown time");
}

static void say_facts(const char *command, const struct backup_facts *f, const char *what)
{
    char made[40];
    say_made(made, sizeof made, f->made_ms);
    host_say("%s: %llu messages of %llu rooms, from %s%s", command, (unsigned long long)f->entries,
             (unsigned long long)f->rooms, made, what);
}

int host_restore(const struct host_options *o)
{
    struct store s;
    struct file from = {.fd = -1};
    struct backup_facts facts = {0};
    struct wr_errmsg err = {""};
    int code = find_store(o, &s);
    if (code == HOST_OK) {
        wr_err e = open_source(o, &from, &err);
        if (e == WR_OK)
            e = load_all(&s, &from, &facts, &err);
        close_source(o, &from);
        code = e == WR_OK ? HOST_OK : HOST_FAILED;
        if (e != WR_OK)
            host_say("restore: %s; the log is as it was", err.text);
        else
            say_facts("restore", &facts,
                      ", are the log now; clients begin anew, and read it again");
    }
    close_store(&s);
    return code;
}

/* ---- verify ------------------------------------------------------------------------------------------------------- */

int host_verify(const struct host_options *o)
{
    struct file from;
    struct backup_facts facts;
    struct wr_errmsg err = {""};
    wr_err e = open_source(o, &from, &err);
    if (e == WR_OK)
        e = read_backup(&from, NULL, NULL, &facts, &err);
    close_source(o, &from);
    if (e != WR_OK)
        host_say("verify: %s", err.text);
    else
        say_facts("verify", &facts, ": whole");
    return e == WR_OK ? HOST_OK : HOST_FAILED;
}
