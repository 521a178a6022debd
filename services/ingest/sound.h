/* SPDX-License-Identifier: MIT
 *
 * A rendition of sound: G.711 (and whatever raw sound libavcodec decodes) to AAC at 48 kHz, once a stream. */
#ifndef WR_INGEST_SOUND_H
#define WR_INGEST_SOUND_H

#include "wr_codec.h"
#include "wr_err.h"

struct sound;

#define SOUND_RATE 48000

/* One AAC frame; pts in 1/48,000 s, data borrowed. */
typedef void (*sound_frame_fn)(void *ctx, struct wr_slice data, int64_t pts, uint32_t duration);

/* True for the codecs that become AAC. */
bool sound__takes(enum wr_codec codec);
/* sample_rate, channels: 0 = 8,000, one. Errors: UNAVAILABLE with a sentence (this FFmpeg lacks a decoder or encoder). */
WR_MUST_USE wr_err sound__new(enum wr_codec from, uint32_t sample_rate, uint32_t channels,
                              sound_frame_fn fn, void *ctx, struct sound **out,
                              struct wr_errmsg *err);
/* The AudioSpecificConfig; valid until sound__free. */
struct wr_slice sound__config(const struct sound *s);
uint32_t sound__channels(const struct sound *s);
/* Feeds a packet in the stored form (borrowed); pts in 1/48,000 s or INT64_MIN. Calls fn for every frame that is complete. A packet that
 * cannot be decoded is left out. */
void sound__feed(struct sound *s, struct wr_slice data, int64_t pts);
/* What was fed and comes out from now on is so many samples later (earlier when negative), and so are the times that will be
 * fed: the two tracks of a camera were put together. */
void sound__shift(struct sound *s, int64_t samples);
void sound__free(struct sound **s);

#endif
