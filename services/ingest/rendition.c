/* SPDX-License-Identifier: MIT
 *
 * See rendition.h. */
#include "rendition.h"

#include <libavutil/mathematics.h>

static void take_frame(void *ctx, struct wr_slice data, int64_t pts, uint32_t duration)
{
    struct rendition *r = ctx;
    flow__take(r->flow, r->id,
               &(struct flow_sample){.data = data, .dts = pts, .pts = pts, .duration = duration});
}

wr_err rendition__open(struct rendition *r, struct flow *f, uint32_t from,
                       const struct codec_hint *hint, struct wr_errmsg *err)
{
    enum wr_codec codec = f->tracks[from - 1].codec->codec;
    if (!sound__takes(codec))
        return WR_OK;
    wr_err e = sound__new(codec, hint->sample_rate, hint->channels, take_frame, r, &r->sound, err);
    if (e != WR_OK)
        return e;
    const struct flow_track *source = &f->tracks[from - 1];
    r->flow = f;
    r->id = flow__add(f, &(struct flow_spec){.codec = codec__find(WR_CODEC_AAC),
                                             .hint = {.config = sound__config(r->sound),
                                                      .channels = sound__channels(r->sound)},
                                             .clock = SOUND_RATE,
                                             .label = source->label,
                                             .language = source->language,
                                             .rendition = "aac",
                                             .made_from = from});
    if (r->id != 0)
        return WR_OK;
    rendition__close(r);
    wr_errmsg_set(err, "the stream has %d tracks already", WR_TRACKS_MAX);
    return WR_ERR_UNAVAILABLE;
}

void rendition__feed(struct rendition *r, struct wr_slice data, int64_t pts, uint32_t clock)
{
    if (r->sound)
        sound__feed(r->sound, data,
                    pts == TIMELINE_NONE ? pts : av_rescale(pts, SOUND_RATE, clock));
}

void rendition__shift(struct rendition *r, int64_t ticks, uint32_t clock)
{
    if (r->sound)
        sound__shift(r->sound, av_rescale(ticks, SOUND_RATE, clock));
}

void rendition__close(struct rendition *r)
{
    sound__free(&r->sound);
    *r = (struct rendition){.sound = NULL};
}
