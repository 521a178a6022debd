/* SPDX-License-Identifier: MIT
 *
 * Store `null` against the suite of its kind. */
#include "store_conformance.h"

int main(void)
{
    return store_conformance("store_null", 0);
}
