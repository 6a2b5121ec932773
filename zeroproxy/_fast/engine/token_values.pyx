"""Questions about tokens, and their answers.

Law 1. A question is taken once and answered once. An answer to one that is gone has no effect.
Law 2. The texts are secrets of callers: they leave through `questions` alone.
Tests: tests/relay/test_tokens.py.
"""

import os

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.engine.values cimport choice, flag, index_in, ns, whole
from zeroproxy._fast.exchange.questions cimport question_answer
from zeroproxy._fast.tenants.token_table cimport (
    TOKENS_KNOWN,
    TOKENS_REFUSED,
    token_keep,
    tokens_forget,
)
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.http cimport (
    FAULT_NONE,
    FAULT_TOKEN,
    FAULT_TOKEN_TIME,
    FAULT_TOKEN_UNREAD,
)
from zeroproxy._fast.types.key_and_quota cimport ApiKey
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.token cimport (
    QUESTIONS_MAX,
    QUESTION_FREE,
    QUESTION_OPEN,
    QUESTION_TAKEN,
    Question,
    Token,
    TokenTable,
)

#: Refusals in the order of their faults: the token is not valid, it is not valid now, it could not
#: be verified.
REFUSALS = ("invalid", "time", "unread")

# ---------------------------------------------------------------- tables

cdef struct TokensChange:
    TokenTable table
    Question *questions


cdef void apply_tokens(Plane *p, void *what) noexcept nogil:
    """Counters go on. Open questions are for other tables: whoever waits asks again."""
    cdef TokensChange *t = <TokensChange *>what
    cdef TokenTable old = p.tokens
    cdef uint32_t i
    for i in range(QUESTIONS_MAX if p.questions != NULL else 0):
        if p.questions[i].state != QUESTION_FREE:
            question_answer(p, &p.questions[i], FAULT_NONE)
    t.table.n_questions = old.n_questions
    t.table.n_turned_away = old.n_turned_away
    p.tokens = t.table
    t.table = old
    if p.questions == NULL:
        p.questions, t.questions = t.questions, NULL


cdef void discard_tokens(void *what) noexcept nogil:
    cdef TokensChange *t = <TokensChange *>what
    free(t.table.known)
    free(t.table.refused)
    free(t.questions)
    free(t)


cdef int stage_tokens(Step *s, is_on) except -1:
    cdef TokensChange *t = <TokensChange *>calloc(1, sizeof(TokensChange))
    cdef bytes secret
    s.what = t
    if t == NULL:
        raise MemoryError
    s.discard = discard_tokens
    t.table.is_on = flag(is_on, "is_on")
    if t.table.is_on:
        secret = os.urandom(sizeof(t.table.secret))
        memcpy(t.table.secret, <const char *>secret, sizeof(t.table.secret))
        t.table.known = <Token *>calloc(TOKENS_KNOWN, sizeof(Token))
        t.table.refused = <Token *>calloc(TOKENS_REFUSED, sizeof(Token))
        t.questions = <Question *>calloc(QUESTIONS_MAX, sizeof(Question))
        if t.table.known == NULL or t.table.refused == NULL or t.questions == NULL:
            raise MemoryError
    s.apply = apply_tokens
    return 0


cdef dict read_tokens(const TokenTable *t):
    return {"on": bool(t.is_on), "questions": t.n_questions, "turned_away": t.n_turned_away}


cdef void tokens_free(Plane *p) noexcept nogil:
    cdef uint32_t i
    for i in range(QUESTIONS_MAX if p.questions != NULL else 0):
        free(p.questions[i].text)
    free(p.questions)
    free(p.tokens.known)
    free(p.tokens.refused)


# ---------------------------------------------------------------- questions and answers


cdef class Questions(PlaneThread):
    """The part of Engine that asks."""

    def questions(self):
        """Take the open questions: (number, text) each. All must be answered."""
        cdef Plane *p = self.p
        cdef Question *q
        cdef uint32_t i
        found = []
        with self:
            for i in range(QUESTIONS_MAX if p.questions != NULL else 0):
                q = &p.questions[i]
                if q.state == QUESTION_OPEN:
                    q.state = QUESTION_TAKEN
                    found.append((<uint64_t>q.generation << 32 | i, q.text[:q.len]))
        return found

    def answer(self, number, *, key=None, refusal="", seconds=0.0):
        """Answer a question. `key`: the index of the key that the token stands for; None: it is
        refused, with one of REFUSALS. `seconds`: the answer is remembered for so long. False: the
        question is gone."""
        cdef uint64_t name = whole(number, "number", 0, <uint64_t>-1)
        cdef uint64_t wait = ns(seconds, "seconds")
        cdef uint32_t at = <uint32_t>name, k = 0
        cdef int fault = FAULT_NONE
        cdef Plane *p = self.p
        cdef ApiKey *found = NULL
        cdef Question *q
        if key is None:
            fault = <int>FAULT_TOKEN + choice(refusal, "refusal", REFUSALS)
        with self:
            if key is not None:
                k = index_in(key, "key", p.keys.n_all)
                found = p.keys.all[k]
            if at >= QUESTIONS_MAX or p.questions == NULL:
                return False
            q = &p.questions[at]
            if q.state != QUESTION_TAKEN or q.generation != name >> 32:
                return False
            if wait:
                token_keep(&p.tokens, q.tag, found, fault, p.now_ns, p.now_ns + wait)
            question_answer(p, q, fault if fault else <int>FAULT_TOKEN_UNREAD)
        return True

    def forget_tokens(self):
        """Verify every token again."""
        with self:
            tokens_forget(&self.p.tokens)


if (FAULT_TOKEN_TIME, FAULT_TOKEN_UNREAD) != (FAULT_TOKEN + 1, FAULT_TOKEN + 2):
    raise ImportError("REFUSALS: in the order of their faults")
