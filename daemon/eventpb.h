/* The store's events as clients see them. */
#ifndef GOJOBD_DAEMON_EVENTPB_H
#define GOJOBD_DAEMON_EVENTPB_H

#include "daemon/call.h"
#include "daemon/store/queue.h"

struct pulse_beat;

/* Submitted jobs are one event: a single one as a job, several as a batch that grew. NULL:
 * no memory. Never parks; nothing is read: ids, states, times and attempts only. */
PbEvent *eventpb_make(struct proto_arena *a, const struct store_event *ev);

/* The same for a running job that came further; seq: of the last stored event. */
PbEvent *eventpb_progress(struct proto_arena *a, const struct pulse_beat *beat,
                          int64_t seq);

/* What EVENT_QUEUE is about, which the event itself does not know. 0 or -ENOMEM. */
int eventpb_queue(struct proto_arena *a, PbEvent *out, const char *name,
                  const struct store_queue_conf *conf);

/* Whether ev tells of one job. */
bool eventpb_of_job(const struct store_event *ev);

/* Says of the job in out, made from ev, what it is; of one that ended with ev also what
 * came of it. j was read with jobpb_store_want(0), and with its result if that is wanted.
 * 0, or the call is refused. PARKS. */
int eventpb_fill(struct call *c, const struct store_event *ev, const struct store_job *j,
                 PbEvent *out);

#endif
