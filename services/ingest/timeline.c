/* SPDX-License-Identifier: MIT
 *
 * See timeline.h. Rules: no dts: the pts, else last + duration. Not after the last: last + 1. More than 1.5 s away from
 * where it should be: the track that leads moves the offset for all; others wait for it to move too, and only after 5 s of that
 * get a correction of their own, counted from its time (a camera whose clocks have nothing in common). A track's first frame, and
 * its first after a silence, gets that at once. */
#include "timeline.h"

#define JUMP_US 1500000
#define LOST_US 5000000

void timeline__join(struct timeline *t, size_t track, uint32_t timescale, uint32_t nominal)
{
    struct timeline_track *k = &t->tracks[track];
    if (k->timescale != timescale && k->timescale != 0) {
        k->last = wr_media_ticks(wr_media_us(k->last, k->timescale), timescale) + 1;
        k->last_duration = 0;
        k->skew = wr_media_ticks(wr_media_us(k->skew, k->timescale), timescale);
    }
    k->timescale = timescale;
    k->nominal = WR_MAX(nominal, 1);
}

void timeline__leave(struct timeline *t, size_t track)
{
    t->tracks[track].lost_since_us = 0;
    t->tracks[track].is_back = true;
}

void timeline__lead(struct timeline *t, size_t track)
{
    t->lead = track;
}

/* No overflow for any 64-bit tick that a 33-bit or 64-bit counter of a source can have. */
static int64_t to_us(int64_t ticks, uint32_t scale)
{
    int64_t s = ticks / scale;
    if (s > INT64_MAX / 4000000 || s < INT64_MIN / 4000000)
        return 0;
    return s * 1000000 + ticks % scale * 1000000 / scale;
}

static int64_t to_ticks(int64_t us, uint32_t scale)
{
    return us / 1000000 * scale + us % 1000000 * scale / 1000000;
}

/* a - b of times that come from outside. */
static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t expected(const struct timeline_track *k)
{
    return k->last + (k->last_duration > 0 ? k->last_duration : k->nominal);
}

/* Where a track that was away goes on: where the newest of the others is. */
static int64_t front(const struct timeline *t, const struct timeline_track *k)
{
    int64_t us = k->has_last ? to_us(expected(k), k->timescale) : 0;
    for (size_t i = 0; i < WR_TRACKS_MAX; i++)
        if (t->tracks[i].has_last)
            us = WR_MAX(us, to_us(t->tracks[i].last, t->tracks[i].timescale));
    return to_ticks(us, k->timescale);
}

/* Of the track that leads: it takes all with it. */
static void settle_lead(struct timeline *t, struct timeline_track *k, int64_t *dts)
{
    int64_t want = k->is_back ? front(t, k) : expected(k);
    int64_t off_us = to_us(minus(*dts, want), k->timescale);
    if (!k->has_last || (off_us <= JUMP_US && off_us >= -JUMP_US))
        return;
    t->offset_us += off_us;
    *dts = want;
    t->rebased++;
}

/* False: leave the frame out. *dts is already without the offset. */
static bool settle_other(struct timeline *t, struct timeline_track *k, int64_t *dts, int64_t now_us)
{
    const struct timeline_track *lead = &t->tracks[t->lead];
    *dts += k->skew;
    int64_t want = lead->has_last ? to_ticks(to_us(lead->last, lead->timescale), k->timescale) : 0;
    int64_t off_us = to_us(minus(*dts, want), k->timescale);
    if (!lead->has_last || (off_us <= JUMP_US && off_us >= -JUMP_US)) {
        k->lost_since_us = 0;
        return true;
    }
    /* A track that comes late, or comes back, with a clock that begins anew: there is nothing to wait for. */
    bool is_new = !k->has_last || k->is_back;
    if (k->lost_since_us == 0)
        k->lost_since_us = now_us;
    if (!is_new && now_us - k->lost_since_us < LOST_US) {
        t->dropped++;
        return false;
    }
    k->skew -= to_ticks(off_us, k->timescale);
    *dts -= to_ticks(off_us, k->timescale);
    k->lost_since_us = 0;
    t->rebased++;
    return true;
}

static bool start(struct timeline *t, size_t track, bool key, int64_t dts)
{
    if (track != t->lead || !key)
        return false;
    t->offset_us = to_us(dts, t->tracks[track].timescale);
    t->started = true;
    return true;
}

bool timeline__map(struct timeline *t, size_t track, bool key, int64_t *dts, int64_t *pts,
                   uint32_t *duration, int64_t now_us)
{
    struct timeline_track *k = &t->tracks[track];
    int64_t in = *dts != TIMELINE_NONE ? *dts : *pts, reorder = 0;
    if (in != TIMELINE_NONE && *pts != TIMELINE_NONE)
        reorder = minus(*pts, in);
    if (!t->started && !start(t, track, key, in != TIMELINE_NONE ? in : 0)) {
        t->dropped++;
        return false;
    }
    int64_t out = in != TIMELINE_NONE ? minus(in, to_ticks(t->offset_us, k->timescale))
                  : k->has_last       ? expected(k)
                                      : 0;
    if (in != TIMELINE_NONE) {
        if (track == t->lead)
            settle_lead(t, k, &out);
        else if (!settle_other(t, k, &out, now_us))
            return false;
    }
    if (out < 0) { /* sound before the first picture */
        t->dropped++;
        return false;
    }
    /* More than 10 s between decoding and showing is no reordering but nonsense. */
    if (to_us(reorder, k->timescale) > 10000000 || reorder < 0)
        reorder = 0;
    int64_t show = out + reorder;
    if (k->has_last && out <= k->last) {
        out = k->last + 1;
        t->bumped++;
    }
    *duration = *duration ? *duration : k->nominal;
    k->last = out;
    k->last_duration = *duration;
    k->has_last = true;
    k->is_back = false;
    *dts = out;
    *pts = WR_MAX(show, out);
    return true;
}
