/* One engine between callers and an endpoint that a script plays: world.pyx cranks it. */
#ifndef ZP_SCRIPT_H
#define ZP_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

enum { CALLERS = 4, SERVED = 16, TAGS = 64, ROOM = 16384, FIRST_TAG = 0x80 };

typedef struct {            /* one end of a conversation with the engine */
    int fd;                 /* -1: not open */
    int tag;                /* a caller: of its last answer; an endpoint: of the present request */
    int has_head;           /* an endpoint: the head of that request is whole */
    int seen;               /* bytes of the mark in front of a tag, or of the end of a head */
    int has_upgraded;       /* a caller has requested it */
    uint32_t got[TAGS];     /* bytes of each tag that arrived */
    uint8_t requested[TAGS];    /* a caller: 1 for its own tags */
    size_t begin, end;      /* of the bytes that wait to be sent */
    char out[ROOM];
} Peer;

typedef struct {
    Peer callers[CALLERS];
    Peer served[SERVED];
    int n_tags;
    uint32_t sent_up[TAGS];     /* body bytes that a caller was to send */
    uint32_t sent_down[TAGS];   /* the longest answer an endpoint gave */
    uint8_t reached[TAGS];      /* an endpoint has read its mark */
    int up_fd, down_fd;         /* listeners, unix, for ever */
    int up_size, down_size;
    char up_name[128], down_name[128];
} World;

int world_begin(World *w);
void world_end(World *w);
void world_step(World *w, uint8_t what, uint8_t how);
void world_read_all(World *w);

#endif
