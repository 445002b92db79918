#include "daemon/store/state.h"

#include <string.h>

#include "runtime/base/check.h"

#define BIT(s) (1u << (s))

static const unsigned next_states[STORE_STATE_END] = {
    [STORE_BLOCKED] = BIT(STORE_SCHEDULED) | BIT(STORE_QUEUED) | BIT(STORE_CANCELLED),
    [STORE_SCHEDULED] = BIT(STORE_QUEUED) | BIT(STORE_CANCELLED),
    [STORE_QUEUED] = BIT(STORE_RUNNING) | BIT(STORE_CANCELLED),
    [STORE_RUNNING] = BIT(STORE_SUCCEEDED) | BIT(STORE_FAILED) | BIT(STORE_CANCELLED) |
                      BIT(STORE_DEAD) | BIT(STORE_SCHEDULED) | BIT(STORE_QUEUED),
    [STORE_FAILED] = BIT(STORE_QUEUED) | BIT(STORE_BLOCKED), /* by a person's retry */
    [STORE_CANCELLED] = BIT(STORE_QUEUED) | BIT(STORE_BLOCKED),
    [STORE_DEAD] = BIT(STORE_QUEUED) | BIT(STORE_BLOCKED),
};

static const char *const names[STORE_STATE_END] = {
    [STORE_BLOCKED] = "blocked",     [STORE_SCHEDULED] = "scheduled",
    [STORE_QUEUED] = "queued",       [STORE_RUNNING] = "running",
    [STORE_SUCCEEDED] = "succeeded", [STORE_FAILED] = "failed",
    [STORE_CANCELLED] = "cancelled", [STORE_DEAD] = "dead",
};

bool
store_state_may(enum store_state from, enum store_state to)
{
    return from >= STORE_BLOCKED && from < STORE_STATE_END && to >= STORE_BLOCKED &&
           to < STORE_STATE_END && (next_states[from] & BIT(to)) != 0;
}

void
store_state_check(enum store_state from, enum store_state to)
{
    ENSURE(store_state_may(from, to));
}

const char *
store_state_name(enum store_state s)
{
    return s >= STORE_BLOCKED && s < STORE_STATE_END ? names[s] : "?";
}

enum store_state
store_state_parse(const char *name)
{
    for (enum store_state s = STORE_BLOCKED; s < STORE_STATE_END; s++)
        if (strcmp(name, names[s]) == 0)
            return s;
    return (enum store_state)0;
}
