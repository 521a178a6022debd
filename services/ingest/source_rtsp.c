/* SPDX-License-Identifier: MIT
 *
 * The source `rtsp://` over TCP, read by ourselves: H.264 with AAC, G.711 or without sound. RTP's marker bit ends a
 * picture at once, which saves the frame that libavformat holds back (40 ms at 25 fps, 200 ms at 5 fps). What it cannot
 * read (UDP, TLS, odd packings) goes to libavformat, source_av.c. */
#include "flow.h"
#include "rtp.h"
#include "rtsp.h"
#include "sound.h"
#include "source.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"

#include <libavcodec/avcodec.h>
#include <libavutil/mathematics.h>
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

struct camera {
    struct stream *s;
    struct source_end *end;
    struct rtsp rtsp;
    struct sdp sdp;
    char base[1024];
    const struct sdp_track *video, *audio; /* NULL = none */
    unsigned video_channel, audio_channel;
    struct rtp video_rtp, audio_rtp;
    struct flow flow;
    struct sound *sound;
    AVPacket *packet;
    int64_t skew; /* added to the sound's time, in its ticks */
    int64_t began_us, last_video_us, alive_us;
    bool closing;
};

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

/* ---- tracks ------------------------------------------------------------------------------------------------------- */

static void take_video(void *ctx, const struct rtp_frame *f)
{
    struct camera *c = ctx;
    c->last_video_us = wr_mono_us();
    int64_t pts = av_rescale(f->pts, FLOW_VIDEO_SCALE, c->video->clock);
    uint32_t duration = (uint32_t)((uint64_t)f->duration * FLOW_VIDEO_SCALE / c->video->clock);
    flow__video(&c->flow, &(struct flow_sample){.data = f->data,
                                                .dts = TIMELINE_NONE,
                                                .pts = pts,
                                                .duration = duration,
                                                .camera_us = f->camera_us});
}

static void take_coded_sound(void *ctx, struct wr_slice data, int64_t pts, uint32_t duration)
{
    struct camera *c = ctx;
    flow__audio(&c->flow,
                &(struct flow_sample){.data = data, .dts = pts, .pts = pts, .duration = duration});
}

/* Once both tracks told the camera's clock: a difference that one can hear is put right. */
static void keep_together(struct camera *c)
{
    int64_t want;
    if (!c->video || !rtp__skew(&c->video_rtp, &c->audio_rtp, &want))
        return;
    int64_t off_ms = (want - c->skew) * 1000 / (int64_t)c->audio->clock;
    if (off_ms <= 40 && off_ms >= -40)
        return;
    if (c->sound) /* counts samples, and would not believe so small a jump */
        sound__shift(c->sound, av_rescale(want - c->skew, SOUND_RATE, c->audio->clock));
    c->skew = want;
}

static void take_audio(void *ctx, const struct rtp_frame *f)
{
    struct camera *c = ctx;
    keep_together(c);
    int64_t pts = f->pts + c->skew;
    if (!c->sound) {
        pts = av_rescale(pts, c->flow.sample_rate, c->audio->clock);
        take_coded_sound(c, f->data, pts, f->duration);
        return;
    }
    if (av_new_packet(c->packet, (int)f->data.n) < 0)
        return;
    memcpy(c->packet->data, f->data.p, f->data.n);
    sound__feed(c->sound, c->packet, av_rescale(pts, SOUND_RATE, c->audio->clock));
    av_packet_unref(c->packet);
}

static bool open_sound(struct camera *c, struct wr_errmsg *err)
{
    AVCodecParameters *par = avcodec_parameters_alloc();
    bool ok = false;
    c->packet = av_packet_alloc();
    if (par && c->packet) {
        par->codec_type = AVMEDIA_TYPE_AUDIO;
        par->codec_id = c->audio->format == SDP_PCMA ? AV_CODEC_ID_PCM_ALAW : AV_CODEC_ID_PCM_MULAW;
        par->sample_rate = (int)c->audio->clock;
        av_channel_layout_default(&par->ch_layout,
                                  c->audio->channels ? (int)c->audio->channels : 1);
        ok = sound__new(par, take_coded_sound, c, &c->sound, err) == WR_OK &&
             flow__set_audio(&c->flow, sound__config(c->sound), SOUND_RATE,
                             sound__channels(c->sound));
    }
    avcodec_parameters_free(&par);
    return ok;
}

static void leave_sound_out(struct camera *c, const char *why)
{
    snprintf(c->flow.note, sizeof c->flow.note, "without sound: %.150s", why);
    wr_warn("ingest.sound", "stream=%s %s", c->s->name, c->flow.note);
    c->audio = NULL;
}

static void choose_sound(struct camera *c)
{
    struct wr_errmsg err = {"its AAC configuration cannot be read"};
    const struct sdp_track *t = c->audio;
    if (!t)
        return;
    if (t->format == SDP_OTHER) {
        wr_errmsg_set(
            &err,
            "the camera sends %s sound, which this version does not carry: set it to AAC or G.711",
            t->encoding);
        leave_sound_out(c, err.text);
    } else if (t->format == SDP_AAC) {
        if (!flow__set_audio(&c->flow, wr_slice_of(t->config, t->config_n), 0, t->channels))
            leave_sound_out(c, err.text);
    } else if (!open_sound(c, &err)) {
        leave_sound_out(c, err.text);
    }
}

static const struct sdp_track *first_track(const struct sdp *sdp, bool video)
{
    for (size_t i = 0; i < sdp->n; i++)
        if (video ? sdp->tracks[i].is_video : sdp->tracks[i].is_audio)
            return &sdp->tracks[i];
    return NULL;
}

enum chosen { CHOSEN, CHOSEN_NOTHING, CHOSEN_FOREIGN };

/* FOREIGN: libavformat may know how to take it apart. */
static enum chosen choose_tracks(struct camera *c)
{
    c->video = first_track(&c->sdp, true);
    c->audio = first_track(&c->sdp, false);
    bool odd_sound = c->audio && ((c->audio->format == SDP_AAC &&
                                   (c->audio->size_bits == 0 || c->audio->config_n == 0)) ||
                                  strcasecmp(c->audio->encoding, "MP4A-LATM") == 0);
    if (odd_sound || (c->video && c->video->format == SDP_H264 && c->video->mode > 1))
        return CHOSEN_FOREIGN;
    if (c->video && c->video->format != SDP_H264) {
        fail(c, true,
             "the camera sends %s video, which this version does not carry: set the camera (or "
             "its substream) to H.264",
             strcasecmp(c->video->encoding, "H265") == 0 ? "H.265 (hevc)" : c->video->encoding);
        return CHOSEN_NOTHING;
    }
    if (c->video)
        flow__set_video(&c->flow, wr_slice_of(c->video->config, c->video->config_n),
                        c->video->fps_milli);
    choose_sound(c);
    if (c->video || c->audio)
        return CHOSEN;
    fail(c, true, "%s",
         c->flow.note[0] ? c->flow.note : "the camera offers neither picture nor sound");
    return CHOSEN_NOTHING;
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

/* A track that the camera does not let have (454, 461, ...) is left out; without the picture there is nothing. */
static bool setup_all(struct camera *c)
{
    if (c->video && !setup(c, c->video, 0, &c->video_channel))
        return false;
    if (!c->audio || setup(c, c->audio, 2, &c->audio_channel))
        return true;
    if (!c->video || !stream__is_wanted(c->s))
        return false;
    leave_sound_out(c, c->end->text);
    c->flow.asc.n = 0;
    fail(c, false, "%s", ""); /* what ends the stream later is told with its own words and wait */
    return true;
}

/* RTP-Info: url=...;seq=1;rtptime=123,url=... in any order; matched by the track's control address. */
static void take_rtp_info(struct camera *c, const char *info)
{
    while (*info) {
        size_t n = strcspn(info, ",");
        char part[600];
        snprintf(part, sizeof part, "%.*s", (int)WR_MIN(n, sizeof part - 1), info);
        const char *time = strcasestr(part, "rtptime=");
        uint32_t ts = time ? (uint32_t)strtoul(time + 8, NULL, 10) : 0;
        if (time && c->video && c->video->control[0] && strstr(part, c->video->control))
            rtp__set_base(&c->video_rtp, ts);
        else if (time && c->audio && c->audio->control[0] && strstr(part, c->audio->control))
            rtp__set_base(&c->audio_rtp, ts);
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
    rtp__init(&c->video_rtp, c->video, take_video, c);
    rtp__init(&c->audio_rtp, c->audio, take_audio, c);
    take_rtp_info(c, a.rtp_info);
    snprintf(c->base, sizeof c->base, "%.1020s", url);
    return true;
}

/* ---- packets ------------------------------------------------------------------------------------------------------ */

static void take_packet(struct camera *c, unsigned channel, struct wr_slice p)
{
    uint64_t lost_before = c->video_rtp.lost, bad_before = c->video_rtp.bad + c->audio_rtp.bad;
    if (c->video && channel == c->video_channel)
        rtp__packet(&c->video_rtp, p);
    else if (c->video && channel == c->video_channel + 1)
        rtp__control(&c->video_rtp, p);
    else if (c->audio && channel == c->audio_channel)
        rtp__packet(&c->audio_rtp, p);
    else if (c->audio && channel == c->audio_channel + 1)
        rtp__control(&c->audio_rtp, p);
    wr_count(&lost, c->video_rtp.lost - lost_before);
    wr_count(&bad, c->video_rtp.bad + c->audio_rtp.bad - bad_before);
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
    if (c->video && now - c->last_video_us > 2 * c->s->no_packet_us)
        return fail(c, false, "the camera sends sound but no picture any more");
    if (c->video && c->flow.epoch == 0 && now - c->began_us > NO_KEY_US)
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
    if (c->video)
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
    rtp__free(&c->video_rtp);
    rtp__free(&c->audio_rtp);
    sound__free(&c->sound);
    av_packet_free(&c->packet);
    flow__fini(&c->flow);
    free(c);
    if (foreign)
        source__run_av(s, end);
}
