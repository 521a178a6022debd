/* SPDX-License-Identifier: MIT
 *
 * See rtsp.h. */
#include "rtsp.h"

#include "wr_clock.h"
#include "wr_id.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/base64.h>
#include <libavutil/md5.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_BODY 65536u
#define MAX_HEAD 16384u
#define TELL_US (500 * 1000)
#define SLICE_MS 100 /* so often a wait asks is_over */

/* ---- the address -------------------------------------------------------------------------------------------------- */

static bool unescape(const char *p, size_t n, char *out, size_t room)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned v = (unsigned char)p[i];
        if (p[i] == '%' && i + 2 < n && sscanf(p + i + 1, "%2x", &v) == 1)
            i += 2;
        if (k + 1 >= room || v == 0)
            return false;
        out[k++] = (char)v;
    }
    out[k] = 0;
    return true;
}

static bool copy(const char *p, size_t n, char *out, size_t room)
{
    if (n >= room)
        return false;
    memcpy(out, p, n);
    out[n] = 0;
    return true;
}

/* rtsp://user:pass@host:port/path?query; a password may hold '/' or '@' when nobody escaped it: the last '@' counts. */
static bool parse_url(struct rtsp *r, const char *url)
{
    const char *rest = url + strlen("rtsp://"), *at = strrchr(rest, '@');
    if (at) {
        const char *colon = memchr(rest, ':', (size_t)(at - rest));
        const char *user_end = colon ? colon : at;
        if (!unescape(rest, (size_t)(user_end - rest), r->user, sizeof r->user) ||
            (colon && !unescape(colon + 1, (size_t)(at - colon - 1), r->pass, sizeof r->pass)))
            return false;
        rest = at + 1;
    }
    size_t n = strcspn(rest, "/?");
    const char *host_end = rest + n, *port = NULL;
    if (*rest == '[') {
        const char *close = memchr(rest, ']', n);
        if (!close || !copy(rest + 1, (size_t)(close - rest - 1), r->host, sizeof r->host))
            return false;
        port = close[1] == ':' ? close + 2 : NULL;
    } else {
        const char *colon = memchr(rest, ':', n);
        if (!copy(rest, (size_t)((colon ? colon : host_end) - rest), r->host, sizeof r->host))
            return false;
        port = colon ? colon + 1 : NULL;
    }
    if (!copy(port ? port : "554", port ? (size_t)(host_end - port) : 3, r->port, sizeof r->port))
        return false;
    return r->host[0] && (size_t)snprintf(r->url, sizeof r->url, "rtsp://%s", rest) < sizeof r->url;
}

bool rtsp__resolve(const char *base, const char *control, char *out, size_t n)
{
    if (strncasecmp(control, "rtsp://", 7) == 0)
        return (size_t)snprintf(out, n, "%s", control) < n;
    if (control[0] == 0 || strcmp(control, "*") == 0)
        return (size_t)snprintf(out, n, "%s", base) < n;
    size_t b = strlen(base);
    bool slash = b > 0 && base[b - 1] == '/';
    while (control[0] == '/' && (slash || control[1] == '/'))
        control++;
    return (size_t)snprintf(out, n, "%s%s%s", base, slash || control[0] == '/' ? "" : "/",
                            control) < n;
}

/* ---- the socket --------------------------------------------------------------------------------------------------- */

/* Asked where bytes may come without an end, too, so that a server that never stops sending holds nobody. */
static enum rtsp_result may_go_on(struct rtsp *r, int64_t deadline_us)
{
    return r->is_over(r->ctx) ? RTSP_OVER : wr_mono_us() > deadline_us ? RTSP_TIMEOUT : RTSP_OK;
}

static enum rtsp_result wait_for(struct rtsp *r, short events, int64_t deadline_us)
{
    for (;;) {
        enum rtsp_result e = may_go_on(r, deadline_us);
        if (e != RTSP_OK)
            return e;
        int64_t left_ms = WR_MAX(deadline_us - wr_mono_us(), 0) / 1000;
        struct pollfd p = {.fd = r->fd, .events = events};
        if (poll(&p, 1, (int)WR_MIN(left_ms + 1, (int64_t)SLICE_MS)) > 0)
            return RTSP_OK;
    }
}

static enum rtsp_result connect_to(struct rtsp *r, const struct addrinfo *a, int64_t deadline_us)
{
    int one = 1, error = 0;
    socklen_t n = sizeof error;
    r->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0)
        return RTSP_UNREACHABLE;
    (void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(r->fd, a->ai_addr, a->ai_addrlen) == 0)
        return RTSP_OK;
    error = errno;
    if (error == EINPROGRESS) {
        enum rtsp_result w = wait_for(r, POLLOUT, deadline_us);
        if (w == RTSP_OK)
            (void)getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (w != RTSP_OK || error == 0)
            return w;
    }
    return error == ECONNREFUSED ? RTSP_REFUSED
           : error == ETIMEDOUT  ? RTSP_TIMEOUT
                                 : RTSP_UNREACHABLE;
}

enum rtsp_result rtsp__open(struct rtsp *r, const char *url, int64_t deadline_us)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *all = NULL;
    enum rtsp_result e = RTSP_UNREACHABLE;
    r->fd = -1;
    r->session_s = 60; /* RFC 2326 12.37, also where a camera names no session */
    r->in = malloc(RTSP_READ_BYTES);
    if (!r->in || !parse_url(r, url))
        return RTSP_BAD;
    if (getaddrinfo(r->host, r->port, &hints, &all) != 0)
        return RTSP_NO_NAME;
    for (const struct addrinfo *a = all; a; a = a->ai_next) {
        if (r->fd >= 0)
            close(r->fd);
        e = connect_to(r, a, deadline_us);
        if (e == RTSP_OK || e == RTSP_OVER)
            break;
    }
    freeaddrinfo(all);
    return e;
}

void rtsp__close(struct rtsp *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    free(r->in);
    r->in = NULL;
}

/* Makes `n` bytes available from in_at on. */
static enum rtsp_result need(struct rtsp *r, size_t n, int64_t deadline_us)
{
    if (n > RTSP_READ_BYTES)
        return RTSP_BAD;
    if (r->in_at + n > RTSP_READ_BYTES || r->in_at == r->in_n) {
        memmove(r->in, r->in + r->in_at, r->in_n - r->in_at);
        r->in_n -= r->in_at;
        r->in_at = 0;
    }
    while (r->in_n - r->in_at < n) {
        enum rtsp_result w = may_go_on(r, deadline_us);
        if (w != RTSP_OK)
            return w;
        ssize_t got = recv(r->fd, r->in + r->in_n, RTSP_READ_BYTES - r->in_n, 0);
        if (got > 0) {
            r->in_n += (size_t)got;
            continue;
        }
        if (got == 0)
            return RTSP_CLOSED;
        if (errno != EAGAIN && errno != EINTR)
            return errno == ETIMEDOUT ? RTSP_TIMEOUT : RTSP_CLOSED;
        w = wait_for(r, POLLIN, deadline_us);
        if (w != RTSP_OK)
            return w;
    }
    return RTSP_OK;
}

static enum rtsp_result send_all(struct rtsp *r, const void *p, size_t n, int64_t deadline_us)
{
    const uint8_t *from = p;
    while (n > 0) {
        ssize_t put = send(r->fd, from, n, MSG_NOSIGNAL);
        if (put > 0) {
            from += put;
            n -= (size_t)put;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return RTSP_CLOSED;
        enum rtsp_result w = wait_for(r, POLLOUT, deadline_us);
        if (w != RTSP_OK)
            return w;
    }
    return RTSP_OK;
}

/* ---- authentication ----------------------------------------------------------------------------------------------- */

static void md5_hex(const char *text, char out[33])
{
    uint8_t sum[16];
    av_md5_sum(sum, (const uint8_t *)text, strlen(text));
    wr_hex(out, sum, sizeof sum);
}

/* A parameter of a challenge: name="value" or name=value. */
static bool parameter(const char *line, const char *name, char *out, size_t n)
{
    size_t len = strlen(name);
    for (const char *p = line; (p = strcasestr(p, name)); p += len) {
        if ((p > line && p[-1] != ' ' && p[-1] != ',' && p[-1] != '\t') || p[len] != '=')
            continue;
        p += len + 1;
        bool quoted = *p == '"';
        p += quoted;
        return copy(p, strcspn(p, quoted ? "\"" : ", \t"), out, n);
    }
    return false;
}

/* The first Digest of an answer that we can do. It replaces the one of an earlier answer: a nonce may be used up. */
static void take_challenge(struct rtsp *r, const char *line)
{
    char text[64] = "";
    if (strncasecmp(line, "Digest", 6) == 0 && !r->fresh_nonce) {
        if (parameter(line, "algorithm", text, sizeof text) && strcasecmp(text, "MD5") != 0)
            return;
        r->opaque[0] = 0;
        r->fresh_nonce = parameter(line, "realm", r->realm, sizeof r->realm) &&
                         parameter(line, "nonce", r->nonce, sizeof r->nonce);
        r->digest = r->fresh_nonce;
        (void)parameter(line, "opaque", r->opaque, sizeof r->opaque);
        text[0] = 0;
        r->qop_auth = parameter(line, "qop", text, sizeof text) && strcasestr(text, "auth");
        r->nonce_count = 0;
    } else if (strncasecmp(line, "Basic", 5) == 0) {
        r->basic = true;
    }
}

/* RFC 2617; an empty line when nothing was asked for. */
static void put_authorization(struct rtsp *r, const char *method, const char *url, struct wr_buf *b)
{
    char text[2200], ha1[33], ha2[33], response[33], cnonce[17];
    if (r->digest) {
        snprintf(text, sizeof text, "%s:%s:%s", r->user, r->realm, r->pass);
        md5_hex(text, ha1);
        snprintf(text, sizeof text, "%s:%s", method, url);
        md5_hex(text, ha2);
        wr_id_random(cnonce, 16);
        unsigned nc = ++r->nonce_count;
        if (r->qop_auth)
            snprintf(text, sizeof text, "%s:%s:%08x:%s:auth:%s", ha1, r->nonce, nc, cnonce, ha2);
        else
            snprintf(text, sizeof text, "%s:%s:%s", ha1, r->nonce, ha2);
        md5_hex(text, response);
        wr_buf_fmt(b,
                   "Authorization: Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", "
                   "response=\"%s\"",
                   r->user, r->realm, r->nonce, url, response);
        if (r->opaque[0])
            wr_buf_fmt(b, ", opaque=\"%s\"", r->opaque);
        if (r->qop_auth)
            wr_buf_fmt(b, ", qop=auth, nc=%08x, cnonce=\"%s\"", nc, cnonce);
        wr_buf_str(b, "\r\n");
    } else if (r->basic) {
        char encoded[400];
        snprintf(text, sizeof text, "%s:%s", r->user, r->pass);
        if (av_base64_encode(encoded, sizeof encoded, (const uint8_t *)text, (int)strlen(text)))
            wr_buf_fmt(b, "Authorization: Basic %s\r\n", encoded);
    }
}

/* ---- requests and answers ----------------------------------------------------------------------------------------- */

static enum rtsp_result send_request(struct rtsp *r, const char *method, const char *url,
                                     const char *headers, int64_t deadline_us)
{
    struct wr_buf b = {.n = 0};
    wr_buf_fmt(&b, "%s %s RTSP/1.0\r\nCSeq: %u\r\nUser-Agent: watchroom\r\n", method, url,
               ++r->cseq);
    if (r->session[0])
        wr_buf_fmt(&b, "Session: %s\r\n", r->session);
    put_authorization(r, method, url, &b);
    wr_buf_str(&b, headers);
    wr_buf_str(&b, "\r\n");
    enum rtsp_result e = b.failed ? RTSP_BAD : send_all(r, b.p, b.n, deadline_us);
    wr_buf_free(&b);
    return e;
}

/* A line of the head without its end, of at most n - 1 characters (the rest is dropped). */
static enum rtsp_result read_line(struct rtsp *r, char *out, size_t n, size_t *head,
                                  int64_t deadline_us)
{
    size_t k = 0;
    for (;;) {
        enum rtsp_result e = need(r, 1, deadline_us);
        if (e != RTSP_OK)
            return e;
        char c = (char)r->in[r->in_at++];
        if (++*head > MAX_HEAD)
            return RTSP_BAD;
        if (c == '\n')
            break;
        if (c != '\r' && c != 0 && k + 1 < n)
            out[k++] = c;
    }
    out[k] = 0;
    return RTSP_OK;
}

static const char *header(const char *line, const char *name)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    line += n + 1;
    return line + strspn(line, " \t");
}

struct head {
    unsigned cseq;
    bool is_request;
    size_t length;
};

static void take_session(struct rtsp *r, const char *v)
{
    const char *timeout = strcasestr(v, "timeout=");
    (void)copy(v, WR_MIN(strcspn(v, "; "), sizeof r->session - 1), r->session, sizeof r->session);
    unsigned long s = timeout ? strtoul(timeout + 8, NULL, 10) : 60;
    r->session_s = s >= 5 && s <= 3600 ? (unsigned)s : 60;
}

/* Some cameras send a path, or worse: nothing that could be asked for. */
static bool is_address(const char *v)
{
    return (!strncasecmp(v, "rtsp://", 7) || !strncasecmp(v, "rtsps://", 8)) &&
           !strpbrk(v, " \t") && strlen(v) < sizeof(((struct rtsp_answer *)NULL)->base);
}

static void take_header(struct rtsp *r, const char *line, struct head *h, struct rtsp_answer *out)
{
    const char *v;
    if ((v = header(line, "CSeq")))
        h->cseq = (unsigned)strtoul(v, NULL, 10);
    else if ((v = header(line, "Content-Length")))
        h->length = (size_t)strtoul(v, NULL, 10);
    else if ((v = header(line, "Session")))
        take_session(r, v);
    else if ((v = header(line, "WWW-Authenticate")) && out->status == 401)
        take_challenge(r, v);
    else if ((v = header(line, "Content-Base")) ||
             (!out->base[0] && (v = header(line, "Content-Location"))))
        snprintf(out->base, sizeof out->base, "%s", is_address(v) ? v : "");
    else if ((v = header(line, "Transport")))
        snprintf(out->transport, sizeof out->transport, "%s", v);
    else if ((v = header(line, "RTP-Info")))
        snprintf(out->rtp_info, sizeof out->rtp_info, "%s", v);
}

/* One message that is not an interleaved packet: an answer, or a request of the server (which is not answered: none of
 * those that exist needs it). */
static enum rtsp_result read_message(struct rtsp *r, struct head *h, struct rtsp_answer *out,
                                     int64_t deadline_us)
{
    char line[1200];
    size_t head = 0;
    *h = (struct head){.cseq = 0};
    *out = (struct rtsp_answer){.status = 0};
    r->fresh_nonce = false;
    enum rtsp_result e;
    do
        e = read_line(r, line, sizeof line, &head, deadline_us);
    while (e == RTSP_OK && line[0] == 0);
    if (e == RTSP_OK && sscanf(line, "RTSP/%*u.%*u %d", &out->status) != 1) {
        h->is_request = strstr(line, " RTSP/1.") != NULL;
        e = h->is_request ? RTSP_OK : RTSP_BAD;
    }
    while (e == RTSP_OK) {
        e = read_line(r, line, sizeof line, &head, deadline_us);
        if (e != RTSP_OK || line[0] == 0)
            break;
        take_header(r, line, h, out);
    }
    if (e == RTSP_OK && h->length > MAX_BODY)
        e = RTSP_BAD;
    if (e == RTSP_OK && h->length > 0) {
        e = need(r, h->length, deadline_us);
        out->body = wr_slice_of(r->in + r->in_at, h->length);
        r->in_at += e == RTSP_OK ? h->length : 0;
    }
    return e;
}

static enum rtsp_result read_answer(struct rtsp *r, struct rtsp_answer *out, int64_t deadline_us)
{
    for (;;) {
        struct head h;
        enum rtsp_result e = may_go_on(r, deadline_us);
        e = e == RTSP_OK ? need(r, 1, deadline_us) : e;
        if (e != RTSP_OK)
            return e;
        if (r->in[r->in_at] == '$') {
            e = need(r, 4, deadline_us);
            size_t n = e == RTSP_OK ? 4 + ((size_t)r->in[r->in_at + 2] << 8 | r->in[r->in_at + 3])
                                    : 0;
            e = e == RTSP_OK ? need(r, n, deadline_us) : e;
            if (e != RTSP_OK)
                return e;
            r->in_at += n;
            continue;
        }
        e = read_message(r, &h, out, deadline_us);
        if (e != RTSP_OK || (!h.is_request && h.cseq == r->cseq))
            return e;
    }
}

enum rtsp_result rtsp__ask(struct rtsp *r, const char *method, const char *url, const char *headers,
                           struct rtsp_answer *out, int64_t deadline_us)
{
    for (unsigned tries = 0;; tries++) {
        enum rtsp_result e = send_request(r, method, url, headers, deadline_us);
        if (e == RTSP_OK)
            e = read_answer(r, out, deadline_us);
        if (e != RTSP_OK || out->status != 401 || tries == 1)
            return e;
        /* The first 401 brings the challenge; a second means that user or password is wrong. */
        if (!r->digest && !r->basic)
            return RTSP_UNABLE;
        if (!r->user[0])
            return RTSP_OK;
    }
}

static enum rtsp_result tell_alive(struct rtsp *r)
{
    return send_request(r, "GET_PARAMETER", r->alive_url, "", wr_mono_us() + TELL_US);
}

enum rtsp_result rtsp__keep_alive(struct rtsp *r, const char *url)
{
    r->alive_url = url;
    enum rtsp_result e = tell_alive(r);
    r->alive_cseq = r->cseq;
    return e;
}

/* An answer that nobody waits for; to a keep-alive whose nonce was used up the same once more. */
static enum rtsp_result skip_message(struct rtsp *r, int64_t deadline_us)
{
    struct rtsp_answer a;
    struct head h;
    enum rtsp_result e = read_message(r, &h, &a, deadline_us);
    if (e != RTSP_OK || h.is_request || h.cseq != r->alive_cseq)
        return e;
    r->alive_cseq = 0;
    return a.status == 401 && r->fresh_nonce ? tell_alive(r) : RTSP_OK;
}

enum rtsp_result rtsp__packet(struct rtsp *r, unsigned *channel, struct wr_slice *packet,
                              int64_t deadline_us)
{
    for (;;) {
        enum rtsp_result e = may_go_on(r, deadline_us);
        e = e == RTSP_OK ? need(r, 4, deadline_us) : e;
        if (e != RTSP_OK)
            return e;
        const uint8_t *p = r->in + r->in_at;
        if (p[0] != '$') {
            e = skip_message(r, deadline_us);
            if (e != RTSP_OK)
                return e;
            continue;
        }
        size_t n = (size_t)p[2] << 8 | p[3];
        *channel = p[1];
        e = need(r, 4 + n, deadline_us);
        if (e != RTSP_OK)
            return e;
        *packet = wr_slice_of(r->in + r->in_at + 4, n);
        r->in_at += 4 + n;
        return RTSP_OK;
    }
}
