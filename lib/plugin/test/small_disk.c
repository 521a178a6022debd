/* SPDX-License-Identifier: MIT
 *
 * A small tmpfs for a test. */
#include "small_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static bool write_line(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Only root may mount: who is not becomes root of a namespace of its own, for the rest of this program. */
static bool become_root(void)
{
    char users[64], groups[64];
    if (geteuid() == 0)
        return true;
    snprintf(users, sizeof users, "0 %d 1", (int)geteuid());
    snprintf(groups, sizeof groups, "0 %d 1", (int)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           write_line("/proc/self/setgroups", "deny") && write_line("/proc/self/uid_map", users) &&
           write_line("/proc/self/gid_map", groups);
}

void small_disk_mount(const char *folder, const char *size)
{
    char options[64];
    snprintf(options, sizeof options, "size=%s", size);
    if (!become_root() || mount("tmpfs", folder, "tmpfs", 0, options) != 0)
        fail_msg("a small file system cannot be mounted (%s): run this as root, or where user "
                 "namespaces are allowed; in a container it takes --privileged",
                 strerror(errno));
}
