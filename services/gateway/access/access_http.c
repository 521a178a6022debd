/* SPDX-License-Identifier: MIT
 *
 * Rights for HTTP: who sends a request, and the answers 401 and 403. */
#include "wr_access.h"
#include "wr_http.h"

static const char *header(const void *ctx, const char *name)
{
    return wr_http_header(ctx, name);
}

struct wr_identity *wr_access_enter(struct wr_access *a, struct wr_http_req *req)
{
    const struct wr_auth_request asked = {.client = req->client,
                                          .path = req->path,
                                          .query = req->query,
                                          .header = header,
                                          .header_ctx = req};
    struct wr_identity *who = NULL;
    struct wr_errmsg why = {{0}};
    wr_err e = wr_access_identify(a, &asked, &who, &why);
    if (e == WR_ERR_DENIED) /* RFC 9110 section 15.5.2 wants a challenge */
        wr_http_error_with(req, 401, "WWW-Authenticate: Bearer\r\n", "%s", why.text);
    else if (e != WR_OK)
        wr_http_error(req, wr_err_http(e), "%s", why.text);
    return who;
}

bool wr_access_ask(const struct wr_identity *who, struct wr_http_req *req, enum wr_verb verb,
                   struct wr_object what)
{
    struct wr_errmsg why = {{0}};
    if (wr_may(who, verb, what, &why) == WR_OK)
        return true;
    wr_http_error(req, 403, "%s", why.text);
    return false;
}

bool wr_access_admits(struct wr_access *a, struct wr_http_req *req, enum wr_verb verb,
                      struct wr_object what)
{
    struct wr_identity *who = wr_access_enter(a, req);
    bool ok = who && wr_access_ask(who, req, verb, what);
    wr_identity_unref(who);
    return ok;
}
