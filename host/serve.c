/* SPDX-License-Identifier: MIT
 *
 * `watchroom serve`: loads the plugins, starts the services in the order of their dependence, waits for a signal, and ends
 * them in the opposite order within a hard deadline. */
#include "host.h"

#include "notify.h"

#include "wr_clock.h"
#include "wr_log.h"
#include "wr_process.h"
#include "wr_service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STOP_DEADLINE_S 10

struct running {
    const struct wr_service_plugin *plugin;
    void *state;
};

static void raise_descriptor_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) < 0)
            wr_warn("host.limit", "RLIMIT_NOFILE stays as it is: %s", strerror(errno));
    }
}

static bool make_folder(const char *path)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char c = *p;
        *p = '\0';
        if (mkdir(part, 0750) < 0 && errno != EEXIST)
            return false;
        *p = c;
        if (!c)
            return true;
    }
}

static bool holds_log(const char *folder)
{
    char path[4200];
    snprintf(path, sizeof path, "%.4000s/hub/room.db", folder);
    return access(path, F_OK) == 0;
}

bool host_data_nearby(const char *data, char *out, size_t n)
{
    char program[4096];
    ssize_t got = readlink("/proc/self/exe", program, sizeof program - 1);
    if (data[0] == '/')
        return false; /* somebody meant exactly that one */
    snprintf(out, n, "../data");
    if (holds_log(out))
        return true;
    program[got > 0 ? got : 0] = '\0';
    char *build = strstr(program, "/build/");
    if (!build)
        return false;
    snprintf(out, n, "%.*s/data", (int)(build - program), program);
    return holds_log(out);
}

static void tell_of_others(const struct wr_config *c)
{
    char other[4200];
    if (access(c->data, F_OK) != 0 && host_data_nearby(c->data, other, sizeof other))
        host_say("%s is new and empty; there is a folder with messages at %s: start with --data %s "
                 "if you mean that one",
                 c->data, other, other);
}

bool host_prepare_data(const struct wr_config *c)
{
    char probe[4200];
    tell_of_others(c);
    if (!make_folder(c->data)) {
        host_say("data folder %s cannot be made: %s; choose another with --data", c->data,
                 strerror(errno));
        return false;
    }
    /* access() would say yes to root on a read-only disk and on none of the cases that matter: try it. */
    snprintf(probe, sizeof probe, "%s/.write-test-%ld", c->data, (long)getpid());
    int fd = open(probe, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        int why = errno;
        /* A full disk is no reason to refuse: what is stored can still be read, and there may be room later. */
        if (why == ENOSPC || why == EDQUOT)
            return true;
        host_say(
            "data folder %s cannot be written: %s; choose another with --data, or change its owner",
            c->data, strerror(why));
        return false;
    }
    close(fd);
    unlink(probe);
    return true;
}

void host_dial_address(const char *listen, char *out, size_t n)
{
    if (!strncmp(listen, "0.0.0.0:", 8))
        snprintf(out, n, "127.0.0.1:%s", listen + 8);
    else if (!strncmp(listen, "[::]:", 5))
        snprintf(out, n, "[::1]:%s", listen + 5);
    else
        snprintf(out, n, "%s", listen);
}

void host_greet(const struct wr_config *c)
{
    char address[128], data[PATH_MAX];
    const char *listen = c->gateway.listen;
    bool loopback = !strncmp(listen, "127.", 4) || !strncmp(listen, "[::1]", 5);
    host_dial_address(listen, address, sizeof address);
    printf("Watchroom is open: http://%s/\n", address);
    if (realpath(c->data, data))
        printf("Messages and files are in %s\n", data);
    if (loopback)
        printf("Whoever uses this machine can read, write and upload: there are no tokens yet.\n");
    else
        printf("\n  WARNING: listening on %s. EVERYBODY who reaches this address can read every "
               "room, write, upload and\n"
               "  delete files: there are no tokens yet. Keep it in a network that you trust, or "
               "leave --listen out.\n\n",
               listen);
    fflush(stdout);
}

/* The supervisor's pipe: one byte says that we accept work. */
static bool tell_ready(void)
{
    const char *v = getenv("WATCHROOM_READY_FD");
    if (!v || !*v)
        return false;
    int fd = (int)strtol(v, NULL, 10);
    if (write(fd, "1", 1) < 0)
        wr_warn("host.ready", "the supervisor is gone: %s", strerror(errno));
    close(fd);
    return true;
}

/* What the thread below waits for; static as it outlives run(). */
static struct {
    sigset_t signals;
    bool asked; /* a first signal has come: the next one means it */
} force;

/* A signal, or -1 at the deadline. A debugger or a leak checker that stops the threads is neither. */
static int wait_signal(int64_t until_us)
{
    int64_t left_us;
    while ((left_us = until_us - wr_mono_us()) > 0) {
        struct timespec left = {.tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000};
        int sig = sigtimedwait(&force.signals, NULL, &left);
        if (sig > 0)
            return sig;
    }
    return -1;
}

static void *end_by_force(void *arg)
{
    int64_t until_us = wr_mono_us() + STOP_DEADLINE_S * INT64_C(1000000);
    (void)arg;
    int sig = wait_signal(until_us);
    if (sig > 0 && !force.asked) /* the first, while a failed start is being undone */
        sig = wait_signal(until_us);
    if (sig > 0)
        host_say("ended at once, on a second signal");
    else
        host_say(
            "a service did not end within %d s; ended anyway (what was acknowledged is on disk)",
            STOP_DEADLINE_S);
    _exit(HOST_FAILED);
}

static void stop_all(struct running *r, size_t n)
{
    for (size_t i = n; i-- > 0;)
        r[i].plugin->drain(r[i].state);
    for (size_t i = n; i-- > 0;) {
        r[i].plugin->stop(r[i].state);
        free(r[i].state);
    }
}

static int start_one(struct running *r, const char *name, const struct wr_service_env *env)
{
    struct wr_errmsg err = {""};
    r->plugin = wr_plugins_find(env->plugins, WR_KIND_SERVICE, name);
    if (!r->plugin) {
        host_say("there is no plugin for the service %s; `watchroom plugins` says what was found "
                 "and refused",
                 name);
        return HOST_FAILED;
    }
    r->state = wr_plugin_state(&r->plugin->base);
    wr_err e = r->state ? r->plugin->start(r->state, env, &err) : WR_ERR_BUSY;
    if (e == WR_OK)
        return HOST_OK;
    host_say("the %s cannot start: %s", name, *err.text ? err.text : wr_err_text(e));
    free(r->state);
    return e == WR_ERR_INVALID ? HOST_USAGE : HOST_FAILED;
}

static int run(const struct host_options *o, const struct wr_service_env *env)
{
    struct running running[HOST_SERVICES];
    size_t n = 0;
    int code = HOST_OK, sig = 0;
    bool supervised = false;
    pthread_t forcer;

    /* Blocked before any thread is there, so that all threads inherit it and only we take them. */
    sigemptyset(&force.signals);
    sigaddset(&force.signals, SIGINT);
    sigaddset(&force.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &force.signals, NULL);

    for (size_t i = 0; i < HOST_SERVICES && code == HOST_OK; i++) {
        if (o->service && strcmp(o->service, host_services[i]) != 0)
            continue;
        code = start_one(&running[n], host_services[i], env);
        if (code == HOST_OK)
            n++;
    }
    if (code == HOST_OK) {
        supervised = tell_ready();
        if (!supervised)
            host_notify("READY=1");
        if (!supervised && (!o->service || !strcmp(o->service, "gateway")))
            host_greet(env->config);
        do {
            sig = sigwaitinfo(&force.signals, NULL);
        } while (sig < 0 && errno == EINTR);
        force.asked = true;
        wr_info("host.stop", "signal=%s", sigabbrev_np(sig));
        if (!supervised)
            host_notify("STOPPING=1");
        if (wr_process_failed())
            code = HOST_FAILED;
    }
    if (pthread_create(&forcer, NULL, end_by_force, NULL) == 0)
        pthread_detach(forcer);
    stop_all(running, n);
    return code;
}

/* A child of the supervisor that lost it ends too: nothing is orphaned. The request dies with the thread that forked. */
static void follow_parent(void)
{
    const char *v = getenv("WATCHROOM_PARENT");
    if (!v || !*v)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != (pid_t)strtol(v, NULL, 10))
        _exit(HOST_FAILED); /* it died before the request */
}

static void set_up_log(const struct host_options *o, const struct wr_config *c)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < WR_ARRAY_LEN(levels); i++)
        if (!strcmp(c->log.level, levels[i]))
            wr_log_set_level((enum wr_log_level)i);
    wr_log_set_format(!strcmp(c->log.format, "json") ? WR_LOG_JSON : WR_LOG_TEXT);
    if (!o->service)
        return;
    /* Four of us may write to one terminal and stand in one `ps`. */
    char name[16];
    wr_log_set_service(o->service);
    snprintf(name, sizeof name, "wr-%s", o->service);
    (void)prctl(PR_SET_NAME, name);
}

int host_serve(const struct host_options *o)
{
    struct wr_service_env env = {0};
    struct wr_plugins *plugins = NULL;
    int code = HOST_USAGE;
    follow_parent();
    signal(SIGPIPE, SIG_IGN);
    struct wr_config *c = host_config_load(o);
    if (!c)
        return HOST_USAGE;
    code = HOST_FAILED;
    set_up_log(o, c);
    bool needs_data = !o->service || !strcmp(o->service, "hub") || !strcmp(o->service, "filestore");
    if (needs_data && !host_prepare_data(c))
        goto out;
    if (o->split) {
        code = host_supervise(o, c);
        goto out;
    }
    raise_descriptor_limit();
    /* Many threads that allocate little: fewer arenas, less memory that is only reserved. An upload's chunk
     * on the bus goes back to the system when it is freed, instead of making a hole in each arena. */
    mallopt(M_ARENA_MAX, 4);
    mallopt(M_MMAP_THRESHOLD, 192 << 10);
    if (!(plugins = host_plugins_load(c, o->service)))
        goto out;
    env = (struct wr_service_env){.config = c, .plugins = plugins};
    code = run(o, &env);
out:
    wr_plugins_free(&plugins);
    wr_config_free(&c);
    return code;
}
