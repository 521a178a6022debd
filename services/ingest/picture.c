/* SPDX-License-Identifier: MIT
 *
 * See picture.h. Two copies of the planes: `back` holds what never changes, `now` is what is sent. A thing that moves is
 * erased by copying its rectangle from back, and drawn anew. All rectangles are even, so that chroma fits. */
#include "picture.h"

#include "glyphs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define W PICTURE_WIDTH
#define H PICTURE_HEIGHT
#define LUMA ((size_t)W * H)
#define CHROMA (LUMA / 4)

#define CLOCK_CHARS 10 /* HH:MM:SS.t */
#define CLOCK_Y 270
#define BAR_X 340
#define BAR_Y 470
#define BAR_W 600
#define BAR_H 4
#define LIGHT 200 /* diameter of the light's square */

struct colour {
    uint8_t y, u, v;
};
static const struct colour white = {225, 128, 128}, amber = {200, 84, 152}, mist = {140, 132, 122};

struct rect {
    int x, y, w, h;
};

struct picture {
    uint8_t back[LUMA + 2 * CHROMA], now[LUMA + 2 * CHROMA];
    struct glyph digits[10], colon, dot;
    uint8_t light[LIGHT * LIGHT];
    struct rect light_at; /* where it is drawn; w == 0: nowhere */
    char shown[CLOCK_CHARS + 1];
    int shown_day;
    int bar_shown;
};

static size_t plane_at(unsigned i)
{
    return i == 0 ? 0 : i == 1 ? LUMA : LUMA + CHROMA;
}

uint8_t *picture__plane(struct picture *p, unsigned i)
{
    return p->now + plane_at(i);
}

/* ---- drawing ------------------------------------------------------------------------------------------------------ */

static uint8_t mix(uint8_t from, uint8_t to, unsigned alpha)
{
    return (uint8_t)((from * (255 - alpha) + to * alpha + 127) / 255);
}

static struct rect clip(struct rect r)
{
    int x1 = WR_MIN(r.x + r.w, W), y1 = WR_MIN(r.y + r.h, H);
    r.x = WR_MAX(r.x, 0);
    r.y = WR_MAX(r.y, 0);
    r.w = WR_MAX(x1 - r.x, 0);
    r.h = WR_MAX(y1 - r.y, 0);
    return r;
}

/* Draws a colour through a coverage mask whose top left is at (x, y), even numbers. */
static void blend(uint8_t *planes, const uint8_t *alpha, int mask_w, int mask_h, int x, int y,
                  struct colour c)
{
    struct rect r = clip((struct rect){x, y, mask_w, mask_h});
    for (int j = r.y; j < r.y + r.h; j++) {
        const uint8_t *a = alpha + (size_t)(j - y) * (size_t)mask_w + (size_t)(r.x - x);
        uint8_t *to = planes + (size_t)j * W + (size_t)r.x;
        for (int i = 0; i < r.w; i++)
            if (a[i])
                to[i] = mix(to[i], c.y, a[i]);
        if (j % 2)
            continue;
        uint8_t *u = planes + LUMA + (size_t)(j / 2) * (W / 2) + (size_t)(r.x / 2), *v = u + CHROMA;
        for (int i = 0; i < r.w; i += 2)
            if (a[i]) {
                u[i / 2] = mix(u[i / 2], c.u, a[i]);
                v[i / 2] = mix(v[i / 2], c.v, a[i]);
            }
    }
}

static void erase(struct picture *p, struct rect r)
{
    r.w += r.x % 2;
    r.x -= r.x % 2;
    r.h += r.y % 2;
    r.y -= r.y % 2;
    r = clip((struct rect){r.x, r.y, (r.w + 1) / 2 * 2, (r.h + 1) / 2 * 2});
    for (int j = r.y; j < r.y + r.h; j++)
        memcpy(p->now + (size_t)j * W + r.x, p->back + (size_t)j * W + r.x, (size_t)r.w);
    for (unsigned k = 1; k < 3; k++)
        for (int j = r.y / 2; j < (r.y + r.h) / 2; j++) {
            size_t at = plane_at(k) + (size_t)j * (W / 2) + (size_t)(r.x / 2);
            memcpy(p->now + at, p->back + at, (size_t)r.w / 2);
        }
}

static void fill(uint8_t *planes, struct rect r, struct colour c)
{
    for (int j = r.y; j < r.y + r.h; j++)
        memset(planes + (size_t)j * W + r.x, c.y, (size_t)r.w);
    for (int j = r.y / 2; j < (r.y + r.h) / 2; j++) {
        memset(planes + plane_at(1) + (size_t)j * (W / 2) + r.x / 2, c.u, (size_t)r.w / 2);
        memset(planes + plane_at(2) + (size_t)j * (W / 2) + r.x / 2, c.v, (size_t)r.w / 2);
    }
}

/* Text from `left` on. False when memory is out. */
static bool text(uint8_t *planes, const char *s, double unit, double weight, int left, int y,
                 struct colour c)
{
    for (int x = left; *s; s++) {
        struct glyph g;
        if (!glyph__make(&g, *s, unit, weight))
            return false;
        blend(planes, g.alpha, g.width, g.height, x & ~1, y, c);
        x += g.advance;
        glyph__free(&g);
    }
    return true;
}

/* ---- what stays --------------------------------------------------------------------------------------------------- */

/* BT.709, limited range, from linear blends of a few colours (components 0 to 1). */
static void put_gradient(uint8_t *planes)
{
    static const double top[3] = {0.06, 0.09, 0.20}, bottom[3] = {0.07, 0.30, 0.36},
                        side[3] = {0.25, 0.12, 0.36};
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            double fy = y / (double)H, fx = x / (double)W * (1 - fy), c[3];
            for (unsigned k = 0; k < 3; k++)
                c[k] = (top[k] * (1 - fy) + bottom[k] * fy) * (1 - 0.7 * fx) + side[k] * 0.7 * fx;
            double luma = 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
            planes[(size_t)y * W + (size_t)x] = (uint8_t)lround(16 + 219 * luma);
            if (x % 2 || y % 2)
                continue;
            size_t at = (size_t)(y / 2) * (W / 2) + (size_t)(x / 2);
            planes[LUMA + at] = (uint8_t)lround(128 + 224 * (c[2] - luma) / 1.8556);
            planes[LUMA + CHROMA + at] = (uint8_t)lround(128 + 224 * (c[0] - luma) / 1.5748);
        }
}

static void put_light_mask(uint8_t *alpha)
{
    for (int y = 0; y < LIGHT; y++)
        for (int x = 0; x < LIGHT; x++) {
            double d = hypot(x - LIGHT / 2 + 0.5, y - LIGHT / 2 + 0.5) / (LIGHT / 2);
            double core = d < 0.22 ? 1 : 0, glow = d < 1 ? 0.55 * pow(1 - d, 2.2) : 0;
            double edge = d >= 0.22 && d < 0.25 ? (0.25 - d) / 0.03 : 0;
            alpha[y * LIGHT + x] = (uint8_t)(255 * fmin(1, fmax(core, fmax(edge, glow))));
        }
}

static bool make_glyphs(struct picture *p)
{
    const double unit = 92, weight = 15;
    bool ok = glyph__make(&p->colon, ':', unit, weight) && glyph__make(&p->dot, '.', unit, weight);
    for (int i = 0; i < 10 && ok; i++)
        ok = glyph__make(&p->digits[i], (char)('0' + i), unit, weight);
    return ok;
}

struct picture *picture__new(void)
{
    struct picture *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    put_gradient(p->back);
    put_light_mask(p->light);
    /* The machine's clock needs neutral chroma under it; it is drawn over `now` each time. */
    fill(p->back, (struct rect){0, 0, 32 * PICTURE_CLOCK_BLOCK, PICTURE_CLOCK_BLOCK},
         (struct colour){16, 128, 128});
    fill(p->back, (struct rect){BAR_X, BAR_Y, BAR_W, BAR_H}, (struct colour){70, 134, 124});
    if (!make_glyphs(p) || !text(p->back, "Watchroom demo", 34, 6, 64, 88, white)) {
        picture__free(&p);
        return NULL;
    }
    memcpy(p->now, p->back, sizeof p->now);
    p->shown_day = -1;
    return p;
}

void picture__free(struct picture **pp)
{
    struct picture *p = *pp;
    if (!p)
        return;
    for (int i = 0; i < 10; i++)
        glyph__free(&p->digits[i]);
    glyph__free(&p->colon);
    glyph__free(&p->dot);
    free(p);
    *pp = NULL;
}

/* ---- what moves --------------------------------------------------------------------------------------------------- */

static const struct glyph *glyph_of(const struct picture *p, char c)
{
    return c == ':' ? &p->colon : c == '.' ? &p->dot : &p->digits[c - '0'];
}

static void draw_clock(struct picture *p, const struct tm *t, unsigned tenth)
{
    char s[64];
    snprintf(s, sizeof s, "%02d:%02d:%02d.%u", t->tm_hour, t->tm_min, t->tm_sec % 60, tenth);
    int wide = 7 * p->digits[0].advance + 2 * p->colon.advance + p->dot.advance, x = (W - wide) / 2;
    for (int i = 0; i < CLOCK_CHARS; i++) {
        const struct glyph *g = glyph_of(p, s[i]);
        if (s[i] != p->shown[i]) {
            erase(p, (struct rect){x & ~1, CLOCK_Y, g->width, g->height});
            blend(p->now, g->alpha, g->width, g->height, x & ~1, CLOCK_Y, i < 8 ? white : mist);
        }
        x += g->advance;
    }
    memcpy(p->shown, s, sizeof p->shown);
}

static void draw_date(struct picture *p, const struct tm *t)
{
    char s[64];
    if (t->tm_yday == p->shown_day)
        return;
    p->shown_day = t->tm_yday;
    snprintf(s, sizeof s, "%04d-%02d-%02d", 1900 + t->tm_year, t->tm_mon + 1, t->tm_mday);
    erase(p, (struct rect){960, 88, 260, 66});
    text(p->now, s, 20, 4, 974, 100, mist);
}

/* Fills with the second, so that the eye sees whether frames come evenly. */
static void draw_bar(struct picture *p, int64_t wall_ms)
{
    int want = (int)(wall_ms % 1000 * BAR_W / 1000) & ~1;
    if (want < p->bar_shown) {
        erase(p, (struct rect){BAR_X, BAR_Y, BAR_W, BAR_H});
        p->bar_shown = 0;
    }
    fill(p->now, (struct rect){BAR_X + p->bar_shown, BAR_Y, want - p->bar_shown, BAR_H}, amber);
    p->bar_shown = want;
}

static void draw_light(struct picture *p, int64_t wall_ms)
{
    double t = (double)(wall_ms % 3600000) / 1000;
    if (p->light_at.w > 0)
        erase(p, p->light_at);
    int x = (int)(W / 2 + 510 * sin(t * 0.45) - LIGHT / 2),
        y = (int)(598 + 18 * sin(t * 1.7) - LIGHT / 2);
    p->light_at = (struct rect){x & ~1, y & ~1, LIGHT, LIGHT};
    blend(p->now, p->light, LIGHT, LIGHT, p->light_at.x, p->light_at.y, amber);
}

static void draw_machine_clock(struct picture *p, int64_t wall_ms)
{
    uint32_t v = (uint32_t)wall_ms;
    for (int y = 0; y < PICTURE_CLOCK_BLOCK; y++)
        for (int i = 0; i < 32; i++)
            memset(p->now + (size_t)y * W + (size_t)i * PICTURE_CLOCK_BLOCK,
                   v >> (31 - i) & 1 ? 235 : 16, PICTURE_CLOCK_BLOCK);
}

void picture__draw(struct picture *p, int64_t wall_ms)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm t;
    localtime_r(&s, &t);
    draw_clock(p, &t, (unsigned)(wall_ms % 1000 / 100));
    draw_date(p, &t);
    draw_bar(p, wall_ms);
    draw_light(p, wall_ms);
    draw_machine_clock(p, wall_ms);
}
