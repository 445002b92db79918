/*
 * What is seen of a wait: the bar on a terminal, and the way out with Ctrl-C.
 */
#ifndef GOJOBD_CLIENT_PROGRESS_H
#define GOJOBD_CLIENT_PROGRESS_H

#include "client/goctl.h"

struct progress {
    bool on;          /* standard error is a terminal, and people read the output */
    int64_t start_ns; /* monotonic */
    int64_t drawn_ns;
    bool counted; /* then is set */
    struct {
        int64_t at_ns;
        uint64_t done;
    } then[2];          /* some seconds ago, older first: for the rate */
    uint64_t submitted; /* more than the batch knows of yet */
};

void progress_init(struct progress *p, bool on);
/* Draws the batch's counts, at most some times a second. */
void progress_draw(struct progress *p, const PbCounts *c);
void progress_clear(struct progress *p);

/* Before any thread is started: SIGINT ends the process in a thread of its own, after
 * telling how to go on with what is being waited for. */
void interrupt_init(void);
void interrupt_batch(uint64_t batch);
/* From now on it writes a byte to fd instead. */
void interrupt_to(int fd, char byte);
/* From now on it is ignored. */
void interrupt_hold(void);

#endif
