/* SPDX-License-Identifier: MIT
 *
 * A viewer's wish and the tracks that it means (want.h). */
#include "want.h"

#include "wr_buf.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static bool add_id(struct live_want *w, unsigned long id)
{
    size_t at = 0;
    if (id == 0 || id > UINT32_MAX)
        return false;
    while (at < WR_TRACKS_MAX && w->ids[at] && w->ids[at] < id)
        at++;
    if (at < WR_TRACKS_MAX && w->ids[at] == id)
        return true;
    if (w->ids[WR_TRACKS_MAX - 1])
        return false;
    memmove(&w->ids[at + 1], &w->ids[at], (WR_TRACKS_MAX - 1 - at) * sizeof w->ids[0]);
    w->ids[at] = (uint32_t)id;
    return true;
}

/* "1,3" */
static bool read_ids(struct live_want *w, const char *list)
{
    w->pick = PICK_IDS;
    for (;;) {
        size_t digits = strspn(list, "0123456789");
        if (digits == 0 || digits > 10 || !add_id(w, strtoul(list, NULL, 10)))
            return false;
        list += digits;
        if (*list == 0)
            return true;
        if (*list++ != ',')
            return false;
    }
}

static bool read_tracks(struct live_want *w, const char *tracks)
{
    static const struct {
        const char *word;
        enum live_pick pick;
    } words[] = {{"", PICK_USUAL}, {"video", PICK_VIDEO}, {"audio", PICK_AUDIO}, {"all", PICK_ALL}};
    for (size_t i = 0; i < WR_ARRAY_LEN(words); i++) {
        if (strcmp(tracks, words[i].word) != 0)
            continue;
        w->pick = words[i].pick;
        return true;
    }
    return read_ids(w, tracks);
}

wr_err want__read(struct live_want *w, const char *tracks, const char *rendition,
                  struct wr_errmsg *err)
{
    *w = (struct live_want){.pick = PICK_USUAL};
    if (!read_tracks(w, tracks)) {
        wr_errmsg_set(
            err,
            "tracks: \"%s\" is not offered: video, audio, all, up to %d ids of tracks such "
            "as 1,3, or no tracks= for a picture with its sound",
            tracks, WR_TRACKS_MAX);
        return WR_ERR_INVALID;
    }
    if (strlen(rendition) >= sizeof w->rendition) {
        wr_errmsg_set(err, "rendition: a name has at most %zu bytes", sizeof w->rendition - 1);
        return WR_ERR_INVALID;
    }
    memcpy(w->rendition, rendition, strlen(rendition));
    return WR_OK;
}

bool want__same(const struct live_want *a, const struct live_want *b)
{
    return a->pick == b->pick && memcmp(a->ids, b->ids, sizeof a->ids) == 0 &&
           strcmp(a->rendition, b->rendition) == 0;
}

/* ---- choosing ----------------------------------------------------------------------------------------------------- */

/* What is chosen from, and what came of it. */
struct choosing {
    const struct live_want *w;
    const struct wr_track *tracks;
    size_t n;
    const struct wr_muxer_plugin *format;
    bool has_video;
    unsigned of_kind[WR_MEDIA_KINDS];
    const struct wr_track *refused[WR_TRACKS_MAX];
    size_t num_refused;
    struct live_choice *out;
};

static bool has_id(const struct live_want *w, uint32_t id)
{
    for (size_t i = 0; i < WR_TRACKS_MAX && w->ids[i]; i++)
        if (w->ids[i] == id)
            return true;
    return false;
}

/* How many tracks of a kind are wanted at most. */
static unsigned most_of(const struct choosing *c, enum wr_media_kind kind)
{
    switch (c->w->pick) {
    case PICK_VIDEO:
        return kind == WR_MEDIA_VIDEO || !c->has_video;
    case PICK_AUDIO:
        return kind == WR_MEDIA_AUDIO;
    case PICK_USUAL:
        return 1;
    default:
        return WR_TRACKS_MAX;
    }
}

/* A rendition is wanted by its id, or in place of the track that it was made from (stand_in). */
static bool is_wanted(const struct choosing *c, const struct wr_track *t)
{
    bool known = t->kind > WR_MEDIA_NONE && t->kind < WR_MEDIA_KINDS;
    if (!known || most_of(c, t->kind) == 0)
        return false;
    return c->w->pick == PICK_IDS ? has_id(c->w, t->id) : t->made_from == 0;
}

/* The track or one of its renditions: the wanted one, else the track itself, else the first that the format carries. NULL:
 * it carries none of them. */
static const struct wr_track *stand_in(const struct choosing *c, const struct wr_track *t)
{
    const struct wr_track *best = wr_muxer_carries(c->format, t->codec) ? t : NULL;
    for (size_t i = 0; i < c->n; i++) {
        const struct wr_track *r = &c->tracks[i];
        if (r->made_from != t->id || !wr_muxer_carries(c->format, r->codec))
            continue;
        if (c->w->rendition[0] && strcmp(r->rendition, c->w->rendition) == 0)
            return r;
        if (!best)
            best = r;
    }
    return best;
}

static bool has_rendition(const struct choosing *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->tracks[i].rendition, c->w->rendition) == 0)
            return true;
    return !c->w->rendition[0];
}

static bool is_chosen(const struct live_choice *out, uint32_t id)
{
    for (size_t i = 0; i < out->n; i++)
        if (out->tracks[i].id == id)
            return true;
    return false;
}

static void choose_track(struct choosing *c, const struct wr_track *t)
{
    const struct wr_track *r = stand_in(c, t);
    if (!r) {
        c->refused[c->num_refused++] = t;
        return;
    }
    unsigned most = WR_MIN(most_of(c, t->kind), (unsigned)c->format->max_tracks[t->kind]);
    if (is_chosen(c->out, r->id) || c->of_kind[t->kind] >= most)
        return;
    c->of_kind[t->kind]++;
    c->out->tracks[c->out->n++] = *r;
}

/* ---- saying why not ----------------------------------------------------------------------------------------------- */

static void name_track(struct wr_buf *b, const struct wr_track *t)
{
    wr_buf_fmt(b, "%s%u (%s%s%s)", b->n ? ", " : "", t->id, wr_codec_name(t->codec),
               t->rendition[0] ? ", rendition " : "", t->rendition);
}

/* The doors at which every refused track could be had. */
static void name_doors(struct wr_buf *b, const struct choosing *c,
                       const struct wr_muxer_plugin *const *doors, size_t num_doors)
{
    for (size_t d = 0; d < num_doors; d++) {
        bool fits = true;
        for (size_t i = 0; i < c->num_refused; i++)
            fits &= wr_muxer_carries(doors[d], c->refused[i]->codec);
        if (fits)
            wr_buf_fmt(b, "%s.%s", b->n ? ", " : "", doors[d]->extension);
    }
}

static void say_unfit(const struct choosing *c, const char *stream,
                      const struct wr_muxer_plugin *const *doors, size_t num_doors)
{
    struct wr_buf what = {.n = 0}, where = {.n = 0};
    for (size_t i = 0; i < c->num_refused; i++)
        name_track(&what, c->refused[i]);
    name_doors(&where, c, doors, num_doors);
    c->out->status = 415;
    wr_errmsg_set(&c->out->why, ".%s cannot carry stream %.60s: track %.*s. %s%.*s",
                  c->format->extension, stream, (int)what.n, what.n ? (const char *)what.p : "",
                  where.n ? "It can be had at " : "No door here can", (int)where.n,
                  where.n ? (const char *)where.p : "");
    wr_buf_free(&what);
    wr_buf_free(&where);
}

static void say_missing(const struct choosing *c, const char *stream)
{
    struct wr_buf has = {.n = 0};
    for (size_t i = 0; i < c->n; i++)
        name_track(&has, &c->tracks[i]);
    c->out->status = 404;
    if (c->n == 0)
        wr_errmsg_set(&c->out->why, "stream %.60s has no track", stream);
    else
        wr_errmsg_set(&c->out->why, "stream %.60s has no track that was asked for: it has %.*s",
                      stream, (int)has.n, has.n ? (const char *)has.p : "");
    wr_buf_free(&has);
}

void want__choose(const struct live_want *w, const char *stream, const struct wr_track *tracks,
                  size_t n, const struct wr_muxer_plugin *format,
                  const struct wr_muxer_plugin *const *doors, size_t num_doors,
                  struct live_choice *out)
{
    struct choosing c = {.w = w,
                         .tracks = tracks,
                         .n = WR_MIN(n, (size_t)WR_TRACKS_MAX),
                         .format = format,
                         .out = out};
    const struct wr_track *lead = wr_media_lead(tracks, n);
    *out = (struct live_choice){.n = 0};
    c.has_video = lead && lead->kind == WR_MEDIA_VIDEO;
    for (size_t i = 0; i < c.n && has_rendition(&c); i++)
        if (is_wanted(&c, &tracks[i]))
            choose_track(&c, &tracks[i]);
    if (out->n == 0 && c.num_refused > 0)
        say_unfit(&c, stream, doors, num_doors);
    else if (out->n == 0)
        say_missing(&c, stream);
}
