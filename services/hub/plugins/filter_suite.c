/* SPDX-License-Identifier: MIT
 *
 * The filters' suite for a plugin that is built elsewhere: filter_suite FOLDER FILE [ARGS]. */
#include "filter_conformance.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(
            stderr,
            "usage: %s FOLDER FILE [ARGS]   runs the suite on FOLDER/FILE.so, opened with ARGS\n",
            argv[0]);
        return 2;
    }
    return filter_conformance(argv[1], argv[2], argc > 3 ? argv[3] : "") ? 1 : 0;
}
