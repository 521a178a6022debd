/* SPDX-License-Identifier: MIT
 *
 * Sound whose packet is one frame: Opus (RFC 7587) and G.711 (RFC 3551, 4.5.14). How long it is the codec knows. */
#include "packing.h"
#include "rtp.h"

static void take_packet(struct rtp *r, const struct packet *p)
{
    if (p->payload.n > 0)
        rtp__give(r, p->payload, p->ts, 0);
}

const struct packing packing__opus = {
    .encoding = "opus", .codec = WR_CODEC_OPUS, .packet = take_packet};
const struct packing packing__pcma = {
    .encoding = "PCMA", .codec = WR_CODEC_G711A, .packet = take_packet};
const struct packing packing__pcmu = {
    .encoding = "PCMU", .codec = WR_CODEC_G711U, .packet = take_packet};
