/* SPDX-License-Identifier: MIT
 *
 * What a viewer asks for at a door (?tracks=, ?rendition=), and which of a stream's tracks that is in a format. Pure
 * functions; whoever calls owns everything. */
#ifndef WR_GATEWAY_LIVE_WANT_H
#define WR_GATEWAY_LIVE_WANT_H

#include "wr_media.h"
#include "wr_muxer.h"

enum live_pick {
    PICK_USUAL =
        0, /* no tracks=: one picture and one sound, the first of each that the format carries */
    PICK_VIDEO, /* tracks=video: the picture alone. A stream without one is heard. */
    PICK_AUDIO, /* tracks=audio: the sound alone */
    PICK_ALL,   /* tracks=all: as many as the format carries */
    PICK_IDS,   /* tracks=1,3: those of them that there are */
};

struct live_want {
    enum live_pick pick;
    uint32_t ids[WR_TRACKS_MAX]; /* of PICK_IDS, ascending, each once; the rest is 0 */
    /* Of a track that has a rendition of this name, that one. "" = as the source sends it, or what the format carries. */
    char rendition[sizeof((struct wr_track *)0)->rendition];
};

/* Reads the two parameters; "" = not given. INVALID with a sentence. */
WR_MUST_USE wr_err want__read(struct live_want *w, const char *tracks, const char *rendition,
                              struct wr_errmsg *err);
bool want__same(const struct live_want *a, const struct live_want *b);

/* A choice, or why there is none. */
struct live_choice {
    struct wr_track tracks[WR_TRACKS_MAX]; /* as given: what they borrow is borrowed */
    size_t n;
    int status; /* n == 0: 404 (the stream has no such track) or 415 (the format carries none of them), */
    struct wr_errmsg why; /* and the sentence */
};
/* Of the stream's tracks those that are wanted and that the format carries, renditions in place of tracks that it does not
 * carry; what it cannot carry at all is left out when the rest can. `doors` are the formats that the gateway has, for the sentence. */
void want__choose(const struct live_want *w, const char *stream, const struct wr_track *tracks,
                  size_t n, const struct wr_muxer_plugin *format,
                  const struct wr_muxer_plugin *const *doors, size_t num_doors,
                  struct live_choice *out);

#endif
