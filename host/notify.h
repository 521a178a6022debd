/* SPDX-License-Identifier: MIT
 *
 * What a service manager is told: one datagram to the socket that NOTIFY_SOCKET names (sd_notify(3), whose protocol is
 * stable; libsystemd is not needed for it). */
#ifndef HOST_NOTIFY_H
#define HOST_NOTIFY_H

/* Tells the manager, for instance "READY=1". Nothing happens when no manager asked (no NOTIFY_SOCKET), and a manager that
 * is gone is no reason to end: it is logged. Any thread; does not block for longer than a datagram takes. */
void host_notify(const char *state);

#endif
