/* SPDX-License-Identifier: MIT
 *
 * Filter `words`: masks listed words with stars, or refuses messages that hold one.
 *
 *     hub: { filters: "words=foo|bar" }            foo becomes ***
 *     hub: { filters: "words=refuse:foo|bar" }     the sender is told
 *
 * It looks into plain text (text/...), and of JSON into every string but ids, links, hashes and types; what it does not change
 * stays as it was, byte for byte. ASCII letters match in both cases, and a word that begins or ends with one must begin or end there in
 * the text as well, so that `ass` is not found in `class`; words of other scripts are found anywhere. */
#include "wr_buf.h"
#include "wr_filter.h"
#include "wr_json.h"

#include <stdlib.h>

enum { MAX_WORDS = 1024 };

struct words {
    char *args;                      /* the words, NUL between them */
    struct wr_slice list[MAX_WORDS]; /* by first byte */
    size_t n;
    uint16_t begin[257]; /* words that begin with byte b: list[begin[b]] to list[begin[b + 1]] */
    bool refuse;
    struct wr_buf out, text; /* the changed message, one decoded string */
};

/* ---- words ------------------------------------------------------------------------------------------------------ */

static bool is_ascii_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

static bool matches(const uint8_t *p, struct wr_slice word)
{
    for (size_t i = 0; i < word.n; i++)
        if (lower(p[i]) != word.p[i])
            return false;
    return true;
}

/* Between two letters of the same word? */
static bool cuts(struct wr_slice text, size_t at)
{
    return at > 0 && at < text.n && is_ascii_word(text.p[at - 1]) && is_ascii_word(text.p[at]);
}

/* Bytes of the longest listed word at this place, 0 when there is none. */
static size_t word_at(const struct words *w, struct wr_slice text, size_t at)
{
    size_t best = 0;
    uint8_t first = lower(text.p[at]);
    for (size_t i = w->begin[first]; i < w->begin[first + 1]; i++) {
        size_t n = w->list[i].n;
        if (n > best && n <= text.n - at && matches(text.p + at, w->list[i]) && !cuts(text, at) &&
            !cuts(text, at + n))
            best = n;
    }
    return best;
}

/* Puts stars over the words, one a character; false when there was none. */
static bool mask(const struct words *w, struct wr_buf *text)
{
    bool found = false;
    size_t to = 0;
    for (size_t at = 0; at < text->n;) {
        size_t n = word_at(w, wr_slice_of(text->p, text->n), at);
        found |= n > 0;
        for (size_t end = at + n; at < end; at++)
            if ((text->p[at] & 0xc0) !=
                0x80) /* stars are never longer than what they cover: in place */
                text->p[to++] = '*';
        if (n == 0)
            text->p[to++] = text->p[at++];
    }
    text->n = to;
    return found;
}

/* ---- JSON strings; the hub has checked that the message is JSON ------------------------------------------------- */

/* The bytes of a string from its quote to behind its closing one. */
static size_t string_size(struct wr_slice s, size_t at)
{
    size_t end = at + 1;
    while (s.p[end] != '"')
        end += s.p[end] == '\\' ? 2 : 1;
    return end + 1 - at;
}

static bool is_exempt(struct wr_slice key)
{
    static const char *const names[] = {"\"id\"", "\"url\"", "\"sha256\"", "\"type\""};
    for (size_t i = 0; i < WR_ARRAY_LEN(names); i++)
        if (wr_slice_is(key, names[i]))
            return true;
    return false;
}

/* Copies plain text to w->out, masked; true when it was. */
static bool mask_text(struct words *w, struct wr_slice data)
{
    wr_buf_clear(&w->out);
    wr_buf_slice(&w->out, data);
    return !w->out.failed && mask(w, &w->out);
}

/* Copies JSON to w->out with its strings masked; true when one was. */
static bool mask_json(struct words *w, struct wr_slice data)
{
    struct wr_slice key = {0};
    bool found = false;
    wr_buf_clear(&w->out);
    for (size_t at = 0; at < data.n;) {
        if (data.p[at] != '"') {
            if (data.p[at] == ',' || data.p[at] == '{')
                key = (struct wr_slice){0};
            wr_buf_add(&w->out, data.p + at++, 1);
            continue;
        }
        struct wr_slice quoted = wr_slice_of(data.p + at, string_size(data, at));
        at += quoted.n;
        bool is_key = at < data.n && data.p[at] == ':';
        bool masked = false;
        if (is_key)
            key = quoted;
        else if (!is_exempt(key)) {
            wr_buf_clear(&w->text);
            masked = wr_json_text(quoted, &w->text) && mask(w, &w->text);
        }
        if (masked)
            wr_json_put(&w->out, w->text.p, w->text.n);
        else
            wr_buf_slice(&w->out, quoted);
        found |= masked;
    }
    return found;
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

static void close_filter(void *state)
{
    struct words *w = state;
    wr_buf_free(&w->out);
    wr_buf_free(&w->text);
    free(w->args);
    w->args = NULL;
}

static int by_first_byte(const void *a, const void *b)
{
    return ((const struct wr_slice *)a)->p[0] - ((const struct wr_slice *)b)->p[0];
}

/* The writer thread looks at every byte of every message: it must not try a thousand words at each. */
static void index_words(struct words *w)
{
    qsort(w->list, w->n, sizeof w->list[0], by_first_byte);
    for (size_t i = 0; i < w->n; i++)
        w->begin[w->list[i].p[0] + 1]++;
    for (size_t b = 0; b < 256; b++)
        w->begin[b + 1] = (uint16_t)(w->begin[b + 1] + w->begin[b]);
}

static wr_err open_filter(void *state, const char *args, struct wr_errmsg *err)
{
    struct words *w = state;
    w->refuse = strncmp(args, "refuse:", 7) == 0;
    if (w->refuse || strncmp(args, "mask:", 5) == 0)
        args = strchr(args, ':') + 1;
    w->args = strdup(args);
    char *rest = w->args, *word;
    while (w->args && (word = strsep(&rest, "|")) != NULL && w->n < MAX_WORDS) {
        for (char *c = word; *c; c++)
            *c = (char)lower((uint8_t)*c);
        if (*word)
            w->list[w->n++] = wr_slice_str(word);
    }
    if (w->n > 0 && !rest) {
        index_words(w);
        return WR_OK;
    }
    wr_errmsg_set(
        err, rest ? "more than %d words" : "no words: write words=foo|bar or words=refuse:foo|bar",
        MAX_WORDS);
    close_filter(w);
    return WR_ERR_INVALID;
}

static enum wr_filter_verdict apply(void *state, struct wr_filter_msg *msg, struct wr_errmsg *why)
{
    struct words *w = state;
    bool is_text = msg->type.n > 5 && memcmp(msg->type.p, "text/", 5) == 0;
    if (msg->type.n && !is_text)
        return WR_FILTER_PASS; /* a picture has no words */
    bool found = is_text ? mask_text(w, msg->data) : mask_json(w, msg->data);
    if (found && w->refuse) {
        wr_errmsg_set(why, "the message has a word that is not used in this room");
        return WR_FILTER_REFUSE;
    }
    if (w->out.failed || w->text.failed) {
        wr_errmsg_set(why, "the message could not be looked at: out of memory");
        return WR_FILTER_REFUSE;
    }
    if (found)
        msg->data = wr_slice_of(w->out.p, w->out.n);
    return WR_FILTER_PASS;
}

WR_PLUGIN_EXPORT const struct wr_filter_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(
        struct wr_filter_plugin, struct words, WR_KIND_FILTER, "words", WR_VERSION,
        "Masks listed words, or refuses messages that hold one: words=[refuse:]foo|bar"),
    .open = open_filter,
    .close = close_filter,
    .apply = apply,
};
