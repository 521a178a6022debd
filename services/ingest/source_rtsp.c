/* SPDX-License-Identifier: MIT
 *
 * The source `rtsp://` over TCP, read by ourselves: every track whose packing we know (packings/). RTP's marker bit ends a
 * picture at once, which saves the frame that libavformat holds back (40 ms at 25 fps, 200 ms at 5 fps). What it cannot
 * read (UDP, TLS, odd packings) goes to libavformat, source_av.c. */
#include "flow.h"
#include "rendition.h"
#include "rtp.h"
#include "rtsp.h"
#include "source.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

WR_COUNTER(lost, "watchroom_ingest_rtp_lost_total", NULL,
           "Pictures left out because packets of them were lost");
WR_COUNTER(bad, "watchroom_ingest_rtp_bad_total", NULL,
           "Packets of cameras, or parts of them, that could not be taken apart");

#define OPEN_US (10 * 1000000)
#define TEARDOWN_US (500 * 1000)
#define NO_KEY_US (10 * 1000000)

struct camera;

struct camera_track {
    struct camera *camera;
    const struct sdp_track *told;
    unsigned channel; /* of its packets; its reports come on the next one */
    uint32_t id;      /* in the flow */
    struct rtp rtp;
    struct rendition rendition;
    int64_t skew; /* added to the sound's time, in its ticks */
};

struct camera {
    struct stream *s;
    struct source_end *end;
    struct rtsp rtsp;
    struct sdp sdp;
    char base[1024];
    struct camera_track tracks[SDP_MAX_TRACKS]; /* pictures first */
    size_t n;
    struct flow flow;
    int64_t began_us, last_video_us, alive_us;
    bool closing;
};

static bool has_video(const struct camera *c)
{
    return c->n > 0 && c->tracks[0].told->kind == WR_MEDIA_VIDEO;
}

static bool is_over(void *ctx)
{
    struct camera *c = ctx;
    return !c->closing && !stream__is_wanted(c->s);
}

/* ---- why it ended ------------------------------------------------------------------------------------------------- */

WR_PRINTF(3, 4) static bool fail(struct camera *c, bool lasting, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    c->end->is_lasting = lasting;
    vsnprintf(c->end->text, sizeof c->end->text, fmt, ap);
    va_end(ap);
    return false;
}

static bool fail_with(struct camera *c, enum rtsp_result e)
{
    switch (e) {
    case RTSP_REFUSED:
        return fail(c, false,
                    "the camera's host refuses the connection: is the port right, is it starting?");
    case RTSP_UNREACHABLE:
        return fail(c, false, "the camera's host cannot be reached");
    case RTSP_NO_NAME:
        return fail(c, false, "the camera's host name is not known");
    case RTSP_TIMEOUT:
        return fail(c, false, "the camera does not answer");
    case RTSP_CLOSED:
        return fail(c, false, "the camera ended the connection");
    case RTSP_BAD:
        return fail(c, false, "the camera answers with something that is not RTSP");
    default:
        return fail(c, false, "%s", "");
    }
}

static bool fail_with_status(struct camera *c, int status, const char *doing)
{
    if (status == 401)
        return fail(c, true, "the camera refused user or password (401)");
    if (status == 403)
        return fail(c, true, "the camera forbids it to this user (403)");
    if (status == 404)
        return fail(c, true,
                    "the camera has no such path (404): check the address behind the host");
    return fail(c, false, "the camera answered %s with status %d", doing, status);
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

/* Once both tracks told the camera's clock: a difference that one can hear is put right. */
static void keep_together(struct camera *c, struct camera_track *t)
{
    int64_t want;
    if (!has_video(c) || !rtp__skew(&c->tracks[0].rtp, &t->rtp, &want))
        return;
    int64_t off_ms = (want - t->skew) * 1000 / (int64_t)t->told->clock;
    if (off_ms <= 40 && off_ms >= -40)
        return;
    /* It counts samples, and would not believe so small a jump. */
    rendition__shift(&t->rendition, want - t->skew, t->told->clock);
    t->skew = want;
}

static void take_frame(void *ctx, const struct rtp_frame *f)
{
    struct camera_track *t = ctx;
    struct camera *c = t->camera;
    bool video = t->told->kind == WR_MEDIA_VIDEO;
    if (video)
        c->last_video_us = wr_mono_us();
    else
        keep_together(c, t);
    int64_t pts = f->pts + t->skew;
    flow__take(&c->flow, t->id,
               &(struct flow_sample){.data = f->data,
                                     .dts = video ? TIMELINE_NONE : pts,
                                     .pts = pts,
                                     .duration = f->duration,
                                     .camera_us = f->camera_us});
    rendition__feed(&t->rendition, f->data, pts, t->told->clock);
}

/* ---- tracks ------------------------------------------------------------------------------------------------------- */

static void leave_out(struct camera *c, const struct sdp_track *t, const char *why)
{
    snprintf(c->flow.note, sizeof c->flow.note, "without %s: %.150s",
             t->kind == WR_MEDIA_VIDEO ? "a picture" : "sound", why);
    wr_warn("ingest.track", "stream=%s %s", c->s->name, c->flow.note);
}

static void leave_out_foreign(struct camera *c, const struct sdp_track *t)
{
    struct wr_errmsg why;
    source__say_foreign(t->encoding, t->kind == WR_MEDIA_VIDEO, &why);
    leave_out(c, t, why.text);
}

static bool is_for_libavformat(const struct sdp_track *t)
{
    return (t->packing && t->packing->takes && !t->packing->takes(t)) ||
           strcasecmp(t->encoding, "MP4A-LATM") == 0;
}

/* Tracks of one kind whose packing we know. A track of another is named and left out. */
static void choose_kind(struct camera *c, enum wr_media_kind kind)
{
    for (size_t i = 0; i < c->sdp.n; i++) {
        const struct sdp_track *t = &c->sdp.tracks[i];
        if (t->kind != kind)
            continue;
        if (t->packing)
            c->tracks[c->n++] = (struct camera_track){.camera = c, .told = t};
        else
            leave_out_foreign(c, t);
    }
}

enum chosen { CHOSEN, CHOSEN_NOTHING, CHOSEN_FOREIGN };

/* FOREIGN: libavformat may know how to take it apart. */
static enum chosen choose_tracks(struct camera *c)
{
    bool promised = false;
    for (size_t i = 0; i < c->sdp.n; i++) {
        const struct sdp_track *t = &c->sdp.tracks[i];
        promised |= t->kind == WR_MEDIA_VIDEO;
        if (t->kind != WR_MEDIA_NONE && is_for_libavformat(t))
            return CHOSEN_FOREIGN;
    }
    choose_kind(c, WR_MEDIA_VIDEO);
    if (c->n > 0 || !promised)
        choose_kind(c, WR_MEDIA_AUDIO);
    if (c->n > 0)
        return CHOSEN;
    /* Of the note only the sentence: "without a picture" would be half of it. */
    const char *why = strchr(c->flow.note, ':');
    fail(c, true, "%s", why ? why + 2 : "the camera offers neither picture nor sound");
    return CHOSEN_NOTHING;
}

/* The flow learns of the track; false with a note when its configuration makes no sense. */
static bool add_track(struct camera *c, struct camera_track *t)
{
    const struct sdp_track *told = t->told;
    struct wr_errmsg err = {"its configuration in the session description cannot be read"};
    struct flow_spec spec = {.codec = codec__find(told->packing->codec),
                             .hint = {.config = {told->config, told->config_n},
                                      .sample_rate = told->clock,
                                      .channels = told->channels},
                             .clock = told->clock,
                             .fps_milli = told->fps_milli,
                             .language = told->language};
    t->id = flow__add(&c->flow, &spec);
    if (t->id == 0) {
        if (c->flow.n == WR_TRACKS_MAX)
            wr_errmsg_set(&err, "a stream has %d tracks at most", WR_TRACKS_MAX);
        leave_out(c, told, err.text);
        return false;
    }
    if (rendition__open(&t->rendition, &c->flow, t->id, &spec.hint, &err) != WR_OK)
        wr_warn("ingest.sound", "stream=%s only those hear it who take %s: %s", c->s->name,
                told->encoding, err.text);
    rtp__init(&t->rtp, told, take_frame, t);
    return true;
}

/* ---- the conversation --------------------------------------------------------------------------------------------- */

static bool ask(struct camera *c, const char *method, const char *url, const char *headers,
                struct rtsp_answer *a)
{
    enum rtsp_result e = rtsp__ask(&c->rtsp, method, url, headers, a, wr_mono_us() + OPEN_US);
    if (e == RTSP_UNABLE)
        return fail(c, true, "the camera asks for a kind of login that this version does not have");
    if (e != RTSP_OK)
        return fail_with(c, e);
    return a->status == 200 || fail_with_status(c, a->status, method);
}

static bool describe(struct camera *c)
{
    struct rtsp_answer a;
    if (!ask(c, "DESCRIBE", c->rtsp.url, "Accept: application/sdp\r\n", &a))
        return false;
    if (!sdp__parse(a.body, &c->sdp))
        return fail(c, false, "the camera's session description holds no media");
    snprintf(c->base, sizeof c->base, "%s", a.base[0] ? a.base : c->rtsp.url);
    if (strncasecmp(c->sdp.control, "rtsp://", 7) == 0)
        snprintf(c->base, sizeof c->base, "%s", c->sdp.control);
    return true;
}

/* The channel that the server chose, else the one we asked for. */
static unsigned channel_of(const char *transport, unsigned asked)
{
    unsigned channel = asked;
    const char *p = strcasestr(transport, "interleaved=");
    return p && sscanf(p + 12, "%u", &channel) == 1 && channel < 256 ? channel : asked;
}

static bool setup(struct camera *c, const struct sdp_track *t, unsigned asked, unsigned *channel)
{
    char url[1600], line[128];
    struct rtsp_answer a;
    if (!rtsp__resolve(c->base, t->control, url, sizeof url))
        return fail(c, false,
                    "the camera's session description has a control address that is too long");
    snprintf(line, sizeof line, "Transport: RTP/AVP/TCP;unicast;interleaved=%u-%u\r\n", asked,
             asked + 1);
    enum rtsp_result e = rtsp__ask(&c->rtsp, "SETUP", url, line, &a, wr_mono_us() + OPEN_US);
    if (e != RTSP_OK)
        return fail_with(c, e);
    if (a.status != 200)
        return fail_with_status(c, a.status, "SETUP");
    *channel = channel_of(a.transport, asked);
    return true;
}

/* A track that the camera does not let have (454, 461, ...) is left out; without the first picture there is nothing. */
static bool setup_all(struct camera *c)
{
    size_t left = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct camera_track *t = &c->tracks[i];
        if (!setup(c, t->told, 2 * (unsigned)i, &t->channel)) {
            if ((i == 0 && has_video(c)) || !stream__is_wanted(c->s))
                return false;
            leave_out(c, t->told, c->end->text);
            continue;
        }
        c->tracks[left] = *t;
        left += add_track(c, &c->tracks[left]);
    }
    c->n = left;
    if (left > 0)
        fail(c, false, "%s",
             ""); /* what ends the stream later is told with its own words and wait */
    else if (!c->end->text[0])
        fail(c, true, "%s", c->flow.note);
    return left > 0;
}

/* RTP-Info: url=...;seq=1;rtptime=123,url=... in any order; matched by the track's control address. */
static void take_rtp_info(struct camera *c, const char *info)
{
    while (*info) {
        size_t n = strcspn(info, ",");
        char part[600];
        snprintf(part, sizeof part, "%.*s", (int)WR_MIN(n, sizeof part - 1), info);
        const char *time = strcasestr(part, "rtptime=");
        for (size_t i = 0; time && i < c->n; i++)
            if (c->tracks[i].told->control[0] && strstr(part, c->tracks[i].told->control)) {
                rtp__set_base(&c->tracks[i].rtp, (uint32_t)strtoul(time + 8, NULL, 10));
                break;
            }
        info += n;
        info += *info == ',';
    }
}

static bool play(struct camera *c)
{
    struct rtsp_answer a;
    char url[1100];
    if (!rtsp__resolve(c->base, c->sdp.control, url, sizeof url) ||
        !ask(c, "PLAY", url, "Range: npt=0.000-\r\n", &a))
        return false;
    take_rtp_info(c, a.rtp_info);
    snprintf(c->base, sizeof c->base, "%.1020s", url);
    return true;
}

/* ---- packets ------------------------------------------------------------------------------------------------------ */

static void take_packet(struct camera *c, unsigned channel, struct wr_slice p)
{
    for (size_t i = 0; i < c->n; i++) {
        struct rtp *r = &c->tracks[i].rtp;
        uint64_t lost_before = r->lost, bad_before = r->bad;
        if (channel == c->tracks[i].channel)
            rtp__packet(r, p);
        else if (channel == c->tracks[i].channel + 1)
            rtp__control(r, p);
        else
            continue;
        wr_count(&lost, r->lost - lost_before);
        wr_count(&bad, r->bad - bad_before);
        return;
    }
}

static bool stay_alive(struct camera *c, int64_t now)
{
    if (now - c->alive_us < (int64_t)c->rtsp.session_s * 500000)
        return true;
    c->alive_us = now;
    enum rtsp_result e = rtsp__keep_alive(&c->rtsp, c->base);
    return e == RTSP_OK || fail_with(c, e);
}

static bool is_flowing(struct camera *c, int64_t now)
{
    if (has_video(c) && now - c->last_video_us > 2 * c->s->no_packet_us)
        return fail(c, false, "the camera sends sound but no picture any more");
    if (has_video(c) && c->flow.epoch == 0 && now - c->began_us > NO_KEY_US)
        stream__set_state(c->s, STREAM_STARTING,
                          "no keyframe for 10 s: set the camera's keyframe interval to 1 or 2 s "
                          "(it may use intra refresh)");
    return true;
}

static void read_packets(struct camera *c)
{
    unsigned channel;
    struct wr_slice p;
    c->began_us = c->last_video_us = c->alive_us = wr_mono_us();
    if (has_video(c))
        stream__set_state(c->s, STREAM_STARTING, STREAM_AWAITS_KEY);
    for (;;) {
        enum rtsp_result e = rtsp__packet(&c->rtsp, &channel, &p,
                                          wr_mono_us() + c->s->no_packet_us);
        if (e == RTSP_TIMEOUT)
            fail(c, false, "no packet from the camera for %lld s",
                 (long long)(c->s->no_packet_us / 1000000));
        else if (e == RTSP_CLOSED)
            fail(c, false, "the camera ended the stream");
        else if (e != RTSP_OK)
            fail_with(c, e);
        if (e != RTSP_OK)
            return;
        take_packet(c, channel, p);
        int64_t now = wr_mono_us();
        if (!stay_alive(c, now) || !is_flowing(c, now) || !stream__is_wanted(c->s))
            return;
    }
}

/* Many cameras allow few sessions: they are told, and get a moment to answer. */
static void teardown(struct camera *c)
{
    struct rtsp_answer a;
    c->closing = true;
    if (c->rtsp.fd >= 0 && c->rtsp.session[0])
        (void)rtsp__ask(&c->rtsp, "TEARDOWN", c->base, "", &a, wr_mono_us() + TEARDOWN_US);
    rtsp__close(&c->rtsp);
}

void source__run_rtsp(struct stream *s, struct source_end *end)
{
    if (strcmp(s->transport, "tcp") != 0) {
        source__run_av(s, end);
        return;
    }
    struct camera *c = calloc(1, sizeof *c);
    if (!c)
        return;
    bool foreign = false;
    c->s = s;
    c->end = end;
    c->rtsp = (struct rtsp){.fd = -1, .is_over = is_over, .ctx = c};
    flow__init(&c->flow, s);
    enum rtsp_result e = rtsp__open(&c->rtsp, s->url, wr_mono_us() + OPEN_US);
    if (e != RTSP_OK) {
        fail_with(c, e);
    } else if (describe(c)) {
        enum chosen what = choose_tracks(c);
        foreign = what == CHOSEN_FOREIGN;
        if (what == CHOSEN && setup_all(c) && play(c))
            read_packets(c);
    }
    teardown(c);
    for (size_t i = 0; i < c->n; i++) {
        rtp__free(&c->tracks[i].rtp);
        rendition__close(&c->tracks[i].rendition);
    }
    flow__fini(&c->flow);
    free(c);
    if (foreign)
        source__run_av(s, end);
}
