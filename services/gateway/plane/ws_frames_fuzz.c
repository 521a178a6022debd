/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: ws__feed, what the plane does with a client's bytes (wslay, limits, close codes). The first byte says how
 * the rest is cut into reads. Messages must be within the limit, text must be UTF-8, and nothing may come after the
 * connection began to close. */
#include "plane_priv.h"
#include "wr_buf.h"
#include <stdlib.h>

#define LIMIT 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(struct wr_conn *c, void *user, enum wr_ws_op op, struct wr_slice m)
{
    (void)user;
    if (c->state != CONN_OPEN || m.n > LIMIT || (op == WR_WS_TEXT && !wr_utf8_valid(m.p, m.n)))
        abort();
    if (m.n && m.p[0] == 'c')
        wr_conn_close(c, 3000, "asked");
    else
        wr_conn_send_bytes(c, op, m);
}

static void on_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)c;
    (void)user;
    (void)why;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wr_conn_ops ops = {.message = on_message, .close = on_close};
    static struct plane__thread t = {.now_ms = 1000, .wheel_at_ms = 1000};
    struct wr_conn c = {.fd = -1,
                        .t = &t,
                        .ops = &ops,
                        .transport = WR_TRANSPORT_WS,
                        .policy = WR_QUEUE_CHAT,
                        .state = CONN_OPEN,
                        .queue_bytes = 1u << 16,
                        .max_message = LIMIT};
    size_t step = size ? data[0] + 1u : 1;
    for (size_t at = 1; at < size; at += step)
        conn__take(&c, data + at, WR_MIN(step, size - at));
    if (c.state == CONN_CLOSING && !c.close_code)
        abort();
    ws__drop(&c);
    queue__free(&c);
    free(c.reason);
    if (c.wheel_at)
        *c.wheel_at = c.wheel_next;
    t.dirty = NULL;
    return 0;
}
