/* SPDX-License-Identifier: MIT
 *
 * Inside of access/. */
#ifndef ACCESS_PRIV_H
#define ACCESS_PRIV_H

#include "wr_access.h"

/* policy_open.c */
extern const struct wr_auth_plugin access__policy_open;

#endif
