/* SPDX-License-Identifier: MIT
 *
 * The rows. See packing.h. */
#include "packing.h"

#include <stdlib.h>
#include <strings.h>

#define PACKINGS(X) X(h264) X(h265) X(aac) X(opus) X(pcma) X(pcmu)

#define X(name) extern const struct packing packing__##name;
PACKINGS(X)
#undef X

static const struct packing *const all[] = {
#define X(name) &packing__##name,
    PACKINGS(X)
#undef X
};

const struct packing *packing__find(const char *encoding)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
        if (strcasecmp(all[i]->encoding, encoding) == 0)
            return all[i];
    return NULL;
}

bool packing__is(const char *name, size_t n, const char *wanted)
{
    return n == strlen(wanted) && strncasecmp(name, wanted, n) == 0;
}

unsigned packing__number(const char *value, unsigned max, unsigned otherwise)
{
    char *end;
    if (value[0] < '0' || value[0] > '9')
        return otherwise;
    unsigned long v = strtoul(value, &end, 10);
    return end == value || v > max ? otherwise : (unsigned)v;
}
