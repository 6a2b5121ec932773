#include "sse.h"

#include <stdio.h>
#include <string.h>

enum { SEQUENCE_DIGITS = 6, STAMP_DIGITS = 20 };

#define IDENTITY "\"id\":\"chatcmpl-6b1f0e7c2a9d4c5fb3e8a7d1c0924f6e\",\"object\":\"%s\"," \
                 "\"created\":1760000000,\"model\":\"bench/model-8b-instruct\","

struct template {
    char bytes[1024];
    size_t len, sequence_at, stamp_at;
};

static struct template middle, final;
static char tail[2048], answer[2048], padding[PAD_MAX + 1];

static size_t frame(char *out, size_t room, const char *payload)
{
    return (size_t)snprintf(out, room, "%zx\r\n%s\r\n", strlen(payload), payload);
}

static void make_event(struct template *t, const char *finish, int pad)
{
    char payload[900];
    snprintf(payload, sizeof payload,
             "data: {" IDENTITY "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" #%0*d@%0*d%.*s\"},"
             "\"logprobs\":null,\"finish_reason\":%s,\"token_ids\":null}],"
             "\"kv_transfer_params\":null}\n\n",
             "chat.completion.chunk", SEQUENCE_DIGITS, 0, STAMP_DIGITS, 0, pad, padding, finish);
    t->len = frame(t->bytes, sizeof t->bytes, payload);
    t->sequence_at = (size_t)(strstr(t->bytes, " #") - t->bytes) + 2;
    t->stamp_at = t->sequence_at + SEQUENCE_DIGITS + 1;
}

void sse_prepare(int pad)
{
    memset(padding, '.', sizeof padding - 1);
    make_event(&middle, "null", pad);
    make_event(&final, "\"stop\"", pad);
}

static void write_digits(char *at, int width, uint64_t value)
{
    while (width--) {
        at[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

struct text sse_head(void)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "date: Fri, 21 Nov 2025 00:00:00 GMT\r\n"
                               "server: uvicorn\r\n"
                               "content-type: text/event-stream; charset=utf-8\r\n"
                               "transfer-encoding: chunked\r\n\r\n";
    return (struct text){head, sizeof head - 1};
}

struct text sse_event(uint32_t sequence, int last, uint64_t stamp_ns)
{
    struct template *t = last ? &final : &middle;
    write_digits(t->bytes + t->sequence_at, SEQUENCE_DIGITS, sequence);
    write_digits(t->bytes + t->stamp_at, STAMP_DIGITS, stamp_ns);
    return (struct text){t->bytes, t->len};
}

struct text sse_tail(uint32_t events, int usage)
{
    char payload[600];
    size_t len = 0;
    if (usage) {
        snprintf(payload, sizeof payload,
                 "data: {" IDENTITY "\"choices\":[],\"usage\":{\"prompt_tokens\":128,"
                 "\"total_tokens\":%u,\"completion_tokens\":%u}}\n\n",
                 "chat.completion.chunk", 128 + events, events);
        len = frame(tail, sizeof tail, payload);
    }
    len += frame(tail + len, sizeof tail - len, "data: [DONE]\n\n");
    len += (size_t)snprintf(tail + len, sizeof tail - len, "0\r\n\r\n");
    return (struct text){tail, len};
}

static struct text whole_answer(const char *payload, int body, int closes)
{
    int len = snprintf(answer, sizeof answer,
                       "HTTP/1.1 200 OK\r\ndate: Fri, 21 Nov 2025 00:00:00 GMT\r\n"
                       "server: uvicorn\r\ncontent-length: %d\r\n"
                       "content-type: application/json\r\n%s\r\n%s",
                       body, closes ? "connection: close\r\n" : "", payload);
    return (struct text){answer, (size_t)len};
}

struct text models_answer(int closes)
{
    static const char payload[] =
        "{\"object\":\"list\",\"data\":[{\"id\":\"bench/model-8b-instruct\",\"object\":\"model\","
        "\"created\":1760000000,\"owned_by\":\"bench\",\"max_model_len\":32768}]}";
    return whole_answer(payload, (int)sizeof payload - 1, closes);
}

struct text json_answer(uint64_t received, int closes)
{
    char payload[1200];
    int body = snprintf(
        payload, sizeof payload,
        "{" IDENTITY "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "\"The relay takes what the engine says and passes it on as it is, at once and in order, "
        "and whoever measures it should see the engine and the network and nothing else at all.\","
        "\"refusal\":null,\"tool_calls\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":128,\"total_tokens\":160,\"completion_tokens\":32},"
        "\"received\":%llu}",
        "chat.completion", (unsigned long long)received);
    return whole_answer(payload, body, closes);
}
