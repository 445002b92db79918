/* The CPU quota of the control groups that this process is in. Internal: not installed. */
#ifndef GOJOBD_RUNTIME_SCHED_CGROUP_H
#define GOJOBD_RUNTIME_SCHED_CGROUP_H

/* CPUs that the quotas of our group and of all above it leave us, rounded up; INT_MAX:
 * no limit, or none that can be read. root: "", or a folder that stands for / in tests. */
int rt_cgroup_cpus(const char *root);

#endif
