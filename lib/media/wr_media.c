/* SPDX-License-Identifier: MIT
 *
 * MediaFrame by hand: field numbers are those of proto/watchroom/v1/ingest.proto and bus.proto (a test compares both ways
 * with the generated code). Bytes from the bus are treated like bytes from outside. */
#include "wr_media.h"

#include "watchroom/v1/bus.numbers.h"
#include "watchroom/v1/ingest.numbers.h"
#include "wr_pb.h"

/* Event */
enum {
    EVENT_INSTANCE = WR_PB_EVENT_INSTANCE,
    EVENT_TIME_MS = WR_PB_EVENT_TIME_MS,
    EVENT_MEDIA = WR_PB_EVENT_MEDIA
};
/* MediaFrame */
enum {
    MF_STREAM = WR_PB_MEDIA_FRAME_STREAM,
    MF_EPOCH = WR_PB_MEDIA_FRAME_EPOCH,
    MF_TRACK = WR_PB_MEDIA_FRAME_TRACK,
    MF_SEQ = WR_PB_MEDIA_FRAME_SEQ,
    MF_KEY = WR_PB_MEDIA_FRAME_KEY,
    MF_DTS = WR_PB_MEDIA_FRAME_DTS,
    MF_PTS = WR_PB_MEDIA_FRAME_PTS,
    MF_DURATION = WR_PB_MEDIA_FRAME_DURATION,
    MF_ARRIVAL_US = WR_PB_MEDIA_FRAME_ARRIVAL_US,
    MF_CAMERA_US = WR_PB_MEDIA_FRAME_CAMERA_US,
    MF_TIME_US = WR_PB_MEDIA_FRAME_TIME_US,
    MF_GOP = WR_PB_MEDIA_FRAME_GOP,
    MF_DATA = WR_PB_MEDIA_FRAME_DATA,
};
/* Tags and varints of the fixed fields of both messages, none longer than 1 + 10 bytes. */
#define FIXED_BYTES (17 * 11)

static bool take_bytes(const struct wr_pb_field *f, struct wr_slice *out)
{
    if (f->wire != 2)
        return false;
    *out = f->bytes;
    return true;
}

static bool take_field(const struct wr_pb_field *f, struct wr_media_frame *out)
{
    switch (f->number) {
    case MF_STREAM:
        return take_bytes(f, &out->stream);
    case MF_DATA:
        return take_bytes(f, &out->data);
    default:
        break;
    }
    if (f->number > MF_GOP)
        return true; /* a newer writer's field */
    if (f->wire != 0)
        return false;
    switch (f->number) {
    case MF_EPOCH:
        out->epoch = f->value;
        break;
    case MF_TRACK:
        out->track = (uint32_t)f->value;
        break;
    case MF_SEQ:
        out->seq = f->value;
        break;
    case MF_KEY:
        out->key = f->value != 0;
        break;
    case MF_DTS:
        out->dts = (int64_t)f->value;
        break;
    case MF_PTS:
        out->pts = (int64_t)f->value;
        break;
    case MF_DURATION:
        out->duration = (uint32_t)f->value;
        break;
    case MF_ARRIVAL_US:
        out->arrival_us = (int64_t)f->value;
        break;
    case MF_CAMERA_US:
        out->camera_us = (int64_t)f->value;
        break;
    case MF_TIME_US:
        out->time_us = (int64_t)f->value;
        break;
    case MF_GOP:
        out->gop = f->value;
        break;
    default:
        break;
    }
    return true;
}

wr_err wr_media_frame_read(struct wr_slice encoded, struct wr_media_frame *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct wr_media_frame){.track = 0};
    wr_pb_read(&r, encoded);
    while (wr_pb_next(&r, &f))
        if (!take_field(&f, out))
            return WR_ERR_INVALID;
    return r.bad || out->data.n == 0 || out->track == 0 ? WR_ERR_INVALID : WR_OK;
}

wr_err wr_media_event_read(struct wr_slice event, struct wr_media_frame *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, event);
    while (wr_pb_next(&r, &f))
        if (f.number == EVENT_MEDIA && f.wire == 2)
            return wr_media_frame_read(f.bytes, out);
    return r.bad ? WR_ERR_INVALID : WR_ERR_NOT_FOUND;
}

size_t wr_media_headroom(const char *instance, const char *stream)
{
    return WR_MSG_HEADROOM + FIXED_BYTES + strlen(instance) + strlen(stream);
}

wr_err wr_media_event_write(struct wr_msg *payload, const struct wr_media_frame *f,
                            const char *instance, int64_t time_ms, struct wr_slice *media)
{
    /* Both heads are written into a scratch first: their lengths are known only then. */
    uint8_t frame_head[FIXED_BYTES + 256], event_head[FIXED_BYTES + 256];
    if (f->stream.n > 255 || strlen(instance) > 255)
        return WR_ERR_INVALID;

    uint8_t *p = wr_pb_bytes(frame_head, MF_STREAM, f->stream);
    p = wr_pb_uint(p, MF_EPOCH, f->epoch);
    p = wr_pb_uint(p, MF_TRACK, f->track);
    p = wr_pb_uint(p, MF_SEQ, f->seq);
    p = wr_pb_uint(p, MF_KEY, f->key);
    p = wr_pb_uint(p, MF_DTS, (uint64_t)f->dts);
    p = wr_pb_uint(p, MF_PTS, (uint64_t)f->pts);
    p = wr_pb_uint(p, MF_DURATION, f->duration);
    p = wr_pb_uint(p, MF_ARRIVAL_US, (uint64_t)f->arrival_us);
    p = wr_pb_uint(p, MF_CAMERA_US, (uint64_t)f->camera_us);
    p = wr_pb_uint(p, MF_TIME_US, (uint64_t)f->time_us);
    p = wr_pb_uint(p, MF_GOP, f->gop);
    p = wr_pb_bytes_head(p, MF_DATA, payload->len);
    size_t frame_n = (size_t)(p - frame_head);

    p = wr_pb_bytes(event_head, EVENT_INSTANCE, wr_slice_str(instance));
    p = wr_pb_uint(p, EVENT_TIME_MS, (uint64_t)time_ms);
    p = wr_pb_bytes_head(p, EVENT_MEDIA, frame_n + payload->len);
    size_t event_n = (size_t)(p - event_head);

    uint8_t *to = wr_msg_push(payload, event_n + frame_n);
    if (!to)
        return WR_ERR_INVALID;
    memcpy(to, event_head, event_n);
    memcpy(to + event_n, frame_head, frame_n);
    if (media)
        *media = wr_slice_of(to + event_n, payload->len - event_n);
    return WR_OK;
}

const struct wr_track *wr_media_lead(const struct wr_track *tracks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tracks[i].kind == WR_MEDIA_VIDEO)
            return &tracks[i];
    return n > 0 ? &tracks[0] : NULL;
}
