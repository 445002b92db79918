#include <errno.h>

#include "daemon/call.h"
#include "daemon/store/backup.h"
#include "runtime/go.h"

int
call_check(struct call *c)
{
    PbCheckReply *rep = call_new(c, &pb_check_reply__descriptor);
    char err[512] = "";
    int r;

    if (rep == NULL)
        return -ENOBUFS;
    r = GO_BLOCKING(store_verify(store_path(c->d->store), NULL, err, sizeof(err)));
    if (r < 0 && r != -EUCLEAN)
        return call_store_failed(c, r, err);
    PB_SET(rep, ok, r == 0);
    if (r < 0) {
        rep->problems = call_array(c, 1, sizeof(*rep->problems));
        if (rep->problems == NULL)
            return -ENOBUFS;
        rep->problems[0] = call_dup(c, err);
        rep->n_problems = rep->problems[0] != NULL;
    }
    c->rep->reply_case = PB_RESPONSE__REPLY_CHECK;
    c->rep->check = rep;
    return 0;
}
