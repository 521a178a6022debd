/* SPDX-License-Identifier: MIT
 *
 * Sources that libavformat reads: RTSP over TCP or UDP. Every wait has a deadline (interrupt callback); keep-alives are
 * sent from inside av_read_frame, so this thread never pauses.
 *
 * libavformat's own parser and probing are off (units.h says why): the SDP tells the codecs, the stream itself the rest.
 * A picture is complete when the next one begins, one frame later (40 ms at 25 fps): RTP's marker bit, which says it at
 * once, does not come through libavformat. An own depacketiser would win that. */
#include "flow.h"
#include "rendition.h"
#include "source.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdio.h>

#define OPEN_US (10 * 1000000)
#define CLOSE_US \
    (500 * 1000) /* for TEARDOWN: many cameras allow few sessions and want to be told */
#define NO_KEY_US (10 * 1000000)

struct av;

struct av_track {
    struct av *av;
    int index; /* in libavformat */
    bool video;
    uint32_t id; /* in the flow */
    uint32_t clock;
    struct units units; /* pictures: put together here */
    struct rendition rendition;
};

/* One connection. */
struct av {
    struct stream *s;
    struct source_end *end;
    AVFormatContext *ctx;
    int64_t deadline_us; /* of the blocking call that runs now */
    bool closing;        /* TEARDOWN goes on although nobody wants the stream any more */
    struct av_track tracks[WR_TRACKS_MAX]; /* pictures first */
    size_t n;
    struct flow flow;
    int64_t last_video_us, began_us;
};

static void discard_log(void *avcl, int level, const char *format, va_list args)
{
    (void)avcl, (void)level, (void)format, (void)args;
}

void source__init_av(void)
{
    av_log_set_callback(discard_log);
    avformat_network_init();
}

/* Polled in every socket wait. */
static int is_over(void *opaque)
{
    struct av *a = opaque;
    return wr_mono_us() > a->deadline_us || (!a->closing && !stream__is_wanted(a->s));
}

/* ---- why it ended ------------------------------------------------------------------------------------------------- */

static void end_with(struct av *a, bool lasting, const char *text)
{
    a->end->is_lasting = lasting;
    snprintf(a->end->text, sizeof a->end->text, "%s", text);
}

static void end_with_av(struct av *a, int code, const char *doing)
{
    static const struct {
        int code;
        bool lasting;
        const char *text;
    } known[] = {
        {AVERROR_HTTP_UNAUTHORIZED, true, "the camera refused user or password (401)"},
        {AVERROR_HTTP_FORBIDDEN, true, "the camera forbids it to this user (403)"},
        {AVERROR_HTTP_NOT_FOUND, true,
         "the camera has no such path (404): check the address behind the host"},
        {AVERROR(ECONNREFUSED), false,
         "the camera's host refuses the connection: is the port right, is it starting?"},
        {AVERROR(EHOSTUNREACH), false, "the camera's host cannot be reached"},
        {AVERROR(ENETUNREACH), false, "the camera's network cannot be reached"},
        {AVERROR(ETIMEDOUT), false, "the camera does not answer"},
        {AVERROR_EOF, false, "the camera ended the stream"},
        {AVERROR_INVALIDDATA, false, "the camera answers with something that is not RTSP"},
        {AVERROR_PROTOCOL_NOT_FOUND, true, "this FFmpeg cannot read the address's protocol"},
    };
    if (code == AVERROR_EXIT) {
        snprintf(a->end->text, sizeof a->end->text, "the camera did not answer in time while %s",
                 doing);
        return;
    }
    for (size_t i = 0; i < WR_ARRAY_LEN(known); i++)
        if (known[i].code == code) {
            end_with(a, known[i].lasting, known[i].text);
            return;
        }
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof text);
    snprintf(a->end->text, sizeof a->end->text, "%s failed: %s", doing, text);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void set_options(struct av *a, AVDictionary **o)
{
    char us[32];
    snprintf(us, sizeof us, "%lld", (long long)a->s->no_packet_us);
    av_dict_set(o, "rtsp_transport", a->s->transport, 0);
    av_dict_set(o, "timeout", us, 0);                        /* microseconds; stimeout is gone */
    av_dict_set(o, "allowed_media_types", "video+audio", 0); /* ONVIF metadata stalls the probing */
    if (strcmp(a->s->transport, "udp") == 0)
        av_dict_set(o, "buffer_size", "1048576", 0);
}

static bool open_input(struct av *a)
{
    AVDictionary *options = NULL;
    const AVDictionaryEntry *left = NULL;
    a->ctx = avformat_alloc_context();
    if (!a->ctx) {
        end_with(a, false, "out of memory");
        return false;
    }
    a->ctx->interrupt_callback = (AVIOInterruptCB){.callback = is_over, .opaque = a};
    a->ctx->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    a->deadline_us = wr_mono_us() + OPEN_US;
    set_options(a, &options);
    int r = avformat_open_input(&a->ctx, a->s->url, NULL, &options); /* frees ctx when it fails */
    /* The only warning that libavformat gives about an option it does not know. */
    while (r >= 0 && (left = av_dict_get(options, "", left, AV_DICT_IGNORE_SUFFIX)))
        wr_error("ingest.option", "stream=%s libavformat does not know the option %s", a->s->name,
                 left->key);
    av_dict_free(&options);
    if (r >= 0)
        return true;
    end_with_av(a, r, "opening");
    return false;
}

static uint32_t fps_milli(const AVStream *st)
{
    AVRational r = st->avg_frame_rate; /* of the SDP */
    if (r.num <= 0 || r.den <= 0 || (int64_t)r.num * 1000 / r.den > 240000)
        return 0;
    return (uint32_t)((int64_t)r.num * 1000 / r.den);
}

static bool has_video(const struct av *a)
{
    return a->n > 0 && a->tracks[0].video;
}

static void leave_out(struct av *a, bool video, const char *why)
{
    snprintf(a->flow.note, sizeof a->flow.note, "without %s: %.150s", video ? "a picture" : "sound",
             why);
    wr_warn("ingest.track", "stream=%s %s", a->s->name, a->flow.note);
}

static void add_track(struct av *a, const AVStream *st)
{
    const AVCodecParameters *par = st->codecpar;
    const struct codec *codec = codec__find_av((int)par->codec_id);
    bool video = par->codec_type == AVMEDIA_TYPE_VIDEO;
    struct wr_errmsg err = {"its configuration cannot be read"};
    if (!codec)
        source__say_foreign(avcodec_get_name(par->codec_id), video, &err);
    else if (a->flow.n == WR_TRACKS_MAX)
        wr_errmsg_set(&err, "a stream has %d tracks at most", WR_TRACKS_MAX);
    if (!codec || a->flow.n == WR_TRACKS_MAX) {
        leave_out(a, video, err.text);
        return;
    }
    struct av_track *t = &a->tracks[a->n];
    *t = (struct av_track){.av = a, .index = st->index, .video = video};
    t->clock = video              ? CODEC_VIDEO_SCALE
               : par->sample_rate ? (uint32_t)par->sample_rate
                                  : SOUND_RATE;
    struct flow_spec spec = {
        .codec = codec,
        .hint = {.config = {par->extradata, (size_t)WR_MAX(par->extradata_size, 0)},
                 .sample_rate = (uint32_t)WR_MAX(par->sample_rate, 0),
                 .channels = (uint32_t)WR_MAX(par->ch_layout.nb_channels, 0)},
        .clock = t->clock,
        .fps_milli = video ? fps_milli(st) : 0};
    t->id = flow__add(&a->flow, &spec);
    if (t->id == 0) {
        leave_out(a, video, err.text);
        return;
    }
    if (rendition__open(&t->rendition, &a->flow, t->id, &spec.hint, &err) != WR_OK)
        wr_warn("ingest.sound", "stream=%s only those hear it who take %s: %s", a->s->name,
                wr_codec_name(codec->codec), err.text);
    a->n++;
}

static bool choose_tracks(struct av *a)
{
    static const enum AVMediaType order[] = {AVMEDIA_TYPE_VIDEO, AVMEDIA_TYPE_AUDIO};
    for (size_t k = 0; k < WR_ARRAY_LEN(order); k++) {
        bool offered = false;
        for (unsigned i = 0; i < a->ctx->nb_streams; i++)
            if (a->ctx->streams[i]->codecpar->codec_type == order[k]) {
                add_track(a, a->ctx->streams[i]);
                offered = true;
            }
        if (offered && a->n == 0 && order[k] == AVMEDIA_TYPE_VIDEO)
            break; /* a picture that we cannot show is not made up for by its sound */
    }
    if (a->n > 0)
        return true;
    const char *why = strchr(a->flow.note, ':');
    end_with(a, true, why ? why + 2 : "the camera offers neither picture nor sound");
    return false;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static int64_t rescale(int64_t v, AVRational from, uint32_t to)
{
    return v == AV_NOPTS_VALUE ? TIMELINE_NONE : av_rescale_q(v, from, (AVRational){1, (int)to});
}

static int64_t camera_clock_us(const AVPacket *pkt)
{
    size_t n = 0;
    const uint8_t *p = av_packet_get_side_data(pkt, AV_PKT_DATA_PRFT, &n);
    AVProducerReferenceTime t;
    if (!p || n < sizeof t)
        return 0;
    memcpy(&t, p, sizeof t);
    return t.wallclock;
}

static void take_picture(void *ctx, const struct units_one *unit)
{
    struct av_track *t = ctx;
    flow__take(&t->av->flow, t->id,
               &(struct flow_sample){.data = unit->data,
                                     .dts = TIMELINE_NONE,
                                     .pts = unit->pts,
                                     .duration = unit->duration,
                                     .camera_us = unit->camera_us});
}

static void take_packet(struct av *a, const AVPacket *pkt)
{
    struct av_track *t = NULL;
    for (size_t i = 0; i < a->n; i++)
        if (a->tracks[i].index == pkt->stream_index)
            t = &a->tracks[i];
    if (!t)
        return;
    struct wr_slice data = wr_slice_of(pkt->data, (size_t)WR_MAX(pkt->size, 0));
    int64_t pts = rescale(pkt->pts, a->ctx->streams[t->index]->time_base, t->clock);
    if (t->video) {
        a->last_video_us = wr_mono_us();
        units__feed(&t->units, data, pts, camera_clock_us(pkt), take_picture, t);
        return;
    }
    flow__take(&a->flow, t->id, &(struct flow_sample){.data = data, .dts = pts, .pts = pts});
    rendition__feed(&t->rendition, data, pts, t->clock);
}

/* False when the connection is alive but useless. */
static bool is_flowing(struct av *a)
{
    int64_t now = wr_mono_us();
    if (has_video(a) && now - a->last_video_us > 2 * a->s->no_packet_us) {
        end_with(a, false, "the camera sends sound but no picture any more");
        return false;
    }
    if (has_video(a) && a->flow.epoch == 0 && now - a->began_us > NO_KEY_US)
        stream__set_state(a->s, STREAM_STARTING,
                          "no keyframe for 10 s: set the camera's keyframe interval to 1 or 2 s "
                          "(it may use intra refresh)");
    return true;
}

static void read_packets(struct av *a)
{
    AVPacket *pkt = av_packet_alloc();
    int r = pkt ? 0 : AVERROR(ENOMEM);
    a->began_us = a->last_video_us = wr_mono_us();
    if (has_video(a))
        stream__set_state(a->s, STREAM_STARTING, STREAM_AWAITS_KEY);
    while (r >= 0 && stream__is_wanted(a->s)) {
        a->deadline_us = wr_mono_us() + a->s->no_packet_us;
        r = av_read_frame(a->ctx, pkt);
        if (r == AVERROR(EAGAIN)) {
            r = 0;
            continue;
        }
        if (r < 0)
            break;
        take_packet(a, pkt);
        av_packet_unref(pkt);
        if (!is_flowing(a))
            goto out;
    }
    if (r == AVERROR_EXIT || r == AVERROR(ETIMEDOUT))
        snprintf(a->end->text, sizeof a->end->text, "no packet from the camera for %lld s",
                 (long long)(a->s->no_packet_us / 1000000));
    else if (r < 0)
        end_with_av(a, r, "reading");
out:
    av_packet_free(&pkt);
}

void source__run_av(struct stream *s, struct source_end *end)
{
    struct av a = {.s = s, .end = end};
    flow__init(&a.flow, s);
    if (open_input(&a) && choose_tracks(&a))
        read_packets(&a);
    a.closing = true;
    a.deadline_us = wr_mono_us() + CLOSE_US;
    avformat_close_input(&a.ctx);
    for (size_t i = 0; i < a.n; i++) {
        units__free(&a.tracks[i].units);
        rendition__close(&a.tracks[i].rendition);
    }
    flow__fini(&a.flow);
}
