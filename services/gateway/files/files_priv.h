/* SPDX-License-Identifier: MIT
 *
 * What the gateway's file handlers share. */
#ifndef WR_GATEWAY_FILES_FILES_PRIV_H
#define WR_GATEWAY_FILES_FILES_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "buffers.h"
#include "watchroom/v1/files.pb-c.h"
#include "wr_files.h"

#define FILES_ID_LEN 26
#define FILES_ID_ROOM 65 /* of a char array for any id */
#define CALL_MS 10000u   /* deadline of a call */
#define DISK_MS 30000u   /* of one that waits for a disk that others write to as well */
#define SYNC_MS 120000u  /* of one that waits for the sync of a large upload */
#define DOWN_MS 2000u    /* of one while no filestore is there: it may come back */
#define STALL_MS \
    60000 /* no byte of a body for so long: what arrived is kept, the connection ends */
#define DOWNLOADS_MAX 256u

/* ---- watching reads and writes that a client could stretch for ever -------------------------------------------------- */

struct watch;
struct watched {
    struct watched *next;
    struct wr_http_req *req;
    int64_t until_us;
    int how; /* SHUT_RD or SHUT_RDWR */
    bool was_cut;
};
struct watch *watch_new(void); /* NULL: no thread */
void watch_free(struct watch **w);
/* The request's connection is cut (how: SHUT_RD, SHUT_RDWR) when ms pass before watch_end. */
void watch_begin(struct watch *w, struct watched *e, struct wr_http_req *req, int how, int64_t ms);
/* True when it was cut. */
bool watch_end(struct watch *w, struct watched *e);

/* ---- the part ------------------------------------------------------------------------------------------------------- */

struct wr_files {
    const struct wr_gateway_env *env;
    struct wr_bus_service *store;
    struct buffers *buffers;
    struct watch *watch;
    uint64_t max_bytes; /* of an upload, 0 = any */
    uint32_t max_uploads;
    atomic_uint uploads, downloads;
    atomic_bool draining;
};

/* Header lines that every answer under /files/ carries. */
#define CORS_LINES                                                                             \
    "Access-Control-Allow-Origin: *\r\n"                                                       \
    "Access-Control-Expose-Headers: Location, Upload-Offset, Upload-Length, Upload-Metadata, " \
    "Tus-Version, "                                                                            \
    "Tus-Resumable, Tus-Max-Size, Tus-Extension, Content-Disposition, Content-Range, ETag, "   \
    "Accept-Ranges, "                                                                          \
    "Repr-Digest, Retry-After\r\n"
#define TUS_LINES CORS_LINES "Tus-Resumable: 1.0.0\r\nCache-Control: no-store\r\n"

/* Answers an error of the filestore or of our own with its status; lines as in wr_http_reply. 503 gets Retry-After. */
void files_fail(struct wr_http_req *r, const char *lines, wr_err code, const char *text);
/* Calls and waits. The request is moved. */
WR_MUST_USE wr_err files_call(struct wr_files *f, const char *id, const char *method,
                              struct wr_msg *body, uint32_t ms, struct wr_msg **answer,
                              struct wr_slice *out, struct wr_errmsg *err);
/* The upload as it is, synced; free it with watchroom__v1__upload__free_unpacked. */
WR_MUST_USE wr_err files_stat(struct wr_files *f, const char *id, Watchroom__V1__Upload **out,
                              struct wr_errmsg *err);
bool files_is_id(const char *id);

/* ---- a body on its way to the filestore ------------------------------------------------------------------------------ */

enum pump_end {
    PUMP_WHOLE = 1, /* the body ended as it said it would */
    PUMP_LEFT,      /* the client went away in the middle */
    PUMP_STALLED,   /* it sent nothing, or next to nothing, for too long */
    PUMP_MALFORMED, /* broken chunked coding */
    PUMP_TOO_LONG,  /* more came than the upload takes; what fits was kept */
    PUMP_DRAINING,  /* the gateway ends */
};
struct pump_result {
    enum pump_end end;
    wr_err code; /* of the filestore; the end of the body was not read then */
    struct wr_errmsg text;
    uint64_t offset; /* synced; only when code is WR_OK and the body was not left */
};
/* Reads the body of r and writes it at offset of an upload of `length` bytes, under a fence. Synced when it returns with
 * anything but PUMP_LEFT. */
void pump_run(struct wr_files *f, struct wr_http_req *r, const char *id, uint64_t fence,
              uint64_t offset, uint64_t length, struct pump_result *out);
/* After an early answer: takes what the client still sends for a moment, so that it can read the answer before the
 * connection ends. */
void pump_drop_rest(struct wr_files *f, struct wr_http_req *r);

/* ---- handlers -------------------------------------------------------------------------------------------------------- */

void tus_handle(struct wr_files *f, struct wr_http_req *r, enum wr_http_method method,
                const char *id);
void download_handle(struct wr_files *f, struct wr_http_req *r, const char *id);

#endif
