/* demand(what): a property of every input of a fuzz target; libFuzzer keeps the input that breaks
 * it. */
#ifndef ZP_DEMAND_H
#define ZP_DEMAND_H

#include <stdio.h>
#include <stdlib.h>

#define demand(what)                                                                   \
    do {                                                                               \
        if (!(what)) {                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);         \
            abort();                                                                   \
        }                                                                              \
    } while (0)

#endif
