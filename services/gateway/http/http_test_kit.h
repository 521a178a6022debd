/* SPDX-License-Identifier: MIT
 *
 * What the tests of the HTTP layer share: a server (the test starts it), and a client that writes requests by hand. */
#ifndef WR_GATEWAY_HTTP_TEST_KIT_H
#define WR_GATEWAY_HTTP_TEST_KIT_H

#include "wr_buf.h"
#include "wr_http.h"
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

extern struct wr_http *http; /* whom the client speaks to */

int dial(void);
/* Adds what comes within ms; false: nothing, or the end. b is ended by a NUL that is not counted. */
bool more(int fd, struct wr_buf *b, int ms);
void say(int fd, const char *text);
/* Sends, reads to the end of file. The answer is the test's until the next call. */
const char *ask(const char *request);
int status_of(const char *answer); /* 0: it is none */
void gives(const char *request, int status);

#define GET(path, more_) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" more_ "\r\n"

#endif
