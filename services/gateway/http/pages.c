/* SPDX-License-Identifier: MIT
 *
 * The built page's files, from one folder, never from outside of it (openat2 with RESOLVE_BENEATH, no links). ETags are
 * hashes of the content, computed once a file and again when it changed. Files with a hash in their name (assets/) are
 * immutable for caches; the others are asked about each time.
 *
 * Small files are kept in memory and leave with their head in one write; the folder is looked at once a second for each
 * of them, so a file that was replaced or removed is told of at most that much later. */
#include "wr_pages.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_map.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK 32768u
#define KEEP_FILE (64u << 10) /* a longer one goes out by sendfile */
#define KEEP_TOTAL \
    (8u << 20)       /* of all that are kept; whoever comes after it goes out by sendfile */
#define LOOK_MS 1000 /* so long what is kept counts without a look at the folder */

struct content { /* of a file that is kept; never changes */
    atomic_uint refs;
    size_t n;
    uint8_t bytes[];
};
struct page { /* what is known of a file */
    struct timespec mtime;
    off_t size;
    ino_t ino;
    char etag[36];
    struct content *content; /* NULL: not kept */
    int64_t looked_ms;       /* when the folder last said that this is so */
};
struct wr_pages {
    char folder[512];
    int dir;              /* -1: not built */
    pthread_mutex_t lock; /* guards what is below */
    struct wr_map pages;  /* path -> struct page; of files that are, or were, there */
    size_t kept;          /* bytes of all contents */
};
/* One answer's copy of a page. */
struct found {
    char etag[36];
    struct content *content; /* with a reference; NULL: the bytes are behind fd */
    int fd;                  /* -1: not needed */
    off_t size;
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

static void put_etag(const uint8_t *sum, char etag[36])
{
    etag[0] = '"';
    wr_hex(etag + 1, sum, 16);
    memcpy(etag + 33, "\"", 2);
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
    ok = ok && EVP_DigestFinal_ex(md, sum, &n);
    if (ok)
        put_etag(sum, etag);
    free(buf);
    EVP_MD_CTX_free(md);
    return ok;
}

/* Of the very bytes that are sent, so that the two agree even when the file is written meanwhile. */
static bool hash_bytes(const void *bytes, size_t n, char etag[36])
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool ok = EVP_Digest(bytes, n, sum, &len, EVP_sha256(), NULL);
    if (ok)
        put_etag(sum, etag);
    return ok;
}

static void content_unref(struct content *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free(c);
}

static struct content *content_ref(struct content *c)
{
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

/* The whole file; NULL: it could not be read, or is not as long as it was said to be. */
static struct content *content_read(int fd, size_t size)
{
    struct content *c = malloc(sizeof *c + size);
    if (!c)
        return NULL;
    atomic_init(&c->refs, 1);
    for (c->n = 0; c->n < size;) {
        ssize_t k = pread(fd, c->bytes + c->n, size - c->n, (off_t)c->n);
        if (k <= 0) {
            free(c);
            return NULL;
        }
        c->n += (size_t)k;
    }
    return c;
}

static bool is_same(const struct page *g, const struct stat *st)
{
    return g->size == st->st_size && g->ino == st->st_ino &&
           g->mtime.tv_sec == st->st_mtim.tv_sec && g->mtime.tv_nsec == st->st_mtim.tv_nsec;
}

static void forget_content(struct wr_pages *p, struct page *g)
{
    if (g->content)
        p->kept -= g->content->n;
    content_unref(g->content);
    g->content = NULL;
}

/* Under the lock. The file is another one than was known: its hash, and its bytes if they may be kept. */
static bool learn(struct wr_pages *p, struct page *g, int fd, const struct stat *st)
{
    forget_content(p, g);
    g->size = -1; /* known by nothing until it was read */
    size_t n = (size_t)st->st_size;
    struct content *c = n <= KEEP_FILE && p->kept + n <= KEEP_TOTAL ? content_read(fd, n) : NULL;
    if (!(c ? hash_bytes(c->bytes, n, g->etag) : hash_file(fd, g->etag))) {
        content_unref(c);
        return false;
    }
    g->content = c;
    p->kept += c ? n : 0;
    g->size = st->st_size;
    g->ino = st->st_ino;
    g->mtime = st->st_mtim;
    return true;
}

static struct page *page_of(struct wr_pages *p, const char *path)
{
    struct page *g = wr_map_get(&p->pages, wr_slice_str(path));
    if (!g && (g = calloc(1, sizeof *g))) {
        g->size = -1;
        if (!wr_map_put(&p->pages, wr_slice_str(path), g)) {
            free(g);
            g = NULL;
        }
    }
    return g;
}

static void tell(const struct page *g, struct found *out)
{
    memcpy(out->etag, g->etag, sizeof out->etag);
    out->content = content_ref(g->content);
    out->size = g->size;
}

/* What is kept and was looked at a moment ago. */
static bool find_kept(struct wr_pages *p, const char *path, int64_t now_ms, struct found *out)
{
    pthread_mutex_lock(&p->lock);
    struct page *g = wr_map_get(&p->pages, wr_slice_str(path));
    bool ok = g && g->content && now_ms - g->looked_ms < LOOK_MS;
    if (ok)
        tell(g, out);
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static void forget(struct wr_pages *p, const char *path)
{
    pthread_mutex_lock(&p->lock);
    struct page *g = wr_map_get(&p->pages, wr_slice_str(path));
    if (g) {
        forget_content(p, g);
        g->size = -1;
    }
    pthread_mutex_unlock(&p->lock);
}

/* Looks at the folder. */
static bool find_file(struct wr_pages *p, const char *path, int64_t now_ms, struct found *out)
{
    struct stat st;
    out->fd = open_beneath(p->dir, path);
    if (out->fd < 0 || fstat(out->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        forget(p, path);
        return false;
    }
    pthread_mutex_lock(&p->lock);
    struct page *g = page_of(p, path);
    bool ok = g && (is_same(g, &st) || learn(p, g, out->fd, &st));
    if (ok) {
        g->looked_ms = now_ms;
        tell(g, out);
    }
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
    struct found f = {.fd = -1};
    struct wr_buf h = {0};
    int64_t now_ms = wr_mono_ms();
    if (!find_kept(p, path, now_ms, &f) && !find_file(p, path, now_ms, &f)) {
        wr_http_error(req, 404, "there is nothing at %.200s", req->path);
        goto out;
    }
    bool hashed = strncmp(path, "assets/", 7) == 0;
    wr_buf_fmt(&h, "ETag: %s\r\nCache-Control: %s\r\n%s", f.etag,
               hashed ? "public, max-age=31536000, immutable" : "no-cache", csp);
    bool not_modified = none_match(wr_http_header(req, "If-None-Match"), f.etag);
    if (not_modified || !f.content)
        wr_buf_fmt(&h, "Content-Type: %s\r\n", type_of(path));
    wr_buf_char(&h, 0);
    if (h.failed) {
        wr_http_error(req, 503, "the server is out of memory");
    } else if (not_modified) {
        wr_http_reply(req, 304, NULL, (const char *)h.p, (struct wr_slice){0});
    } else if (f.content) {
        wr_http_reply(req, 200, type_of(path), (const char *)h.p,
                      wr_slice_of(f.content->bytes, f.content->n));
    } else {
        wr_http_send_fd(req, 200, (const char *)h.p, f.fd, 0, (uint64_t)f.size);
        f.fd = -1;
    }
out:
    wr_buf_free(&h);
    content_unref(f.content);
    if (f.fd >= 0)
        (void)close(f.fd);
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
    void *page;
    while (wr_map_next(&p->pages, &at, &key, &page)) {
        forget_content(p, page);
        free(page);
    }
    wr_map_free(&p->pages);
    if (p->dir >= 0)
        (void)close(p->dir);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
