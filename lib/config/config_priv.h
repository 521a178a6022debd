/* SPDX-License-Identifier: MIT
 *
 * Shared by the files of the config module: the schema's table, and the conversion of one value. */
#ifndef WR_CONFIG_PRIV_H
#define WR_CONFIG_PRIV_H

#include "wr_config.h"

enum config_type {
    CONFIG_INVALID = 0,
    CONFIG_TEXT,    /* char * */
    CONFIG_LIST,    /* char *, comma-separated; a YAML list is joined */
    CONFIG_PORTS,   /* the same of NAME=ADDRESS:PORT, addresses as of CONFIG_LISTEN */
    CONFIG_LISTEN,  /* char *, "ADDR:PORT", normalised */
    CONFIG_BUS,     /* char *, one bus URL */
    CONFIG_BUSES,   /* char *, one or several bus URLs with commas */
    CONFIG_BOOL,    /* bool */
    CONFIG_COUNT,   /* uint32_t, a plain number */
    CONFIG_COUNT64, /* uint64_t, a plain number */
    CONFIG_BYTES,   /* uint32_t, "64KiB" or a plain number */
    CONFIG_BYTES64, /* uint64_t */
    CONFIG_MS,      /* uint32_t milliseconds, "3s" or a plain number of milliseconds */
    CONFIG_AGE, /* int64_t milliseconds, "30d"; a plain number is refused as nobody could tell its unit */
    CONFIG_WAIT,   /* uint32_t milliseconds, "10s"; a plain number is refused */
    CONFIG_HOURS,  /* uint32_t hours, "1d" or a plain number of hours */
    CONFIG_URL,    /* char *, a stream's source */
    CONFIG_CHOICE, /* char *, one of the words in `choices` */
};

struct config_key {
    const char *key; /* "gateway.listen"; within a stream or room the name alone */
    enum config_type type;
    size_t offset; /* in the struct that the table is for */
    uint64_t min, max;
    const char *def;     /* default, as a person would write it; NULL = decided elsewhere */
    const char *choices; /* CONFIG_CHOICE: words with blanks between */
};

extern const struct config_key config__keys[];
extern const size_t config__num_keys;
extern const struct config_key config__stream_keys[];
extern const size_t config__num_stream_keys;
extern const struct config_key config__history_keys[];
extern const size_t config__num_history_keys;
extern const char *const config__sections[];
extern const size_t config__num_sections;

/* Converts `value` and stores it at `base` + offset; the former text is freed. The sentence in err neither names the key
 * nor repeats a value that may hold a password. */
WR_MUST_USE wr_err config__store(void *base, const struct config_key *k, const char *value,
                                 struct wr_errmsg *err);
/* The words that are one edit or few away from `word`, for "did you mean"; NULL when none is near. */
const char *config__nearest(const char *word, const char *(*name_of)(const void *ctx, size_t i),
                            const void *ctx, size_t n);
/* Reads a YAML document into c. Errors begin with "file:line: key: ". */
WR_MUST_USE wr_err config__read_yaml(struct wr_config *c, const char *name, struct wr_slice text,
                                     struct wr_errmsg *err);

struct wr_config_stream *config__add_stream(struct wr_config *c, const char *name);
/* Of a name with '*' it adds a pattern. */
struct wr_config_room *config__add_room(struct wr_config *c, const char *name);

#endif
