/* Answers of the backend, byte for byte: vLLM's shapes at vLLM's size. One event is ~300 bytes and
 * its padding, in one HTTP chunk as uvicorn frames it. Event: " #SEQUENCE@STAMP", fixed width, so
 * that only digits are written per event. */
#ifndef BENCH_SSE_H
#define BENCH_SSE_H

#include <stddef.h>
#include <stdint.h>

struct text {
    const char *bytes;
    size_t len;
};

enum { PAD_MAX = 256 };

void sse_prepare(int pad); /* characters more of text in each event, at most PAD_MAX */
struct text sse_head(void);
struct text sse_event(uint32_t sequence, int last, uint64_t stamp_ns); /* valid until the next */
struct text sse_tail(uint32_t events, int usage); /* usage event if asked, [DONE], last chunk */
struct text json_answer(uint64_t received, int closes);
struct text models_answer(int closes); /* routers ask for it before they send anybody */

#endif
