/* SPDX-License-Identifier: MIT
 *
 * The conversation with an RTSP 1.0 server (RFC 2326) over one TCP connection, media interleaved in it: requests, Basic
 * and Digest authentication, and packets. Every wait has a deadline and asks `is_over`. Not here: UDP, TLS, what is in
 * the packets. */
#ifndef WR_INGEST_RTSP_H
#define WR_INGEST_RTSP_H

#include "wr_base.h"
#include "wr_buf.h"

#define RTSP_READ_BYTES (128u << 10) /* more than the largest interleaved packet */

struct rtsp {
    int fd; /* -1 = none */
    bool (*is_over)(void *ctx);
    void *ctx;
    /* of the address */
    char host[256], port[8], user[128], pass[128];
    char url[1024]; /* without user and password */
    /* the conversation */
    unsigned cseq;
    char session[256];
    unsigned session_s; /* its timeout */
    char realm[256], nonce[256], opaque[256];
    bool digest, qop_auth, basic;
    bool fresh_nonce; /* the answer that was read last brought it */
    const char *alive_url;
    unsigned alive_cseq; /* of a keep-alive that may be repeated, 0 = none */
    unsigned nonce_count;
    /* what was read */
    uint8_t *in;
    size_t in_at, in_n;
};

struct rtsp_answer {
    int status;
    char base[1024]; /* Content-Base or Content-Location when it is an RTSP address, else "" */
    char transport[256];
    char rtp_info[1024];
    struct wr_slice body; /* borrowed until the next call */
};

enum rtsp_result {
    RTSP_OK = 0,
    RTSP_OVER, /* is_over said so */
    RTSP_TIMEOUT,
    RTSP_CLOSED,  /* the other side ended it */
    RTSP_REFUSED, /* nobody listens */
    RTSP_UNREACHABLE,
    RTSP_NO_NAME, /* the host's name is not known */
    RTSP_BAD,     /* not RTSP, or an address that we cannot read */
    RTSP_UNABLE,  /* a kind of authentication that we do not have */
};

/* Takes the address apart and connects. */
enum rtsp_result rtsp__open(struct rtsp *r, const char *url, int64_t deadline_us);
/* Sends a request and waits for its answer; authenticates and repeats it when asked to. Packets meanwhile are dropped.
 * headers: more lines, each ended by "\r\n", or "". */
enum rtsp_result rtsp__ask(struct rtsp *r, const char *method, const char *url, const char *headers,
                           struct rtsp_answer *out, int64_t deadline_us);
/* Tells the server that somebody still listens; its answer is skipped when it comes. url: borrowed until the next one.
 * On an error what was sent may be torn: the connection is of no use any more. */
enum rtsp_result rtsp__keep_alive(struct rtsp *r, const char *url);
/* The next interleaved packet; borrowed until the next call. */
enum rtsp_result rtsp__packet(struct rtsp *r, unsigned *channel, struct wr_slice *packet,
                              int64_t deadline_us);
/* Puts a control URL of the session description on its base. False when it does not fit. */
bool rtsp__resolve(const char *base, const char *control, char *out, size_t n);
void rtsp__close(struct rtsp *r);

#endif
