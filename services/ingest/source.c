/* SPDX-License-Identifier: MIT
 *
 * Which kind of source takes an address. A list of what is allowed: a stream can never open a local file or an
 * arbitrary protocol of libavformat. */
#include "source.h"

#include <strings.h>

static const struct {
    const char *prefix;
    void (*run)(struct stream *s, struct source_end *end);
} kinds[] = {
    {"synthetic:", source__run_synthetic},
    {"rtsp://", source__run_rtsp},
    {"rtsps://", source__run_av},
};

static size_t kind_of(const struct stream *s)
{
    size_t i = 0;
    while (i < WR_ARRAY_LEN(kinds) &&
           strncasecmp(s->url, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
        i++;
    return i;
}

wr_err source__check(const struct stream *s, struct wr_errmsg *err)
{
    if (kind_of(s) == WR_ARRAY_LEN(kinds)) {
        wr_errmsg_set(
            err,
            "streams.%s: the address must begin with rtsp://, rtsps:// or synthetic:", s->name);
        return WR_ERR_INVALID;
    }
    if (strcmp(s->transport, "tcp") != 0 && strcmp(s->transport, "udp") != 0) {
        wr_errmsg_set(err, "streams.%s: transport must be tcp or udp", s->name);
        return WR_ERR_INVALID;
    }
    return WR_OK;
}

void source__run(struct stream *s, struct source_end *end)
{
    kinds[kind_of(s)].run(s, end);
}
