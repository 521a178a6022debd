/* SPDX-License-Identifier: MIT
 *
 * sd_notify's datagram, by hand. */
#include "notify.h"

#include "wr_log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void host_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || !*path)
        return;
    size_t n = strlen(path);
    if (n >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@')) {
        wr_warn("host.notify", "NOTIFY_SOCKET is neither a path nor an abstract name: %s", path);
        return;
    }
    memcpy(to.sun_path, path, n);
    if (path[0] == '@')
        to.sun_path[0] =
            '\0'; /* an abstract name begins with a zero, which a variable cannot hold */
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
        wr_warn("host.notify", "the service manager cannot be told %s at %s: %s", state, path,
                strerror(errno));
    if (fd >= 0)
        close(fd);
}
