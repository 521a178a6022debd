/* SPDX-License-Identifier: MIT
 *
 * Store `memory` against the suite of its kind. */
#include "store_conformance.h"

int main(void)
{
    return store_conformance("store_memory", STORE_KEEPS);
}
