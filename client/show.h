/*
 * Jobs for people: the plain answer of each kind, states in colour, times.
 */
#ifndef GOJOBD_CLIENT_SHOW_H
#define GOJOBD_CLIENT_SHOW_H

#include "client/goctl.h"
#include "client/out.h"
#include "client/table.h"

enum { SHOW_TEXT_MAX = 64 };

/* The answer alone, in lines: "55", "200 1256 bytes ...", rows, the content that was asked
 * for. */
void show_answer(const PbJob *job);
/* Whether the answer is a single line. */
bool show_answer_is_line(const PbJob *job);

enum colour show_state_colour(PbJob__State s);
const char *show_state(PbJob__State s);
const char *show_kind(PbJob__Kind k);
const char *show_batch_state(PbBatch__State s);
/* "failed: connect: ...": why a job did not succeed. */
const char *show_error(const PbError *e, char *out, size_t size);

/* Local times, rounded durations and sizes. Each returns out. */
const char *show_time(const PbTimestamp *t, char out[SHOW_TEXT_MAX]);
const char *show_span(int64_t ns, char out[SHOW_TEXT_MAX]);
const char *show_size(uint64_t bytes, char out[SHOW_TEXT_MAX]);
/* "12.3 MiB of 1 GiB", "3 of 10 ticks". Returns out. */
const char *show_progress(const PbProgress *p, char *out, size_t size);
int64_t show_wall_ns(void);

bool show_finished(PbJob__State s);

#endif
