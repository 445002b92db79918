/*
 * The life of a job: its states, and the one table that says which may follow which.
 *
 *   blocked    waits for a batch or job it depends on
 *   scheduled  waits for its time: a start in the future, or the pause before a retry
 *   queued     may start
 *   running    handed to a goroutine, as attempt number `attempt`
 *   succeeded, failed, cancelled, dead: final. Dead: retries spent, or poison.
 *
 * Running -> scheduled/queued is a retry or an interruption. A final state is left only
 * when a person asks for the job to be retried.
 */
#ifndef GOJOBD_DAEMON_STORE_STATE_H
#define GOJOBD_DAEMON_STORE_STATE_H

#include <stdbool.h>

/* Durable: never renumber. From 2 up because SQLite gives 0 and 1 another size. */
enum store_state {
    STORE_BLOCKED = 2,
    STORE_SCHEDULED,
    STORE_QUEUED,
    STORE_RUNNING,
    STORE_SUCCEEDED,
    STORE_FAILED,
    STORE_CANCELLED,
    STORE_DEAD,
    STORE_STATE_END
};

#define STORE_STATE_N (STORE_STATE_END - STORE_BLOCKED)

static inline bool
store_state_final(enum store_state s)
{
    return s >= STORE_SUCCEEDED && s < STORE_STATE_END;
}

/* Whether a job may go from one state to the other. */
bool store_state_may(enum store_state from, enum store_state to);

/* ENSUREs store_state_may(): every durable change of state passes here. */
void store_state_check(enum store_state from, enum store_state to);

/* "queued"; "?" for a number that is no state. */
const char *store_state_name(enum store_state s);

/* The state of that name, or 0. */
enum store_state store_state_parse(const char *name);

#endif
