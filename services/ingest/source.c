/* SPDX-License-Identifier: MIT
 *
 * Which kind of source takes an address. A list of what is allowed: a stream can never open a local file or an
 * arbitrary protocol of libavformat. */
#include "source.h"

#include <strings.h>

static const struct source_kind kinds[] = {
    {.prefix = "synthetic:", .check = source__check_synthetic, .run = source__run_synthetic},
    {.prefix = "rtsp://", .run = source__run_rtsp},
    {.prefix = "rtsps://", .run = source__run_av},
};

const struct source_kind *source__kind(const char *url)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(kinds); i++)
        if (strncasecmp(url, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return &kinds[i];
    return NULL;
}

wr_err source__check(const struct stream *s, struct wr_errmsg *err)
{
    const struct source_kind *k = source__kind(s->url);
    if (!k) {
        wr_errmsg_set(
            err,
            "streams.%s: the address must begin with rtsp://, rtsps:// or synthetic:", s->name);
        return WR_ERR_INVALID;
    }
    if (k->check && !k->check(s->url)) {
        wr_errmsg_set(err,
                      "streams.%s: behind synthetic: come names with + between them: h264 or h265, "
                      "aac, opus, g711a or g711u",
                      s->name);
        return WR_ERR_INVALID;
    }
    if (strcmp(s->transport, "tcp") != 0 && strcmp(s->transport, "udp") != 0) {
        wr_errmsg_set(err, "streams.%s: transport must be tcp or udp", s->name);
        return WR_ERR_INVALID;
    }
    return WR_OK;
}

void source__say_foreign(const char *codec, bool is_video, struct wr_errmsg *out)
{
    if (is_video)
        wr_errmsg_set(
            out,
            "the camera sends %s video, which this version does not carry: set the camera (or its "
            "substream) to H.264 or H.265",
            codec);
    else
        wr_errmsg_set(out,
                      "the camera sends %s sound, which this version does not carry: set it to "
                      "AAC, Opus or G.711",
                      codec);
}
