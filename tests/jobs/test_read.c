#define _GNU_SOURCE

#include <sys/socket.h>
#include <sys/un.h>

#include "tests/jobs/jobtest.h"

static struct job_env *
env_in(const char *dir)
{
    return env_of("files: {roots: ['%s'], max_files: 5, max_content: 100}", dir);
}

GO_TEST(read_spec_that_makes_no_sense_is_refused)
{
    struct job_env *env = env_in("/tmp"), *none = env_of("{}");
    int no = PB_ERROR__CODE__INVALID;

    refused(env, "{\"read\":{}}", no, "read.path", "needed");
    refused(env, "{\"read\":{\"path\":\"\"}}", no, "read.path", "empty");
    refused(env, "{\"read\":{\"paths\":[\"a\",\"\"]}}", no, "read.paths", "empty");
    refused(env, "{\"read\":{\"path\":\"a\",\"max_bytes\":101}}",
            PB_ERROR__CODE__TOO_LARGE, "read.max_bytes", "files.max_content");
    refused(env, "{\"read\":{\"paths\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]}}",
            PB_ERROR__CODE__TOO_LARGE, "read.paths", "files.max_files");
    refused(none, "{\"read\":{\"path\":\"a\"}}", PB_ERROR__CODE__DENIED, "read.path",
            "files.roots");
    job_env_unref(none);
    job_env_unref(env);
}

GO_TEST(one_file_is_measured)
{
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct outcome o;

    file_puts(dir, "abc", "abc\nd\n");
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"%s/abc\",\"content\":true}}", dir);
    CHECK_HAS(o.json, "\"size\":6,\"lines\":2,\"sha256\":\"");
    CHECK_HAS(o.json, "\"text\":\"abc\\nd\\n\"");
    CHECK_HAS(o.json, "\"truncated\":false");
    CHECK_INT(o.done, 6);
    CHECK_INT(o.total, 6);
    file_puts(dir, "abc", "abc");
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"abc\"}}");
    CHECK(strcmp(o.json, "{\"read\":{\"size\":3,\"lines\":0,\"sha256\":"
                         "\"ba7816bf8f01cfea414140de5dae2223"
                         "b00361a396177a9cb410ff61f20015ad\"}}") == 0);
    run_job(env, NULL, &o,
            "{\"read\":{\"path\":\"abc\",\"sha256\":false,\"lines\":false,\"offset\":1,"
            "\"length\":1,\"content\":true}}");
    CHECK_HAS(o.json, "{\"size\":1,");
    CHECK_HAS(o.json, "\"text\":\"b\"");
    CHECK(strstr(o.json, "sha256") == NULL && strstr(o.json, "lines") == NULL);
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"abc\",\"offset\":10}}");
    CHECK_HAS(o.json, "{\"size\":0,");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(lines_and_digest_of_a_large_file_are_those_of_the_tools)
{
    enum { SIZE = 3 * 1000 * 1000 + 17 };
    char *dir = dir_new(), *data = malloc(SIZE), cmd[512], digest[80] = "", expect[256];
    struct job_env *env = env_in(dir);
    struct outcome o;
    uint64_t x = 88172645463325252u;
    int lines = 0;
    FILE *p;

    REQUIRE(data != NULL);
    for (int i = 0; i < SIZE; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (char)(x % 40 == 0 ? '\n' : x);
        lines += data[i] == '\n';
    }
    file_put(dir, "big", data, SIZE);
    free(data);
    (void)snprintf(cmd, sizeof(cmd), "sha256sum '%s/big'", dir);
    p = popen(cmd, "r"); /* NOLINT(cert-env33-c): of our own making */
    REQUIRE(p != NULL && fscanf(p, "%64s", digest) == 1);
    (void)pclose(p);
    (void)snprintf(expect, sizeof(expect),
                   "{\"read\":{\"size\":%d,\"lines\":%d,\"sha256\":\"%s\"}}", SIZE, lines,
                   digest);
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"big\"}}");
    CHECK(strcmp(o.json, expect) == 0);
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(content_is_cut_at_its_limit_between_characters)
{
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct outcome o;

    file_puts(dir, "utf8", "ab\xc3\xa4z");
    run_job(env, NULL, &o,
            "{\"read\":{\"path\":\"utf8\",\"content\":true,\"max_bytes\":3}}");
    CHECK_HAS(o.json, "\"text\":\"ab\"");
    CHECK_HAS(o.json, "\"truncated\":true");
    CHECK_HAS(o.json, "\"size\":5");
    file_put(dir, "bin", "\xff\x00\x01", 3);
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"bin\",\"content\":true}}");
    CHECK_HAS(o.json, "\"data\":\"/wAB\"");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(patterns_fan_out_in_order)
{
    char *dir = dir_new(), path[256];
    struct job_env *env = env_in(dir);
    struct outcome o;

    (void)snprintf(path, sizeof(path), "%s/sub", dir);
    REQUIRE(mkdir(path, 0700) == 0);
    file_puts(dir, "b.txt", "bb\n");
    file_puts(dir, "a.txt", "a\n");
    file_puts(dir, ".hidden.txt", "h\n");
    file_puts(dir, "sub/c.txt", "ccc\n");
    run_job(env, NULL, &o,
            "{\"read\":{\"path\":\"*.txt\",\"sha256\":false,\"content\":true}}");
    CHECK_HAS(o.json, "{\"read\":{\"size\":5,\"lines\":2,\"count\":2,\"files\":["
                      "{\"path\":\"a.txt\",\"size\":2,\"lines\":1,\"text\":\"a\\n\"");
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"%s/s?b/[a-c]*\",\"sha256\":false}}",
            dir);
    CHECK_HAS(o.json, "/sub/c.txt\",\"size\":4,\"lines\":1}]");
    run_job(env, NULL, &o,
            "{\"read\":{\"paths\":[\"b.txt\",\"*/c.txt\"],\"sha256\":false}}");
    CHECK_HAS(o.json, "\"count\":2,\"files\":[{\"path\":\"b.txt\"");
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"*.nothing\"}}");
    CHECK_INT(o.code, PB_ERROR__CODE__NOT_FOUND);
    CHECK_HAS(o.message, "*.nothing matches no file");
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"*.txt\",\"glob\":false}}");
    CHECK_HAS(o.message, "*.txt does not exist");
    file_puts(dir, "we[i]rd", "x");
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"we[i]rd\"}}");
    CHECK_HAS(o.json, "{\"read\":{\"size\":1");
    for (int i = 0; i < 6; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "many%d", i);
        file_puts(dir, name, "x");
    }
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"many*\"}}");
    CHECK_INT(o.code, PB_ERROR__CODE__TOO_LARGE);
    CHECK_HAS(o.message, "files.max_files");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(content_of_several_files_shares_one_limit)
{
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct outcome o;

    file_puts(dir, "a", "12345");
    file_puts(dir, "b", "67890");
    run_job(env, NULL, &o,
            "{\"read\":{\"path\":\"[ab]\",\"content\":true,\"max_bytes\":7,\"sha256\":"
            "false}}");
    CHECK_HAS(o.json, "\"text\":\"12345\"");
    CHECK_HAS(o.json, "\"text\":\"67\"");
    CHECK_HAS(o.json, "\"truncated\":true");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(one_bad_file_of_several_fails_the_job_and_keeps_the_rest)
{
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct outcome o;

    file_puts(dir, "a", "12345");
    run_job(env, NULL, &o, "{\"read\":{\"paths\":[\"a\",\"missing\"],\"glob\":false}}");
    CHECK(o.r < 0);
    CHECK_INT(o.code, PB_ERROR__CODE__NOT_FOUND);
    CHECK_HAS(o.message,
              "1 of 2 files could not be read; the first: missing does not exist");
    CHECK_HAS(o.json, "\"path\":\"a\",\"size\":5");
    CHECK_HAS(o.json, "\"error\":{\"code\":\"not_found\"");
    job_env_unref(env);
    dir_free(dir);
}

static void
denied(struct job_env *env, const char *path, const char *part)
{
    struct outcome o;

    run_job(env, NULL, &o, "{\"read\":{\"path\":\"%s\"}}", path);
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    CHECK(strcmp(o.field, "read.path") == 0);
    CHECK_HAS(o.message, part);
}

GO_TEST(nothing_outside_the_roots_is_read)
{
    char *dir = dir_new(), root[256], link[512], dots[512];
    struct job_env *env;
    struct outcome o;

    (void)snprintf(root, sizeof(root), "%s/root", dir);
    REQUIRE(mkdir(root, 0700) == 0);
    file_puts(dir, "secret", "s");
    file_puts(root, "inside", "in");
    (void)snprintf(link, sizeof(link), "%s/out", root);
    REQUIRE(symlink("../secret", link) == 0);
    (void)snprintf(link, sizeof(link), "%s/abs", root);
    REQUIRE(symlink("/etc/passwd", link) == 0);
    (void)snprintf(link, sizeof(link), "%s/in", root);
    REQUIRE(symlink("inside", link) == 0);
    (void)snprintf(link, sizeof(link), "%s/loop", root);
    REQUIRE(symlink("loop", link) == 0);
    env = env_in(root);
    denied(env, "/etc/passwd", "none of the directories that files.roots lists");
    denied(env, "../secret", "leads out");
    (void)snprintf(dots, sizeof(dots), "%s/../secret", root);
    denied(env, dots, "leads out");
    denied(env, "out", "leads out");
    denied(env, "abs", "leads out");
    denied(env, "loop", "leads out");
    (void)snprintf(dots, sizeof(dots), "%s-evil/x", root);
    denied(env, dots, "none of the directories");
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"in\"}}");
    CHECK_HAS(o.json, "\"size\":2");
    /* A pattern finds no more than a path does. */
    run_job(env, NULL, &o, "{\"read\":{\"path\":\"../s*\"}}");
    CHECK_INT(o.code, PB_ERROR__CODE__NOT_FOUND);
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(only_regular_files_are_read)
{
    char *dir = dir_new(), path[256];
    struct job_env *env = env_of("files: {roots: ['%s', /dev]}", dir);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd;

    (void)snprintf(path, sizeof(path), "%s/pipe", dir);
    REQUIRE(mkfifo(path, 0600) == 0);
    denied(env, path, "is a named pipe; only regular files");
    denied(env, dir, "is a directory; only regular files");
    denied(env, "/dev/zero", "is a device; only regular files");
    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sock", dir);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    denied(env, sa.sun_path, "socket");
    (void)close(fd);
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(reading_a_huge_file_can_be_cancelled)
{
    char *dir = dir_new(), path[256];
    struct job_env *env = env_in(dir);
    struct outcome o;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/huge", dir);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)1 << 40) == 0);
    (void)close(fd);
    check_cancel(env, &o, "{\"read\":{\"path\":\"huge\"}}");
    CHECK(o.done > 0 && o.done < o.total);
    check_cancel(env, &o, "{\"read\":{\"paths\":[\"huge\",\"h*\"]}}");
    job_env_unref(env);
    dir_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_spec_that_makes_no_sense_is_refused),
        cmocka_unit_test(one_file_is_measured),
        cmocka_unit_test(lines_and_digest_of_a_large_file_are_those_of_the_tools),
        cmocka_unit_test(content_is_cut_at_its_limit_between_characters),
        cmocka_unit_test(patterns_fan_out_in_order),
        cmocka_unit_test(content_of_several_files_shares_one_limit),
        cmocka_unit_test(one_bad_file_of_several_fails_the_job_and_keeps_the_rest),
        cmocka_unit_test(nothing_outside_the_roots_is_read),
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(reading_a_huge_file_can_be_cancelled),
    };

    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
