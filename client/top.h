/*
 * goctl top: the daemon at work, on a screen that follows it.
 */
#ifndef GOJOBD_CLIENT_TOP_H
#define GOJOBD_CLIENT_TOP_H

#include "client/cli.h"

/* With --once or --json, or when standard output is no terminal, one snapshot. */
int top_run(struct cli *cli);

#endif
