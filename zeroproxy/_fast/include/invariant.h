/* invariant(cond): true unless the proxy itself is wrong. Debug builds abort and name the line;
   release builds compile it away. Never use it for faults of a peer, the kernel or a config. */
#ifndef ZEROPROXY_INVARIANT_H
#define ZEROPROXY_INVARIANT_H

#ifndef ZP_DEBUG
#define ZP_DEBUG 0
#endif

#if ZP_DEBUG
#undef NDEBUG
#include <assert.h>
#define zp_invariant(cond) assert(cond)
#else
#define zp_invariant(cond) ((void)0)
#endif

#endif
