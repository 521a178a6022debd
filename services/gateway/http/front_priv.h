/* SPDX-License-Identifier: MIT
 *
 * Inside of the front: a client's connection while it speaks HTTP. For front*.c only, on the connection's plane thread. */
#ifndef WR_GATEWAY_HTTP_FRONT_PRIV_H
#define WR_GATEWAY_HTTP_FRONT_PRIV_H

#include "http_priv.h"

enum front__state {
    FRONT_HEAD = 1, /* between requests, or a head is coming */
    FRONT_COLLECT,  /* a small body is read before the worker is asked */
    FRONT_ASKED,
    FRONT_PARKED, /* its body may flow */
    FRONT_FILE,
    FRONT_PIECES,
};

struct http__front {
    struct wr_http *h;
    struct wr_conn *c;
    enum front__state state;
    uint32_t no;
    bool keep, is_paused, is_draining, is_closing;
    /* bytes that were read and not used */
    uint8_t *in;
    size_t n_in, cap_in, scanned;
    int64_t until_ms; /* HEAD, PARKED: a deadline */
    struct http__ask *ask;
    struct wr_http_body *body;
    struct wr_buf *collected;
    struct wr_http_park park;
    struct front__sending *out; /* front_send.c; FILE, PIECES */
};

/* How often whoever waits for something of the client's or the workers' is looked at. */
static inline uint32_t front__look_ms(const struct http__front *f)
{
    return f->h->patience_ms / 12;
}

static inline uint32_t front__body_look_ms(const struct http__front *f)
{
    return WR_MIN(front__look_ms(f), HTTP__BODY_LOOK_MS);
}

/* NULL: the connection speaks something else by now. */
struct http__front *front__of(struct wr_conn *c);

/* ---- front_ask.c ---- */
/* The head as civetweb gets it: one Host, an origin-form target, no word of the connection's. NULL: no memory. */
struct http__ask *front__ask_new(struct http__front *f, const struct http__head *h);

/* ---- front.c ---- */
void front__pause(struct http__front *f, bool pause);
/* Keeps bytes that lie behind those that are kept. False: no memory. */
bool front__keep(struct http__front *f, const uint8_t *p, size_t n);
void front__use(struct http__front *f, size_t n); /* the first n of those that are kept */
void front__say(struct http__front *f, struct wr_frame *frame);    /* moves it; NULL cuts */
void front__reply(struct http__front *f, struct http__verdict *v); /* moves v */
void front__refuse(struct http__front *f, int status, const char *extra, const char *why);
/* The answer is with the connection's queue: on with the next request, or the end. */
void front__answered(struct http__front *f, bool keep);
/* The requests that are here already, until one of them has to wait for something. */
void front__go_on(struct http__front *f);
void front__stop_waiting(struct http__front *f); /* what was parked is answered */

/* ---- front_send.c ---- */
void front__file(struct http__front *f, struct http__verdict *v);   /* moves v */
void front__pieces(struct http__front *f, struct http__verdict *v); /* moves v */
/* There is room for more. */
void front__file_turn(struct http__front *f);
void front__pieces_turn(struct http__front *f);
/* From time to time: a reader that takes next to nothing is cut. */
void front__sending_look(struct http__front *f, int64_t now_ms);
void front__sending_end(struct http__front *f, bool is_whole); /* when something is being sent */

/* ---- front_body.c ---- */
void front__submit(struct http__front *f); /* asks the worker */
/* Begins the body of the current request. False: no memory, and the connection is cut. */
bool front__body_begin(struct http__front *f, const struct wr_http_body_ops *ops, void *user);
/* A body to be collected in f->collected, or read and dropped when that is NULL; then the worker is asked. */
void front__body_collect(struct http__front *f);
void front__flow(struct http__front *f); /* reads what there is of the body, a turn's worth */
void front__body_over(struct http__front *f, enum wr_http_body_end how);

#endif
