/* SPDX-License-Identifier: MIT
 *
 * The rows. See codec.h. */
#include "codec.h"

#define CODECS(X) X(h264) X(h265) X(aac) X(opus) X(g711a) X(g711u)

#define X(name) extern const struct codec codec__##name;
CODECS(X)
#undef X

const struct codec *const codec__all[] = {
#define X(name) &codec__##name,
    CODECS(X)
#undef X
        NULL};

const struct codec *codec__find(enum wr_codec codec)
{
    for (size_t i = 0; codec__all[i]; i++)
        if (codec__all[i]->codec == codec)
            return codec__all[i];
    return NULL;
}

const struct codec *codec__find_av(int av_id)
{
    for (size_t i = 0; codec__all[i]; i++)
        if (codec__all[i]->av_id == av_id)
            return codec__all[i];
    return NULL;
}

uint8_t *codec__store_whole(const void *state, const struct codec_unit *unit, bool keep_sets,
                            uint8_t *to)
{
    (void)state, (void)keep_sets;
    memcpy(to, unit->data.p, unit->data.n);
    return to + unit->data.n;
}
