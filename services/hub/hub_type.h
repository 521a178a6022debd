/* SPDX-License-Identifier: MIT
 *
 * The type of an entry: a media type (RFC 6838), and what its bytes have to be. */
#ifndef HUB_TYPE_H
#define HUB_TYPE_H

#include "wr_base.h"

#define HUB_MAX_TYPE_BYTES 127u

/* Is it a media type as entries have it: "type/subtype" in lower case, without parameters, at most HUB_MAX_TYPE_BYTES?
 * Empty is one (JSON), and "application/json" becomes it. Static text in *why. */
bool hub__check_type(struct wr_slice *type, const char **why);
/* Have data the form that the type promises? JSON is not asked here (wr_json_check): text/... is UTF-8, others are any
 * bytes, and none is empty. Static text in *why. */
bool hub__check_bytes(struct wr_slice type, struct wr_slice data, const char **why);
bool hub__is_text(struct wr_slice type);

#endif
