/* SPDX-License-Identifier: MIT
 *
 * The age clock: the wall clock, as long as it goes with the time since the machine started. */
#include "wr_clock.h"

#include "wr_log.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static bool is_near(int64_t a, int64_t b)
{
    return llabs(a - b) <= WR_CLOCK_STEP_MS;
}

/* The wall clock is set right a little all the time. It is followed by a hundredth of what passed, so that many small steps
 * are not believed either. */
static void follow(struct wr_age_clock *c, int64_t off, int64_t passed_ms)
{
    int64_t most = passed_ms / 100 + 1, by = off - c->trusted_ms;
    c->trusted_ms += WR_MAX(-most, WR_MIN(by, most));
}

/* The wall clock is elsewhere. */
static enum wr_age_event distrust(struct wr_age_clock *c, int64_t off, int64_t boot_ms)
{
    bool same = c->step_ms && is_near(off, c->trusted_ms + c->step_ms);
    c->step_ms = off - c->trusted_ms;
    if (!same) {
        c->since_ms = boot_ms;
        return WR_AGE_STEPPED;
    }
    if (boot_ms - c->since_ms < WR_CLOCK_TRUST_MS)
        return WR_AGE_NOTHING;
    c->trusted_ms = off;
    c->step_ms = 0;
    return WR_AGE_BELIEVED;
}

int64_t wr_age_clock_read(struct wr_age_clock *c, int64_t wall_ms, int64_t boot_ms,
                          enum wr_age_event *event)
{
    int64_t off = wall_ms - boot_ms;
    *event = WR_AGE_NOTHING;
    if (!c->begun) {
        *c = (struct wr_age_clock){.begun = true, .trusted_ms = off, .seen_ms = boot_ms};
    } else if (is_near(off, c->trusted_ms)) {
        *event = c->step_ms ? WR_AGE_BACK : WR_AGE_NOTHING;
        c->step_ms = 0;
        follow(c, off, boot_ms - c->seen_ms);
    } else {
        *event = distrust(c, off, boot_ms);
    }
    c->seen_ms = boot_ms;
    return boot_ms + WR_MIN(off, c->trusted_ms);
}

/* ---- the process's own ------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards clock */
static struct wr_age_clock age_clock;

static void say(enum wr_age_event event, int64_t step_ms)
{
    if (event == WR_AGE_STEPPED)
        wr_warn("clock.step",
                "the wall clock stepped %lld s %s while the machine's own time went on: it is "
                "not believed for %d h, and what goes by its age goes by the time before "
                "the step (is the machine's time right?)",
                llabs((long long)step_ms / 1000), step_ms > 0 ? "ahead" : "back",
                (int)(WR_CLOCK_TRUST_MS / 3600000));
    else if (event == WR_AGE_BACK)
        wr_info("clock.step", "the wall clock is back where it was");
    else if (event == WR_AGE_BELIEVED)
        wr_warn("clock.step", "the wall clock stayed where it stepped to: it is believed again");
}

int64_t wr_age_now_ms(void)
{
    enum wr_age_event event;
    struct timespec boot;
    pthread_mutex_lock(&lock);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    int64_t now = wr_age_clock_read(&age_clock, wr_wall_ms(),
                                    (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000, &event);
    int64_t step_ms = age_clock.step_ms;
    pthread_mutex_unlock(&lock);
    say(event, step_ms);
    return now;
}

int64_t wr_age_step_ms(void)
{
    pthread_mutex_lock(&lock);
    int64_t step_ms = age_clock.step_ms;
    pthread_mutex_unlock(&lock);
    return step_ms;
}
