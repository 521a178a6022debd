/* SPDX-License-Identifier: MIT
 *
 * An open descriptor on its way from the part that opened it to the part that uses it. Only its ticket, 128 random bits,
 * travels with the answer of a call: the descriptor lies in a table of the process until somebody collects it. In one
 * process the table is all there is; between processes of one machine a unix socket stands before it (wr_fd_send). Who sees
 * the bus but is in neither process cannot use a ticket, and cannot make one up. */
#ifndef WR_BASE_WR_FD_H
#define WR_BASE_WR_FD_H

#include "wr_err.h"

#define WR_FD_TICKET_BYTES 16u
#define WR_FD_LEFT_MAX 512u /* descriptors of the process that wait to be collected */

/* Leaves fd to be collected once, within ms. Moves fd on success. Errors: BUSY: WR_FD_LEFT_MAX wait already (fd is still the
 * caller's). Any thread. */
WR_API WR_MUST_USE wr_err wr_fd_leave(int fd, uint32_t ms, uint8_t ticket[WR_FD_TICKET_BYTES]);
/* The descriptor, now the caller's; -1 when there is no such ticket in this process, or no more. Any thread. */
WR_API int wr_fd_collect(struct wr_slice ticket);
/* Closes those whose time is over: who asked has gone. wr_fd_leave does it too; somebody calls it now and then. */
WR_API void wr_fd_expire(void);

/* Sends one byte over a unix socket, with fd attached to it unless that is -1. fd stays the caller's. False: not taken. */
WR_API WR_MUST_USE bool wr_fd_send(int sock, int fd);
/* Receives what wr_fd_send sent, close-on-exec. False: nothing came (errno says why; 0 is the end). *fd is -1 when none was
 * attached. */
WR_API WR_MUST_USE bool wr_fd_receive(int sock, int *fd);
/* The other side of a connected unix socket runs as this user (or as root, who may read everything anyway). */
WR_API bool wr_fd_peer_is_us(int sock);

#endif
