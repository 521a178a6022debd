/* SPDX-License-Identifier: MIT
 *
 * The plugin loader: dlopen with every symbol bound at once, one table per file, checks before anything is called. */
#include "wr_plugins.h"

#include "wr_buf.h"
#include "wr_log.h"
#include "wr_plugin_kinds.h"
#include "wr_protocol.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef WR_PLUGIN_INSTALL_DIR
#define WR_PLUGIN_INSTALL_DIR "/usr/local/lib/watchroom/plugins"
#endif
/* From the installed executable; the build knows the system's name of lib. */
#ifndef WR_PLUGIN_RELATIVE_DIR
#define WR_PLUGIN_RELATIVE_DIR "../lib/watchroom/plugins"
#endif

struct loaded {
    struct wr_plugin_entry entry;
    char *path;
    char *why;
    void *handle;
};

enum { MAX_FOLDERS = 64 };

struct wr_plugins {
    struct loaded *all;
    size_t n;
    /* Folders that were read, so that one that is named twice (by a variable and by where the executable is) is read once. */
    struct {
        dev_t dev;
        ino_t ino;
    } folders[MAX_FOLDERS];
    size_t num_folders;
};

static wr_err check_head(const struct wr_plugin *t, struct wr_errmsg *err)
{
    if (t->abi_major != WR_PLUGIN_ABI_MAJOR) {
        wr_errmsg_set(err,
                      "built for plugin ABI %u.%u, this watchroom speaks %u.%u: rebuild the plugin",
                      t->abi_major, t->abi_minor, WR_PLUGIN_ABI_MAJOR, WR_PLUGIN_ABI_MINOR);
        return WR_ERR_INVALID;
    }
    if (t->abi_minor > WR_PLUGIN_ABI_MINOR) {
        wr_errmsg_set(err, "needs plugin ABI %u.%u, this watchroom speaks %u.%u: upgrade watchroom",
                      t->abi_major, t->abi_minor, WR_PLUGIN_ABI_MAJOR, WR_PLUGIN_ABI_MINOR);
        return WR_ERR_INVALID;
    }
    if (t->kind == WR_KIND_INVALID || t->kind >= WR_KIND_COUNT) {
        wr_errmsg_set(err, "its kind is %u, which this watchroom does not know", t->kind);
        return WR_ERR_INVALID;
    }
    if (t->size < sizeof(struct wr_plugin) || !t->name || !*t->name || !t->version ||
        !t->description) {
        wr_errmsg_set(err, "its table has no name, version or description, or a size of %u bytes",
                      t->size);
        return WR_ERR_INVALID;
    }
    return WR_OK;
}

wr_err wr_plugin_check(const struct wr_plugin *t, struct wr_errmsg *err)
{
    wr_err e = check_head(t, err);
    if (e != WR_OK)
        return e;
    for (const struct wr_plugin_slot *s = wr_plugin_required_slots((enum wr_plugin_kind)t->kind);
         s && s->name; s++) {
        void (*fn)(void) = NULL;
        if (t->size >= s->offset + sizeof fn)
            memcpy(&fn, (const char *)t + s->offset, sizeof fn);
        if (!fn) {
            wr_errmsg_set(err, "the %s plugin %s lacks the required slot %s",
                          wr_plugin_kind_name((enum wr_plugin_kind)t->kind), t->name, s->name);
            return WR_ERR_INVALID;
        }
    }
    return t->kind == WR_KIND_PROTOCOL
               ? wr_protocol_check((const struct wr_protocol_plugin *)(const void *)t, err)
               : WR_OK;
}

static wr_err load_one(const struct wr_plugins *p, const char *path, struct loaded *out,
                       struct wr_errmsg *err)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        wr_errmsg_set(err, "%s", dlerror());
        return WR_ERR_INVALID;
    }
    wr_err e = WR_ERR_INVALID;
    const struct wr_plugin *t = dlsym(handle, WR_PLUGIN_SYMBOL);
    if (!t) {
        wr_errmsg_set(err, "exports no symbol %s", WR_PLUGIN_SYMBOL);
        goto out;
    }
    e = wr_plugin_check(t, err);
    if (e != WR_OK)
        goto out;
    if (wr_plugins_find(p, (enum wr_plugin_kind)t->kind, t->name)) {
        wr_errmsg_set(err, "a %s plugin named %s is already loaded from a folder before this one",
                      wr_plugin_kind_name((enum wr_plugin_kind)t->kind), t->name);
        e = WR_ERR_CONFLICT;
        goto out;
    }
    /* An accepted plugin stays mapped for ever: its metrics are static objects that the registry points at, and libraries
     * that it pulls in (civetweb, libav) leave thread-local destructors behind. A refused one goes. */
    (void)dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD | RTLD_NODELETE);
    out->entry.table = t;
    out->handle = handle;
    handle = NULL;
out:
    if (handle)
        dlclose(handle);
    return e;
}

static wr_err add_file(struct wr_plugins *p, const char *folder, const char *file)
{
    struct loaded *all = realloc(p->all, (p->n + 1) * sizeof *all);
    if (!all)
        return WR_ERR_BUSY;
    p->all = all;
    struct loaded l = {0};
    if (asprintf(&l.path, "%s/%s", folder, file) < 0)
        return WR_ERR_BUSY;
    struct wr_errmsg err = {""};
    if (load_one(p, l.path, &l, &err) != WR_OK) {
        l.why = strdup(err.text);
        wr_warn("plugin.refused", "file=%s why=\"%s\"", l.path, err.text);
    }
    l.entry.path = l.path;
    l.entry.why = l.why;
    p->all[p->n++] = l;
    return WR_OK;
}

static int is_shared_object(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 3 && strcmp(e->d_name + n - 3, ".so") == 0;
}

static bool is_read_already(struct wr_plugins *p, const char *folder)
{
    struct stat st;
    if (stat(folder, &st) != 0)
        return false;
    for (size_t i = 0; i < p->num_folders; i++)
        if (p->folders[i].dev == st.st_dev && p->folders[i].ino == st.st_ino)
            return true;
    if (p->num_folders < MAX_FOLDERS) {
        p->folders[p->num_folders].dev = st.st_dev;
        p->folders[p->num_folders++].ino = st.st_ino;
    }
    return false;
}

static bool is_skipped(const char *file, const char *const *skip)
{
    size_t n = strlen(file) - 3;
    for (; skip && *skip; skip++)
        if (strlen(*skip) == n && memcmp(*skip, file, n) == 0)
            return true;
    return false;
}

static wr_err load_folder(struct wr_plugins *p, const char *folder, const char *const *skip)
{
    struct dirent **files;
    if (is_read_already(p, folder))
        return WR_OK;
    int n = scandir(folder, &files, is_shared_object, alphasort);
    if (n < 0) {
        if (errno != ENOENT)
            wr_warn("plugin.folder", "cannot read %s: %s", folder, strerror(errno));
        return WR_OK;
    }
    wr_err e = WR_OK;
    for (int i = 0; i < n; i++) {
        if (e == WR_OK && !is_skipped(files[i]->d_name, skip))
            e = add_file(p, folder, files[i]->d_name);
        free(files[i]);
    }
    free(files);
    return e;
}

static int by_kind_and_name(const void *a, const void *b)
{
    const struct wr_plugin *x = ((const struct loaded *)a)->entry.table,
                           *y = ((const struct loaded *)b)->entry.table;
    if (!x || !y)
        return (x == NULL) - (y == NULL);
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return strcmp(x->name, y->name);
}

wr_err wr_plugins_load(const char *folders, struct wr_plugins **out)
{
    return wr_plugins_load_without(folders, NULL, out);
}

wr_err wr_plugins_load_without(const char *folders, const char *const *skip,
                               struct wr_plugins **out)
{
    struct wr_plugins *p = calloc(1, sizeof *p);
    char *list = strdup(folders), *save = NULL;
    wr_err e = p && list ? WR_OK : WR_ERR_BUSY;
    for (char *f = list ? strtok_r(list, ":", &save) : NULL; f && e == WR_OK;
         f = strtok_r(NULL, ":", &save))
        e = load_folder(p, f, skip);
    free(list);
    if (e != WR_OK) {
        wr_plugins_free(&p);
        return e;
    }
    if (p->n)
        qsort(p->all, p->n, sizeof *p->all, by_kind_and_name);
    *out = p;
    return WR_OK;
}

void wr_plugins_free(struct wr_plugins **pp)
{
    struct wr_plugins *p = *pp;
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].handle)
            dlclose(p->all[i].handle);
        free(p->all[i].path);
        free(p->all[i].why);
    }
    free(p->all);
    free(p);
    *pp = NULL;
}

const void *wr_plugins_find(const struct wr_plugins *p, enum wr_plugin_kind kind, const char *name)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct wr_plugin *t = p->all[i].entry.table;
        if (t && t->kind == kind && strcmp(t->name, name) == 0)
            return t;
    }
    return NULL;
}

void wr_plugins_each(const struct wr_plugins *p,
                     void (*fn)(void *ctx, const struct wr_plugin_entry *e), void *ctx)
{
    for (size_t i = 0; i < p->n; i++)
        fn(ctx, &p->all[i].entry);
}

const char **wr_plugins_names(const struct wr_plugins *p, unsigned kinds)
{
    const char **names = calloc(p->n + 1, sizeof *names);
    for (size_t i = 0, k = 0; names && i < p->n; i++)
        if (p->all[i].entry.table && kinds & 1u << p->all[i].entry.table->kind)
            names[k++] = p->all[i].entry.table->name;
    return names;
}

wr_err wr_plugins_default_folders(const char *extra, char *out, size_t n)
{
    char exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (len <= 0)
        return wr_err_from_errno(errno);
    exe[len] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    const char *env = getenv("WATCHROOM_PLUGIN_PATH");
    int w = snprintf(out, n, "%s%s%s%s%s/plugins:%s/" WR_PLUGIN_RELATIVE_DIR ":%s", env ? env : "",
                     env ? ":" : "", extra ? extra : "", extra && *extra ? ":" : "", exe, exe,
                     WR_PLUGIN_INSTALL_DIR);
    return w > 0 && (size_t)w < n ? WR_OK : WR_ERR_TOO_BIG;
}

void *wr_plugin_state(const struct wr_plugin *table)
{
    return calloc(1, table->state_size ? table->state_size : 1);
}
