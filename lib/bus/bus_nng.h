/* SPDX-License-Identifier: MIT
 *
 * What the NNG files share: sockets, dialers, and messages in both directions. NNG 1.5.2's traps
 * (docs/bus.md) are met here and nowhere else. */
#ifndef WR_BUS_BUS_NNG_H
#define WR_BUS_BUS_NNG_H

#include "bus_priv.h"

#include <nng/nng.h>

struct bus_nng_sock;

wr_err bus_nng__err(int rv);
/* A message of ours behind an nng_msg, without a copy; the nng_msg is freed with it, or here on failure (NULL). */
struct wr_msg *bus_nng__wrap(nng_msg *m);
/* head then body in one nng_msg; NULL when memory is out. */
nng_msg *bus_nng__build(const uint8_t *head, size_t head_n, struct wr_slice body);
/* Opens a listener; with port 0 the URL is rewritten to the port that was taken. */
wr_err bus_nng__listen(nng_socket s, char *url, nng_listener *out, struct wr_errmsg *err);
/* A probe of the socket's listener was answered, or not: it is opened anew then, on the same socket. By the prober's
 * thread alone. */
void bus_nng__probed(struct bus_nng_sock *s, bool alive, char *url, nng_listener *l);

enum { BUS_NNG_STUCK_US = 10000000, BUS_NNG_UNANSWERED_MS = 20000 };

/* ---- a socket that can be closed (bus_nng_sock.c) ---- */

/* A pipe came (ADD_PRE: before anything moves on it; ADD_POST: it is used) or went (REM_POST). On NNG's threads, with no
 * lock held, and never again once bus_nng__close has begun to wait. It must not wait for a thread that closes a dialer:
 * that one waits for it. */
typedef void (*bus_nng_pipe_fn)(void *ctx, nng_pipe_ev ev);

struct bus_nng_pipe {
    nng_pipe id;
    int dialer; /* -1: a listener's */
};

struct bus_nng_sock {
    nng_socket id;
    bus_nng_pipe_fn fn;
    void *ctx;
    pthread_mutex_t lock; /* guards all below; never held while NNG is called */
    pthread_cond_t changed;
    struct bus_nng_pipe *pipes;
    size_t num_pipes, cap_pipes;
    unsigned telling; /* threads in fn */
    unsigned removed; /* pipes that went, ever */
    unsigned seen;    /* `removed` at the last probe */
    unsigned unmoved; /* probes in a row that found it as the one before did */
    bool leaving;
};

/* Opens a socket of a protocol with the options that each of ours has. `s` must stay where it is until it is closed; fn
 * may be NULL. An NNG error, 0 for none. */
int bus_nng__open(struct bus_nng_sock *s, int (*open)(nng_socket *), bus_nng_pipe_fn fn, void *ctx);
/* Ends the socket's connections, then closes it; for 3 s at the most. The socket's aios are freed before: in NNG 1.5.2 one
 * that expires at that moment is cancelled on a socket that is gone. False: NNG did not let go, the socket was abandoned,
 * and whatever its callbacks point at (`keep`) must never be freed; it is remembered here. */
bool bus_nng__close(struct bus_nng_sock *s, void *keep);
/* NNG lets pipes go on one thread of the process. When that one hangs (docs/bus.md, trap 3), nothing that is lost is dialled
 * anew and no pipe is freed any more: only a new process helps, and these ask for it (wr_process_fail). Three things show
 * it: a socket did not close for 10 s, five probes of a listener left no trace, a peer's cut connection stays. */
void bus_nng__watch_closes(void);
/* The clock of these rules, from some time on. It is asked once a second at least, and a second is what it goes on by at the
 * most: a process that stood still (a machine that was paused, a debugger) is not one that hangs. */
int64_t bus_nng__awake_us(void);
/* A probe of this socket's listener was answered: its pipe comes and goes, so after five of them one must have gone. */
void bus_nng__expect_removal(struct bus_nng_sock *s);
/* Says so in the log and asks the process to end. */
void bus_nng__fail(void);
/* Lets the system end a pipe's connection when the other side does not acknowledge or take anything for 20 s (its host
 * vanished or froze), which it would notice late or never (bus_nng_tcp.c). */
void bus_nng__watch(nng_pipe pipe);
/* Ends the connections of pipes from below (bus_nng_tcp.c): our direction, which the other side reads as the end and answers
 * by its own, or both at once. False when some of them are not TCP and stay as they are. */
bool bus_nng__end(const nng_pipe *pipes, size_t n);
bool bus_nng__cut(const nng_pipe *pipes, size_t n);

/* Does this dialer have a connection? *pipe, unless NULL, is it then. */
bool bus_nng__connected(struct bus_nng_sock *s, nng_dialer dialer, nng_pipe *pipe);

/* A dialer that is watched. NNG 1.5.2 draws its redial delay as a signed number, and -1 means for ever to its timer: a
 * dialer that met it never tries again. So a dialer without a connection is closed and made anew every 3 s. */
struct bus_nng_dialer {
    char url[BUS_URL_BYTES];
    nng_dialer dialer;
    bool dialled;
    int64_t since_us; /* of the last dial, or when it was last seen with a connection */
    int pipe;         /* the connection that bus_nng__dialer_silent saw last; -1: none */
    int64_t pipe_us;  /* when it saw it first */
    bool cut;
    int64_t cut_us; /* when it cut it, of bus_nng__awake_us */
};
wr_err bus_nng__dial(struct bus_nng_sock *s, struct bus_nng_dialer *d, const char *url);
/* To be called every 100 ms or so. */
void bus_nng__dialer_tick(struct bus_nng_sock *s, struct bus_nng_dialer *d, int64_t now_us);
/* Its instance said something at `heard_us`. A connection that is silent for 15 s is cut: an end that NNG did not get over
 * looks like this. To be called every 100 ms or so. */
void bus_nng__dialer_silent(struct bus_nng_sock *s, struct bus_nng_dialer *d, int64_t heard_us,
                            int64_t now_us);
/* Closes it for good, unless it has a connection: false then. */
bool bus_nng__dialer_retire(struct bus_nng_sock *s, struct bus_nng_dialer *d);

#endif
