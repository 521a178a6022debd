/* SPDX-License-Identifier: MIT
 *
 * A gateway made of paper for protocols: carries out what a protocol asks for by writing it down, and lets a test answer. It has one method, kit.echo. For
 * the conformance suite, the protocols' tests and the fuzz target. One connection at a time. */
#ifndef WR_GATEWAY_PLUGINS_PROTOCOL_KIT_H
#define WR_GATEWAY_PLUGINS_PROTOCOL_KIT_H

#include "wr_protocol.h"

#define KIT_ASKS 512u

struct kit_ask {
    enum wr_protocol_op op;
    uint64_t cookie;
    uint32_t flags; /* subscribe */
    uint64_t since;
    char room[256];
};

struct wr_protocol_conn {
    const struct wr_protocol_plugin *plugin;
    void *state, *cs;
    struct wr_buf sent;      /* every message, each ended by '\0' */
    struct wr_buf published; /* every published data, each ended by '\0' */
    struct wr_buf echo;      /* what the call that was asked last is answered */
    uint32_t variant;        /* picked */
    size_t nsent;
    struct kit_ask asks[KIT_ASKS];
    size_t nasks;
    wr_err refuse; /* what subscribe, publish, history, presence and call answer at once */
    uint16_t close_code;
    char close_reason[128];
    char client[64], conn_info[256];
    char subscribed[8][256];
    size_t nsubscribed;
    uint32_t wake_ms;
    bool is_paused;
};

void kit_open(struct wr_protocol_conn *k, const struct wr_protocol_plugin *p, const char *query);
void kit_say(struct wr_protocol_conn *k, const char *text);
void kit_message(struct wr_protocol_conn *k, struct wr_slice m, bool binary);
/* Answers the oldest request with code; fills in a position, and publications or members where they belong. */
bool kit_answer(struct wr_protocol_conn *k, wr_err code);
void kit_close(struct wr_protocol_conn *k);
/* The messages sent since the last call, each ended by '\n'; the buffer is the kit's. */
const char *kit_sent(struct wr_protocol_conn *k);

#endif
