/* SPDX-License-Identifier: MIT
 *
 * The built page's files, from one folder, never from outside of it (openat2 with RESOLVE_BENEATH, no links). ETags are
 * hashes of the content, computed once a file and again when it changed. Files with a hash in their name (assets/) are
 * immutable for caches; the others are asked about each time. */
#include "wr_pages.h"
#include "wr_buf.h"
#include "wr_id.h"
#include "wr_map.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK 32768u

struct page_tag {
    struct timespec mtime;
    off_t size;
    char etag[36];
};
struct wr_pages {
    char folder[512];
    int dir;              /* -1: not built */
    pthread_mutex_t lock; /* guards tags */
    struct wr_map tags;
};

static const char csp[] =
    "Content-Security-Policy: default-src 'self'; script-src 'self'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self' ws: wss:; worker-src 'self' blob:; object-src "
    "'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'self'\r\nReferrer-Policy: same-origin\r\n";

static const char *type_of(const char *path)
{
    static const char *const table[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".mjs", "text/javascript; charset=utf-8"},
                                           {".css", "text/css; charset=utf-8"},
                                           {".json", "application/json"},
                                           {".webmanifest", "application/manifest+json"},
                                           {".svg", "image/svg+xml"},
                                           {".png", "image/png"},
                                           {".jpg", "image/jpeg"},
                                           {".webp", "image/webp"},
                                           {".ico", "image/x-icon"},
                                           {".woff2", "font/woff2"},
                                           {".woff", "font/woff"},
                                           {".wasm", "application/wasm"},
                                           {".map", "application/json"},
                                           {".txt", "text/plain; charset=utf-8"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < WR_ARRAY_LEN(table); i++)
        if (strcmp(dot, table[i][0]) == 0)
            return table[i][1];
    return "application/octet-stream";
}

static int open_beneath(int dir, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                      RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS ||
                   errno == EPERM)) /* old kernel, or a sandbox that does not know the call */
        fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return (int)fd;
}

static bool hash_file(int fd, char etag[36])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t *buf = malloc(CHUNK), sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    off_t at = 0;
    bool ok = md && buf && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    while (ok) {
        ssize_t k = pread(fd, buf, CHUNK, at);
        if (k <= 0) {
            ok = k == 0;
            break;
        }
        ok = EVP_DigestUpdate(md, buf, (size_t)k);
        at += k;
    }
    if (ok && EVP_DigestFinal_ex(md, sum, &n)) {
        etag[0] = '"';
        wr_hex(etag + 1, sum, 16);
        memcpy(etag + 33, "\"", 2);
    }
    free(buf);
    EVP_MD_CTX_free(md);
    return ok && n;
}

static bool tag_of(struct wr_pages *p, const char *path, int fd, const struct stat *st,
                   char etag[36])
{
    pthread_mutex_lock(&p->lock);
    struct page_tag *t = wr_map_get(&p->tags, wr_slice_str(path));
    bool ok = t && t->size == st->st_size && t->mtime.tv_sec == st->st_mtim.tv_sec &&
              t->mtime.tv_nsec == st->st_mtim.tv_nsec;
    if (!ok) {
        if (!t && (t = calloc(1, sizeof *t)) && !wr_map_put(&p->tags, wr_slice_str(path), t)) {
            free(t);
            t = NULL;
        }
        if (t && hash_file(fd, t->etag)) {
            t->size = st->st_size;
            t->mtime = st->st_mtim;
            ok = true;
        }
    }
    if (ok)
        memcpy(etag, t->etag, 36);
    pthread_mutex_unlock(&p->lock);
    return ok;
}

/* If-None-Match: a list, weak tags too (RFC 9110, 13.1.2). */
static bool none_match(const char *list, const char *etag)
{
    return list && (strcmp(list, "*") == 0 || strstr(list, etag));
}

static void serve_file(struct wr_pages *p, struct wr_http_req *req, const char *path)
{
    struct stat st;
    char etag[36];
    struct wr_buf h = {0};
    int fd = open_beneath(p->dir, path);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !tag_of(p, path, fd, &st, etag)) {
        wr_http_error(req, 404, "there is nothing at %.200s", req->path);
        goto out;
    }
    bool hashed = strncmp(path, "assets/", 7) == 0;
    wr_buf_fmt(&h, "Content-Type: %s\r\nETag: %s\r\nCache-Control: %s\r\n%s", type_of(path), etag,
               hashed ? "public, max-age=31536000, immutable" : "no-cache", csp);
    wr_buf_char(&h, 0);
    if (h.failed) {
        wr_http_error(req, 503, "the server is out of memory");
    } else if (none_match(wr_http_header(req, "If-None-Match"), etag)) {
        wr_http_reply(req, 304, NULL, (const char *)h.p, (struct wr_slice){0});
    } else {
        wr_http_send_fd(req, 200, (const char *)h.p, fd, 0, (uint64_t)st.st_size);
        fd = -1;
    }
out:
    wr_buf_free(&h);
    if (fd >= 0)
        (void)close(fd);
}

static void not_built(struct wr_http_req *req)
{
    static const char text[] = "Watchroom runs, but its page is not built: run scripts/run, or "
                               "`npm ci && npm run build` in web/, or set gateway.web to\n"
                               "the folder of a built page; then load this again. Chat (/ws, "
                               "/connection/websocket), /live/, /files/ and /api/v1/ work.\n";
    wr_http_reply(req, 503, "text/plain; charset=utf-8", NULL, wr_slice_of(text, sizeof text - 1));
}

void wr_pages_serve(void *ctx, struct wr_http_req *req)
{
    struct wr_pages *p = ctx;
    const char *path = req->path + 1;
    bool is_room = strncmp(path, "room/", 5) == 0 && wr_name_valid(wr_slice_str(path + 5));
    bool is_page = !*path || strcmp(path, "index.html") == 0 || is_room;
    if (p->dir < 0) {
        if (is_page)
            not_built(req);
        else
            wr_http_error(req, 404, "there is nothing at %.200s", req->path);
        return;
    }
    serve_file(p, req, !*path ? "index.html" : is_room ? "room.html" : path);
}

static bool try_folder(struct wr_pages *p, const char *folder)
{
    char index[sizeof p->folder + 16];
    struct stat st;
    (void)snprintf(index, sizeof index, "%s/index.html", folder);
    if (stat(index, &st) != 0 || strlen(folder) >= sizeof p->folder)
        return false;
    p->dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (p->dir >= 0)
        (void)snprintf(p->folder, sizeof p->folder, "%s", folder);
    return p->dir >= 0;
}

wr_err wr_pages_open(const char *folder, struct wr_pages **out)
{
    /* Relative to the executable: a build folder in the source tree, an installed prefix. */
    static const char *const places[] = {"../../web/dist", "../web/dist", "web/dist", "web",
                                         "../share/watchroom/web"};
    struct wr_pages *p = calloc(1, sizeof *p);
    *out = p;
    if (!p)
        return WR_ERR_BUSY;
    p->dir = -1;
    pthread_mutex_init(&p->lock, NULL);
    if (folder && folder[0]) {
        (void)try_folder(p, folder);
        return WR_OK;
    }
    char exe[400], path[512];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; slash && i < WR_ARRAY_LEN(places); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", exe, places[i]);
        if (try_folder(p, path))
            return WR_OK;
    }
    (void)try_folder(p, "/usr/share/watchroom/web");
    return WR_OK;
}

const char *wr_pages_folder(const struct wr_pages *p)
{
    return p->folder;
}

void wr_pages_close(struct wr_pages **pp)
{
    struct wr_pages *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    size_t at = 0;
    struct wr_slice key;
    void *tag;
    while (wr_map_next(&p->tags, &at, &key, &tag))
        free(tag);
    wr_map_free(&p->tags);
    if (p->dir >= 0)
        (void)close(p->dir);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
