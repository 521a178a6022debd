/* SPDX-License-Identifier: MIT
 *
 * A URL as people may see it: user, password and whatever looks like one in the query replaced. */
#include "wr_config.h"

#include <stdio.h>
#include <string.h>

/* Cameras that take the password in path or query: ...?user=admin&password=x, .../user=admin_password=x_channel=1. */
static void hide_values(char *s)
{
    static const char *const words[] = {
        "password=", "passwd=", "pass=", "pwd=", "token=", "secret=", "key="};
    for (size_t i = 0; i < WR_ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i]);
        for (char *p = s; (p = strcasestr(p, words[i])) != NULL;) {
            p += len;
            size_t n = strcspn(p, "&_;/ ");
            if (n) {
                size_t keep = WR_MIN(n, (size_t)3);
                memset(p, '*', keep);
                memmove(p + keep, p + n, strlen(p + n) + 1);
            }
        }
    }
}

void wr_url_redact(const char *url, char *out, size_t n)
{
    const char *colon = url ? strstr(url, "://") : NULL;
    /* Everything up to the last '@' goes, wherever it stands: a password that was not percent-encoded may hold '/', '?' or
     * '@'. A URL without credentials whose path holds '@' loses its beginning, which harms nobody. */
    const char *at = colon ? strrchr(colon + 3, '@') : NULL;
    if (n == 0)
        return;
    if (at)
        snprintf(out, n, "%.*s***@%s", (int)(colon + 3 - url), url, at + 1);
    else
        snprintf(out, n, "%s", url ? url : "");
    hide_values(out);
}
