/* SPDX-License-Identifier: MIT
 *
 * Taking a socket away from civetweb, and what follows from it: the WebSocket handshake, and moving it into the plane.
 *
 * civetweb gives no descriptor away. The request's is the one among the process's sockets whose peer and local port are
 * the request's; sockets that the plane holds are skipped by a bitmap, so that the search stays short. Then: dup it, dup2
 * a dead socket over civetweb's number. civetweb reads end-of-file from that, closes its number and frees the worker. */
#include "http_priv.h"
#include "wr_buf.h"
#include "wr_log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int http__dummy_open(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    (void)close(pair[1]);
    return pair[0];
}

union any_addr {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

static bool addr_of(const union any_addr *a, struct in6_addr *ip, unsigned *port)
{
    if (a->sa.sa_family == AF_INET) {
        memset(ip, 0, sizeof *ip);
        ip->s6_addr[10] = ip->s6_addr[11] = 0xff;
        memcpy(ip->s6_addr + 12, &a->v4.sin_addr, 4);
        *port = ntohs(a->v4.sin_port);
        return true;
    }
    if (a->sa.sa_family == AF_INET6) {
        *ip = a->v6.sin6_addr;
        *port = ntohs(a->v6.sin6_port);
        return true;
    }
    return false;
}

static bool is_request_socket(int fd, const struct in6_addr *ip, unsigned port, unsigned local_port)
{
    union any_addr a;
    struct in6_addr got;
    unsigned got_port;
    socklen_t n = sizeof a;
    if (getpeername(fd, &a.sa, &n) != 0 || !addr_of(&a, &got, &got_port) || got_port != port ||
        memcmp(&got, ip, sizeof got) != 0)
        return false;
    n = sizeof a;
    return getsockname(fd, &a.sa, &n) == 0 && addr_of(&a, &got, &got_port) &&
           got_port == local_port;
}

static int find_fd(const struct mg_request_info *ri)
{
    struct in6_addr ip;
    char text[48];
    struct rlimit lim;
    (void)snprintf(text, sizeof text, "%s", ri->remote_addr);
    text[strcspn(text, "%")] = 0; /* scope of a link-local address */
    if (!http__addr_parse(text, &ip))
        return -1;
    int end = getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < (1u << 20) ? (int)lim.rlim_cur
                                                                               : 1 << 20;
    for (int fd = wr_plane_next_foreign_fd(3); fd >= 0 && fd < end;
         fd = wr_plane_next_foreign_fd(fd + 1))
        if (is_request_socket(fd, &ip, (unsigned)ri->remote_port, (unsigned)ri->server_port))
            return fd;
    return -1;
}

size_t wr_http_pending(struct wr_http_req *r)
{
    int n = 0;
    if (!r->sock)
        r->sock = find_fd(mg_get_request_info(r->conn));
    return r->sock > 0 && !r->detached && ioctl(r->sock, FIONREAD, &n) == 0 && n > 0 ? (size_t)n
                                                                                     : 0;
}

void wr_http_cut(struct wr_http_req *r, int how)
{
    int fd = r->detached ? -1 : find_fd(mg_get_request_info(r->conn));
    if (fd >= 0)
        (void)shutdown(fd, how);
}

wr_err wr_http_detach(struct wr_http_req *r, int *fd_out, uint8_t **early, size_t *n_early)
{
    *fd_out = -1;
    *early = NULL;
    *n_early = 0;
    int theirs = r->detached || r->http->dummy < 0 ? -1 : find_fd(mg_get_request_info(r->conn));
    int ours = theirs >= 0 ? fcntl(theirs, F_DUPFD_CLOEXEC, 3) : -1;
    if (ours < 0 || dup3(r->http->dummy, theirs, O_CLOEXEC) < 0) {
        if (ours >= 0)
            (void)close(ours);
        wr_count(&http__m_detach_failed, 1);
        wr_debug("http.detach", "client=%s errno=%d: the socket of a request was not found",
                 r->client, errno);
        return WR_ERR_INTERNAL;
    }
    r->detached = true;
    r->answered = true;
    /* What civetweb had read ahead of a body comes back until it meets the dummy's end. */
    struct wr_buf b = {0};
    while (r->is_chunked || r->content_length > r->body_read) {
        uint8_t *to = wr_buf_reserve(&b, 16384);
        int k = to ? mg_read(r->conn, to, 16384) : -1;
        if (k <= 0)
            break;
        b.n += (size_t)k;
        if (b.n > (1u << 20)) /* more than civetweb can hold: it is not reading the dummy */
            break;
    }
    *early = b.p;
    *n_early = b.n;
    *fd_out = ours;
    return WR_OK;
}

void http__accept_key(const char *key, char out[29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    uint8_t sha[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char text[64 + sizeof guid];
    int len = snprintf(text, sizeof text, "%.63s%s", key, guid);
    (void)EVP_Digest(text, (size_t)len, sha, &n, EVP_sha1(), NULL);
    (void)EVP_EncodeBlock((unsigned char *)out, sha, 20);
}

bool wr_http_reserve(struct wr_http_req *r, const char *extra)
{
    char lines[512];
    wr_err e = wr_plane_reserve(r->http->plane);
    if (e == WR_OK)
        return true;
    (void)snprintf(lines, sizeof lines, "%sRetry-After: 2\r\n", extra ? extra : "");
    wr_http_error_with(r, 503, lines, "%s",
                       e == WR_ERR_CLOSED
                           ? "the gateway is shutting down; try again"
                           : "the gateway has as many connections as it may; try again later");
    return false;
}

static wr_err refused(const struct wr_conn_opts *opts, wr_err e)
{
    static const struct wr_conn_closed closed = {.code = 1006, .reason = "refused"};
    opts->ops->close(NULL, opts->user, &closed);
    return e;
}

/* To the reserved place. Writes the head, if there is one: a new socket's buffer takes it whole. */
static wr_err hand_over(struct wr_http_req *r, struct wr_slice head, const char *extra,
                        const struct wr_conn_opts *opts)
{
    int fd;
    uint8_t *early;
    size_t n;
    if (wr_http_detach(r, &fd, &early, &n) != WR_OK) {
        wr_plane_release(r->http->plane);
        wr_warn("http.detach", "client=%s: the socket of a request was not found", r->client);
        wr_http_error_with(r, 500, extra, "the server lost track of this connection; try again");
        return refused(opts, WR_ERR_INTERNAL);
    }
    if (head.n && send(fd, head.p, head.n, MSG_NOSIGNAL) != (ssize_t)head.n) {
        wr_plane_release(r->http->plane);
        (void)close(fd);
        free(early);
        return refused(opts, WR_ERR_CLOSED);
    }
    wr_err e = wr_plane_adopt(r->http->plane, fd, wr_slice_of(early, n), opts);
    free(early);
    return e;
}

static bool takes_sockets(const struct wr_http_req *r)
{
    return r->http->plane != NULL;
}

wr_err wr_http_upgrade(struct wr_http_req *r, const char *subprotocol,
                       const struct wr_conn_opts *opts)
{
    struct wr_conn_opts o = *opts;
    o.transport = WR_TRANSPORT_WS;
    if (!takes_sockets(r) || !r->is_upgrade) {
        wr_http_error(r, 426, "this is a WebSocket address");
        return refused(opts, WR_ERR_INVALID);
    }
    char accept[29];
    struct wr_buf b = {0};
    http__accept_key(wr_http_header(r, "Sec-WebSocket-Key"), accept);
    wr_buf_fmt(&b,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
               "Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
               accept);
    if (subprotocol)
        wr_buf_fmt(&b, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    wr_buf_str(&b, "\r\n");
    wr_err e;
    if (b.failed) {
        wr_http_error(r, 503, "the server is out of memory");
        e = refused(opts, WR_ERR_BUSY);
    } else if (!wr_http_reserve(r, NULL)) {
        e = refused(opts, WR_ERR_BUSY);
    } else {
        wr_count(&http__m_upgrades, 1);
        e = hand_over(r, wr_slice_of(b.p, b.n), NULL, &o);
    }
    wr_buf_free(&b);
    return e;
}

wr_err wr_http_hand_over(struct wr_http_req *r, const char *extra, const struct wr_conn_opts *opts)
{
    struct wr_conn_opts o = *opts;
    o.transport = WR_TRANSPORT_RAW;
    if (!takes_sockets(r) || r->method == WR_HEAD) {
        wr_http_error_with(r, 500, extra, "this address streams: use GET");
        return refused(opts, WR_ERR_INVALID);
    }
    if (!wr_http_reserve(r, extra))
        return refused(opts, WR_ERR_BUSY);
    return hand_over(r, (struct wr_slice){0}, extra, &o);
}
