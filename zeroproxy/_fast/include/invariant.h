/* invariant(cond): what only we can break. Debug builds abort and name the line; release builds
   compile it away. Never use it for what a peer, the kernel or a config can cause. */
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
