#include "client/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/json.h"
#include "proto/wire.h"

void *
cli_alloc(struct cli *cli, size_t n)
{
    void *p = proto_arena_alloc(&cli->arena, n);

    if (p == NULL) {
        (void)out_fail(EXIT_JOB, "out of memory");
        _exit(EXIT_JOB);
    }
    memset(p, 0, n);
    return p;
}

void *
cli_new(struct cli *cli, const ProtobufCMessageDescriptor *d)
{
    void *m = cli_alloc(cli, d->sizeof_message);

    d->message_init(m);
    return m;
}

char *
cli_dup(struct cli *cli, const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(cli_alloc(cli, n), s, n);
}

PbDuration *
cli_duration(struct cli *cli, int64_t ns)
{
    PbDuration *d = cli_new(cli, &pb_duration__descriptor);

    PB_SET(d, ns, ns);
    return d;
}

PbTimestamp *
cli_timestamp(struct cli *cli, int64_t ns)
{
    PbTimestamp *t = cli_new(cli, &pb_timestamp__descriptor);

    PB_SET(t, ns, ns);
    return t;
}

struct goctl_reply *
cli_call(struct cli *cli, PbRequest *req, PbResponse__ReplyCase what, int *ret_code)
{
    struct goctl_error err = {0};
    struct goctl_reply *reply = NULL;

    if (goctl_call(cli->conn, req, 300 * GOCTL_SECOND, &reply, &err) < 0) {
        *ret_code = out_error(&err);
        return NULL;
    }
    if (goctl_response(reply)->reply_case != what) {
        goctl_reply_free(reply);
        *ret_code = out_fail(EXIT_UNREACHABLE, "gojobd sent a reply of another call");
        return NULL;
    }
    return reply;
}

bool
cli_count(const char *s, uint64_t *ret)
{
    char *end;

    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    *ret = strtoull(s, &end, 10);
    return *end == '\0' && errno == 0;
}

bool
cli_id(const char *s, uint64_t *ret)
{
    if (cli_count(s, ret) && *ret != 0)
        return true;
    (void)out_fail(EXIT_USAGE, "\"%s\" is not the number of a job", s);
    return false;
}

void
cli_batch(const char *s, uint64_t *ret_id, const char **ret_name)
{
    *ret_id = 0;
    *ret_name = NULL;
    if (!cli_count(s, ret_id) || *ret_id == 0) {
        *ret_id = 0;
        *ret_name = s;
    }
}

bool
cli_pairs(struct cli *cli, bool select, struct cli_pair **ret, size_t *ret_n)
{
    const struct texts *t = &cli->a.labels;
    struct cli_pair *pairs = cli_alloc(cli, (t->n + 1) * sizeof(*pairs));

    for (size_t i = 0; i < t->n; i++) {
        char *copy = cli_dup(cli, t->v[i]);
        char *eq = strchr(copy, '=');

        if (eq == copy || *copy == '\0' || (eq == NULL && !select)) {
            (void)out_fail(EXIT_USAGE, "--label: \"%s\" is not of the form NAME=VALUE",
                           t->v[i]);
            return false;
        }
        if (eq != NULL)
            *eq = '\0';
        pairs[i].key = copy;
        pairs[i].value = eq != NULL ? eq + 1 : cli_dup(cli, "");
    }
    *ret = pairs;
    *ret_n = t->n;
    return true;
}

bool
cli_enums(struct cli *cli, const struct texts *t, const ProtobufCEnumDescriptor *e,
          const char *option, int **ret, size_t *ret_n)
{
    struct proto_err err = {0};
    size_t n = 0, cap = 0;
    int *v;

    for (size_t i = 0; i < t->n; i++)
        cap += strlen(t->v[i]) + 1;
    v = cli_alloc(cli, (cap + 1) * sizeof(*v));
    for (size_t i = 0; i < t->n; i++) {
        char *copy = cli_dup(cli, t->v[i]), *save = NULL;

        for (char *p = strtok_r(copy, ",", &save); p != NULL;
             p = strtok_r(NULL, ",", &save))
            if (proto_enum_parse(e, p, &v[n++], option, &err) < 0) {
                (void)out_fail(EXIT_USAGE, "%s", err.text);
                return false;
            }
    }
    *ret = v;
    *ret_n = n;
    return true;
}

bool
cli_selector(struct cli *cli, PbSelector **ret)
{
    const struct args *a = &cli->a;
    PbSelector *s = cli_new(cli, &pb_selector__descriptor);
    struct cli_pair *pairs;
    int *states, *kinds;

    *ret = NULL;
    if (!cli_enums(cli, &a->states, &pb_job__state__descriptor, "--state", &states,
                   &s->n_states) ||
        !cli_enums(cli, &a->kinds, &pb_job__kind__descriptor, "--kind", &kinds,
                   &s->n_kinds) ||
        !cli_pairs(cli, true, &pairs, &s->n_labels))
        return false;
    s->states = (PbJob__State *)states;
    s->kinds = (PbJob__Kind *)kinds;
    s->labels = cli_alloc(cli, (s->n_labels + 1) * sizeof(*s->labels));
    for (size_t i = 0; i < s->n_labels; i++) {
        s->labels[i] = cli_new(cli, &pb_selector__labels_entry__descriptor);
        s->labels[i]->key = pairs[i].key;
        s->labels[i]->value = pairs[i].value;
    }
    if (a->batch != NULL) {
        const char *name;
        uint64_t id;

        cli_batch(a->batch, &id, &name);
        if (name != NULL)
            s->batch_name = cli_dup(cli, name);
        else
            PB_SET(s, batch, id);
    }
    if (a->schedule != NULL && !cli_count(a->schedule, &s->schedule))
        s->schedule_name = a->schedule;
    s->has_schedule = a->schedule != NULL && s->schedule_name == NULL;
    s->name = a->name;
    s->queue = a->queue;
    if (opt_given(a, "finished-before"))
        s->finished_before = cli_timestamp(cli, a->before_ns);
    if (s->n_states + s->n_kinds + s->n_labels > 0 || a->batch != NULL ||
        a->name != NULL || a->queue != NULL || a->schedule != NULL ||
        s->finished_before != NULL)
        *ret = s;
    return true;
}
