/* SPDX-License-Identifier: MIT
 *
 * `watchroom serve --split`: runs the four services as processes and starts one that dies again, with back-off. A service
 * that cannot start in the first place ends the whole with its own sentence: restarting would not help.
 *
 * Each child has a process group of its own, so that Ctrl-C reaches the supervisor alone and the children end in order
 * (gateway first: what it still has in flight is answered), and is ended by the kernel when the supervisor is gone. */
#include "host.h"

#include "notify.h"

#include "wr_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_STOP_MS 12000 /* children end by themselves within 10 s */
#define WELL_AFTER_MS 10000 /* a life as long as that makes the back-off start anew */

static const int backoff_ms[] = {200, 500, 1000, 2000, 5000};

struct child {
    const char *service;
    pid_t pid;          /* 0 = not running */
    int ready_fd;       /* read end of its pipe, -1 once it told or ended */
    bool was_ready;     /* in any of its lives */
    int64_t started_ms; /* monotonic */
    int64_t restart_ms; /* when to start it again; 0 = not waiting */
    size_t failures;    /* in a row */
};

struct supervisor {
    const struct host_options *o;
    const struct wr_config *c;
    struct child child[HOST_SERVICES];
    int signal_fd;
    bool greeted;
    int code;
};

char **host_child_argv(const struct host_options *o, const char *service)
{
    static char serve[] = "serve";
    char **argv = calloc((size_t)o->argc + 2, sizeof *argv);
    size_t n = 0;
    if (!argv)
        return NULL;
    argv[n++] = o->argv[0];
    argv[n++] = serve;
    if (!(argv[n++] = strdup(service))) {
        free(argv);
        return NULL;
    }
    for (int i = 2; i < o->argc; i++) {
        bool own = !strncmp(o->argv[i], "--listen", 8) && strcmp(service, "gateway") != 0;
        if (!strcmp(o->argv[i], "--split"))
            continue;
        bool has_value = !strchr(o->argv[i], '=') && i + 1 < o->argc;
        if (!own)
            argv[n++] = o->argv[i];
        if (has_value) {
            i++;
            if (!own)
                argv[n++] = o->argv[i];
        }
    }
    return argv;
}

/* In the child, between fork and exec. */
static void become(char **argv, int ready_fd, pid_t parent)
{
    char text[32];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    snprintf(text, sizeof text, "%d", ready_fd);
    setenv("WATCHROOM_READY_FD", text, 1);
    snprintf(text, sizeof text, "%ld", (long)parent);
    setenv("WATCHROOM_PARENT", text, 1);
    /* /proc/self/exe: the same program even when its file was replaced by an upgrade meanwhile. */
    execv("/proc/self/exe", argv);
    fprintf(stderr, "watchroom: %s cannot be started again: %s\n", argv[0], strerror(errno));
    _exit(HOST_FAILED);
}

static bool start(struct supervisor *s, struct child *ch)
{
    int pipe_fd[2] = {-1, -1};
    char **argv = host_child_argv(s->o, ch->service);
    pid_t parent = getpid();
    ch->restart_ms = 0;
    ch->started_ms = wr_mono_ms();
    if (!argv || pipe2(pipe_fd, O_CLOEXEC) < 0)
        goto failed;
    ch->pid = fork();
    if (ch->pid == 0) {
        fcntl(pipe_fd[1], F_SETFD, 0);
        become(argv, pipe_fd[1], parent);
    }
    close(pipe_fd[1]);
    if (ch->pid < 0) {
        close(pipe_fd[0]);
        goto failed;
    }
    free(argv[2]);
    free(argv);
    ch->ready_fd = pipe_fd[0];
    return true;
failed:
    host_say("the %s cannot be started: %s", ch->service, strerror(errno));
    if (argv)
        free(argv[2]);
    free(argv);
    ch->pid = 0;
    ch->restart_ms = wr_mono_ms() + 5000;
    return false;
}

static void close_ready(struct child *ch)
{
    if (ch->ready_fd >= 0)
        close(ch->ready_fd);
    ch->ready_fd = -1;
}

static void handle_ready(struct supervisor *s, struct child *ch)
{
    char byte;
    bool all = true;
    ssize_t got = read(ch->ready_fd, &byte, 1);
    if (got < 0 && errno == EINTR)
        return;
    close_ready(ch);
    if (got != 1)
        return; /* it ended: SIGCHLD says how */
    if (ch->was_ready)
        host_say("%s is up again (pid %ld)", ch->service, (long)ch->pid);
    ch->was_ready = true;
    for (size_t i = 0; i < HOST_SERVICES; i++)
        all = all && s->child[i].was_ready;
    if (all && !s->greeted) {
        s->greeted = true;
        host_notify("READY=1");
        host_greet(s->c);
    }
}

int host_backoff_ms(size_t *failures, int64_t lived_ms)
{
    if (lived_ms >= WELL_AFTER_MS)
        *failures = 0;
    size_t nth = (*failures)++;
    return backoff_ms[WR_MIN(nth, WR_ARRAY_LEN(backoff_ms) - 1)];
}

/* False when the whole must end: the service never worked, and said itself why. */
static bool handle_death(struct supervisor *s, struct child *ch, int status)
{
    char how[64];
    int64_t now = wr_mono_ms();
    long pid = (long)ch->pid;
    ch->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "was ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof how, "ended with code %d", WEXITSTATUS(status));
    if (!ch->was_ready && WIFEXITED(status)) {
        host_say("%s %s before it was up (see above); ending the others", ch->service, how);
        s->code = WEXITSTATUS(status) ? WEXITSTATUS(status) : HOST_FAILED;
        return false;
    }
    int wait_ms = host_backoff_ms(&ch->failures, now - ch->started_ms);
    ch->restart_ms = now + wait_ms;
    host_say("%s (pid %ld) %s; starting it again in %d.%d s", ch->service, pid, how, wait_ms / 1000,
             wait_ms % 1000 / 100);
    return true;
}

static struct child *child_of(struct supervisor *s, pid_t pid)
{
    for (size_t i = 0; i < HOST_SERVICES; i++)
        if (s->child[i].pid == pid)
            return &s->child[i];
    return NULL;
}

/* Collects every child that ended. */
static bool reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    bool go_on = true;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *ch = child_of(s, pid);
        if (!ch)
            continue;
        if (ch->ready_fd >= 0)
            handle_ready(
                s,
                ch); /* the byte may still be in the pipe of one that was ready and died at once */
        close_ready(ch);
        go_on = handle_death(s, ch, status) && go_on;
    }
    return go_on;
}

static int next_restart_ms(struct supervisor *s)
{
    int64_t now = wr_mono_ms(), wait = -1;
    for (size_t i = 0; i < HOST_SERVICES; i++)
        if (s->child[i].restart_ms) {
            int64_t left = WR_MAX(s->child[i].restart_ms - now, (int64_t)0);
            wait = wait < 0 ? left : WR_MIN(wait, left);
        }
    return (int)wait;
}

static void start_due(struct supervisor *s)
{
    int64_t now = wr_mono_ms();
    for (size_t i = 0; i < HOST_SERVICES; i++)
        if (s->child[i].restart_ms && s->child[i].restart_ms <= now)
            start(s, &s->child[i]);
}

/* Waits for one thing; returns the signal that asks to end, 0 to go on, -1 when a service could not start. */
static int turn(struct supervisor *s)
{
    struct pollfd p[HOST_SERVICES + 1];
    struct signalfd_siginfo info;
    for (size_t i = 0; i < HOST_SERVICES; i++)
        p[i] = (struct pollfd){.fd = s->child[i].ready_fd, .events = POLLIN};
    p[HOST_SERVICES] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    if (poll(p, HOST_SERVICES + 1, next_restart_ms(s)) < 0)
        return 0;
    for (size_t i = 0; i < HOST_SERVICES; i++)
        if (p[i].revents && s->child[i].ready_fd >= 0)
            handle_ready(s, &s->child[i]);
    start_due(s);
    if (!(p[HOST_SERVICES].revents & POLLIN) ||
        read(s->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return 0;
    if (info.ssi_signo != SIGCHLD)
        return (int)info.ssi_signo;
    return reap(s) ? 0 : -1;
}

static bool running(const struct child *ch, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ch[i].pid)
            return true;
    return false;
}

/* Ends children [0, n) and waits for them; a second signal or the deadline kills. */
static void end(struct supervisor *s, struct child *ch, size_t n)
{
    int64_t until = wr_mono_ms() + CHILD_STOP_MS;
    struct signalfd_siginfo info;
    for (size_t i = 0; i < n; i++)
        if (ch[i].pid)
            kill(ch[i].pid, SIGTERM);
    while (running(ch, n)) {
        struct pollfd p = {.fd = s->signal_fd, .events = POLLIN};
        int64_t left = until - wr_mono_ms();
        int got = poll(&p, 1, (int)WR_MIN(WR_MAX(left, (int64_t)0), (int64_t)60000));
        bool second = got > 0 && read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info &&
                      info.ssi_signo != SIGCHLD;
        for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;) {
            struct child *ended = child_of(s, pid);
            if (ended)
                ended->pid = 0;
        }
        if (!second && left > 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (ch[i].pid) {
                host_say("%s (pid %ld) is killed, %s", ch[i].service, (long)ch[i].pid,
                         second ? "on a second signal" : "it did not end in time");
                kill(ch[i].pid, SIGKILL);
            }
        until = INT64_MAX / 2; /* SIGKILL needs no second one */
    }
}

int host_supervise(const struct host_options *o, const struct wr_config *c)
{
    struct supervisor s = {.o = o, .c = c};
    sigset_t signals;
    int sig = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    s.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (s.signal_fd < 0) {
        host_say("no descriptor for signals: %s", strerror(errno));
        return HOST_FAILED;
    }
    for (size_t i = 0; i < HOST_SERVICES; i++)
        s.child[i] = (struct child){.service = host_services[i], .ready_fd = -1};
    for (size_t i = 0; i < HOST_SERVICES; i++)
        start(&s, &s.child[i]);
    while (sig == 0)
        sig = turn(&s);
    host_notify("STOPPING=1");
    end(&s, &s.child[HOST_SERVICES - 1], 1); /* the gateway */
    end(&s, s.child, HOST_SERVICES - 1);
    close(s.signal_fd);
    return s.code;
}
