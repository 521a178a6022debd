/* SPDX-License-Identifier: MIT
 *
 * Glyphs as lines and arcs in a unit grid (baseline 0, x-height 1, capitals and digits 1.5, y upwards); a pixel's
 * coverage follows from its distance to the nearest stroke. */
#include "glyphs.h"

#include <math.h>
#include <stdlib.h>

enum stroke_kind { STROKE_END = 0, LINE, ARC };

struct stroke {
    enum stroke_kind kind;
    float a, b, c, d,
        e; /* line: x0 y0 x1 y1; arc: centre x y, radius, from and to in degrees, counter-clockwise */
};

#define MAX_STROKES 5

static const struct letter {
    char c;
    float width;
    struct stroke strokes[MAX_STROKES];
} letters[] = {
    {'W',
     1.60f,
     {{LINE, 0, 1.5f, .4f, 0, 0},
      {LINE, .4f, 0, .8f, 1.2f, 0},
      {LINE, .8f, 1.2f, 1.2f, 0, 0},
      {LINE, 1.2f, 0, 1.6f, 1.5f, 0}}},
    {'a', 1.00f, {{ARC, .5f, .5f, .5f, 0, 360}, {LINE, 1, 1, 1, 0, 0}}},
    {'c', 0.88f, {{ARC, .5f, .5f, .5f, 45, 315}}},
    {'d', 1.00f, {{ARC, .5f, .5f, .5f, 0, 360}, {LINE, 1, 1.5f, 1, 0, 0}}},
    {'e', 1.00f, {{ARC, .5f, .5f, .5f, 0, 315}, {LINE, 0, .5f, 1, .5f, 0}}},
    {'h',
     0.84f,
     {{LINE, 0, 1.5f, 0, 0, 0}, {ARC, .42f, .58f, .42f, 0, 180}, {LINE, .84f, .58f, .84f, 0, 0}}},
    {'m',
     1.44f,
     {{LINE, 0, 1, 0, 0, 0},
      {ARC, .36f, .64f, .36f, 0, 180},
      {LINE, .72f, .64f, .72f, 0, 0},
      {ARC, 1.08f, .64f, .36f, 0, 180},
      {LINE, 1.44f, .64f, 1.44f, 0, 0}}},
    {'o', 1.00f, {{ARC, .5f, .5f, .5f, 0, 360}}},
    {'r', 0.62f, {{LINE, 0, 1, 0, 0, 0}, {ARC, .42f, .58f, .42f, 60, 180}}},
    {'t',
     0.66f,
     {{LINE, .3f, 1.4f, .3f, .3f, 0}, {ARC, .6f, .3f, .3f, 180, 285}, {LINE, 0, 1, .66f, 1, 0}}},
    {'0',
     0.90f,
     {{ARC, .45f, 1.05f, .45f, 0, 180},
      {ARC, .45f, .45f, .45f, 180, 360},
      {LINE, 0, 1.05f, 0, .45f, 0},
      {LINE, .9f, 1.05f, .9f, .45f, 0}}},
    {'1', 0.90f, {{LINE, .2f, 1.2f, .5f, 1.5f, 0}, {LINE, .5f, 1.5f, .5f, 0, 0}}},
    {'2',
     0.90f,
     {{ARC, .45f, 1.05f, .45f, -35, 165}, {LINE, .819f, .792f, 0, 0, 0}, {LINE, 0, 0, .9f, 0, 0}}},
    {'3', 0.90f, {{ARC, .45f, 1.13f, .37f, -90, 150}, {ARC, .45f, .38f, .38f, -150, 90}}},
    {'4',
     0.90f,
     {{LINE, .6f, 1.5f, 0, .42f, 0},
      {LINE, 0, .42f, .9f, .42f, 0},
      {LINE, .66f, .85f, .66f, 0, 0}}},
    {'5',
     0.90f,
     {{LINE, .8f, 1.5f, .18f, 1.5f, 0},
      {LINE, .18f, 1.5f, .1f, .82f, 0},
      {ARC, .42f, .48f, .48f, -140, 135}}},
    {'6', 0.90f, {{ARC, .45f, .45f, .45f, 0, 360}, {LINE, .04f, .63f, .6f, 1.5f, 0}}},
    {'7', 0.90f, {{LINE, 0, 1.5f, .9f, 1.5f, 0}, {LINE, .9f, 1.5f, .32f, 0, 0}}},
    {'8', 0.90f, {{ARC, .45f, 1.13f, .37f, 0, 360}, {ARC, .45f, .38f, .38f, 0, 360}}},
    {'9', 0.90f, {{ARC, .45f, 1.05f, .45f, 0, 360}, {LINE, .86f, .87f, .3f, 0, 0}}},
    {':', 0.20f, {{LINE, .1f, .35f, .1f, .35f, 0}, {LINE, .1f, 1.1f, .1f, 1.1f, 0}}},
    {'.', 0.20f, {{LINE, .1f, 0, .1f, 0, 0}}},
    {'-', 0.60f, {{LINE, 0, .72f, .6f, .72f, 0}}},
    {' ', 0.45f, {{STROKE_END, 0, 0, 0, 0, 0}}},
};

static double line_distance(const struct stroke *s, double x, double y)
{
    double dx = (double)s->c - s->a, dy = (double)s->d - s->b, n = dx * dx + dy * dy;
    double t = n > 0 ? ((x - s->a) * dx + (y - s->b) * dy) / n : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(x - (s->a + t * dx), y - (s->b + t * dy));
}

static double arc_distance(const struct stroke *s, double x, double y)
{
    const double rad = 3.14159265358979 / 180;
    double angle = atan2(y - s->b, x - s->a) / rad;
    while (angle < s->d)
        angle += 360;
    if (angle <= s->e)
        return fabs(hypot(x - s->a, y - s->b) - s->c);
    double from = hypot(x - (s->a + s->c * cos(s->d * rad)), y - (s->b + s->c * sin(s->d * rad)));
    double to = hypot(x - (s->a + s->c * cos(s->e * rad)), y - (s->b + s->c * sin(s->e * rad)));
    return from < to ? from : to;
}

static double distance(const struct letter *l, double x, double y)
{
    double best = 1e9;
    for (unsigned i = 0; i < MAX_STROKES && l->strokes[i].kind != STROKE_END; i++) {
        const struct stroke *s = &l->strokes[i];
        double d = s->kind == LINE ? line_distance(s, x, y) : arc_distance(s, x, y);
        best = d < best ? d : best;
    }
    return best;
}

bool glyph__make(struct glyph *g, char c, double unit, double weight)
{
    const struct letter *l = &letters[WR_ARRAY_LEN(letters) - 1];
    for (size_t i = 0; i < WR_ARRAY_LEN(letters); i++)
        if (letters[i].c == c)
            l = &letters[i];
    double margin = weight / 2 + 1;
    g->width = (int)ceil(l->width * unit + 2 * margin);
    g->height = (int)ceil(1.5 * unit + 2 * margin);
    g->advance = (int)lround(l->width * unit + weight * 2.1);
    g->alpha = malloc((size_t)g->width * (size_t)g->height);
    if (!g->alpha)
        return false;
    for (int y = 0; y < g->height; y++)
        for (int x = 0; x < g->width; x++) {
            double d = distance(l, (x + 0.5 - margin) / unit,
                                (g->height - margin - y - 0.5) / unit) *
                       unit;
            double cover = weight / 2 - d + 0.5;
            g->alpha[y * g->width + x] = (uint8_t)(255 * (cover < 0 ? 0 : cover > 1 ? 1 : cover));
        }
    return true;
}

void glyph__free(struct glyph *g)
{
    free(g->alpha);
    *g = (struct glyph){.alpha = NULL};
}
