/* SPDX-License-Identifier: MIT
 *
 * Passing descriptors to other processes. A gateway keeps one connection; each ticket on it is one short message. */
#include "fs_pass.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wr_fd.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_thread.h"

WR_COUNTER(passed, "watchroom_files_descriptors_passed_total", NULL,
           "Open files that the filestore passed to another process");

/* One ticket of a connection; false when the connection is over. A peer that does not take its answers is ended, too. */
static bool serve(int sock)
{
    uint8_t ticket[WR_FD_TICKET_BYTES + 1];
    ssize_t n = recv(sock, ticket, sizeof ticket, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    int fd = wr_fd_collect(wr_slice_of(ticket, (size_t)n));
    bool ok = wr_fd_send(sock, fd);
    if (fd >= 0) {
        close(fd);
        if (ok)
            wr_count(&passed, 1);
    }
    return ok;
}

static int take_client(struct fs_pass *p)
{
    int sock = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (sock < 0)
        return -1;
    if (wr_fd_peer_is_us(sock))
        return sock;
    wr_warn("files.pass_refused", "a process of another user asked for open files");
    close(sock);
    return -1;
}

static void *pass_main(void *arg)
{
    struct fs_pass *p = arg;
    struct pollfd fds[2 + FS_PASS_CLIENTS] = {{.fd = p->stop[0], .events = POLLIN},
                                              {.fd = p->listener, .events = POLLIN}};
    nfds_t n = 2;
    for (;;) {
        /* Full: who comes waits in the backlog until somebody goes. */
        fds[1].events = n < WR_ARRAY_LEN(fds) ? POLLIN : 0;
        if (poll(fds, n, -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            break;
        for (nfds_t i = n; i-- > 2;) {
            if (fds[i].revents && !serve(fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--n];
            }
        }
        int sock = fds[1].revents & POLLIN ? take_client(p) : -1;
        if (sock >= 0)
            fds[n++] = (struct pollfd){.fd = sock, .events = POLLIN};
    }
    while (n > 2)
        close(fds[--n].fd);
    return NULL;
}

static int listen_at(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path + 1, name, strlen(name));
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 64) < 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

wr_err fs_pass_start(struct fs_pass *p, struct wr_errmsg *err)
{
    char id[27];
    wr_id_random(id, 26);
    snprintf(p->where, sizeof p->where, "watchroom-files-%s", id);
    p->listener = listen_at(p->where);
    wr_err e = p->listener < 0 ? WR_ERR_BUSY : WR_OK;
    if (e == WR_OK && pipe2(p->stop, O_CLOEXEC) < 0) {
        e = WR_ERR_BUSY;
    } else if (e == WR_OK && (e = wr_thread_start(&p->thread, "fs-pass", pass_main, p)) != WR_OK) {
        close(p->stop[0]);
        close(p->stop[1]);
    }
    if (e != WR_OK) {
        wr_errmsg_set(
            err, "cannot open the filestore's local socket: raise the limits of open files and "
                 "processes (ulimit -n, -u)");
        if (p->listener >= 0)
            close(p->listener);
    }
    return e;
}

void fs_pass_stop(struct fs_pass *p)
{
    close(p->stop[1]);
    pthread_join(p->thread, NULL);
    close(p->stop[0]);
    close(p->listener);
}
