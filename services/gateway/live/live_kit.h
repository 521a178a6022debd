/* SPDX-License-Identifier: MIT
 *
 * A stream without its surroundings, for the test and the fuzz target of told.c, intake.c and output.c: a plane that writes
 * down what it is given, a muxer that writes payloads one after another, and viewers with two wishes at its door. */
#ifndef WR_GATEWAY_LIVE_LIVE_KIT_H
#define WR_GATEWAY_LIVE_LIVE_KIT_H

#include "live_priv.h"

struct wr_fanout {
    /* "(K0)": a frame, "(*K0)": a key frame, "<(K0)>": to RAW viewers alone, "[end]": every RAW viewer is ended, "[end all
     * why]": everybody with a reason */
    struct wr_buf log;
    bool full;        /* refuses frames */
    int64_t media_us; /* of the newest frame */
    size_t lent;      /* bytes that were referenced instead of copied */
};

struct kit {
    struct wr_live live;
    struct live_stream s;        /* "hall" */
    struct live_output *outs[2]; /* that somebody has; NULL when nobody does */
    enum wr_codec codecs[2];     /* of the picture and the sound that kit_info tells of */
    uint64_t gop; /* of the frames that kit_frame makes: a key frame begins another */
    int64_t origin_us;
    unsigned pokes, calls_ended, released;
};
extern struct kit kit;

/* The ids of the two tracks are the mask's bits. */
enum { KIT_ALL = 0, KIT_PICTURE = 1, KIT_VIDEO = 1u << 0, KIT_AUDIO = 1u << 1 };

/* With viewers of both wishes (all, the picture alone), or with nobody. */
void kit_open(bool watched);
void kit_close(void);
/* Ingest tells of the stream: tracks a mask of KIT_VIDEO and KIT_AUDIO. */
void kit_info(enum live_state state, uint64_t epoch, unsigned tracks);
/* A frame comes: its text is its data. 40 ms each. The caller may change f's numbers. */
struct wr_media_frame kit_frame(uint64_t epoch, uint32_t track, uint64_t seq, const char *text);
void kit_event(const struct wr_media_frame *f);
/* Bytes come as an event. */
void kit_bytes(struct wr_slice bytes);
/* Ingest answers a Watch call: the stream as in kit_info, and a group; or a Groups call, with groups by their numbers. */
void kit_groups(uint64_t epoch, unsigned tracks, const struct wr_media_frame *frames, size_t n,
                uint64_t next_gop);
void kit_answer(uint64_t epoch, unsigned tracks, const struct wr_media_frame *group, size_t n);
/* Somebody comes with a wish and waits; or the last one who had it is gone. */
void kit_leave(unsigned door);
void kit_wait(struct viewer *v, unsigned door);
/* What went out at a door, or as text to all, since the last look; the kit's. */
const char *kit_sent(struct wr_fanout *g);

#endif
