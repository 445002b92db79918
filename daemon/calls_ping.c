#include "daemon/call.h"

int
call_ping(struct call *c)
{
    PbPingReply *rep = call_new(c, &pb_ping_reply__descriptor);

    if (rep == NULL)
        return -1;
    rep->has_payload = c->req->ping->has_payload;
    rep->payload = c->req->ping->payload;
    rep->version = call_dup(c, DAEMON_VERSION);
    rep->time = call_time_ms(c, daemon_now_ms());
    PB_SET(rep, epoch, c->d->epoch);
    rep->n_events = c->cfg->events.n;
    rep->events = c->cfg->events.items;
    c->rep->reply_case = PB_RESPONSE__REPLY_PING;
    c->rep->ping = rep;
    return 0;
}
