/* SPDX-License-Identifier: MIT
 *
 * The table of descriptors that wait to be collected, and SCM_RIGHTS (unix(7)). */
#include "wr_fd.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wr_clock.h"
#include "wr_id.h"

static struct {
    pthread_mutex_t lock; /* guards what follows */
    unsigned used;        /* places below it are taken, in no order */
    struct {
        uint8_t ticket[WR_FD_TICKET_BYTES];
        int64_t until_us;
        int fd;
    } left[WR_FD_LEFT_MAX];
} fd_table = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the table ------------------------------------------------------------------------------------------------------- */

/* Under the lock. Frees the place, returns what lay there. */
static int take(unsigned i)
{
    int fd = fd_table.left[i].fd;
    fd_table.left[i] = fd_table.left[--fd_table.used];
    return fd;
}

/* Under the lock. Closing a file that was read neither waits nor writes. */
static void expire(void)
{
    int64_t now = wr_mono_us();
    for (unsigned i = 0; i < fd_table.used;)
        if (fd_table.left[i].until_us <= now)
            close(take(i));
        else
            i++;
}

wr_err wr_fd_leave(int fd, uint32_t ms, uint8_t ticket[WR_FD_TICKET_BYTES])
{
    wr_random(ticket, WR_FD_TICKET_BYTES);
    pthread_mutex_lock(&fd_table.lock);
    expire();
    bool fits = fd_table.used < WR_FD_LEFT_MAX;
    if (fits) {
        unsigned i = fd_table.used++;
        memcpy(fd_table.left[i].ticket, ticket, WR_FD_TICKET_BYTES);
        fd_table.left[i].until_us = wr_mono_us() + ms * 1000ll;
        fd_table.left[i].fd = fd;
    }
    pthread_mutex_unlock(&fd_table.lock);
    return fits ? WR_OK : WR_ERR_BUSY;
}

int wr_fd_collect(struct wr_slice ticket)
{
    int fd = -1;
    if (ticket.n != WR_FD_TICKET_BYTES)
        return -1;
    pthread_mutex_lock(&fd_table.lock);
    for (unsigned i = 0; i < fd_table.used && fd < 0; i++)
        if (!memcmp(fd_table.left[i].ticket, ticket.p, WR_FD_TICKET_BYTES))
            fd = take(i);
    pthread_mutex_unlock(&fd_table.lock);
    return fd;
}

void wr_fd_expire(void)
{
    pthread_mutex_lock(&fd_table.lock);
    expire();
    pthread_mutex_unlock(&fd_table.lock);
}

/* ---- between processes ----------------------------------------------------------------------------------------------- */

union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool wr_fd_send(int sock, int fd)
{
    char byte = fd >= 0;
    union control control = {.bytes = {0}};
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

bool wr_fd_receive(int sock, int *fd)
{
    char byte;
    union control control;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    *fd = -1;
    errno = 0;
    ssize_t n;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof *fd))
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return n == 1;
}

bool wr_fd_peer_is_us(int sock)
{
    struct ucred who;
    socklen_t n = sizeof who;
    return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}
