"""The project's own golden bodies: answers in each dialect of docs/counting.md, written here after
that table, with the counts that a bill must show.

A body is whole unless its id ends in "cut"; `least` is what a lower bound has to prove.
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Golden:
    """One body, the request it answers, and the totals it must give."""

    id: str
    path: str
    body: bytes
    prompt: int | None
    completion: int | None
    exactness: str = "exact"
    finish: str = "done"
    model: str = "m"
    cached: int | None = None
    reasoning: int | None = None
    content_type: str | None = "text/event-stream"
    n: int = 1
    is_whole: bool = True
    status: int = 200
    framing: str = ""
    heads: tuple[int, int] | None = None
    least: int = 0

    def __str__(self) -> str:
        return self.id


JSON, LINES = "application/json", "application/x-ndjson"
CHAT, TEXT, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
RESPONSES = "/v1/responses"
DONE = b"data: [DONE]\n\n"


def text(*values: object, end: str = "") -> bytes:
    return "".join(json.dumps(v, separators=(",", ":")) + end for v in values).encode()


def events(*values: object) -> bytes:
    return b"".join(b"data: " + text(v) + b"\n\n" for v in values)


def named(*values: dict[str, object]) -> bytes:
    """Events that carry their type in front, as Anthropic's shape does."""
    return b"".join(
        f"event: {v['type']}\n".encode() + b"data: " + text(v) + b"\n\n" for v in values
    )


def usage(prompt: int, completion: int | None = None, **more: object) -> dict[str, object]:
    rest = {} if completion is None else {"completion_tokens": completion}
    return {"prompt_tokens": prompt, **rest, **more}


def said(word: str, index: int = 0, **more: object) -> dict[str, object]:
    """One event of a chat."""
    choice = {"index": index, "delta": {"content": word}, "finish_reason": None}
    return {"model": "m", "choices": [choice], **more}


def closing(*counts: int, **more: object) -> dict[str, object]:
    return {"model": "m", "choices": [], "usage": usage(*counts, **more)}


def whole(*counts: int, **more: object) -> dict[str, object]:
    """A chat's answer in one JSON text."""
    choice = {"index": 0, "message": {"content": "a b"}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": usage(*counts, **more)}


START = {
    "type": "message_start",
    "message": {"model": "m", "content": [],
                "usage": {"input_tokens": 5, "cache_read_input_tokens": 3,
                          "cache_creation_input_tokens": 2, "output_tokens": 1}},
}  # fmt: skip
BLOCK = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 6}}
STOP = {"type": "message_stop"}


def response(kind: str) -> dict[str, object]:
    counts = {"input_tokens": 9, "output_tokens": 4,
              "input_tokens_details": {"cached_tokens": 2},
              "output_tokens_details": {"reasoning_tokens": 1}}  # fmt: skip
    return {"type": kind, "response": {"model": "m", "usage": counts}}


def word_of_tgi(k: int, **more: object) -> dict[str, object]:
    return {"index": k, "token": {"id": k, "text": f"w{k}", "special": False}, **more}


TGI_END = {"generated_text": "w1 w2", "details": {"generated_tokens": 2, "prefill": [{}, {}, {}]}}
IMITATION = 'x","usage":{"prompt_tokens":99,"completion_tokens":99}'
OLLAMA_END = {"model": "m", "message": {"content": ""}, "done": True,
              "prompt_eval_count": 8, "eval_count": 3}  # fmt: skip


def native(k: int, **more: object) -> dict[str, object]:
    return {"content": f"w{k}", "stop": False, "index": 0, "tokens_predicted": k,
            "tokens_evaluated": 6, **more}  # fmt: skip


CHATS = [
    Golden("chat-stream", CHAT, events(said("a"), said("b"), closing(7, 2)) + DONE, 7, 2),
    Golden(
        "chat-stream-crlf",
        CHAT,
        (events(said("a"), closing(7, 2)) + DONE).replace(b"\n", b"\r\n"),
        7, 2,
    ),
    Golden(
        "chat-stream-details",
        CHAT,
        events(said("a"), closing(7, 5, prompt_tokens_details={"cached_tokens": 4},
                                  completion_tokens_details={"reasoning_tokens": 3})) + DONE,
        7, 5, cached=4, reasoning=3,
    ),
    Golden(
        "chat-stream-comments",
        CHAT,
        b": ping\n\n" + events(said("a")) + b": ping\n\n" + events(closing(7, 1)) + DONE,
        7, 1,
    ),
    Golden(
        "chat-stream-running-cut",
        CHAT,
        events(said("a", usage=usage(7, 1)), said("b", usage=usage(7, 2))),
        7, 2, finish="cut", is_whole=False,
    ),
    Golden(
        "chat-stream-two-choices-running",
        CHAT,
        events(said("a", usage=usage(7, 1)), said("a", 1, usage=usage(7, 1)),
               said("b", usage=usage(7, 2)), closing(7, 3)) + DONE,
        7, 3, n=2,
    ),
    Golden(
        "chat-stream-uncounted-cut",
        CHAT,
        events(said("a"), said("b")),
        None, None, "lower_bound", "cut", is_whole=False, least=2,
    ),
    Golden(
        "chat-stream-imitation",
        CHAT,
        events(said(IMITATION), closing(7, 2)) + DONE,
        7, 2,
    ),
    Golden("chat", CHAT, text(whole(7, 2)), 7, 2, content_type=JSON),
    Golden("chat-indented", CHAT, json.dumps(whole(7, 2), indent=2).encode(), 7, 2,
           content_type=JSON),
    Golden("completions-stream", TEXT,
           events({"model": "m", "choices": [{"index": 0, "text": "a"}]}, closing(4, 1)) + DONE,
           4, 1),
]  # fmt: skip

OTHER_SHAPES = [
    Golden("messages-stream", MESSAGES, named(START, BLOCK, END, STOP), 10, 6, cached=3),
    Golden("messages-stream-cut", MESSAGES, named(START, BLOCK), 10, None, "lower_bound", "cut",
           cached=3, is_whole=False, least=1),
    Golden("messages", MESSAGES,
           text({"type": "message", "model": "m", "content": [{"type": "text", "text": "a"}],
                 "usage": {"input_tokens": 5, "output_tokens": 6}}), 5, 6, content_type=JSON),
    Golden("responses-stream", RESPONSES, named(response("response.completed")), 9, 4,
           cached=2, reasoning=1),
    Golden("responses-stream-incomplete", RESPONSES, named(response("response.incomplete")), 9, 4,
           cached=2, reasoning=1),
    Golden("responses-stream-failed", RESPONSES, named(response("response.failed")), 9, 4,
           finish="error", cached=2, reasoning=1),
    Golden("embeddings", "/v1/embeddings",
           text({"model": "m", "data": [{"embedding": [0.5]}], "usage": usage(3, total_tokens=3)}),
           3, 0, content_type=JSON),
    Golden("rerank-total-alone", "/v1/rerank",
           text({"model": "m", "usage": {"total_tokens": 8}, "results": [{"index": 0}]}),
           8, 0, content_type=JSON),
    Golden("transcription", "/v1/audio/transcriptions",
           text({"text": "a", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 3,
                                        "total_tokens": 17}}),
           14, 3, model="", content_type=JSON),
]  # fmt: skip

SERVERS = [
    Golden("tgi-stream", "/generate_stream",
           events(word_of_tgi(1), word_of_tgi(2, **TGI_END)), 3, 2, model=""),
    Golden("tgi-stream-cut", "/generate_stream", events(word_of_tgi(1), word_of_tgi(2)), None, 2,
           finish="cut", model="", is_whole=False),
    Golden("tgi-details", "/generate", text(TGI_END), 3, 2, model="", content_type=JSON),
    Golden("tgi-fields", "/generate", text({"generated_text": "w1 w2"}), 3, 2, model="",
           content_type=JSON, heads=(3, 2)),
    Golden("llamacpp-timings", CHAT,
           events(said("a", timings={"cache_n": 1, "prompt_n": 5, "predicted_n": 1}),
                  said("b", timings={"cache_n": 1, "prompt_n": 5, "predicted_n": 2})),
           6, 2, finish="cut", cached=1, is_whole=False),
    Golden("llamacpp-two-choices", CHAT,
           events(said("a"), said("b", 1), closing(5, 4), closing(5, 6)) + DONE, 5, 10, n=2),
    Golden("llamacpp-native", "/completion", events(native(1), native(2, stop=True)), 6, 2,
           model=""),
    Golden("llamacpp-native-cut", "/completion", events(native(1), native(2)), 6, 2,
           finish="cut", model="", is_whole=False),
    Golden("sglang-generate", "/generate",
           text({"text": "a b", "meta_info": {"id": "x", "finish_reason": {"type": "stop"},
                                              "prompt_tokens": 4, "completion_tokens": 2,
                                              "cached_tokens": 1}}),
           4, 2, model="", cached=1, content_type=JSON),
    Golden("ollama-chat", "/api/chat",
           text({"model": "m", "message": {"content": "a"}, "done": False}, OLLAMA_END, end="\n"),
           8, 3, content_type=LINES),
    Golden("ollama-chat-cut", "/api/chat",
           text({"model": "m", "message": {"content": "a"}, "done": False}, end="\n"),
           None, None, "lower_bound", "cut", content_type=LINES, is_whole=False, least=1),
    Golden("fastchat-worker", "/worker_generate_stream",
           text({"text": "a", "error_code": 0, "usage": usage(5, 1), "finish_reason": None},
                {"text": "ab", "error_code": 0, "usage": usage(5, 2), "finish_reason": "stop"},
                end="\0"),
           5, 2, model="", content_type=None),
]  # fmt: skip

GOLDEN = [*CHATS, *OTHER_SHAPES, *SERVERS]
