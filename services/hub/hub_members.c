/* SPDX-License-Identifier: MIT
 *
 * The thread that keeps members: applies what gateways tell, ends leases that were not renewed, and publishes who joined
 * and left. What waits together is applied together and told in one event a room, at once: a client sees itself come
 * without delay, and a gateway that brings a thousand members makes one event. */
#include "hub_priv.h"

#include "wr_clock.h"

enum { MAX_TURN = 256 };

static void handle_members(struct hub *h, struct wr_call *call)
{
    Watchroom__V1__MembersResponse res = WATCHROOM__V1__MEMBERS_RESPONSE__INIT;
    struct wr_errmsg err = {{0}};
    bool known = false;
    Watchroom__V1__MembersRequest *req = watchroom__v1__members_request__unpack(NULL, call->body.n,
                                                                                call->body.p);
    if (!req) {
        wr_call_fail(call, WR_ERR_INVALID, "not a MembersRequest");
        return;
    }
    wr_err e = hub_rooms__apply(&h->rooms, req, wr_mono_us(), &known, &err);
    watchroom__v1__members_request__free_unpacked(req, NULL);
    res.known = known;
    if (e != WR_OK)
        wr_call_fail(call, e, "%s", err.text);
    else
        wr_call_answer(call, wr_msg_pack(&res.base));
}

static void publish_events(struct hub *h, struct hub_event *e)
{
    while (e) {
        struct hub_event *next = e->next;
        wr_bus_publish(h->pub, e->topic, e->msg);
        e->msg = NULL;
        hub_event__free(e);
        e = next;
    }
}

void *hub__keeper(void *arg)
{
    struct hub *h = arg;
    struct wr_call *calls[MAX_TURN];
    int64_t beat_at = wr_mono_us() + HUB_BEAT_MS * INT64_C(1000);
    bool ended = false;
    while (!ended) {
        size_t n = hub_queue__take(&h->members, calls, MAX_TURN, SIZE_MAX, beat_at, &ended);
        for (size_t i = 0; i < n; i++)
            handle_members(h, calls[i]);
        int64_t now = wr_mono_us();
        bool beat = now >= beat_at;
        /* Only when nothing waits: after a pause of the process the renewals are still in the queue. */
        if (beat && n == 0)
            hub_rooms__expire(&h->rooms, now);
        publish_events(h, hub_rooms__events(&h->rooms, beat, now));
        if (beat)
            beat_at = now + HUB_BEAT_MS * INT64_C(1000);
    }
    return NULL;
}
