#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store/inner.h"
#include "runtime/base/check.h"

/*
 * Whether the tables of a file are those that its schema's number promises. Builds between
 * two releases change a schema without a new number; a file of theirs would be misread.
 *
 * What is compared is what statements rely on, the columns of each table and index, and not
 * the text that made them: a table that was altered into its form is as good as a new one.
 * The pattern is a database in memory, made by the same statements. What the file has beside
 * it, a person's own index or what ANALYZE leaves, is not looked at.
 */

/* Schema version n is reached from n - 1 by migrations[n]. */
static const char *const migrations[STORE_SCHEMA_VERSION + 1] = {
    [1] = store_schema_sql,
};

/* One row a column, and one after the last of each table or index, in the order of the first
 * two columns. */
static const char parts_sql[] =
    "WITH owner (name, kind) AS (SELECT name, type FROM sqlite_schema"
    "  WHERE type IN ('table', 'index')),"
    " part (owner, place, what) AS ("
    "  SELECT o.name, c.cid, '\"' || c.name || ' ' || c.type ||"
    "    iif(c.\"notnull\", ' NOT NULL', '') || iif(c.pk, ' KEY ' || c.pk, '') || '\"'"
    "   FROM owner o JOIN pragma_table_info(o.name) c WHERE kind = 'table'"
    "  UNION ALL"
    "  SELECT o.name, c.seqno, '\"' || ifnull(c.name, '') || iif(c.desc, ' DESC', '') || "
    "'\"'"
    "   FROM owner o JOIN pragma_index_xinfo(o.name) c WHERE kind = 'index' AND c.key)"
    " SELECT owner, place, what, kind FROM (SELECT * FROM part UNION ALL"
    "  SELECT owner, max(place) + 1, 'nothing' FROM part GROUP BY owner)"
    " JOIN owner ON owner.name = owner ORDER BY owner, place";

int
store_migrate_to(sqlite3 *db, int64_t from, int64_t to)
{
    int rc = SQLITE_OK;

    ENSURE(from >= 0 && to <= STORE_SCHEMA_VERSION);
    for (int64_t v = from + 1; rc == SQLITE_OK && v <= to; v++)
        rc = sqlite3_exec(db, migrations[v], NULL, NULL, NULL);
    return rc;
}

static int
compare(sqlite3_stmt *a, sqlite3_stmt *b)
{
    int r = strcmp((const char *)sqlite3_column_text(a, 0),
                   (const char *)sqlite3_column_text(b, 0));

    return r != 0 ? r : sqlite3_column_int(a, 1) - sqlite3_column_int(b, 1);
}

static int
refuse(struct store *st, int64_t version, const char *found)
{
    return store_refuse(st, -EPROTO,
                        "%s was written by an unreleased gojobd (schema %lld, but %s): "
                        "choose another state_dir, or run the gojobd that wrote it",
                        st->path, (long long)version, found);
}

/* Both stand in the same order; the file may have more. want's row must be have's. */
static int
step_both(struct store *st, int64_t version, sqlite3_stmt *want, sqlite3_stmt *have)
{
    const char *kind = (const char *)sqlite3_column_text(want, 3);
    const char *owner = (const char *)sqlite3_column_text(want, 0);
    const char *what = (const char *)sqlite3_column_text(want, 2);
    int place = sqlite3_column_int(want, 1);
    char found[160];
    int rc;

    do
        rc = sqlite3_step(have);
    while (rc == SQLITE_ROW && compare(have, want) < 0);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return store_sqlite_err(st, rc, "reading the store");
    if (rc == SQLITE_DONE || compare(have, want) != 0)
        (void)snprintf(found, sizeof(found), "it has no %s %s", kind, owner);
    else if (strcmp((const char *)sqlite3_column_text(have, 2), what) != 0)
        (void)snprintf(found, sizeof(found), "column %d of its %s %s is %.40s, not %.40s",
                       place + 1, kind, owner, sqlite3_column_text(have, 2), what);
    else
        return 0;
    return refuse(st, version, found);
}

int
store_tables_check(struct store *st, int64_t version)
{
    sqlite3 *pattern = NULL;
    sqlite3_stmt *want = NULL, *have = NULL;
    int rc = sqlite3_open_v2(
        ":memory:", &pattern,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    int r = 0;

    if (rc == SQLITE_OK)
        rc = store_migrate_to(pattern, 0, version);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(pattern, parts_sql, -1, &want, NULL);
    if (rc != SQLITE_OK)
        r = store_refuse(st, store_errno_of(rc), "cannot make a schema in memory: %s",
                         sqlite3_errstr(rc));
    if (r == 0) {
        rc = sqlite3_prepare_v2(st->db, parts_sql, -1, &have, NULL);
        if (rc != SQLITE_OK)
            r = store_sqlite_err(st, rc, "reading the store");
    }
    while (r == 0 && (rc = sqlite3_step(want)) == SQLITE_ROW)
        r = step_both(st, version, want, have);
    if (r == 0 && rc != SQLITE_DONE)
        r = store_refuse(st, store_errno_of(rc), "cannot read a schema in memory: %s",
                         sqlite3_errstr(rc));
    sqlite3_finalize(want);
    sqlite3_finalize(have);
    sqlite3_close(pattern);
    return r;
}
