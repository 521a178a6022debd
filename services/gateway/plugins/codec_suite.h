/* SPDX-License-Identifier: MIT
 *
 * The conformance suite of the codec kind: what holds for every codec, whatever its format. */
#ifndef WR_GATEWAY_PLUGINS_CODEC_SUITE_H
#define WR_GATEWAY_PLUGINS_CODEC_SUITE_H

#include "wr_codec.h"

/* Fails the running cmocka test when the codec breaks a rule. */
void codec_suite(const struct wr_codec_plugin *p);

#endif
