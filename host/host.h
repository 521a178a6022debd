/* SPDX-License-Identifier: MIT
 *
 * Shared by the files of the `watchroom` executable. Its exit codes: 0 fine; 1 could not start, not healthy, or a plugin
 * was refused; 2 wrong command line or configuration. */
#ifndef WR_HOST_H
#define WR_HOST_H

#include "wr_config.h"
#include "wr_plugins.h"

enum { HOST_OK = 0, HOST_FAILED = 1, HOST_USAGE = 2 };

/* The order in which services start; they end in the opposite one. */
#define HOST_SERVICES 4
extern const char *const host_services[HOST_SERVICES];

#define HOST_MAX_SETS 32
/* What the command line said. All borrowed from argv. */
struct host_options {
    const char *service; /* NULL = all */
    const char *listen;  /* --listen */
    const char *health;  /* --health */
    const char *data;    /* --data */
    const char *config;  /* --config, else WATCHROOM_CONFIG */
    const char *web;     /* --web */
    const char *file;    /* of backup, restore and verify; NULL or "-" = the standard stream */
    bool split;          /* --split */
    bool help;           /* --help */
    const char *sets[HOST_MAX_SETS]; /* --set key=value */
    size_t num_sets;
    char **argv; /* the whole command line, for the supervisor to hand on */
    int argc;
};

/* Reads argv[2..]. Prints what is wrong; false then. */
bool host_options_parse(int argc, char **argv, struct host_options *o);
/* The configuration with the flags applied on top. Prints what is wrong; NULL then. */
struct wr_config *host_config_load(const struct host_options *o);
/* The plugins of the folders; with a service, without those of the other services (ingest alone
 * brings 15 MB of FFmpeg). Prints what is wrong; NULL then. */
struct wr_plugins *host_plugins_load(const struct wr_config *c, const char *service);

/* Subcommands; each returns the exit code. */
int host_serve(const struct host_options *o);
int host_supervise(const struct host_options *o, const struct wr_config *c);
int host_health(const struct host_options *o);
int host_plugins(const struct host_options *o);
int host_check(const struct host_options *o);
int host_backup(const struct host_options *o);
int host_restore(const struct host_options *o);
int host_verify(const struct host_options *o);

/* The command line of one of the processes of --split: ours without --split, with the service's name; --listen is the
 * gateway's alone. free() it and [2], the rest is borrowed. NULL when memory is out. */
char **host_child_argv(const struct host_options *o, const char *service);
/* How long to wait before a service that died after lived_ms is started again; counts its failures in a row. */
int host_backoff_ms(size_t *failures, int64_t lived_ms);

/* "watchroom: ..." on standard error. */
void host_say(const char *fmt, ...) WR_PRINTF(1, 2);
/* Where to point a browser, where its data is, and who else may: on standard output. */
void host_greet(const struct wr_config *c);
/* Makes the data folder and sees that it can be written; says when it is new while another one is near. Prints what is wrong;
 * false then. */
bool host_prepare_data(const struct wr_config *c);
/* Writes a folder that holds a log and is near the one that is to be made: that of the folder above, or of the tree that the
 * executable was built in. False when there is none. */
bool host_data_nearby(const char *data, char *out, size_t n);
/* Replaces an address that means "every address" by loopback, to dial it from here. */
void host_dial_address(const char *listen, char *out, size_t n);

#endif
