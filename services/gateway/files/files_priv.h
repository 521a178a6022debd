/* SPDX-License-Identifier: MIT
 *
 * What the gateway's file handlers share. Nothing here waits: a handler (a worker of civetweb) checks what its headers say
 * and parks the request, the filestore's answers come on threads of the bus, and bodies on the client's plane thread. */
#ifndef WR_GATEWAY_FILES_FILES_PRIV_H
#define WR_GATEWAY_FILES_FILES_PRIV_H

#include <stdatomic.h>

#include "buffers.h"
#include "fetch.h"
#include "handover.h"
#include "tus_headers.h"
#include "watchroom/v1/files.pb-c.h"
#include "wr_access.h"
#include "wr_files.h"

#define FILES_ID_LEN 26
#define FILES_ID_ROOM 65 /* of a char array for any id */
#define CALL_MS 10000u   /* deadline of a call */
#define DISK_MS 30000u   /* of one that waits for a disk that others write to as well */
#define SYNC_MS 120000u  /* of one that waits for the sync of a large upload */
#define DOWN_MS 2000u    /* of one while no filestore is there: it may come back */
#define ANSWER_MS \
    150000u /* of a request that waits for all of that: no more than the plane's own sentence */

struct wr_files {
    const struct wr_gateway_env *env;
    struct wr_bus_service *store;
    struct buffers *buffers;
    struct fetch *fetch;
    struct handover *handover;
    uint64_t max_bytes; /* of an upload, 0 = any */
    uint32_t max_uploads;
    atomic_uint uploads; /* bodies that flow */
    atomic_uint reads;   /* downloads by Files/Read */
    atomic_bool draining;
};

/* Header lines that every answer under /files/ carries: what a page of an allowed origin may read of it. */
#define CORS_LINES                                                                             \
    "Access-Control-Expose-Headers: Location, Upload-Offset, Upload-Length, Upload-Metadata, " \
    "Tus-Version, "                                                                            \
    "Tus-Resumable, Tus-Max-Size, Tus-Extension, Content-Disposition, Content-Range, ETag, "   \
    "Accept-Ranges, "                                                                          \
    "Repr-Digest, Retry-After\r\n"
#define TUS_LINES CORS_LINES "Tus-Resumable: 1.0.0\r\nCache-Control: no-store\r\n"
#define FILES_LINES_ROOM 1400 /* of a char array for these and a few more */

bool files_is_id(const char *id);
/* Answers an error of the filestore or of our own with its status; lines as in wr_http_reply. What may
 * succeed later gets Retry-After. text may be "". */
void files_fail(struct wr_http_req *r, const char *lines, wr_err code, const char *text);
void files_fail_later(struct wr_http_later **l, const char *lines, wr_err code, const char *text);

/* ---- asking the filestore ---------------------------------------------------------------------------------------------- */

/* Calls; done runs later, exactly once, on a thread of the bus. body is moved; NULL (memory is out) is told as BUSY. */
void files_ask(struct wr_files *f, const char *id, const char *method, struct wr_msg *body,
               uint32_t ms, wr_bus_done_fn done, void *ctx);
/* The requests that take nothing but an id. */
struct wr_msg *files_pack_stat(const char *id);
struct wr_msg *files_pack_open(const char *id);
struct wr_msg *files_pack_delete(const char *id);
/* The text of an answer that is an error, as a string. */
void files_text(const struct wr_answer *a, struct wr_errmsg *out);

/* May he do that with files of the room? Those of no room are the server's. WR_OK, or DENIED with the sentence. */
wr_err files_may(const struct wr_identity *who, enum wr_verb verb, const char *room,
                 struct wr_errmsg *why);

/* ---- handlers -------------------------------------------------------------------------------------------------------- */

/* who is borrowed: rights are asked when it is known which room the file is in. */
void tus_handle(struct wr_files *f, struct wr_http_req *r, struct wr_identity *who,
                enum wr_http_method method, const char *id);
void download_handle(struct wr_files *f, struct wr_http_req *r, struct wr_identity *who,
                     const char *id);

/* A file whose bytes are asked for piece by piece (Files/Read), as fast as the client takes them. */
void pieces_send(struct wr_files *f, struct wr_http_later **l, const char *id, int status,
                 const char *lines, uint64_t first, uint64_t n);

#endif
