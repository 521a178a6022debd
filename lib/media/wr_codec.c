/* SPDX-License-Identifier: MIT
 *
 * See wr_codec.h. */
#include "wr_codec.h"

static const struct wr_codec_info table[] = {
#define X(symbol, number, kind, rfc6381, name) \
    {WR_CODEC_##symbol, WR_MEDIA_##kind, #symbol, rfc6381, name},
    WR_CODECS(X)
#undef X
};

const struct wr_codec_info *wr_codec_info(enum wr_codec codec)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++)
        if (table[i].codec == codec)
            return &table[i];
    return NULL;
}

const char *wr_codec_name(enum wr_codec codec)
{
    const struct wr_codec_info *c = wr_codec_info(codec);
    return c ? c->name : "an unknown codec";
}

enum wr_media_kind wr_codec_kind(enum wr_codec codec)
{
    const struct wr_codec_info *c = wr_codec_info(codec);
    return c ? c->kind : WR_MEDIA_NONE;
}
