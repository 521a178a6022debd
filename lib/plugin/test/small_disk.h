/* SPDX-License-Identifier: MIT
 *
 * For tests of plugins that write to a disk: one that is soon full. */
#ifndef WR_PLUGIN_TEST_SMALL_DISK_H
#define WR_PLUGIN_TEST_SMALL_DISK_H

/* Mounts a disk of `size` ("4m") on a folder; fails the test where that is not allowed. umount(2) takes it away. */
void small_disk_mount(const char *folder, const char *size);

#endif
