/* SPDX-License-Identifier: MIT
 *
 * The fetching thread and its connections to filestores. */
#include "fetch.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "wr_clock.h"
#include "wr_fd.h"
#include "wr_log.h"
#include "wr_thread.h"

#define WAIT_MS 1000 /* for a filestore's socket */
#define AVOID_US 10000000
#define DOORS 8u /* filestores of this machine that are remembered */
#define WHERE_MAX 100u

struct wish {
    struct wish *next;
    char where[WHERE_MAX];
    uint8_t ticket[WR_FD_TICKET_BYTES];
    fetch_fn fn;
    void *ctx;
};

/* One filestore's socket. Only the fetching thread touches it. */
struct door {
    char where[WHERE_MAX];
    int sock; /* -1: not connected */
    int64_t used_us, avoid_until_us;
};

struct fetch {
    struct door doors[DOORS];
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct wish *head, **tail;
    unsigned waiting;
    bool has_thread, ending;
    pthread_t thread;
};

/* ---- doors ----------------------------------------------------------------------------------------------------------- */

static int dial(const char *where)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(where);
    struct timeval wait = {.tv_sec = WAIT_MS / 1000};
    if (n + 1 > sizeof a.sun_path)
        return -1;
    memcpy(a.sun_path + 1, where, n);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return -1;
    if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0 &&
        setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) == 0 &&
        connect(sock, (struct sockaddr *)&a,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) == 0 &&
        wr_fd_peer_is_us(sock))
        return sock;
    close(sock);
    return -1;
}

/* The door of that name, or the one that was used least lately, made anew. */
static struct door *door_at(struct fetch *f, const char *where)
{
    struct door *oldest = &f->doors[0];
    for (size_t i = 0; i < DOORS; i++) {
        if (!strcmp(f->doors[i].where, where))
            return &f->doors[i];
        if (f->doors[i].used_us < oldest->used_us)
            oldest = &f->doors[i];
    }
    if (oldest->sock >= 0)
        close(oldest->sock);
    *oldest = (struct door){.sock = -1};
    snprintf(oldest->where, sizeof oldest->where, "%s", where);
    return oldest;
}

static bool ask_at(struct door *d, const struct wish *w, int *fd)
{
    if (d->sock < 0)
        d->sock = dial(d->where);
    if (d->sock < 0)
        return false;
    if (send(d->sock, w->ticket, sizeof w->ticket, MSG_NOSIGNAL) == (ssize_t)sizeof w->ticket &&
        wr_fd_receive(d->sock, fd))
        return true;
    close(d->sock);
    d->sock = -1;
    return false;
}

static int collect(struct fetch *f, const struct wish *w)
{
    int fd = -1;
    int64_t now = wr_mono_us();
    struct door *d = door_at(f, w->where);
    d->used_us = now;
    if (now < d->avoid_until_us)
        return -1;
    bool was_open = d->sock >= 0;
    /* A connection may have ended since: once more on a new one. One that is there and silent is not asked again. */
    if (ask_at(d, w, &fd) || (was_open && wr_mono_us() - now < WAIT_MS * 500 && ask_at(d, w, &fd)))
        return fd;
    d->avoid_until_us = wr_mono_us() + AVOID_US;
    wr_info("files.no_descriptors",
            "where=@%s: no open files come from this filestore, so its files are sent in pieces "
            "(it is on another machine, runs as another user, or hangs)",
            w->where);
    return -1;
}

/* ---- the thread ------------------------------------------------------------------------------------------------------ */

static void *fetch_main(void *arg)
{
    struct fetch *f = arg;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (!f->head && !f->ending)
            pthread_cond_wait(&f->more, &f->lock);
        struct wish *w = f->head;
        if (!w)
            break;
        if (!(f->head = w->next))
            f->tail = &f->head;
        f->waiting--;
        bool ending = f->ending;
        pthread_mutex_unlock(&f->lock);
        w->fn(w->ctx, ending ? -1 : collect(f, w));
        free(w);
        pthread_mutex_lock(&f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

struct fetch *fetch_new(void)
{
    struct fetch *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    for (size_t i = 0; i < DOORS; i++)
        f->doors[i].sock = -1;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->more, NULL);
    f->tail = &f->head;
    return f;
}

bool fetch_file(struct fetch *f, const char *where, struct wr_slice ticket, fetch_fn fn, void *ctx)
{
    struct wish *w = calloc(1, sizeof *w);
    if (!w || strlen(where) >= sizeof w->where || ticket.n != sizeof w->ticket) {
        free(w);
        return false;
    }
    snprintf(w->where, sizeof w->where, "%s", where);
    memcpy(w->ticket, ticket.p, sizeof w->ticket);
    w->fn = fn;
    w->ctx = ctx;
    pthread_mutex_lock(&f->lock);
    if (!f->has_thread && !f->ending)
        f->has_thread = wr_thread_start(&f->thread, "files-fetch", fetch_main, f) == WR_OK;
    bool taken = f->has_thread && !f->ending && f->waiting < FETCH_MAX;
    if (taken) {
        *f->tail = w;
        f->tail = &w->next;
        f->waiting++;
        pthread_cond_signal(&f->more);
    }
    pthread_mutex_unlock(&f->lock);
    if (!taken)
        free(w);
    return taken;
}

void fetch_end(struct fetch *f)
{
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    bool join = f->has_thread;
    f->has_thread = false;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
    if (join)
        pthread_join(f->thread, NULL);
}

void fetch_free(struct fetch **fp)
{
    struct fetch *f = *fp;
    *fp = NULL;
    if (!f)
        return;
    for (size_t i = 0; i < DOORS; i++)
        if (f->doors[i].sock >= 0)
            close(f->doors[i].sock);
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
