/*
 * goctl top's page: what the daemon's Stats say, in lines.
 */
#ifndef GOJOBD_CLIENT_TOP_VIEW_H
#define GOJOBD_CLIENT_TOP_VIEW_H

#include "client/goctl.h"
#include "client/page.h"

struct top_view {
    const char *url;
    const PbStatsReply *now;
    const PbStatsReply *before; /* NULL: none; else from span_ns earlier */
    int64_t span_ns;
    int64_t lost_ns; /* no answer for so long; 0: all is well */
    size_t columns;  /* of the screen */
    size_t rows;     /* of the screen; 0: as many as it takes */
    size_t skip;     /* running jobs left out at the top */
};

void top_view(const struct top_view *v, struct page *p);

#endif
