/* SPDX-License-Identifier: MIT
 *
 * One request of a tus client that makes an upload, brings bytes of one, or both. */
#ifndef WR_GATEWAY_FILES_UPLOAD_H
#define WR_GATEWAY_FILES_UPLOAD_H

#include "files_priv.h"

struct upload_request {
    const char *id;
    struct wr_identity *who; /* borrowed; may send to the room of a new one */
    struct wr_msg *create;   /* the CreateRequest of a new one; NULL: it is there already */
    uint64_t length;         /* of a new one */
    uint64_t offset;         /* where the body goes; 0 of a new one */
    bool says_offset;        /* a new one without a body is answered with its offset, too */
};

/* Takes the request over and answers it; moves q->create. What its headers say was checked. */
void upload_start(struct wr_files *f, struct wr_http_req *r, const struct upload_request *q);

#endif
