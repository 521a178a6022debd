/* SPDX-License-Identifier: MIT
 *
 * Letters for the demo picture, drawn as round strokes: the few that it needs, in any size, without a font library. */
#ifndef WR_INGEST_GLYPHS_H
#define WR_INGEST_GLYPHS_H

#include "wr_base.h"

/* Coverage of one glyph, 0 to 255. */
struct glyph {
    uint8_t *alpha; /* width x height */
    int width, height;
    int advance; /* pixels to the next glyph */
};

/* unit: pixels of the x-height; weight: stroke width in pixels. Characters that it does not know are blank. The bitmap
 * spans 1.5 units above the baseline and the stroke around everything. False when memory is out. */
bool glyph__make(struct glyph *g, char c, double unit, double weight);
void glyph__free(struct glyph *g);

#endif
