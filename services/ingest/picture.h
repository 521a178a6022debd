/* SPDX-License-Identifier: MIT
 *
 * The demo picture: 1280 x 720, 4:2:0, BT.709 limited range. A calm gradient, the name, a big clock, a light that drifts,
 * and along the top edge the wall clock for machines: 32 blocks of 20 x 20 pixels, block i (x = 20 i) white when bit
 * 31 - i of (Unix milliseconds mod 2^32) is 1. Each frame redraws only what changed. */
#ifndef WR_INGEST_PICTURE_H
#define WR_INGEST_PICTURE_H

#include "wr_base.h"

#define PICTURE_WIDTH 1280
#define PICTURE_HEIGHT 720
#define PICTURE_CLOCK_BLOCK 20

struct picture;

/* NULL when memory is out. */
struct picture *picture__new(void);
void picture__free(struct picture **p);
/* Draws the moment into the planes, which live as long as the picture: [0] luma 1280 x 720, [1] and [2] chroma 640 x 360,
 * rows without padding. */
void picture__draw(struct picture *p, int64_t wall_ms);
uint8_t *picture__plane(struct picture *p, unsigned i);

#endif
