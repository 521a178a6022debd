/* SPDX-License-Identifier: MIT
 *
 * The conformance suite of the protocol kind: what holds for every protocol, whatever its format. */
#ifndef WR_GATEWAY_PLUGINS_PROTOCOL_SUITE_H
#define WR_GATEWAY_PLUGINS_PROTOCOL_SUITE_H

#include "wr_protocol.h"

/* Fails the running cmocka test when the protocol breaks a rule. */
void protocol_suite(const struct wr_protocol_plugin *p);

#endif
