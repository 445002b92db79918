/* How a goroutine looks in a dump: its heading, its frames, where it was created. */
#ifndef GOJOBD_RUNTIME_DEBUG_REPORT_H
#define GOJOBD_RUNTIME_DEBUG_REPORT_H

#include <stdbool.h>

#include "runtime/debug/backtrace.h"
#include "runtime/debug/look.h"
#include "runtime/debug/out.h"

/* "goroutine 7 [chan send, 2 minutes]:" and all that belongs to it, with an empty line at
 * the end. inner: the runtime's own frames too. */
void rt_report_snap(struct rt_out *o, const struct rt_snap *s, bool inner);

/* The same of the calling goroutine, or of the thread if it runs none, walking from f: the
 * innermost 50 and outermost 10 frames. */
void rt_report_self(struct rt_out *o, const struct go_g *g, const struct rt_frames *f,
                    bool inner);

/* Every live goroutine but one (NULL: all), each flushed by itself. */
void rt_report_others(struct rt_out *o, struct rt_looker *l, const struct go_g *but,
                      bool inner);

/* Take the runtime's own frames out of s. */
void rt_report_trim(struct rt_snap *s);

/* The frames alone, one line each: "#", address, function, object, between tabs. */
void rt_report_lines(struct rt_out *o, const struct rt_snap *s, bool inner);

/* "name(+0x2f)", newline, tab, "0x55… in program+0x142f", newline. */
void rt_report_frame(struct rt_out *o, uintptr_t pc, bool exact);

#endif
