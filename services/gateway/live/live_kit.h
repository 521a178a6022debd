/* SPDX-License-Identifier: MIT
 *
 * A stream without its surroundings, for the test and the fuzz target of intake.c and output.c: a plane that writes down
 * what it is given, a muxer that writes payloads one after another, one viewer at each of the two doors of a format. */
#ifndef WR_GATEWAY_LIVE_LIVE_KIT_H
#define WR_GATEWAY_LIVE_LIVE_KIT_H

#include "live_priv.h"

struct wr_fanout {
    struct wr_buf
        log;   /* "(K0)": a frame, "(*K0)": a key frame, "[end]": every RAW viewer is ended */
    bool full; /* refuses frames */
    int64_t media_us; /* of the newest frame */
    size_t lent;      /* bytes that were referenced instead of copied */
};

struct kit {
    struct wr_live live;
    struct live_stream s; /* "hall" */
    struct live_output outs[2];
    unsigned pokes, calls_ended;
};
extern struct kit kit;

enum { KIT_ALL = 0, KIT_PICTURE = 1, KIT_VIDEO = 1u << 0, KIT_AUDIO = 1u << 1 };

/* With viewers at both doors, or with nobody. */
void kit_open(bool watched);
void kit_close(void);
/* Ingest tells of the stream: tracks a mask of KIT_VIDEO and KIT_AUDIO. */
void kit_info(enum live_state state, uint64_t epoch, unsigned tracks);
/* A frame comes: its text is its data. 40 ms each. The caller may change f's numbers. */
struct wr_media_frame kit_frame(uint64_t epoch, uint32_t track, uint64_t seq, const char *text);
void kit_event(const struct wr_media_frame *f);
/* Bytes come as an event. */
void kit_bytes(struct wr_slice bytes);
/* Ingest answers a Watch call: the stream as in kit_info, and a group. */
void kit_answer(uint64_t epoch, unsigned tracks, const struct wr_media_frame *group, size_t n);
/* Somebody opens a door and waits. */
void kit_wait(struct viewer *v, unsigned door);
/* What went out at a door, or as text to all, since the last look; the kit's. */
const char *kit_sent(struct wr_fanout *g);

#endif
