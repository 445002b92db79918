#include "runtime/debug/dump.h"

#include <errno.h>

#include "runtime/debug/internal.h"
#include "runtime/debug/look.h"
#include "runtime/debug/report.h"
#include "runtime/debug/symbol.h"

__attribute__((noinline)) void
go_dump(int fd)
{
    struct rt_looker looker;
    struct rt_out out;

    rt_symbol_init(); /* what was loaded since */
    rt_looker_init(&looker, __builtin_frame_address(0));
    rt_out_init(&out, fd);
    rt_report_others(&out, &looker, NULL, rt_traceback >= RT_TB_SYSTEM);
    (void)rt_out_flush(&out);
}

struct dump_one {
    struct rt_looker looker;
    struct rt_out out;
    int64_t id;
    bool found;
};

static bool
dump_if_it(struct go_g *g, void *arg)
{
    struct dump_one *d = arg;
    struct rt_snap s;

    if (__atomic_load_n(&g->id, __ATOMIC_RELAXED) != d->id)
        return true;
    if (!rt_look(&d->looker, g, &s) || s.info.id != d->id)
        return true;
    rt_report_snap(&d->out, &s, rt_traceback >= RT_TB_SYSTEM);
    d->found = true;
    return false;
}

__attribute__((noinline)) int
go_dump_one(int fd, int64_t id)
{
    struct dump_one d = {.id = id, .found = false};

    if (id <= 0)
        return -ESRCH;
    rt_symbol_init();
    rt_looker_init(&d.looker, __builtin_frame_address(0));
    rt_out_init(&d.out, fd);
    rt_each_g(dump_if_it, &d);
    (void)rt_out_flush(&d.out);
    return d.found ? 0 : -ESRCH;
}
