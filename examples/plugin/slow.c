/* SPDX-License-Identifier: MIT
 *
 * A Watchroom plugin in one file: the filter `slow`, slow mode. A client may write one message in so many seconds; who
 * writes sooner is told to wait.
 *
 *     hub: { filters: "slow=5" }
 *
 * Everything that a plugin is, is here: a state, the slots, and at the bottom the one table that the shared object
 * exports. The hub calls the slots from one thread, so there is no lock. */
#include <wr_filter.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SEEN = 4096, CHAT = 1 };

/* Zeroed by the hub, which knows its size from the table. Bounded: a newcomer may take a place in `seen`, and then
 * somebody is free to write a little early. */
struct slow {
    long pause_ms;
    struct {
        uint64_t who;
        long long free_ms;
    } seen[SEEN];
};

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* FNV-1a over the room and the client: slow mode is per room. */
static uint64_t hash(struct wr_slice a, struct wr_slice b)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < a.n; i++)
        h = (h ^ a.p[i]) * 0x100000001b3u;
    h *= 0x100000001b3u;
    for (size_t i = 0; i < b.n; i++)
        h = (h ^ b.p[i]) * 0x100000001b3u;
    return h;
}

static wr_err open_slow(void *state, const char *args, struct wr_errmsg *err)
{
    struct slow *s = state;
    char *end;
    double seconds = strtod(args, &end);
    if (end == args || *end != '\0' || !(seconds >= 0.1 && seconds <= 3600)) {
        snprintf(err->text, sizeof err->text, "write slow=5 for one message in 5 s (0.1 to 3600)");
        return WR_ERR_INVALID;
    }
    s->pause_ms = (long)(seconds * 1000);
    return WR_OK;
}

static enum wr_filter_verdict apply(void *state, struct wr_filter_msg *msg, struct wr_errmsg *why)
{
    struct slow *s = state;
    uint64_t who = hash(msg->room, msg->client);
    size_t at = who % SEEN;
    long long now = now_ms();

    if (msg->kind != CHAT || msg->client.n == 0) /* files, and what services publish */
        return WR_FILTER_PASS;
    if (s->seen[at].who == who && now < s->seen[at].free_ms) {
        snprintf(why->text, sizeof why->text, "slow mode: write again in %lld s",
                 (s->seen[at].free_ms - now + 999) / 1000);
        return WR_FILTER_REFUSE;
    }
    s->seen[at].who = who;
    s->seen[at].free_ms = now + s->pause_ms;
    return WR_FILTER_PASS;
}

WR_PLUGIN_EXPORT const struct wr_filter_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_filter_plugin, struct slow, WR_KIND_FILTER, "slow",
                                 "1.0", "Slow mode: one message a client in so many seconds"),
    .open = open_slow,
    .apply = apply,
};
