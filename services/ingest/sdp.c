/* SPDX-License-Identifier: MIT
 *
 * See sdp.h. */
#include "sdp.h"

#include "wr_base64.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define LINE_BYTES 4096

static int hex_value(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

void sdp__put_sprop(struct sdp_track *t, const char *v)
{
    while (*v && *v != ';') {
        if (t->config_n + 4 >= sizeof t->config)
            return;
        memcpy(t->config + t->config_n, "\0\0\0\1", 4);
        size_t n;
        (void)wr_base64_decode(wr_slice_str(v), t->config + t->config_n + 4,
                               sizeof t->config - t->config_n - 4, &n, NULL);
        t->config_n += n ? 4 + n : 0;
        v += strcspn(v, ",;");
        v += *v == ',';
    }
}

void sdp__put_hex(struct sdp_track *t, const char *v)
{
    for (; hex_value((unsigned char)v[0]) >= 0 && hex_value((unsigned char)v[1]) >= 0 &&
           t->config_n < 64;
         v += 2)
        t->config[t->config_n++] = (uint8_t)(hex_value((unsigned char)v[0]) << 4 |
                                             hex_value((unsigned char)v[1]));
}

static void parse_fmtp(struct sdp_track *t, const char *v)
{
    if (!t->packing || !t->packing->parameter)
        return;
    v += strcspn(v, " ");
    while (*v) {
        v += strspn(v, " ;");
        size_t n = strcspn(v, "=;");
        t->packing->parameter(t, v, n, v[n] == '=' ? v + n + 1 : "");
        v += strcspn(v, ";");
    }
}

static void set_encoding(struct sdp_track *t, const char *name, size_t n)
{
    /* It is told to people: letters, digits, signs of a name. */
    size_t ok = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+");
    if (WR_MIN(n, ok) > 0)
        snprintf(t->encoding, sizeof t->encoding, "%.*s", (int)WR_MIN(n, ok), name);
    const struct packing *packing = packing__find(t->encoding);
    t->packing = packing && wr_codec_kind(packing->codec) == t->kind ? packing : NULL;
}

static void parse_rtpmap(struct sdp_track *t, const char *v)
{
    v += strcspn(v, " ");
    v += strspn(v, " ");
    size_t n = strcspn(v, "/");
    set_encoding(t, v, n);
    if (v[n] != '/')
        return;
    v += n + 1;
    unsigned long clock = strtoul(v, NULL, 10);
    t->clock = clock > 0 && clock <= 1000000 ? (uint32_t)clock : t->clock;
    v += strcspn(v, "/");
    t->channels = *v == '/' ? (uint32_t)WR_MIN(strtoul(v + 1, NULL, 10), 8ul) : 0;
}

/* Types that need no rtpmap (RFC 3551, tables 4 and 5). */
static const struct {
    unsigned payload_type;
    const char *name;
    uint32_t clock;
} static_types[] = {
    {0, "PCMU", 8000},   {3, "GSM", 8000},    {4, "G723", 8000},   {5, "DVI4", 8000},
    {6, "DVI4", 16000},  {7, "LPC", 8000},    {8, "PCMA", 8000},   {9, "G722", 8000},
    {10, "L16", 44100},  {11, "L16", 44100},  {12, "QCELP", 8000}, {13, "CN", 8000},
    {14, "MPA", 90000},  {15, "G728", 8000},  {16, "DVI4", 11025}, {17, "DVI4", 22050},
    {18, "G729", 8000},  {25, "CelB", 90000}, {26, "JPEG", 90000}, {28, "nv", 90000},
    {31, "H261", 90000}, {32, "MPV", 90000},  {33, "MP2T", 90000}, {34, "H263", 90000}};

static void set_static_type(struct sdp_track *t)
{
    snprintf(t->encoding, sizeof t->encoding, "payload type %u", t->payload_type);
    for (size_t i = 0; i < WR_ARRAY_LEN(static_types); i++)
        if (static_types[i].payload_type == t->payload_type) {
            set_encoding(t, static_types[i].name, strlen(static_types[i].name));
            t->clock = static_types[i].clock;
        }
}

static struct sdp_track *parse_media(struct sdp *out, const char *v)
{
    if (out->n == SDP_MAX_TRACKS)
        return NULL;
    struct sdp_track *t = &out->tracks[out->n++];
    *t = (struct sdp_track){.kind = strncasecmp(v, "video ", 6) == 0   ? WR_MEDIA_VIDEO
                                    : strncasecmp(v, "audio ", 6) == 0 ? WR_MEDIA_AUDIO
                                                                       : WR_MEDIA_NONE,
                            .clock = 90000};
    unsigned pt;
    if (sscanf(v, "%*s %*s %*s %u", &pt) == 1)
        t->payload_type = pt & 127;
    set_static_type(t);
    return t;
}

/* An attribute of the track's own payload type? "a=rtpmap:96 ..." */
static bool is_for(const struct sdp_track *t, const char *v)
{
    return (unsigned)strtoul(v, NULL, 10) == t->payload_type;
}

static void parse_attribute(struct sdp *out, struct sdp_track *t, const char *v)
{
    if (strncmp(v, "control:", 8) == 0)
        snprintf(t ? t->control : out->control, sizeof out->control, "%.500s", v + 8);
    else if (!t)
        return;
    else if (strncmp(v, "rtpmap:", 7) == 0 && is_for(t, v + 7))
        parse_rtpmap(t, v + 7);
    else if (strncmp(v, "fmtp:", 5) == 0 && is_for(t, v + 5))
        parse_fmtp(t, v + 5);
    else if (strncmp(v, "lang:", 5) == 0) {
        size_t n = strspn(v + 5, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
        snprintf(t->language, sizeof t->language, "%.*s", (int)WR_MIN(n, 35), v + 5);
    } else if (strncmp(v, "framerate:", 10) == 0) {
        double fps = strtod(v + 10, NULL);
        t->fps_milli = fps >= 0.1 && fps <= 240 ? (uint32_t)(fps * 1000) : 0;
    }
}

bool sdp__parse(struct wr_slice text, struct sdp *out)
{
    const char *p = (const char *)text.p, *end = p + text.n;
    struct sdp_track *t = NULL;
    bool in_track = false;
    *out = (struct sdp){.n = 0};
    while (p < end) {
        char line[LINE_BYTES];
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p), used = WR_MIN(n, sizeof line - 1);
        memcpy(line, p, used);
        line[used] = 0;
        line[strcspn(line, "\r")] = 0;
        p += n + 1;
        if (strncmp(line, "m=", 2) == 0) {
            t = parse_media(out, line + 2);
            in_track = true;
        } else if (strncmp(line, "a=", 2) == 0 && (t || !in_track)) {
            parse_attribute(out, t, line + 2);
        }
    }
    return out->n > 0;
}
