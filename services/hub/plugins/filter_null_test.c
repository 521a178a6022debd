/* SPDX-License-Identifier: MIT
 *
 * Filter `null` against the suite of its kind. */
#include "filter_conformance.h"

int main(void)
{
    return filter_conformance(WR_TEST_PLUGINS, "filter_null", "") ? 1 : 0;
}
