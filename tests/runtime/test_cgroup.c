/* The default of GOMAXPROCS under a CPU quota: control groups of both versions, as folders. */
#define _GNU_SOURCE
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/sched/cgroup.h"
#include "tests/support/gotest.h"

static char root[64];

static int
make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "%s", "/tmp/test_cgroup.XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static int
remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Write a file below root, and the folders it needs. */
static void
put(const char *name, const char *text)
{
    char path[512];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Our group and the mounts; what else the kernel lists stands around them. */
static void
put_proc(const char *cgroup, const char *mounts)
{
    char text[2048];

    put("/proc/self/cgroup", cgroup);
    (void)snprintf(text, sizeof(text),
                   "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
                   "23 22 0:21 / /proc rw shared:5 - proc proc rw\n"
                   "broken line\n%s"
                   "60 22 0:50 / /tmp rw shared:9 master:2 - tmpfs tmpfs rw\n",
                   mounts);
    put("/proc/self/mountinfo", text);
}

#define V2 "30 22 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1                                                                               \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"        \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"

static void
without_files_there_is_no_limit(void **state)
{
    (void)state;
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX);
    put("/proc/self/cgroup", "0::/a\n");
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX);
    put_proc("0::/a\n", V2);
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX);
    put_proc("no colons\n\n0:only one\n0::relative\n", V2);
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX);
}

static void
a_quota_of_version_2_is_rounded_up(void **state)
{
    static const struct {
        const char *line;
        int cpus;
    } cases[] = {
        {"max 100000\n", INT_MAX}, {"200000 100000\n", 2},
        {"200001 100000\n", 3},    {"50000 100000\n", 1},
        {"1000 100000\n", 1},      {"1 1000000\n", 1},
        {"max\n", INT_MAX},        {"", INT_MAX},
        {"\n", INT_MAX},           {"garbage\n", INT_MAX},
        {"-5 100000\n", INT_MAX},  {"100000 0\n", INT_MAX},
        {"100000\n", INT_MAX},     {"9223372036854775807 1\n", INT_MAX},
        {"800000 50000", 16},
    };

    (void)state;
    put_proc("0::/a\n", V2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("/sys/fs/cgroup/a/cpu.max", cases[i].line);
        if (rt_cgroup_cpus(root) != cases[i].cpus)
            fprintf(stderr, "cpu.max \"%s\"\n", cases[i].line);
        assert_int_equal(rt_cgroup_cpus(root), cases[i].cpus);
    }
}

static void
the_tightest_quota_on_the_way_up_counts(void **state)
{
    (void)state;
    put_proc("0::/a/b/c\n", V2);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "800000 100000\n");
    assert_int_equal(rt_cgroup_cpus(root), 3);
    put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    assert_int_equal(rt_cgroup_cpus(root), 2);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "100000 100000\n");
    assert_int_equal(rt_cgroup_cpus(root), 1);
    put("/sys/fs/cgroup/a/b/c/d/cpu.max", "900000 100000\n"); /* below us: not ours */
    put_proc("0::/a/b/c/d/e\n", V2);                          /* e has no file */
    assert_int_equal(rt_cgroup_cpus(root), 1);
}

static void
the_root_group_may_have_a_quota_in_a_container(void **state)
{
    (void)state;
    put_proc("0::/\n", V2);
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX);
    put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_int_equal(rt_cgroup_cpus(root), 4);
}

static void
a_container_sees_its_own_group_at_the_mount_point(void **state)
{
    static const char mounts[] =
        "30 22 0:26 /docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n";

    (void)state;
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/inner/cpu.max", "100000 100000\n");
    put_proc("0::/docker/1f\n", mounts);
    assert_int_equal(rt_cgroup_cpus(root), 2);
    put_proc("0::/docker/1f/inner\n", mounts);
    assert_int_equal(rt_cgroup_cpus(root), 1);
    put_proc("0::/docker/1fe/inner\n", mounts); /* another container's: not below */
    assert_int_equal(rt_cgroup_cpus(root), 2);
    put_proc("0::/../outside\n", mounts);
    assert_int_equal(rt_cgroup_cpus(root), 2);
}

static void
version_1_has_quota_and_period_in_two_files(void **state)
{
    (void)state;
    put_proc("5:cpuset:/x\n4:cpu,cpuacct:/a/b\n1:name=systemd:/s\n", V1);
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX);
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX); /* no period */
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
    assert_int_equal(rt_cgroup_cpus(root), INT_MAX);
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "250000\n");
    assert_int_equal(rt_cgroup_cpus(root), 3);
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "120000\n");
    assert_int_equal(rt_cgroup_cpus(root), 2);
    /* Only the hierarchy with the controller is asked. */
    put("/sys/fs/cgroup/cpuset/x/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpuset/x/cpu.cfs_period_us", "100000\n");
    assert_int_equal(rt_cgroup_cpus(root), 2);
}

static void
with_both_mounted_the_one_that_has_a_limit_counts(void **state)
{
    static const char unified[] =
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" V1;

    (void)state;
    put_proc("4:cpu,cpuacct:/a\n0::/u\n", unified);
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "500000\n");
    assert_int_equal(rt_cgroup_cpus(root), 5);
    put("/sys/fs/cgroup/unified/u/cpu.max", "300000 100000\n");
    assert_int_equal(rt_cgroup_cpus(root), 3);
}

static void
a_mount_point_may_have_blanks_in_its_name(void **state)
{
    (void)state;
    put_proc("0::/a\n", "30 22 0:26 / /my\\040groups\\134 rw - cgroup2 none rw\n");
    put("/my groups\\/a/cpu.max", "700000 100000\n");
    assert_int_equal(rt_cgroup_cpus(root), 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_files_there_is_no_limit, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(a_quota_of_version_2_is_rounded_up, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(the_tightest_quota_on_the_way_up_counts,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(the_root_group_may_have_a_quota_in_a_container,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_container_sees_its_own_group_at_the_mount_point,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(version_1_has_quota_and_period_in_two_files,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(with_both_mounted_the_one_that_has_a_limit_counts,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_mount_point_may_have_blanks_in_its_name,
                                        make_root, remove_root),
    };

    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
