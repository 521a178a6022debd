/* SPDX-License-Identifier: MIT
 *
 * See clock.h. The file: one line of text, "1 <time> <group> <epoch> <origin>", version first. */
#include "clock.h"

#include "wr_log.h"
#include "wr_map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define AHEAD_US 10000000
#define AHEAD_GOPS 2000 /* 100 a second for the time ahead, and more than a Motion JPEG of 60 */
#define AHEAD_EPOCHS \
    10000 /* milliseconds: epochs are wall milliseconds, or one more than the last */

static bool read_file(const char *path, int64_t *time_us, uint64_t *gop, uint64_t *epoch,
                      int64_t *origin_us)
{
    FILE *f = fopen(path, "re");
    int n = f ? fscanf(f, "1 %" SCNd64 " %" SCNu64 " %" SCNu64 " %" SCNd64, time_us, gop, epoch,
                       origin_us)
              : 0;
    if (f)
        (void)fclose(f);
    /* Numbers beyond anything that this program writes are somebody else's. */
    const int64_t far = (int64_t)1 << 56;
    return n == 4 && *time_us > 0 && *time_us<far && * origin_us> 0 && *origin_us <= *time_us &&
           *gop < (uint64_t)far && *epoch < (uint64_t)far;
}

static bool write_file(const char *path, int64_t time_us, uint64_t gop, uint64_t epoch,
                       int64_t origin_us)
{
    char aside[520];
    snprintf(aside, sizeof aside, "%s.new", path);
    FILE *f = fopen(aside, "we");
    if (!f)
        return false;
    bool ok = fprintf(f, "1 %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRId64 "\n", time_us, gop, epoch,
                      origin_us) > 0;
    ok &= fclose(f) == 0;
    return ok && rename(aside, path) == 0;
}

static void promise(struct stream_clock *c, int64_t time_us, uint64_t gop, uint64_t epoch)
{
    if (!c->path[0])
        return;
    c->promised_us = time_us;
    c->promised_gop = gop;
    c->promised_epoch = epoch;
    if (write_file(c->path, time_us, gop, epoch, c->origin_us) || c->failed)
        return;
    c->failed = true;
    wr_warn(
        "ingest.clock",
        "cannot write %s: %s; over a restart the stream's time then hangs on the wall clock alone",
        c->path, strerror(errno));
}

static void look_ahead(struct stream_clock *c)
{
    if (c->end_us + AHEAD_US / 2 > c->promised_us || c->gop + AHEAD_GOPS / 2 > c->promised_gop ||
        c->epoch + AHEAD_EPOCHS / 2 > c->promised_epoch)
        promise(c, c->end_us + AHEAD_US, c->gop + AHEAD_GOPS, c->epoch + AHEAD_EPOCHS);
}

void clock__open(struct stream_clock *c, const char *folder, const char *stream, int64_t wall_us,
                 int64_t mono_us)
{
    int64_t time_us = 0, origin_us = 0;
    uint64_t gop = 0, epoch = 0;
    *c = (struct stream_clock){.anchor_mono_us = mono_us};
    struct wr_slice name = wr_slice_str(stream);
    int n = !folder         ? 0
            : name.n <= 200 ? snprintf(c->path, sizeof c->path, "%s/%s.clock", folder, stream)
                            : snprintf(c->path, sizeof c->path, "%s/%016" PRIx64 ".clock", folder,
                                       wr_hash(name, 0));
    if (n < 0 || (size_t)n >= sizeof c->path)
        c->path[0] = 0;
    if (!c->path[0] || !read_file(c->path, &time_us, &gop, &epoch, &origin_us))
        time_us = origin_us = 0;
    c->end_us = c->anchor_us = WR_MAX(wall_us, time_us);
    c->origin_us = origin_us ? origin_us : c->end_us;
    /* Fewer than a thousand groups a second: the wall clock in ms stays ahead when there is no file. */
    c->gop = WR_MAX((uint64_t)wall_us / 1000, gop);
    c->epoch = time_us ? epoch : 0;
}

int64_t clock__begin(struct stream_clock *c, int64_t mono_us)
{
    int64_t now = c->anchor_us + (mono_us - c->anchor_mono_us);
    c->end_us = WR_MAX(c->end_us, now);
    /* From here on the line goes by the source's clock, and the next pause counts from there. */
    c->anchor_us = c->end_us;
    c->anchor_mono_us = mono_us;
    look_ahead(c);
    return c->end_us;
}

uint64_t clock__next_gop(struct stream_clock *c)
{
    c->gop++;
    look_ahead(c);
    return c->gop;
}

uint64_t clock__next_epoch(struct stream_clock *c, int64_t wall_us)
{
    c->epoch = WR_MAX((uint64_t)wall_us / 1000, c->epoch + 1);
    look_ahead(c);
    return c->epoch;
}

void clock__reach(struct stream_clock *c, int64_t end_us)
{
    c->end_us = WR_MAX(c->end_us, end_us);
    look_ahead(c);
}

void clock__close(struct stream_clock *c)
{
    if (c->promised_us > 0)
        promise(c, c->end_us, c->gop, c->epoch);
}
