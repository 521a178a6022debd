/* SPDX-License-Identifier: MIT
 *
 * The stamp that the camera puts into every coded frame and that the viewers look for: an H.264 SEI message "user data
 * unregistered" with our UUID, then text: number (8 hexadecimal digits), monotonic nanoseconds (16), K or P. Text, because it can
 * never look like a start code and so survives every container unchanged. */
#ifndef WATCHROOM_BENCH_STAMP_H
#define WATCHROOM_BENCH_STAMP_H

#define STAMP_UUID "Watchroom-bench!"
#define STAMP_UUID_LEN 16
#define STAMP_TEXT_LEN 25
/* NAL header, SEI type, SEI size, UUID, text, stop bit. */
#define STAMP_NAL_LEN (3 + STAMP_UUID_LEN + STAMP_TEXT_LEN + 1)

#endif
