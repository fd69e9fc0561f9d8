#include "program/call_rules.h"

#ifdef CALL_FILTER_IS_KNOWN

#include <sys/syscall.h>

#define ALLOWED(name)                                                                              \
    {                                                                                              \
#name, __NR_##name, CALL_ALLOWED                                                           \
    }
#define FORBIDDEN(name)                                                                            \
    {                                                                                              \
#name, __NR_##name, CALL_FORBIDDEN                                                         \
    }
#define RULE(name, verdict)                                                                        \
    {                                                                                              \
#name, __NR_##name, verdict                                                                \
    }
/* From 424 on numbers are the same on all machines, and a libc may know more of them than the
 * headers here. */
#define NEWER(name, number, verdict)                                                               \
    {                                                                                              \
#name, number, verdict                                                                     \
    }

const struct call_rule call_rules[] = {
    /* bytes */
    ALLOWED(close),
    ALLOWED(copy_file_range),
    ALLOWED(dup),
    ALLOWED(dup3),
    ALLOWED(fadvise64),
    ALLOWED(fcntl),
    ALLOWED(fdatasync),
    ALLOWED(flock),
    ALLOWED(fsync),
    ALLOWED(ftruncate),
    RULE(ioctl, CALL_CHECK_CONTROL),
    ALLOWED(lseek),
    ALLOWED(pipe2),
    ALLOWED(pread64),
    ALLOWED(preadv),
    ALLOWED(preadv2),
    ALLOWED(pwrite64),
    ALLOWED(pwritev),
    ALLOWED(pwritev2),
    ALLOWED(read),
    ALLOWED(readv),
    ALLOWED(sendfile),
    ALLOWED(splice),
    ALLOWED(write),
    ALLOWED(writev),
    NEWER(close_range, 436, CALL_ALLOWED),

    /* files: Landlock says which */
    ALLOWED(faccessat),
    ALLOWED(fchmod),
    ALLOWED(fchmodat),
    ALLOWED(fstat),
    ALLOWED(fstatfs),
    ALLOWED(getcwd),
    ALLOWED(getdents64),
    ALLOWED(linkat),
    ALLOWED(mkdirat),
    ALLOWED(newfstatat),
    ALLOWED(openat),
    ALLOWED(readlinkat),
    ALLOWED(renameat),
    ALLOWED(renameat2),
    ALLOWED(statfs),
    ALLOWED(statx),
    ALLOWED(umask),
    ALLOWED(unlinkat),
    NEWER(openat2, 437, CALL_ALLOWED),
    NEWER(faccessat2, 439, CALL_ALLOWED),
    NEWER(fchmodat2, 452, CALL_ALLOWED),

    /* connections */
    ALLOWED(accept),
    ALLOWED(accept4),
    ALLOWED(bind),
    ALLOWED(connect),
    ALLOWED(getpeername),
    ALLOWED(getsockname),
    ALLOWED(getsockopt),
    ALLOWED(listen),
    ALLOWED(recvfrom),
    ALLOWED(recvmmsg),
    ALLOWED(recvmsg),
    ALLOWED(sendmmsg),
    ALLOWED(sendmsg),
    ALLOWED(sendto),
    ALLOWED(setsockopt),
    ALLOWED(shutdown),
    RULE(socket, CALL_CHECK_SOCKET),
    ALLOWED(socketpair),

    /* waiting, time */
    ALLOWED(clock_getres),
    ALLOWED(clock_gettime),
    ALLOWED(clock_nanosleep),
    ALLOWED(epoll_create1),
    ALLOWED(epoll_ctl),
    ALLOWED(epoll_pwait),
    ALLOWED(eventfd2),
    ALLOWED(getitimer),
    ALLOWED(gettimeofday),
    ALLOWED(nanosleep),
    ALLOWED(ppoll),
    ALLOWED(pselect6),
    ALLOWED(setitimer),
    ALLOWED(signalfd4),
    ALLOWED(timer_create),
    ALLOWED(timer_delete),
    ALLOWED(timer_getoverrun),
    ALLOWED(timer_gettime),
    ALLOWED(timer_settime),
    ALLOWED(timerfd_create),
    ALLOWED(timerfd_gettime),
    ALLOWED(timerfd_settime),
    ALLOWED(times),
    NEWER(epoll_pwait2, 441, CALL_ALLOWED),

    /* memory */
    ALLOWED(brk),
    ALLOWED(madvise),
    ALLOWED(membarrier),
    ALLOWED(mincore),
    ALLOWED(mlock),
    ALLOWED(mlock2),
    RULE(mmap, CALL_CHECK_MAP),
    RULE(mprotect, CALL_CHECK_PROTECT),
    ALLOWED(mremap),
    ALLOWED(msync),
    ALLOWED(munlock),
    ALLOWED(munmap),
    RULE(pkey_mprotect, CALL_CHECK_PROTECT),
    NEWER(map_shadow_stack, 453, CALL_ALLOWED),
    NEWER(mseal, 462, CALL_ALLOWED),

    /* threads */
    RULE(clone, CALL_CHECK_CLONE),
    ALLOWED(exit),
    ALLOWED(exit_group),
    ALLOWED(futex),
    ALLOWED(get_robust_list),
    ALLOWED(getcpu),
    ALLOWED(gettid),
    ALLOWED(restart_syscall),
    ALLOWED(rseq),
    ALLOWED(sched_get_priority_max),
    ALLOWED(sched_get_priority_min),
    ALLOWED(sched_getaffinity),
    ALLOWED(sched_getparam),
    ALLOWED(sched_getscheduler),
    ALLOWED(sched_yield),
    ALLOWED(set_robust_list),
    ALLOWED(set_tid_address),
    /* Its flags are in memory, where no filter sees them: call_filter.c has it fail, so that libc
     * uses clone(). */
    NEWER(clone3, 435, CALL_ALLOWED),
    NEWER(futex_waitv, 449, CALL_ALLOWED),
    NEWER(futex_wake, 454, CALL_ALLOWED),
    NEWER(futex_wait, 455, CALL_ALLOWED),
    NEWER(futex_requeue, 456, CALL_ALLOWED),

    /* signals */
    ALLOWED(kill),
    ALLOWED(rt_sigaction),
    ALLOWED(rt_sigpending),
    ALLOWED(rt_sigprocmask),
    ALLOWED(rt_sigqueueinfo),
    ALLOWED(rt_sigreturn),
    ALLOWED(rt_sigsuspend),
    ALLOWED(rt_sigtimedwait),
    ALLOWED(rt_tgsigqueueinfo),
    ALLOWED(sigaltstack),
    ALLOWED(tgkill),
    ALLOWED(tkill),

    /* the process, the machine */
    ALLOWED(getegid),
    ALLOWED(geteuid),
    ALLOWED(getgid),
    ALLOWED(getgroups),
    ALLOWED(getpgid),
    ALLOWED(getpid),
    ALLOWED(getppid),
    ALLOWED(getpriority),
    ALLOWED(getrandom),
    ALLOWED(getresgid),
    ALLOWED(getresuid),
    ALLOWED(getrlimit),
    ALLOWED(getrusage),
    ALLOWED(getsid),
    ALLOWED(getuid),
    ALLOWED(prctl),
    ALLOWED(prlimit64),
    ALLOWED(setrlimit),
    ALLOWED(sysinfo),
    ALLOWED(uname),
    ALLOWED(wait4),
    ALLOWED(waitid),
    RULE(execve, CALL_STARTS_PROCESS),
    RULE(execveat, CALL_STARTS_PROCESS),

/* What newer machines do by the calls above. */
#ifdef __x86_64__
    ALLOWED(access),
    ALLOWED(alarm),
    ALLOWED(arch_prctl),
    ALLOWED(chmod),
    ALLOWED(creat),
    ALLOWED(dup2),
    ALLOWED(epoll_create),
    ALLOWED(epoll_wait),
    ALLOWED(eventfd),
    ALLOWED(getdents),
    ALLOWED(getpgrp),
    ALLOWED(link),
    ALLOWED(lstat),
    ALLOWED(mkdir),
    ALLOWED(open),
    ALLOWED(pause),
    ALLOWED(pipe),
    ALLOWED(poll),
    ALLOWED(readlink),
    ALLOWED(rename),
    ALLOWED(rmdir),
    ALLOWED(select),
    ALLOWED(signalfd),
    ALLOWED(stat),
    ALLOWED(time),
    ALLOWED(unlink),
    RULE(fork, CALL_FORKS),
    RULE(vfork, CALL_FORKS),
#endif

    /* other processes */
    RULE(personality, CALL_LOOKS_INTO_PROCESS),
    RULE(ptrace, CALL_LOOKS_INTO_PROCESS),
    FORBIDDEN(kcmp),
    FORBIDDEN(process_vm_readv),
    FORBIDDEN(process_vm_writev),
    NEWER(pidfd_getfd, 438, CALL_FORBIDDEN),
    NEWER(process_madvise, 440, CALL_FORBIDDEN),

    /* file systems, namespaces */
    FORBIDDEN(chroot),
    FORBIDDEN(fanotify_init),
    FORBIDDEN(fanotify_mark),
    FORBIDDEN(mount),
    FORBIDDEN(open_by_handle_at),
    FORBIDDEN(pivot_root),
    FORBIDDEN(quotactl),
    FORBIDDEN(setns),
    FORBIDDEN(swapoff),
    FORBIDDEN(swapon),
    FORBIDDEN(umount2),
    FORBIDDEN(unshare),
    NEWER(open_tree, 428, CALL_FORBIDDEN),
    NEWER(move_mount, 429, CALL_FORBIDDEN),
    NEWER(fsopen, 430, CALL_FORBIDDEN),
    NEWER(fsconfig, 431, CALL_FORBIDDEN),
    NEWER(fsmount, 432, CALL_FORBIDDEN),
    NEWER(fspick, 433, CALL_FORBIDDEN),
    NEWER(mount_setattr, 442, CALL_FORBIDDEN),
    NEWER(quotactl_fd, 443, CALL_FORBIDDEN),
    NEWER(open_tree_attr, 467, CALL_FORBIDDEN),

    /* the kernel */
    FORBIDDEN(acct),
    FORBIDDEN(add_key),
    FORBIDDEN(adjtimex),
    FORBIDDEN(bpf),
    FORBIDDEN(clock_adjtime),
    FORBIDDEN(clock_settime),
    FORBIDDEN(delete_module),
    FORBIDDEN(finit_module),
    FORBIDDEN(init_module),
    FORBIDDEN(kexec_load),
    FORBIDDEN(keyctl),
    FORBIDDEN(perf_event_open),
    FORBIDDEN(reboot),
    FORBIDDEN(request_key),
    FORBIDDEN(setdomainname),
    FORBIDDEN(sethostname),
    FORBIDDEN(settimeofday),
    FORBIDDEN(syslog),
    FORBIDDEN(userfaultfd),
    FORBIDDEN(vhangup),
    NEWER(io_uring_setup, 425, CALL_FORBIDDEN),
    NEWER(io_uring_enter, 426, CALL_FORBIDDEN),
    NEWER(io_uring_register, 427, CALL_FORBIDDEN),
#ifdef __x86_64__
    FORBIDDEN(ioperm),
    FORBIDDEN(iopl),
    FORBIDDEN(kexec_file_load),
    FORBIDDEN(modify_ldt),
    FORBIDDEN(uselib),
#endif
};
const size_t call_rules_count = sizeof call_rules / sizeof call_rules[0];

const char *call_rules_name(uint32_t number)
{
    for (size_t i = 0; i < call_rules_count; i++)
        if (call_rules[i].number == number)
            return call_rules[i].name;
    return NULL;
}

#endif
